"""How a workflow starts in a folder of results, and how it ends.

One at a time works there, none of its files is of the future, and a lost connection ends it in
order.
"""

import logging
import os
import signal
import socket
import threading
import time
from pathlib import Path

from filelock import FileLock

from userbench.locks import NoLocks, try_lock

log = logging.getLogger("userbench")

# Why: clocks of the machines of one file system differ.
MINUTES_OF_SKEW = 10


def claim(folder: Path) -> FileLock | None:
    """Lock a folder of results for as long as the lock that is returned exists.

    Why beside Snakemake's locks: any workflow of this directory removes all of them when it ends.
    The kernel releases this one when its process ends, even if it is killed. A file system without
    locks is a warning.

    Raises:
        ValueError: another workflow works there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ".lock"
    try:
        lock = try_lock(path, f"process {os.getpid()} on {socket.gethostname()}")
    except NoLocks as problem:
        message = "%s: its file system has no locks (%s). A second workflow there is not refused: "
        message += "start one at a time"
        log.warning(message, folder, problem.strerror)
        return None
    if lock is None:
        owner = path.read_text(encoding="utf-8").strip()
        raise ValueError(f"Another workflow works in {folder} ({owner}). Wait until it has ended")
    return lock


def end_on_hang_up() -> None:
    """Make SIGHUP act as SIGTERM, on which Snakemake waits for its jobs and removes its locks.

    Not where it is ignored (nohup).
    """
    main = threading.current_thread() is threading.main_thread()  # no other may set it
    if main and signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))


def check_times(folder: Path) -> None:
    """ValueError where the time of a file is in the future: until then no edit reruns its job."""
    latest = time.time() + 60 * MINUTES_OF_SKEW
    for path in (Path(at, name) for at, _, names in os.walk(folder) for name in names):
        try:
            made = path.lstat().st_mtime
        except FileNotFoundError:  # deleted since it was listed, by a workflow that runs here
            continue
        if made > latest:
            then = time.strftime("%Y-%m-%d %H:%M", time.localtime(made))
            now = f"touch -d @{time.time():.0f}"
            raise ValueError(
                f"{path}: is of {then}, by a clock that was ahead; no edit before then would make "
                f"it again. Set the clock, or run: find {folder} -newermt now -exec {now} {{}} +"
            )
