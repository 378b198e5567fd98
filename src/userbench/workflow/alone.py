"""One workflow at a time works in a folder of results, and none of its files is of the future."""

import fcntl
import os
import socket
import time
from pathlib import Path
from typing import TextIO

# Why: clocks of the machines of one file system differ.
MINUTES_OF_SKEW = 10


def claim(folder: Path) -> TextIO:
    """Lock a folder of results for as long as the file that is returned is open.

    Why beside Snakemake's locks: these go as soon as any workflow of this directory ends, whosever
    they are. This one is the system's, and is free once its process is gone, however it went.

    Raises:
        ValueError: another workflow works there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = (folder / ".lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        owner = lock.read().strip()
        lock.close()
        raise ValueError(
            f"Another workflow works in {folder} ({owner}). Wait until it has ended"
        ) from None
    lock.truncate(0)
    lock.write(f"process {os.getpid()} on {socket.gethostname()}\n")
    lock.flush()
    return lock


def check_times(folder: Path) -> None:
    """ValueError where a file was made in the future, by a clock that has gone back since.

    Edits would not be seen before that time.
    """
    soonest = time.time() + 60 * MINUTES_OF_SKEW
    for path in (Path(at, name) for at, _, names in os.walk(folder) for name in names):
        try:
            made = path.lstat().st_mtime
        except FileNotFoundError:  # deleted meanwhile, by a workflow that runs in this folder
            continue
        if made > soonest:
            then = time.strftime("%Y-%m-%d %H:%M", time.localtime(made))
            now = f"touch -d @{time.time():.0f}"
            raise ValueError(
                f"{path}: is of {then}, by a clock that was ahead; no edit before then would make "
                f"it again. Set the clock, or run: find {folder} -newermt now -exec {now} {{}} +"
            )
