"""A Slurm cluster of one node with two GPUs that are not there, in a temporary folder on loopback.

It needs Debian's packages (`install`) and root, but no systemd, no cgroups and no accounting. A GPU
is a device node, which nothing opens: Slurm hands it out and sets CUDA_VISIBLE_DEVICES. Python, and
no container or setup action, so that one command does the same here, in CI and on a laptop.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = {
    "munged": "munge",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "sbatch": "slurm-client",
}
GPUS = 2
SECONDS_TO_START = 60
SECONDS_TO_STOP = 20
# Slurm as root without cgroups or systemd; `config_overrides` lets few cores pose as many.
CONF = """
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=2,batch_sched_delay=0
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
MinJobAge=3600
KillWait=20
SlurmdParameters=config_overrides
GresTypes=gpu,shard
NodeName=localhost NodeAddr=127.0.0.1 CPUs=16 RealMemory=64000 Gres=gpu:{gpus},shard:8 State=UNKNOWN
PartitionName=gpu Nodes=localhost Default=YES MaxTime=INFINITE State=UP
"""
GRES = """
AutoDetect=off
NodeName=localhost Name=gpu File={folder}/gpu[0-{last}]
NodeName=localhost Name=shard Count=8
"""


def missing() -> list[str]:
    """Debian packages of the programs that are not installed."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    return [
        package for program, package in PROGRAMS.items() if not shutil.which(program, path=path)
    ]


def install(packages: list[str]) -> str:
    """Install the packages; why that cannot be done here, or an empty string."""
    if os.geteuid() != 0:
        return "not root"
    if not packages:
        return ""
    if shutil.which("apt-get") is None:
        return f"no apt-get to install {' '.join(packages)} with"
    # Why the run level: their services would start, and outlive the test.
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    words = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    done = subprocess.run(words, env=quiet, capture_output=True, text=True)
    if done.returncode != 0:  # its list of packages may be old, or not there at all
        subprocess.run(["apt-get", "update"], env=quiet, capture_output=True)
        done = subprocess.run(words, env=quiet, capture_output=True, text=True)
    if done.returncode != 0:
        reason = (done.stderr.strip() or "it says nothing").splitlines()[-1]
        return f"apt-get cannot install {' '.join(packages)}: {reason}"
    return ""


@contextmanager
def cluster() -> Iterator[dict[str, str]]:
    """Start the cluster; give the environment in which its commands find it; stop all of it.

    RuntimeError where a daemon does not start, with the end of its log.
    """
    folder = Path(tempfile.mkdtemp(prefix="slurm-test-"))
    folder.chmod(0o755)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("SLURM_")},
        "SLURM_CONF": str(folder / "slurm.conf"),
        "PATH": f"{folder}/bin:{os.environ['PATH']}:/usr/sbin:/sbin",
    }
    daemons: list[subprocess.Popen] = []
    try:
        write_configuration(folder)
        for name, words in commands(folder).items():
            with (folder / f"{name}.out").open("w") as log:
                # Why a session of its own: Ctrl-C must reach this process alone, which stops them.
                daemon = subprocess.Popen(
                    words, env=environment, stdout=log, stderr=log, start_new_session=True
                )
            daemons.append(daemon)
            wait_for(folder, daemon, name, environment)
        yield environment
    finally:
        stop(daemons, environment)
        shutil.rmtree(folder)


def write_configuration(folder: Path) -> None:
    """The files of the daemons, and the device nodes: those of /dev/null and /dev/zero."""
    for name in ("munge", "state", "spool", "bin"):
        (folder / name).mkdir(mode=0o755)
    key = folder / "munge/key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(128))
    for number in range(GPUS):
        os.mknod(folder / f"gpu{number}", 0o600 | 0o020000, os.makedev(1, 3 + 2 * number))
    facts = {"folder": folder, "gpus": GPUS, "last": GPUS - 1}
    ports = dict(zip(("controller_port", "node_port"), free_ports(2), strict=True))
    (folder / "slurm.conf").write_text(CONF.format(**facts, **ports))
    (folder / "gres.conf").write_text(GRES.format(**facts))
    # Why: inside a job the executor plugin calls srun without SLURM_CONF, as on a cluster that has
    # its configuration in /etc.
    srun = folder / "bin/srun"
    srun.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {shutil.which("srun")} "$@"\n')
    srun.chmod(0o755)


def free_ports(count: int) -> list[int]:
    """Ports on loopback that nobody listens to."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def commands(folder: Path) -> dict[str, list[str]]:
    """The daemons in the order in which they start, in the foreground."""
    munge = folder / "munge"
    files = {
        "socket": munge / "socket",
        "key-file": munge / "key",
        "pid-file": munge / "pid",
        "log-file": munge / "log",
        "seed-file": munge / "seed",
    }
    given = [f"--{name}={path}" for name, path in files.items()]
    return {
        "munged": ["munged", "--foreground", "--force", *given],
        "slurmctld": ["slurmctld", "-D", "-f", str(folder / "slurm.conf")],
        "slurmd": ["slurmd", "-D", "-N", "localhost", "-f", str(folder / "slurm.conf")],
    }


def wait_for(
    folder: Path, daemon: subprocess.Popen, name: str, environment: dict[str, str]
) -> None:
    """Wait until a daemon serves."""
    ask = ["sinfo", "--noheader", "--format=%T"]
    ready = {
        "munged": lambda: (folder / "munge/socket").exists(),
        "slurmctld": lambda: output(["scontrol", "ping"], environment).count("UP"),
        "slurmd": lambda: output(ask, environment).strip() == "idle",
    }
    deadline = time.monotonic() + SECONDS_TO_START
    while not ready[name]():
        if daemon.poll() is not None or time.monotonic() > deadline:
            logs = [folder / f"{name}.out", folder / f"{name}.log"]
            logged = "\n".join(log.read_text()[-2000:] for log in logs if log.exists())
            raise RuntimeError(f"{name} does not start:\n{logged}")
        time.sleep(0.2)


def output(words: list[str], environment: dict[str, str]) -> str:
    """What a command prints."""
    return subprocess.run(words, env=environment, capture_output=True, text=True).stdout


def stop(daemons: list[subprocess.Popen], environment: dict[str, str]) -> None:
    """Cancel all jobs, end the daemons, last first, and what was left of the jobs."""
    if len(daemons) == len(PROGRAMS) - 1:
        subprocess.run(["scancel", "--full", "--partition=gpu"], env=environment)
        deadline = time.monotonic() + SECONDS_TO_STOP
        while output(["squeue", "--noheader"], environment) and time.monotonic() < deadline:
            time.sleep(0.5)
    for daemon in reversed(daemons):
        daemon.terminate()
        try:
            daemon.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
    for process in left_of(environment):
        os.kill(process, signal.SIGKILL)


def left_of(environment: dict[str, str]) -> list[int]:
    """Processes that know the configuration of this cluster, but for this one and its parents."""
    mark = f"SLURM_CONF={environment['SLURM_CONF']}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
        except OSError:
            continue  # it has ended meanwhile
    return found
