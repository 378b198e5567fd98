# One workflow at a time works in the folder of an experiment.
# Why beside Snakemake's locks: these go as soon as any workflow of this directory ends, whosever they
# are. This one is the system's, and is free once its process is gone, however it went.
import fcntl
import socket

HELD = []


onstart:
    Path(OUT).mkdir(parents=True, exist_ok=True)
    lock = Path(OUT, ".lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        raise WorkflowError(
            f"Another workflow works in {OUT} ({lock.read().strip()}). Wait until it has ended"
        )
    lock.truncate(0)
    lock.write(f"process {os.getpid()} on {socket.gethostname()}\n")
    lock.flush()
    HELD.append(lock)
