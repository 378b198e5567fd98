"""Measure masked items by RecBole (BERT4Rec) beside us, in one run.

python -m benchmarks.peer --python .venv-peer/bin/python --out results/peer

RecBole lives in a virtual environment of its own, which `make peer` makes. All sides read the same
simulated users, are alive at once, on one thread each, and take turns. RecBole runs twice: with
the checks of gradients that it ships with, and without them.

Without torch: the peak memory of a process counts from that of the one which started it.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks import peer_page
from benchmarks.load import seconds_of_others
from benchmarks.worker import ROOT, Worker
from userbench.data.simulation.raw_files import file_name, write_raw_files
from userbench.data.simulation.world import choose_world
from userbench.errors import command
from userbench.results import artifact

RECBOLE = Path(__file__).with_name("peer_recbole.py")
MODEL = {
    **{"items": 4_000, "length": 100, "dim": 64, "layers": 2, "heads": 2},
    **{"dropout": 0.1, "mask_ratio": 0.2, "lr": 1e-3, "batch_size": 128},
}
SEED = 0


@command
def main(argv: list[str] | None = None) -> None:
    """Parse the flags, measure, write rows and page; an error ends it with one line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peer",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--python", type=Path, default=Path(".venv-peer/bin/python"))
    parser.add_argument("--out", type=Path, default=Path("results/peer"), help="folder")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--loads", type=int, default=3, help="fresh processes that read the file")
    parser.add_argument("--seconds", type=float, default=12.0, help="least time of a repetition")
    parser.add_argument("--users", type=int, default=20_000, help="of the simulated file")
    args = parser.parse_args(argv)
    if min(args.repetitions, args.loads) < 1 or not args.seconds > 0:
        raise ValueError("--repetitions and --loads have to be 1 or more, --seconds above 0")
    if args.users < MODEL["batch_size"]:
        raise ValueError(f"--users {args.users}: a batch needs {MODEL['batch_size']}")
    if not args.python.exists():
        raise ValueError(f"--python {args.python}: not there. Run make peer, which installs it")
    measure(args)


def measure(args: argparse.Namespace) -> None:
    """Write rows as they came, what they were made on, and their page."""
    started, others = time.perf_counter(), seconds_of_others()
    with tempfile.TemporaryDirectory() as folder:
        write_users(Path(folder), args.users)
        rows, said = measured(args, Path(folder))
    path = args.out / "peer.csv"
    frame = pd.DataFrame(rows)
    artifact.write_text(path, frame.to_csv(index=False, lineterminator="\n", float_format="%.6g"))
    seconds = time.perf_counter() - started
    facts = {
        "machine": said["ours"]["machine"],
        "model": MODEL,
        "sides": {side: answer["versions"] for side, answer in said.items()},
        "cores_busy_with_others": round((seconds_of_others() - others) / seconds, 2),
        "seconds": round(seconds, 1),
    }
    artifact.record(path, vars(args), **facts)
    section = peer_page.section(peer_page.read(path), artifact.provenance_of(path))
    artifact.write_text(args.out / "peer.md", section.lstrip())
    print(section, file=sys.stderr)


def write_users(folder: Path, users: int) -> None:
    """One file of lines of items in our format, and the same users in RecBole's, one sample each.

    RecBole wants three files; the second and the third, which nothing here reads, have one user.
    """
    world = choose_world("ttl", users, items=MODEL["items"])
    write_raw_files("ttl", world, users, SEED, folder / "raw")
    lines = (folder / "raw" / file_name("ttl", "pretrain")).read_text().split()
    sequences = [[item for item in line.split(",") if item != "0"] for line in lines]
    theirs = [f"{user}\t{' '.join(items)}\t{items[-1]}\n" for user, items in enumerate(sequences)]
    (folder / "peer").mkdir()
    head = "user_id:token\titem_id_list:token_seq\titem_id:token\n"
    for part, rows in {"train": theirs, "valid": theirs[:1], "test": theirs[:1]}.items():
        (folder / "peer" / f"peer.{part}.inter").write_text(head + "".join(rows))


def measured(
    args: argparse.Namespace, folder: Path
) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
    """Rows of loading, by fresh processes, and of training by the last of them in turn."""
    rows, said = [], {}
    for load in range(args.loads):
        workers: list[Worker] = []
        try:
            for side in peer_page.SIDES:
                workers.append(start(side, args, folder))
                said[side] = workers[-1].ready()
                row = {"what": "loading", "side": side, "repetition": load, "users": args.users}
                rows.append({**row, **said[side]["loading"]})
            last = load == args.loads - 1
            for repetition in range(args.repetitions if last else 0):
                for worker in workers:
                    row = {"what": "training", **worker.identity, "repetition": repetition}
                    rows += [{**row, **found} for found in worker.repeat()]
                    found = rows[-1]
                    rate = found["users"] / found["seconds"]
                    print(f"{found['side']}: {rate:,.0f} users/s", file=sys.stderr, flush=True)
        finally:
            for worker in workers:
                worker.stop()
    return rows, said


def start(side: str, args: argparse.Namespace, folder: Path) -> Worker:
    """The process of one side; RecBole's writes its own logs into the folder."""
    setting = {
        **MODEL,
        "seed": SEED,
        "seconds": args.seconds,
        "data": str(folder),
        "checks": side == "recbole_as_shipped",
    }
    words, place = [sys.executable, "-m", "benchmarks.peer_ours"], ROOT
    if side != "ours":
        words, place = [str(args.python.absolute()), str(RECBOLE)], folder
    return Worker({"side": side}, [*words, json.dumps(setting)], threads=1, folder=place)


if __name__ == "__main__":
    main()
