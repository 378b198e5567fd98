"""Atomic writes, and a provenance record beside every artefact.

An artefact is written beside its final name and renamed, so a reader never sees half of it.
`record` writes `<name>.provenance.json`: the command, its inputs and outputs with checksums, the
machine and the duration. `check_recorded` compares checksums, and `userbench audit` follows them
from a table to the raw data.
"""

import errno
import glob
import hashlib
import json
import os
import platform
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

import userbench
from userbench.errors import system_error
from userbench.results.loaded_code import loaded_code

# Not part of the hardware: jobs that differ in these alone ran in the same environment.
OF_A_JOB = ("SLURM_JOB_ID", "CUDA_VISIBLE_DEVICES")
LIBRARIES = ("torch", "numpy", "pandas", "pyarrow", "scikit-learn", "scipy", "safetensors")
CHUNK = 1 << 20
# Files of a folder of arrays (`data/arrays.py`): its content, and how it was made.
CHECKSUMS, MANIFEST = "checksums.json", "manifest.json"
SECONDS_OF_A_DAY = 86400
HOST = socket.gethostname().replace(".", "-")


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path (file or folder) that is renamed to `path` if the block succeeds.

    Raises:
        OSError: the system refuses to write; it names `path` and not the temporary path.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{HOST}.{os.getpid()}.partial")
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        if left == partial or is_abandoned(left):
            delete(left)
    try:
        yield partial
        if path.is_dir() and partial.is_dir():
            shutil.rmtree(path)  # a rename refuses a folder that is not empty
        partial.replace(path)
    except Exception as problem:
        of_this = partial.name in os.fsdecode(getattr(problem, "filename", None) or partial)
        if of_this and (number := system_error(problem)):
            raise OSError(number, os.strerror(number), os.fspath(path)) from problem
        raise
    finally:
        delete(partial)


def is_abandoned(partial: Path) -> bool:
    """Whether the process that was writing a partial file no longer exists.

    A process on another host that shares the folder cannot be checked: it counts as gone if the
    file is a day old.
    """
    host, pid = partial.name.split(".")[-3:-1]
    if host == HOST:
        return not psutil.pid_exists(int(pid))
    try:
        return time.time() - partial.stat().st_mtime > SECONDS_OF_A_DAY
    except FileNotFoundError:  # renamed or deleted since it was listed
        return False


