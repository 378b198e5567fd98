"""The smoke workflow, killed again and again: it must end as one that nobody disturbed.

python tests/campaigns/chaos.py --kills 20 --seed 0 --out results/chaos

Runs three rows of workflow/config/smoke.yaml twice, each in a copy of its own, with trainings long
enough to be hit. One is left alone. The other meets SIGTERM and SIGKILL at moments drawn from the
seed: the whole workflow (its process group) or a single job, and is started again each time. At the
end all scores, checkpoints, predictions and tables must be the same bytes, and no state, lock or
temporary file may be left. Writes `<out>/chaos.csv`, a line per kill; the status is 0 if it held.

It is no test of pytest's: it takes minutes, and what it finds depends on the load of the machine.
"""

import argparse
import contextlib
import csv
import fcntl
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
COPIED = ("Snakefile", "environment.yml", "workflow", "profiles", "src")
# No method, one with a generator, one with neighbours, and `mlm`, where both start; the other rows
# of the smoke config differ from them by their loss.
ROWS = ["none", "ccl", "coserec"]
TARGET = "results/table2.csv"
MACHINE = ["--cores", "all", "--config", "save_every=0.2"]
# Files of two equal runs that need not be equal: they record when, where and how long.
OF_THE_MOMENT = ("logs", "benchmarks", "provenance", "manifest.json", ".lock")
SECONDS_BETWEEN_LOOKS = 0.1
STARTED = "\n-------- started\n"


@dataclass
class Kill:
    """A kill, and what became of the trainings that it hit."""

    number: int
    second: float
    killed: str
    signal: str
    running: str
    went_on: str = ""
    hit: dict[Path, float] = field(default_factory=dict, repr=False)
    """Logs of the trainings that were killed, and when those had been written last."""


