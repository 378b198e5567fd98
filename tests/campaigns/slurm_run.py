"""`make slurm-test`: the workflow on a real Slurm, one job of it killed, everything stopped again.

A cluster of one node with two GPUs that are not there (`slurm_cluster.py`) runs a smoke experiment
through profiles/slurm, on the CPU but with a GPU asked for. Checked: that every training ran under
Slurm with the GPU it had asked for, two at once on different ones; that a job that was cancelled is
run again, from where it stood. Nothing is written but results/slurm-test/summary.json.
"""

import argparse
import csv
import importlib.util
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from datetime import datetime
from itertools import combinations
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import yaml
from slurm_cluster import cluster, install, left_of, missing, output

ROOT = Path(__file__).parents[2]
SUMMARY = ROOT / "results/slurm-test/summary.json"
PLUGIN = "snakemake_executor_plugin_slurm"
# A part of the smoke experiment: what runs first, side by side, and what starts from it.
PART = {
    "corpora": ["ttl"],
    "tasks": ["age", "click"],
    "runs": ["none", "mlm", "ptum", "adaptssr"],
}
VICTIM = "ptum"  # small batches, so that there is time to kill it
# In the log of a training that resumes from a saved state.
RESUMED = "resumes after"
# On a cluster of one idle node nothing is gained by asking seldom.
QUICK = ["--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "5"]
SMALL_SHARE = 0.05


class Job(NamedTuple):
    """A job as Slurm reports it; times in seconds."""

    number: str
    what: str
    state: str
    gpu: bool
    submitted: float
    started: float
    ended: float

    @property
    def trains(self) -> bool:
        """Whether it is a training, which asks for a GPU."""
        return self.what.startswith(("pretrain", "finetune"))


class Kill(NamedTuple):
    """What became of the job that was cancelled."""

    number: str
    what: str
    log: Path


def main() -> None:
    """Run the test; the exit status is 0 where it passed or may not run here."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--whole", action="store_true", help="the whole smoke experiment")
    whole = parser.parse_args().whole
    why_not = install(missing())
    if why_not:
        print(f"skipped: make slurm-test needs Debian's Slurm and root: {why_not}")
        return
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, lambda *_: sys.exit("stopped; so is the cluster"))
    with tempfile.TemporaryDirectory(prefix="slurm-test-") as made:
        folder = Path(made)
        why_not = install_plugin(folder / "plugin")
        if why_not:
            print(f"skipped: make slurm-test needs the plugin: {why_not}")
            return
        copy_workflow(folder)
        experiment(folder, whole)
        with cluster() as environment:
            environment["PYTHONPATH"] = f"{folder / 'src'}:{folder / 'plugin'}"
            environment["OMP_NUM_THREADS"] = "1"
            began = time.time()
            status, kill = run(folder, environment)
            seconds = time.time() - began
            jobs = jobs_of(environment)
        left = left_of(environment)
        found, wrong = summary(folder, jobs, kill)
        if status == 0:
            found |= cost(folder, jobs, seconds)
        else:
            last_lines = (folder / "snakemake.log").read_text(encoding="utf-8").splitlines()[-40:]
            wrong.append("\n".join([f"snakemake ended with {status}:", *last_lines]))
    if left:
        wrong.append(f"processes were left: {left}")
    found["failures"] = wrong
    SUMMARY.parent.mkdir(parents=True, exist_ok=True)
    SUMMARY.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(table(found))
    sys.exit("\n".join(f"FAILED: {what}" for what in wrong) or 0)


def copy_workflow(folder: Path) -> None:
    """The workflow in a folder of its own, so that its results touch nobody's."""
    for name in ("Snakefile", "environment.yml", "workflow", "profiles", "notebooks", "src"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)


def experiment(folder: Path, whole: bool) -> None:
    """The smoke config or a part of it, on the CPU."""
    content = yaml.safe_load((ROOT / "workflow/config/smoke.yaml").read_text(encoding="utf-8"))
    for study in (
        "frozen",
        "ablation",
        "combination",
        "similarity",
        "worlds",
        "labels",
        "verify",
        "fairness",
    ):
        del content[study]
    if not whole:
        for key, names in PART.items():
            content[key] = {name: content[key][name] for name in names}
        content["table2"]["rows"] = [run for run in PART["runs"] if run != "mlm"]
    content["device"] = "cpu"
    content["runs"][VICTIM]["batch_size"] = 4
    # Seconds between its first epoch, when it is cancelled, and its end, when its state goes.
    content["pretrain"]["epochs"] = 8
    content["finetune"]["from_epochs"] = [8]
    text = yaml.safe_dump(content, sort_keys=False)
    (folder / "experiment.yaml").write_text(text, encoding="utf-8")


def install_plugin(target: Path) -> str:
    """Put the executor plugin, as the extra pins it, in a folder, unless it is installed.

    Not beside the other packages: every call of snakemake would import it. Returns why it cannot.
    """
    if importlib.util.find_spec(PLUGIN) is not None:
        return ""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned = project["optional-dependencies"]["slurm"]
    words = ["pip", "install", "-qq", "--no-deps", "--target", str(target), *pinned]
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True)
    return "" if done.returncode == 0 else f"pip cannot install {' '.join(pinned)}"


