"""Locks on files: the kernel releases one when its process ends, even if it is killed."""

import errno
import os
from pathlib import Path

from filelock import FileLock, Timeout

from userbench.errors import CannotWrite

# What shared file systems without locks answer.
ABSENT = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


class NoLocks(OSError):
    """The file system has no locks: whoever asks for one goes on without, and says so."""


def try_lock(path: Path, owner: str) -> FileLock | None:
    """Lock a file and write its owner into it; None where another process holds the lock.

    Raises:
        NoLocks: the file system has none.
        CannotWrite: the file cannot be opened or written, or is a symbolic link.
    """

    def write_owner(descriptor: int) -> None:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{owner}\n".encode())

    lock = FileLock(path, blocking=False, on_acquired=write_owner)
    try:
        lock.acquire()
    except Timeout:
        return None
    except OSError as problem:
        kind = NoLocks if problem.errno in ABSENT else CannotWrite
        raise kind(problem.errno, os.strerror(problem.errno), os.fspath(path)) from problem
    return lock
