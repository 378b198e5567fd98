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
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

import userbench
from userbench.errors import CannotWrite, check_readable, system_error
from userbench.results.code_version import git_state
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

    It is in a folder of its own, which is deleted with all that a library has left there.

    Raises:
        CannotWrite: the system refuses to write; it names `path` and not the temporary path.
    """
    workplace = path.with_name(f".{path.name}.{HOST}.{os.getpid()}.partial")
    partial = workplace / path.name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        delete_abandoned(path.parent, f".{path.name}", workplace)
        workplace.mkdir()
        yield partial
        give_usual_mode(partial, workplace.stat().st_mode)
        if path.is_dir() and partial.is_dir():
            shutil.rmtree(path)  # a rename refuses a folder that is not empty
        partial.replace(path)
    except Exception as problem:
        place = os.fsdecode(getattr(problem, "filename", None) or partial)
        of_this = workplace.name in place or place == os.fspath(path.parent)
        if of_this and (number := system_error(problem)):
            raise CannotWrite(number, os.strerror(number), os.fspath(path)) from problem
        raise
    finally:
        with suppress(OSError):  # the next writer deletes it
            delete(workplace)


def give_usual_mode(path: Path, usual: int) -> None:
    """Give a file or a folder, with all in it, at least the permissions that any new one gets.

    Some libraries write files that only their owner may read. `usual` is the mode of a folder that
    was made here: the umask is in it, and default access control lists are.
    """
    for each in (path, *path.rglob("*")):
        has = stat.S_IMODE(each.stat().st_mode)
        usually = usual & (0o777 if each.is_dir() else 0o666)
        if usually & ~has:
            with suppress(OSError):  # not every file system has modes
                each.chmod(has | usually)


def delete_abandoned(folder: Path, name: str, own: Path) -> None:
    """Delete what killed writers of `<name>.<host>.<process>.partial` left, and `own`, if there."""
    for left in folder.glob(f"{glob.escape(name)}.*.partial"):
        if left == own or is_abandoned(left):
            with suppress(OSError):  # another writer deletes it, too, or only its owner may
                delete(left)


def is_abandoned(partial: Path) -> bool:
    """Whether the process that was writing a partial file no longer exists.

    A process on another host that shares the folder cannot be checked: it counts as gone if nothing
    was written for a day.
    """
    host, pid = partial.name.split(".")[-3:-1]
    if host == HOST:
        return not psutil.pid_exists(int(pid))
    try:
        written = max(path.stat().st_mtime for path in (partial, *partial.rglob("*")))
    except FileNotFoundError:  # renamed or deleted since it was listed
        return False
    return time.time() - written > SECONDS_OF_A_DAY


def delete(path: Path) -> None:
    """Delete a file or a folder, if it exists."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """CannotWrite where a file or folder of this name, old or new, could not be written."""
    folder = path
    try:
        while not folder.is_dir():
            folder = folder.parent
    except OSError as problem:  # a folder above it may not be searched
        raise CannotWrite(problem.errno, problem.strerror, os.fspath(path)) from None
    if not os.access(folder, os.W_OK):
        read_only = os.statvfs(folder).f_flag & os.ST_RDONLY
        number = errno.EROFS if read_only else errno.EACCES
        raise CannotWrite(number, os.strerror(number), os.fspath(path))


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically; floats keep all digits, paths become text, NaN is refused."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False, default=os.fspath) + "\n")


def read_bytes(path: Path) -> bytes:
    """The content of a file; OSError, naming it, where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as problem:
        check_readable(path, problem)
        raise


def sha256(path: Path) -> str:
    """SHA-256 of a file, read in pieces; OSError, naming it, where it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    except OSError as problem:
        check_readable(path, problem)
        raise
    return digest.hexdigest()


def fingerprints(paths: Iterable[Path]) -> dict[Path, str]:
    """Checksums of these files and folders of arrays (`fingerprint`)."""
    return {path: fingerprint(path) for path in paths}


def fingerprint(path: Path) -> str:
    """SHA-256 of a file; for a folder, that of the part `arrays` of its checksums.json."""
    if not path.is_dir():
        return sha256(path)
    arrays = json.loads(read_bytes(path / CHECKSUMS))["arrays"]
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
        recorded = json.loads(read_bytes(beside))
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


def installed(name: str) -> str:
    """Version of an installed distribution, or an empty string."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def hardware() -> dict[str, Any]:
    """The machine this process runs on; its GPU, too, where torch is loaded and sees one."""
    torch = sys.modules.get("torch")
    return {
        "system": platform.platform(),
        "processor": answer(processor),
        "cores": os.cpu_count(),
        "memory_gib": answer(lambda: round(psutil.virtual_memory().total / 2**30, 1)),
        "gpu": answer(lambda: gpu_name(torch)) if torch is not None else None,
        "threads": torch.get_num_threads() if torch is not None else None,
    }


def answer(ask: Callable[[], Any]) -> Any:
    """What a question about the machine returns, or why it has no answer.

    A record is written after hours of work: no such question may end its command.
    """
    try:
        return ask()
    except (OSError, RuntimeError, ValueError, psutil.Error) as problem:
        return f"unknown ({' '.join(str(problem).split()) or type(problem).__name__})"


def processor() -> str:
    """The model of the processor."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()


def gpu_name(torch: Any) -> str | None:
    """The name of the GPU that torch sees, or None."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def seconds_since_start() -> float:
    """Wall time since this process began, the start of Python and its imports included."""
    # Why not psutil: it knows the time of the boot in whole seconds, more than a short job takes.
    try:
        started_ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        uptime = float(Path("/proc/uptime").read_text().split()[0])
    except OSError:  # not Linux, or hidden
        return time.perf_counter()
    # Why max: in a container, uptime may begin after the boot of the host, which ticks count from.
    return max(0.0, uptime - started_ticks / os.sysconf("SC_CLK_TCK"))
