"""Turns errors of the user and of the machine into one-line messages, and checks what users give.

An error of the user is a ValueError whose text names file and remedy. For what the machine refuses
(a full disk, a folder without write permission, a GPU without memory), the remedy is added here. A
command that hangs is ended after `USERBENCH_LIMIT_MINUTES`, its stack on stderr.
"""

import errno
import faulthandler
import os
import pwd
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from types import FrameType
from typing import Any

LIMIT = "USERBENCH_LIMIT_MINUTES"
# Why: an exception lets files be cleaned up, but comes only between two instructions of Python.
SECONDS_TO_CLEAN_UP = 30
AGAIN = "run the same command again"
NOT_ALLOWED = f"Name another folder, or get permission to write there, and {AGAIN}"
REMEDIES = {
    errno.ENOSPC: f"Free space and {AGAIN}",
    errno.EDQUOT: f"Free space within your quota and {AGAIN}",
    errno.EFBIG: f"Raise the limit on the size of files (ulimit -f) and {AGAIN}",
    errno.EROFS: NOT_ALLOWED,
    errno.EACCES: NOT_ALLOWED,
    errno.EPERM: NOT_ALLOWED,
    errno.ENOENT: "Check the name, or run first what writes it",
    errno.EIO: f"Check the disk (dmesg) and {AGAIN}",
}
ALLOWED_TO_READ = f"Get permission to read it, and {AGAIN}"
OF_READING = {
    errno.EACCES: ALLOWED_TO_READ,
    errno.EPERM: ALLOWED_TO_READ,
    errno.EIO: REMEDIES[errno.EIO],
    errno.ESTALE: f"Look whether its file system is mounted, and {AGAIN}",
}

# No refusal to read: an OSError without a number, and a seek to where a damaged file says.
OF_CONTENT = (None, errno.EINVAL)


class CannotWrite(OSError):
    """The system refuses to write a file; any other OSError counts as one of reading."""


class NotANumber(ValueError):
    """A loss, a weight or a score is infinite or NaN: its training has diverged."""


def command(main: Callable[..., None]) -> Callable[..., None]:
    """Turn the errors of a `main` into one line, `error: ...` on stderr, and status 1.

    Errors that are neither the user's nor the machine's are bugs, and keep their traceback.
    """

    @wraps(main)
    def with_messages(*args: Any, **kwargs: Any) -> None:
        try:
            with time_limit():
                main(*args, **kwargs)
        except Exception as problem:
            line = describe_error(problem)
            if line is None:
                raise
            sys.exit(f"error: {line}")

    return with_messages


def describe_error(problem: Exception) -> str | None:
    """An error of the user or of the machine in one line; None for a bug."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(problem, torch.OutOfMemoryError):
        what = ". ".join(str(problem).split(". ")[:2])
        remedy = "Lower batch_size or jobs_per_gpu, or set precision: bf16, in the config"
        return f"{one_line(what)}. {remedy}"
    if isinstance(problem, MemoryError):
        what = one_line(str(problem)) or "out of memory"
        return f"{what}. Lower batch_size, or run fewer jobs at once (--cores)"
    if isinstance(problem, OSError) and problem.errno is not None:
        return describe_refusal(problem)
    if isinstance(problem, ValueError | OSError):
        return one_line(str(problem))
    return None


def describe_refusal(problem: OSError) -> str:
    """What the system refuses, in one line: the file, why, and the remedy.

    Of a file that cannot be read it names the owner: the file need not be wrong.
    """
    where = "" if problem.filename is None else os.fsdecode(problem.filename)
    why = one_line(problem.strerror or str(problem))
    why = why[:1].lower() + why[1:]
    remedy = REMEDIES.get(problem.errno)
    if where and problem.errno in OF_READING and not isinstance(problem, CannotWrite):
        why = f"cannot be read ({why}; {owner_of(Path(where))})"
        remedy = OF_READING[problem.errno]
    what = f"{where}: {why}" if where else why
    return f"{what}. {remedy}" if remedy else what


def owner_of(path: Path) -> str:
    """Whose a file is; where that cannot be seen, whose the folder is that hides it."""
    for place in (path, *path.absolute().parents):
        try:
            user = place.stat().st_uid
        except OSError:
            continue
        try:
            name = pwd.getpwuid(user).pw_name
        except KeyError:  # of another machine
            name = f"user {user}"
        return f"it belongs to {name}" if place == path else f"{place} belongs to {name}"
    return "its owner is unknown"


def one_line(text: str) -> str:
    """The text without line breaks."""
    return " ".join(text.split())


def system_error(problem: BaseException) -> int | None:
    """The number of the system's error behind an exception, if there is one.

    Some libraries hide it in their own words: safetensors raises no OSError.
    """
    if isinstance(problem, OSError) and problem.errno is not None:
        return problem.errno
    found = re.search(r"\(os error (\d+)\)", str(problem))
    return int(found[1]) if found else None


def check_readable(path: Path, problem: BaseException | None = None) -> None:
    """OSError, naming the file, where the system refuses to read it: its content may be right.

    For readers that say "damaged" of what a library raises, the `problem`.
    """
    number = system_error(problem) if problem else None
    if number in OF_CONTENT:
        try:
            path.open("rb").close()  # safetensors says "no such file" of one that it may not open
        except OSError as refused:
            number = refused.errno
    if number not in OF_CONTENT:
        raise OSError(number, os.strerror(number), os.fspath(path)) from problem


@contextmanager
def time_limit() -> Iterator[None]:
    """End what is inside after `USERBENCH_LIMIT_MINUTES`, with a TimeoutError; unset, never.

    Where that cannot be raised, in code that does not return to Python, the process ends.
    """
    minutes = os.environ.get(LIMIT, "")
    if not minutes:
        yield
        return
    try:
        seconds = 60 * float(minutes)
    except ValueError:
        raise ValueError(f"{LIMIT}={minutes}: not a number of minutes") from None

    def stop(_: int, frame: FrameType | None) -> None:
        faulthandler.dump_traceback(sys.__stderr__)
        where = f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else "an unknown place"
        raise TimeoutError(
            f"not done after {minutes} minutes, at {where} (stack above). "
            f"If it was only slow, raise limit_minutes ({LIMIT}) and {AGAIN}"
        )

    before = signal.signal(signal.SIGALRM, stop)
    faulthandler.dump_traceback_later(seconds + SECONDS_TO_CLEAN_UP, exit=True, file=sys.__stderr__)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, before)
