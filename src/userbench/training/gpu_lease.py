"""A GPU of this machine for one process: a lease on one of its places, so that no two share it.

A place is a file that the process locks; the kernel unlocks it when the process ends, however that
happens, so no lease is ever left behind. Leases are known to the processes of one user on one
machine; what other users do, a lease cannot see. Under Slurm, Slurm has already given the GPU.
"""

import fcntl
import logging
import os
import stat
import time
from pathlib import Path
from typing import TextIO

log = logging.getLogger("userbench")

VISIBLE = "CUDA_VISIBLE_DEVICES"
PER_GPU = "USERBENCH_JOBS_PER_GPU"
SECONDS_BETWEEN_LOOKS = 0.5
# The file of the lease of this process, which must stay open.
held: list[TextIO] = []


def lease_gpu(name: str, count: int) -> None:
    """Make one free GPU the only one that this process sees, before it starts to use CUDA.

    `name` is what the user calls the device, `count` how many GPUs there are. Nothing is done where
    the device is no GPU or has a number, or where Slurm or an earlier call has decided. Waits for a
    place if need be; there are as many on a GPU as the variable USERBENCH_JOBS_PER_GPU says.
    """
    given = "SLURM_JOB_ID" in os.environ and VISIBLE in os.environ
    if count == 0 or name not in ("auto", "cuda") or given or held:
        return
    visible = os.environ.get(VISIBLE)
    devices = [name.strip() for name in visible.split(",")] if visible else range(count)
    devices = [str(device) for device in devices][:count]
    device, place = wait_for_place(devices, int(os.environ.get(PER_GPU, "1")), folder())
    held.append(place)
    os.environ[VISIBLE] = device


def wait_for_place(devices: list[str], per_gpu: int, where: Path) -> tuple[str, TextIO]:
    """Lock a place on a device, the emptiest first; the file must be kept open for as long."""
    told = False
    while True:
        # Why by place: the second on a GPU is taken when the first of every GPU is.
        for number in range(per_gpu):
            for device in devices:
                place = lock(where / f"gpu-{device.replace('/', '-')}-{number}")
                if place is not None:
                    return device, place
        if not told:
            log.info(
                "GPU %s: all %d places are taken; waiting for one (folder %s)",
                ", ".join(devices),
                per_gpu * len(devices),
                where,
            )
            told = True
        time.sleep(SECONDS_BETWEEN_LOOKS)


def lock(path: Path) -> TextIO | None:
    """The file, locked and open, or None where another process has it."""
    file = path.open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    # For whoever asks who has it; and so that a folder that is tidied up keeps the file.
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def folder() -> Path:
    """Where the leases of this user on this machine are.

    ValueError where someone else has made it. Not TMPDIR, which differs between jobs.
    """
    path = Path(f"/tmp/userbench-{os.getuid()}")
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise ValueError(
            f"{path}: is not a folder of yours. Have it removed, or use --device cuda:0"
        )
    return path
