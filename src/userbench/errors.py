"""Turns errors of the user and of the machine into one-line messages, and checks what users give.

An error of the user is a ValueError whose text names file and remedy. For what the machine refuses
(a full disk, a folder without write permission, a GPU without memory), the remedy is added here. A
command that hangs is ended after `USERBENCH_LIMIT_MINUTES`, its stack on stderr.
"""

import errno
import faulthandler
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
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
        where = "" if problem.filename is None else f"{os.fsdecode(problem.filename)}: "
        why = one_line(problem.strerror or str(problem))
        what = f"{where}{why[:1].lower()}{why[1:]}"
        return f"{what}. {REMEDIES[problem.errno]}" if problem.errno in REMEDIES else what
    if isinstance(problem, ValueError | OSError):
        return one_line(str(problem))
    return None


def one_line(text: str) -> str:
    """The text without line breaks."""
    return " ".join(text.split())


def system_error(problem: BaseException) -> int | None:
    """The number of the system's error behind an exception, if there is one.

    Some libraries hide it in their own words: safetensors raises no OSError.
    """
    if isinstance(problem, OSError):
        return problem.errno
    found = re.search(r"\(os error (\d+)\)", str(problem))
    return int(found[1]) if found else None


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