def main() -> None:
    """Run both workflows, compare them, and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of what is killed, how and when")
    parser.add_argument("--corpora", nargs="+", default=["ttl", "app"], help="of the smoke config")
    parser.add_argument("--out", type=Path, default=ROOT / "results/chaos")
    args = parser.parse_args()
    args.out = args.out.resolve()  # the workflows run in folders of their own
    shutil.rmtree(args.out, ignore_errors=True)
    calm, killed = (
        copy_of_the_workflow(args.out / name, args.corpora) for name in ("calm", "killed")
    )

    began = time.monotonic()
    if (status := start(calm).wait()) != 0:
        sys.exit(f"error: undisturbed, the workflow ends with {status}. See {calm}/snakemake.log")
    print(f"undisturbed: {time.monotonic() - began:.0f} s", flush=True)
    began = time.monotonic()
    kills = chaos(killed, args.kills, random.Random(args.seed))
    print(f"with {len(kills)} kills: {time.monotonic() - began:.0f} s")
    write(kills, args.out / "chaos.csv")

    expected, found = results_of(calm), results_of(killed)
    wrong = sorted(path for path in expected | found if expected.get(path) != found.get(path))
    wrong += [f"{path} is left" for path in left_over(killed)]
    if len(kills) < args.kills:
        wrong.append(f"the workflow had ended after {len(kills)} of {args.kills} kills")
    for line in wrong:
        print(f"wrong: {line}")
    size = sum(map(len, expected.values()))
    print(f"{len(expected)} files of {size:,} bytes compared, {len(wrong)} wrong")
    sys.exit(1 if wrong else 0)


def copy_of_the_workflow(folder: Path, corpora: list[str]) -> Path:
    """A copy of the workflow with a config whose trainings last some seconds."""
    for name in COPIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        folder.mkdir(parents=True, exist_ok=True)
        copy(ROOT / name, folder / name)
    smoke = yaml.safe_load((ROOT / "workflow/config/smoke.yaml").read_text())
    for figure in (
        "frozen",
        "ablation",
        "combination",
        "similarity",
        "worlds",
        "labels",
        "fairness",
    ):
        del smoke[figure]
    smoke["runs"] = {name: smoke["runs"][name] for name in ("mlm", *ROWS)}
    smoke["table2"]["rows"] = ROWS
    smoke["corpora"] = {name: smoke["corpora"][name] for name in corpora}
    smoke["tasks"] = {n: task for n, task in smoke["tasks"].items() if task["corpus"] in corpora}
    smoke["pretrain"]["epochs"] = 60
    smoke["finetune"] = {"epochs": 8, "from_epochs": [30, 60]}
    (folder / "chaos.yaml").write_text(yaml.safe_dump(smoke, sort_keys=False))
    return folder


def start(folder: Path, *words: str) -> subprocess.Popen:
    """Snakemake in a process group of its own; its output is added to `snakemake.log`."""
    command = [Path(sys.executable).parent / "snakemake", *MACHINE, "--configfile", "chaos.yaml"]
    with (folder / "snakemake.log").open("a") as log:
        log.write(STARTED)
        log.flush()
        return subprocess.Popen(
            [*command, *(words or ["--", TARGET])],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(folder / "src"), "OMP_NUM_THREADS": "1"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def chaos(folder: Path, wanted: int, draw: random.Random) -> list[Kill]:
    """Kill and start again until the workflow has ended and nothing is left to kill."""
    kills: list[Kill] = []
    began = time.monotonic()
    while True:
        run = start(folder)
        while len(kills) < wanted and wait_for_moment(run, folder, draw, wanted - len(kills)):
            kill = Kill(len(kills) + 1, round(time.monotonic() - began, 1), "", "", "")
            if not strike(run, kill, draw):
                continue
            kills.append(kill)
            look_who_went_on(kills)
            print(f"kill {kill.number}: {kill.killed} by {kill.signal}", flush=True)
            if kill.killed == "workflow":
                break
        status = run.wait()
        wait_for_the_last_of(run.pid)
        look_who_went_on(kills)
        if status == 0:
            return kills
        if any((folder / ".snakemake/locks").glob("*")):
            start(folder, "--unlock").wait()


def wait_for_moment(
    run: subprocess.Popen, folder: Path, draw: random.Random, kills_left: int
) -> bool:
    """Wait for a moment to kill at; whether the workflow still runs then.

    One in five is soon after the start, whatever happens then. The others come after a share of the
    jobs left, two of five once a training has been started, two once one has just been saved.
    """
    kind = draw.choice(["early", "started", "started", "saved", "saved"])
    if kind == "early":
        return waits(run, draw.uniform(0.5, 6))
    before, share = progress(folder)[0], draw.random()
    while run.poll() is None:
        done, all_jobs = progress(folder)
        # Rounded down: the last kills, too, have to find something that trains.
        if done >= before + int(share * (all_jobs - before) / (2 * kills_left)):
            if kind == "started" and any(map(trains, jobs_of(run.pid).values())):
                return waits(run, draw.uniform(0, 6))
            if kind == "saved" and has_just_saved(folder):
                return waits(run, draw.uniform(0, 1))
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return False


def has_just_saved(folder: Path) -> bool:
    """Whether some training has saved its state in the last second."""
    for state in (folder / "results/smoke/states").glob("*/state.safetensors"):
        with contextlib.suppress(FileNotFoundError):  # its training has just ended
            if time.time() - state.stat().st_mtime < 1:
                return True
    return False


def waits(run: subprocess.Popen, seconds: float) -> bool:
    """Wait some seconds; whether the workflow still runs then."""
    try:
        run.wait(seconds)
    except subprocess.TimeoutExpired:
        return True
    return False


def progress(folder: Path) -> tuple[int, int]:
    """Jobs done and jobs in all of the workflow's last start, as Snakemake reports them."""
    output = (folder / "snakemake.log").read_text()
    output = output[output.rfind(STARTED) :]
    counted = re.findall(r"^(\d+) of (\d+) steps .* done", output, re.MULTILINE)
    whole = re.search(r"^total +(\d+)", output, re.MULTILINE)
    if counted:
        return int(counted[-1][0]), int(counted[-1][1])
    return 0, int(whole[1]) if whole else 0