def delete(path: Path) -> None:
    """Delete a file or a folder, if it exists."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """OSError where a file or folder of this name, old or new, could not be written."""
    folder = path
    while not folder.is_dir():
        folder = folder.parent
    if not os.access(folder, os.W_OK):
        read_only = os.statvfs(folder).f_flag & os.ST_RDONLY
        number = errno.EROFS if read_only else errno.EACCES
        raise OSError(number, os.strerror(number), os.fspath(path))


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically; floats keep all digits, paths become text, NaN is refused."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False, default=os.fspath) + "\n")


def sha256(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def fingerprints(paths: Iterable[Path]) -> dict[Path, str]:
    """Checksums of these files and folders of arrays (`fingerprint`)."""
    return {path: fingerprint(path) for path in paths}


def fingerprint(path: Path) -> str:
    """SHA-256 of a file; for a folder, that of the part `arrays` of its checksums.json."""
    if not path.is_dir():
        return sha256(path)
    arrays = json.loads((path / CHECKSUMS).read_text(encoding="utf-8"))["arrays"]
    return hashlib.sha256(json.dumps(arrays, sort_keys=True).encode()).hexdigest()


def record(
    path: Path,
    config: dict[str, Any],
    inputs: dict[Path, str] | None = None,
    beside: Iterable[Path] = (),
    **facts: Any,
) -> None:
    """Write `<path>.provenance.json`: the resolved config, code, libraries, hardware and time.

    `config` holds all settings of the command, its seed included; `inputs` the `fingerprints` of
    what it read; `beside` what else it wrote; `facts` further entries. Paths are relative to the
    artefact's folder, so that results can be moved as a whole.
    """

    def relative(checksums: dict[Path, str]) -> dict[str, str]:
        return {os.path.relpath(name, path.parent): checksums[name] for name in checksums}

    own = {"sha256": sha256(path)} if path.is_file() and "sha256" not in facts else {}
    write_json(
        provenance_path(path),
        {
            "artefact": path.name,
            "config": config,
            **own,
            "inputs": relative(inputs or {}),
            "beside": relative(fingerprints(beside)),
            **facts,
            **environment(),
        },
    )


def provenance_path(path: Path) -> Path:
    """Path of the provenance record of an artefact."""
    return path.with_name(path.name + ".provenance.json")


def provenance_of(path: Path) -> dict[str, Any]:
    """The provenance record of an artefact; empty where it has none.

    Raises:
        ValueError: the record is not a JSON object.
    """
    beside = provenance_path(path)
    if not beside.exists():
        return {}
    try:
        recorded = json.loads(beside.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{beside}: damaged ({error}). {again(path, {})}") from None
    if not isinstance(recorded, dict):
        raise ValueError(f"{beside}: not a JSON object. {again(path, {})}")
    return recorded


def check_recorded(path: Path) -> None:
    """ValueError, with how to make it again, where a file is not the one in its record.

    A file without a record, or with a record without a checksum, is accepted.
    """
    recorded = provenance_of(path)
    if "sha256" in recorded and recorded["sha256"] != sha256(path):
        what = "damaged: its checksum differs from its provenance record"
        raise ValueError(f"{path}: {what}. {again(path, recorded)}")


def again(path: Path, recorded: dict[str, Any]) -> str:
    """How to make an artefact again, by the command in its record or manifest."""
    call = f", or run: {shlex.join(recorded['command'])}" if "command" in recorded else ""
    return f"Delete {path} and run the workflow again{call}"


def environment() -> dict[str, Any]:
    """Command, versions of code and libraries, hardware, and seconds since this process started."""
    return {
        "command": [Path(sys.executable).name, *sys.orig_argv[1:]],
        "userbench": userbench.__version__,
        "git": git_state(),
        "code": loaded_code(),
        "python": platform.python_version(),
        "libraries": {name: installed(name) for name in LIBRARIES},
        "hardware": hardware(),
        **given_by_scheduler(),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "wall_seconds": round(seconds_since_start(), 3),
    }


def given_by_scheduler() -> dict[str, dict[str, str]]:
    """Slurm job and GPU of this process, as "job"; empty where no scheduler assigned any."""
    job = {name.lower(): os.environ[name] for name in OF_A_JOB if name in os.environ}
    return {"job": job} if job else {}


@cache
def git_state() -> dict[str, Any]:
    """Commit of the source tree and whether it was changed since; empty outside a checkout.

    The first answer counts for the whole process: the code that runs was loaded before it.
    """
    here = Path(__file__).parent

    def git(*words: str) -> str:
        run = subprocess.run(["git", "-C", here, *words], capture_output=True, text=True)
        return run.stdout.strip() if run.returncode == 0 else ""

    # Why: installed as a wheel inside somebody else's checkout, that commit would not be ours.
    if shutil.which("git") is None or not git("ls-files", Path(__file__).name):
        return {}
    return {
        "commit": git("rev-parse", "HEAD"),
        "changed": bool(git("status", "--porcelain", "--untracked-files=no")),
    }


def installed(name: str) -> str:
    """Version of an installed distribution, or an empty string."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def hardware() -> dict[str, Any]:
    """The machine this process runs on; its GPU, too, where torch is loaded and sees one."""
    torch = sys.modules.get("torch")
    gpu = torch is not None and torch.cuda.is_available()
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "system": platform.platform(),
        "processor": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpu": torch.cuda.get_device_name() if gpu else None,
        "threads": torch.get_num_threads() if torch is not None else None,
    }


def seconds_since_start() -> float:
    """Wall time since this process began, the start of Python and its imports included."""
    # Why not psutil: it knows the time of the boot in whole seconds, more than a short job takes.
    stat = Path("/proc/self/stat")
    if not stat.exists():  # not Linux
        return time.perf_counter()
    started_ticks = int(stat.read_text().rpartition(")")[2].split()[19])
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    # Why max: in a container, uptime may begin after the boot of the host, which ticks count from.
    return max(0.0, uptime - started_ticks / os.sysconf("SC_CLK_TCK"))
