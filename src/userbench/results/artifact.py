"""What every file we make has in common: written whole or not at all, and traceable.

An artefact is written beside its final name and renamed, so a reader never sees half of it.
`record` leaves `<name>.provenance.json` beside it: what made it, from what, where and in what time,
with checksums of all of it: `check_recorded` compares, and `userbench audit` follows them from a
table to the raw data.
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

import userbench
from userbench.errors import system_error

# Not of the hardware: jobs that differ in them alone ran in the same environment.
OF_A_JOB = ("SLURM_JOB_ID", "CUDA_VISIBLE_DEVICES")
LIBRARIES = ("torch", "numpy", "pandas", "pyarrow", "scikit-learn", "scipy", "safetensors")
CHUNK = 1 << 20
# In a folder of arrays: what they are, and how they were made (`data/arrays.py`).
CHECKSUMS, MANIFEST = "checksums.json", "manifest.json"
SECONDS_OF_A_DAY = 86400
HOST = socket.gethostname().replace(".", "-")


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a temporary path (file or folder) that becomes `path` when the block ends well.

    Raises OSError, naming `path` and not the temporary one, where the system refuses to write it.
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
    """Whether whoever was writing a partial file was killed.

    Of a process on another host (a shared folder) that cannot be asked: it was, if the file is a
    day old.
    """
    host, pid = partial.name.split(".")[-3:-1]
    try:
        if host != HOST:
            return time.time() - partial.stat().st_mtime > SECONDS_OF_A_DAY
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:  # it has just gone; or the process is another user's
        return False
    return False


def delete(path: Path) -> None:
    """Delete a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """OSError where a file or folder of this name, there already or not, could not be written."""
    folder = path
    while not folder.is_dir():
        folder = folder.parent
    if not os.access(folder, os.W_OK):
        read_only = os.statvfs(folder).f_flag & os.ST_RDONLY
        number = errno.EROFS if read_only else errno.EACCES
        raise OSError(number, os.strerror(number), os.fspath(path))


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with atomic(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write JSON whole or not at all; floats keep all digits, paths are text, NaN is refused."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False, default=os.fspath) + "\n")


def sha256(path: Path) -> str:
    """Checksum of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def fingerprints(paths: Iterable[Path]) -> dict[Path, str]:
    """Checksum of the content of each of these files, and folders of arrays (`fingerprint`)."""
    return {path: fingerprint(path) for path in paths}


def fingerprint(path: Path) -> str:
    """Checksum of a file; of a folder, that of what its checksums.json says of its arrays."""
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

    `config` is everything the command was asked to do, its seed included; `inputs` what it read, by
    `fingerprints`; `beside` what else it wrote; `facts` what it found. Paths are kept as seen from
    the artefact's folder, so that results may be moved as a whole.
    """

    def as_seen(checksums: dict[Path, str]) -> dict[str, str]:
        return {os.path.relpath(name, path.parent): checksums[name] for name in checksums}

    own = {"sha256": sha256(path)} if path.is_file() and "sha256" not in facts else {}
    write_json(
        provenance_path(path),
        {
            "artefact": path.name,
            "config": config,
            **own,
            "inputs": as_seen(inputs or {}),
            "beside": as_seen(fingerprints(beside)),
            **facts,
            **environment(),
        },
    )


def provenance_path(path: Path) -> Path:
    """Where the provenance record of an artefact lies."""
    return path.with_name(path.name + ".provenance.json")


def provenance_of(path: Path) -> dict[str, Any]:
    """The provenance record of an artefact; empty where it has none.

    Raises ValueError, naming it, where it is not a JSON object.
    """
    beside = provenance_path(path)
    if not beside.exists():
        return {}
    try:
        told = json.loads(beside.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{beside}: damaged ({error}). {again(path, {})}") from None
    if not isinstance(told, dict):
        raise ValueError(f"{beside}: not a JSON object. {again(path, {})}")
    return told


def check_recorded(path: Path) -> None:
    """ValueError, with how to make it again, where a file is not the one its record speaks of.

    A file without a record, or of a record without a checksum, is let through.
    """
    told = provenance_of(path)
    if "sha256" in told and told["sha256"] != sha256(path):
        what = "damaged: its checksum differs from its provenance record"
        raise ValueError(f"{path}: {what}. {again(path, told)}")


def again(path: Path, told: dict[str, Any]) -> str:
    """How to make an artefact again: what `told`, its record or manifest, says made it."""
    call = f", or run: {shlex.join(told['command'])}" if "command" in told else ""
    return f"Delete {path} and run the workflow again{call}"


def environment() -> dict[str, Any]:
    """Command, code and library versions, hardware, and seconds since this process started."""
    return {
        "command": [Path(sys.executable).name, *sys.orig_argv[1:]],
        "userbench": userbench.__version__,
        "git": git_state(),
        "python": platform.python_version(),
        "libraries": {name: installed(name) for name in LIBRARIES},
        "hardware": hardware(),
        **given_by_scheduler(),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "wall_seconds": round(seconds_since_start(), 3),
    }


def given_by_scheduler() -> dict[str, dict[str, str]]:
    """Slurm job and GPU of this process, as "job"; empty where nobody gave it any."""
    job = {name.lower(): os.environ[name] for name in OF_A_JOB if name in os.environ}
    return {"job": job} if job else {}


@cache
def git_state() -> dict[str, Any]:
    """Commit of the source tree and whether it was changed since; empty outside a checkout.

    As it was when this process first asked: what runs was loaded before.
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
    """The machine this process runs on; its GPU too, where torch is loaded and sees one."""
    torch = sys.modules.get("torch")
    gpu = torch is not None and torch.cuda.is_available()
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "system": platform.platform(),
        "processor": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(pages / 2**30, 1),
        "gpu": torch.cuda.get_device_name() if gpu else None,
        "threads": torch.get_num_threads() if torch is not None else None,
    }


def seconds_since_start() -> float:
    """Wall time since this process began, the start of Python and its imports included."""
    stat = Path("/proc/self/stat")
    if not stat.exists():  # not Linux
        return time.perf_counter()
    started_ticks = int(stat.read_text().rpartition(")")[2].split()[19])
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    # Why max: in a container uptime may begin after the start of the host, which ticks count from.
    return max(0.0, uptime - started_ticks / os.sysconf("SC_CLK_TCK"))