def strike(run: subprocess.Popen, kill: Kill, draw: random.Random) -> bool:
    """Kill the workflow or one of its jobs; whether there was something to kill."""
    how = draw.choice([signal.SIGTERM, signal.SIGKILL])
    jobs = jobs_of(run.pid)
    trainings = {pid: name for pid, name in jobs.items() if trains(name)}
    hit = trainings
    kill.signal, kill.running = how.name, "; ".join(jobs.values())
    try:
        if jobs and draw.random() < 0.5:
            victim = draw.choice([*(trainings or jobs)])
            hit = {pid: name for pid, name in trainings.items() if pid == victim}
            kill.killed = jobs[victim]
            logs = {log_of(pid) for pid in hit}
            os.kill(victim, how)
        else:
            kill.killed = "workflow"
            logs = {log_of(pid) for pid in hit}
            os.killpg(run.pid, how)
    except ProcessLookupError:
        return False
    kill.hit = {log: time.time() for log in logs if log is not None}
    return True


def jobs_of(group: int) -> dict[int, str]:
    """What runs in a process group: the commands of this package by their process ids."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        pid = int(process.name)
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if os.getpgid(pid) != group or "-m" not in words or "python" not in words[0]:
                continue
        except OSError:  # it has just ended
            continue
        package, command, *_ = [*words[words.index("-m") + 1 :], "", ""]
        if package == "userbench":
            found[pid] = " ".join([command, *places(words)])
    return found


def places(words: list[str]) -> list[str]:
    """Run and corpus of a training, by the folder of its state."""
    if "--state" not in words:
        return []
    return Path(words[words.index("--state") + 1]).name.split(".")[1:3]


def trains(job: str) -> bool:
    """Whether a job is one that saves its state."""
    return job.startswith(("pretrain", "finetune"))


def log_of(pid: int) -> Path | None:
    """The file that a process writes to."""
    try:
        return Path(f"/proc/{pid}/fd/1").readlink()
    except OSError:
        return None


def wait_for_the_last_of(group: int) -> None:
    """Wait until no process of a group is left."""
    while True:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(SECONDS_BETWEEN_LOOKS)


def look_who_went_on(kills: list[Kill]) -> None:
    """Read from the logs of killed trainings, run again since, after which step they went on."""
    for kill in kills:
        for log, when in list(kill.hit.items()):
            if log.exists() and log.stat().st_mtime > when:
                resumed = re.findall(r"seed \d+ resumes after .*", log.read_text())
                if resumed:
                    del kill.hit[log]
                    kill.went_on += f"{log.parent.parent.name}: {', '.join(resumed)}; "


def results_of(folder: Path) -> dict[str, bytes]:
    """What a workflow has made, by path: all but what records when, where and how long."""
    files = [path for path in (folder / "results").rglob("*") if path.is_file()]
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in files
        if not any(word in str(path.relative_to(folder)) for word in OF_THE_MOMENT)
    }


def left_over(folder: Path) -> list[Path]:
    """States, locks, leases and temporary files."""
    patterns = ("**/states/*", "**/.*.partial", ".snakemake/locks/*", ".snakemake/incomplete/*")
    left = [path for pattern in (*patterns, "**/*.lease") for path in folder.glob(pattern)]
    return left + [path for path in folder.glob("results/*/.lock") if is_held(path)]


def is_held(path: Path) -> bool:
    """Whether some process has the file locked; that it is there says nothing."""
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def write(kills: list[Kill], path: Path) -> None:
    """The table of kills, as a file and for the eye."""
    names = [each.name for each in fields(Kill) if each.repr]
    rows = [
        {name: value for name, value in asdict(kill).items() if name in names} for kill in kills
    ]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
    for row in rows:
        print(" | ".join(str(value) for value in row.values()))


if __name__ == "__main__":
    main()