def run(folder: Path, environment: dict[str, str]) -> tuple[int, Kill | None]:
    """Run the workflow, and cancel one training while it runs."""
    # The plugin asks for the GPU of a rule, whatever the device.
    with (folder / "experiment.yaml").open(encoding="utf-8") as file:
        content = yaml.safe_load(file)
    rules = ["pretrain", *(f"finetune_{corpus}" for corpus in content["corpora"])]
    words = [sys.executable, "-m", "snakemake", "--profile", "profiles/slurm", *QUICK]
    words += ["--set-resources", *(f"{rule}:gpu=1" for rule in rules)]
    words += ["--configfile", "experiment.yaml", "--", "results/table2.csv"]
    with (folder / "snakemake.log").open("w") as log:
        workflow = subprocess.Popen(
            words, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        kill = cancel_one(folder, workflow, environment)
        return workflow.wait(), kill
    finally:
        if workflow.poll() is None:
            workflow.send_signal(signal.SIGINT)  # it cancels its jobs
            workflow.wait()


def cancel_one(
    folder: Path, workflow: subprocess.Popen, environment: dict[str, str]
) -> Kill | None:
    """Cancel the victim as soon as its log reports an epoch; None where it was never seen."""
    logs = folder / f"results/smoke/logs/pretrain/{VICTIM}"
    while workflow.poll() is None:
        for log in logs.rglob("*.log"):
            if "epoch 1/" in log.read_text(encoding="utf-8"):
                for job in jobs_of(environment):
                    if (
                        job.state == "RUNNING"
                        and job.what == f"pretrain {VICTIM} {log.parent.name}"
                    ):
                        subprocess.run(["scancel", job.number], env=environment, check=True)
                        return Kill(job.number, job.what, log)
        time.sleep(0.2)
    return None


def jobs_of(environment: dict[str, str]) -> list[Job]:
    """Every job that Slurm remembers, in the order of submission."""
    jobs = []
    for line in output(["scontrol", "--oneliner", "show", "jobs"], environment).splitlines():
        fields = dict(word.split("=", 1) for word in line.split() if "=" in word)
        if "Comment" not in fields:
            continue
        rule, _, wildcards = fields["Comment"].removeprefix("rule_").partition("_wildcards_")
        stage, run = rule.partition("_")[0], wildcards.replace("_", " ")
        times = [seconds(fields[f"{what}Time"]) for what in ("Submit", "Start", "End")]
        gpu = "gpu:1" in fields.get("TresPerJob", "")
        jobs.append(Job(fields["JobId"], f"{stage} {run}", fields["JobState"], gpu, *times))
    return sorted(jobs, key=lambda job: int(job.number))


def seconds(stamp: str) -> float:
    """A time as Slurm writes it; 0 where it is not known."""
    return 0.0 if stamp == "Unknown" else datetime.fromisoformat(stamp).timestamp()


def summary(folder: Path, jobs: list[Job], kill: Kill | None) -> tuple[dict[str, Any], list[str]]:
    """What happened, in numbers, and what of it is not as it should be."""
    wrong = []
    done = [job for job in jobs if job.state == "COMPLETED"]
    trained = [job for job in done if job.trains]
    devices = devices_of(folder)
    for job in trained:
        if not job.gpu:
            wrong.append(f"{job.what} (job {job.number}) did not ask for one GPU")
        if len(devices.get(job.number, ())) != 1:
            wrong.append(f"{job.what} (job {job.number}) recorded {devices.get(job.number)} as GPU")
    strangers = devices.keys() - {job.number for job in jobs}
    if not trained or strangers:
        wrong.append(f"trainings that did not run under Slurm: {sorted(strangers)}")
    pairs = [
        (one, other)
        for one, other in combinations(trained, 2)
        if min(one.ended, other.ended) > max(one.started, other.started)
    ]
    for one, other in pairs:
        if devices.get(one.number) == devices.get(other.number):
            wrong.append(f"jobs {one.number} and {other.number} had one GPU at the same time")
    if not pairs:
        wrong.append("no two trainings ran at once")
    retried = None
    if kill is None:
        wrong.append("no training was there to be cancelled")
    else:
        states = [job.state for job in jobs if job.what == kill.what]
        retried = states == ["CANCELLED", "COMPLETED"]
        if not retried:
            wrong.append(f"{kill.what} was cancelled and then: {', '.join(states)}")
        if not resumed(kill):
            wrong.append(f"{kill.what} was cancelled and began anew: see {kill.log}")
    return {
        "jobs": len(jobs),
        "trainings": len(trained),
        "devices": {
            device: sum(devices.get(job.number) == {device} for job in trained)
            for device in sorted(set().union(*devices.values()))
        },
        "pairs_at_once": len(pairs),
        "killed": kill.what if kill else None,
        "retried": retried,
        "resumed": resumed(kill),
    }, wrong


def resumed(kill: Kill | None) -> bool:
    """Whether the job that was cancelled then went on from a saved state, as its last log says."""
    return kill is not None and RESUMED in kill.log.read_text(encoding="utf-8")


def cost(folder: Path, jobs: list[Job], wall: float) -> dict[str, Any]:
    """Mean seconds of a job, and from which length on its overhead is small; `wall` is of all."""
    done = [job for job in jobs if job.state == "COMPLETED"]
    overhead, work = overhead_of(folder, done)
    return {
        "wall_seconds": round(wall, 1),
        "seconds_of_a_job": {
            "waiting": round(mean(job.started - job.submitted for job in done), 1),
            "working": round(work, 1),
            **overhead,
        },
        "overhead_below_5_percent_from_seconds": round(
            sum(overhead.values()) * (1 - SMALL_SHARE) / SMALL_SHARE
        ),
    }


def devices_of(folder: Path) -> dict[str, set[str]]:
    """GPUs that the trainings of each Slurm job have recorded in their provenance."""
    found: dict[str, set[str]] = {}
    for stage in ("pretrain", "finetune"):
        for path in (folder / "results/smoke" / stage).rglob("*.provenance.json"):
            record = json.loads(path.read_text(encoding="utf-8"))
            if "baselines" not in record["command"]:
                job = record.get("job", {})
                number = job.get("slurm_job_id", "none")
                device = job.get("cuda_visible_devices", "none")
                found.setdefault(number, set()).add(device)
    return found


def overhead_of(folder: Path, done: list[Job]) -> tuple[dict[str, float], float]:
    """Mean seconds that a job took to start and to be noticed at its end; and its command's own.

    Seconds in which it waited are none of it: there are more trainings than GPUs.
    """
    benchmarks = (folder / "results/smoke/benchmarks").rglob("*.tsv")
    work = []
    for path in benchmarks:
        with path.open(encoding="utf-8") as file:
            work.append(float(next(csv.DictReader(file, delimiter="\t"))["s"]))
    noticed = noticed_at(folder)
    overhead = {
        "starting": max(mean(job.ended - job.started for job in done) - mean(work), 0.0),
        "unnoticed": mean(noticed[job.number] - job.ended for job in done),
    }
    return {what: round(value, 1) for what, value in overhead.items()}, mean(work)


def noticed_at(folder: Path) -> dict[str, float]:
    """When Snakemake saw that a job had ended, by the number that Slurm gave it."""
    numbers, found, now = {}, {}, 0.0
    for line in (folder / "snakemake.log").read_text(encoding="utf-8").splitlines():
        if submitted := re.match(r"Job (\d+) has been submitted with SLURM jobid (\d+)", line):
            numbers[submitted[1]] = submitted[2]
        elif stamp := re.match(r"\[(\w{3} \w{3} +\d+ [\d:]+ \d{4})\]$", line):
            now = datetime.strptime(stamp[1], "%a %b %d %H:%M:%S %Y").timestamp()
        elif (ended := re.match(r"Finished jobid: (\d+)", line)) and ended[1] in numbers:
            found[numbers[ended[1]]] = now
    return found


def table(found: dict[str, Any]) -> str:
    """The summary as text."""
    rows = {
        "jobs": f"{found['jobs']}, of which {found['trainings']} trainings",
        "trainings by GPU": ", ".join(f"{n} on {gpu}" for gpu, n in found["devices"].items()),
        "pairs at once": f"{found['pairs_at_once']}, each on two GPUs",
        "killed": f"{found['killed']}; retried: {found['retried']}; resumed: {found['resumed']}",
    }
    if "wall_seconds" in found:
        rows |= {
            "wall": f"{found['wall_seconds']} s",
            "a job": ", ".join(f"{s} s {what}" for what, s in found["seconds_of_a_job"].items()),
            "overhead": "below 5% for jobs that work for "
            f"{found['overhead_below_5_percent_from_seconds']} s or longer",
        }
    return "\n".join(f"{name:<18} {value}" for name, value in rows.items())


if __name__ == "__main__":
    main()
