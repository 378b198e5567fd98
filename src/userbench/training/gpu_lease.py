"""A lease on a GPU of this machine: training processes share the GPUs without sharing one.

A GPU has a number of slots. A slot is a file that one process locks; the kernel releases the lock
when the process ends, even if it is killed. Leases work between the processes of one user on one
machine; they do not see what other users run. Under Slurm, Slurm assigns the GPU.
"""

import logging
import os
import stat
import time
from pathlib import Path

from filelock import FileLock

from userbench.locks import NoLocks, try_lock

log = logging.getLogger("userbench")

VISIBLE = "CUDA_VISIBLE_DEVICES"
PER_GPU = "USERBENCH_JOBS_PER_GPU"
SECONDS_BETWEEN_TRIES = 0.5
# The lease of this process, held until it ends.
held: list[FileLock] = []


def lease_gpu(name: str, count: int) -> None:
    """Make one free GPU the only one that this process sees, before it starts to use CUDA.

    `name` is the device of the command line, `count` the number of GPUs. Does nothing where the
    device is not a GPU or has a number, or where Slurm or an earlier call has decided. Waits for a
    free slot; a GPU has as many as the variable USERBENCH_JOBS_PER_GPU says, by default one. A file
    system without locks is a warning: torch takes the first GPU then.
    """
    assigned = "SLURM_JOB_ID" in os.environ and VISIBLE in os.environ
    if count == 0 or name not in ("auto", "cuda") or assigned or held:
        return
    visible = os.environ.get(VISIBLE)
    devices = [name.strip() for name in visible.split(",")] if visible else range(count)
    devices = [str(device) for device in devices][:count]
    try:
        device, slot = wait_for_slot(devices, jobs_per_gpu(), folder())
    except NoLocks as problem:
        message = (
            "%s: its file system has no locks (%s). Trainings are not kept from sharing a GPU: "
        )
        message += "run one at a time, or name one for each (--device cuda:0)"
        log.warning(message, problem.filename, problem.strerror)
        return
    held.append(slot)
    os.environ[VISIBLE] = device


def jobs_per_gpu() -> int:
    """How many trainings share a GPU."""
    return int(os.environ.get(PER_GPU, "1"))


def wait_for_slot(devices: list[str], per_gpu: int, where: Path) -> tuple[str, FileLock]:
    """Lock a slot of the device with the most free ones; returns the device and the lock."""
    logged = False
    while True:
        # Why by slot: a GPU gets its second process only when every GPU has its first.
        for number in range(per_gpu):
            for device in devices:
                # Why the owner: for users who look there, and so that cleaners of /tmp see a
                # recent file.
                slot = try_lock(
                    where / f"gpu-{device.replace('/', '-')}-{number}", str(os.getpid())
                )
                if slot is not None:
                    return device, slot
        if not logged:
            log.info(
                "GPU %s: all %d slots are in use; waiting for one (folder %s)",
                ", ".join(devices),
                per_gpu * len(devices),
                where,
            )
            logged = True
        time.sleep(SECONDS_BETWEEN_TRIES)


def folder() -> Path:
    """The folder of this user's leases on this machine; not in TMPDIR, which differs between jobs.

    Raises:
        ValueError: another user made it.
    """
    path = Path(f"/tmp/userbench-{os.getuid()}")
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise ValueError(
            f"{path}: is not a folder of yours. Have it removed, or use --device cuda:0"
        )
    return path
