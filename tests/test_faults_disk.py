"""Disks that are full, read-only or not ours: every command ends in one line, and leaves no half.

A tiny file system is mounted for it, which takes root; limits on the size of files do not.
"""

import errno
import json
import os
import resource
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from experiments import experiment_flag
from permissions import of_another_user

SMALL = '{"dim": 8, "layers": 1, "heads": 2, "max_length": 20}'
FULL = r"no space left on device\. Free space and run the same command again$"
READ_ONLY = r"read-only file system\. Name another folder, .* and run the same command again$"


class Disk:
    """A file system of a quarter of a MiB."""

    def __init__(self, root: Path):
        self.root = root

    def fill(self, free: int = 0) -> None:
        """Leave so many bytes free."""
        ballast = self.root / "ballast"
        ballast.write_bytes(b"")
        left = os.statvfs(self.root)
        ballast.write_bytes(bytes(left.f_bavail * left.f_frsize - free))

    def protect(self) -> None:
        """Nothing can be written from here on."""
        subprocess.run(["mount", "-o", "remount,ro", self.root], check=True)

    def files(self) -> set[str]:
        """Everything that was written to it."""
        found = {str(path.relative_to(self.root)) for path in self.root.rglob("*")}
        return {name for name in found if not (self.root / name).is_dir()} - {"ballast"}


@pytest.fixture
def disk() -> Iterator[Disk]:
    # Why not tmp_path: pytest could not delete it where a killed run has left it mounted.
    root = Path(tempfile.mkdtemp(prefix="userbench-disk-"))
    mounted = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(root)]
    if os.geteuid() or subprocess.run(mounted, capture_output=True).returncode:
        root.rmdir()
        pytest.skip("mounting a file system takes root")
    yield Disk(root)
    subprocess.run(["umount", "--lazy", root], check=True)  # what was raised may hold a file
    root.rmdir()


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory) -> Path:
    """A checkpoint, and the folder of two score files and their table."""
    from userbench import pretrain
    from userbench.results import scores

    folder = tmp_path_factory.mktemp("trained")
    flags = ["--epochs", "1", "--batch-size", "64", "--keep", "1", "--method", "cl4srec"]
    pretrain.main([*of_training(tiny), *flags, "--out", str(folder)])
    finetune(tiny, folder / "a.json", run="a")
    finetune(tiny, folder / "b.json", run="b")
    files = [str(folder / name) for name in ("a.json", "b.json")]
    scores.main(["--scores", *files, "--out", str(folder / "scores.csv")])
    return folder


def of_data(tiny: Path) -> list[str]:
    return ["--store", str(tiny / "store"), "--splits", str(tiny / "splits")]


def of_training(tiny: Path) -> list[str]:
    return [*of_data(tiny), "--encoder", SMALL, "--seed", "0", "--device", "cpu"]


def finetune(tiny: Path, out: Path, run: str) -> None:
    from userbench import finetune

    task = {"name": "age", "kind": "classification", "lr": 1e-2, "batch_size": 64, "epochs": 1}
    flags = ["--run", run, "--task", json.dumps({**task, "out": str(out)})]
    finetune.main([*of_training(tiny), *flags])


LAYOUT = {
    "caption_data": "tiny",
    "simulated": True,
    "tasks": [{"task": "age", "label": "Age", "metric": "accuracy"}],
    "rows": [{"run": run, "label": run} for run in "ab"],
    "baselines": [],
    "compared_with": "a",
}


def simulate(tiny: Path, trained: Path, out: Path) -> None:
    from userbench.data import simulate

    size = ["--format", "ttl", "--users", "2000", "--items", "300", "--seed", "0"]
    simulate.main([*size, "--out", str(out)])


def behaviours(tiny: Path, trained: Path, out: Path) -> None:
    from userbench.data import ingest

    raw = ["--format", "ttl", "--raw", str(tiny / "raw")]
    ingest.main(["behaviours", *raw, "--out", str(out)])


def task(tiny: Path, trained: Path, out: Path) -> None:
    from userbench.data import ingest

    raw = ["--format", "ttl", "--raw", str(tiny / "raw"), "--source", "click"]
    of = ["--behaviours", str(tiny / "store/behaviours")]
    ingest.main(["task", *raw, *of, "--out", str(out)])


def event_corpus(tiny: Path, trained: Path, out: Path) -> None:
    from userbench.data.events import command

    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "e.csv").write_text("u,i\n" + "".join(f"{n % 9},{n}\n" for n in range(9999)))
        settings = {"events": {"view": {"files": ["e.csv"], "user": "u", "item": "i"}}}
        flags = ["--settings", json.dumps(settings), "--out", str(out)]
        command.main(["corpus", "--raw", folder, *flags])


def user_split(tiny: Path, trained: Path, out: Path) -> None:
    from userbench.data import draw_splits

    of = ["--behaviours", str(tiny / "store/behaviours")]
    draw_splits.main(["users", *of, "--seed", "0", "--out", str(out)])


def task_split(tiny: Path, trained: Path, out: Path) -> None:
    from userbench.data import draw_splits

    of = ["--examples", str(tiny / "store/tasks/click"), "--by", "interaction"]
    draw_splits.main(["examples", *of, "--seed", "0", "--out", str(out)])


def neighbours(tiny: Path, trained: Path, out: Path) -> None:
    from userbench.data import neighbours

    neighbours.main([*of_data(tiny), "--top", "5", "--out", str(out)])


def checkpoint(tiny: Path, trained: Path, out: Path) -> None:
    from userbench import pretrain

    flags = ["--epochs", "1", "--batch-size", "64", "--keep", "1", "--method", "mlm"]
    pretrain.main([*of_training(tiny), *flags, "--out", str(out)])


def scores(tiny: Path, trained: Path, out: Path) -> None:
    finetune(tiny, out / "age.json", "a")


def baselines(tiny: Path, trained: Path, out: Path) -> None:
    from userbench import baselines

    task = {"name": "click", "kind": "top_n", "metric": "ndcg@10", "out": str(out / "click.json")}
    baselines.main(
        [*of_data(tiny), "--seed", "0", "--max-length", "20", "--task", json.dumps(task)]
    )


def similarity(tiny: Path, trained: Path, out: Path) -> None:
    from userbench import similarity

    flags = ["--run", "a", "--method", "cl4srec", "--out", str(out / "seed0.parquet")]
    checkpoint = ["--checkpoint", str(trained / "epoch1.safetensors")]
    similarity.main([*of_training(tiny), *flags, *checkpoint])


def gathered(tiny: Path, trained: Path, out: Path) -> None:
    from userbench.results import scores

    scores.main(["--scores", str(trained / "a.json"), "--out", str(out / "scores.csv")])


def table(tiny: Path, trained: Path, out: Path) -> None:
    from userbench.report.tables import table2

    flags = ["--scores", str(trained / "scores.csv"), *experiment_flag(trained, table2=LAYOUT)]
    for kind in ("csv", "md", "tex", "html"):
        flags += [f"--{kind}", str(out / f"table2.{kind}")]
    table2.main(flags)


def figure(tiny: Path, trained: Path, out: Path) -> None:
    from matplotlib.figure import Figure

    from userbench.errors import command
    from userbench.report.drawing.style import save

    drawn = Figure()
    drawn.add_subplot().plot(range(9))
    command(save)(drawn, out / "figure4")


WRITERS = [simulate, behaviours, task, event_corpus, user_split, task_split, neighbours]
WRITERS += [checkpoint, scores, baselines, similarity, gathered, table, figure]


@pytest.mark.parametrize("write", WRITERS)
def test_a_full_disk_is_one_line_and_leaves_nothing(write, tiny, trained, disk):
    """Wrong: a traceback, a reason that is no reason, or half a file taken for a whole one."""
    disk.fill(free=0)
    with pytest.raises(SystemExit, match=rf"^error: {disk.root}/\S+: {FULL}") as ended:
        write(tiny, trained, disk.root / "out")
    assert "\n" not in str(ended.value) and ".partial" not in str(ended.value)
    assert disk.files() == set()


def test_the_same_command_again_does_it(tiny, trained, disk):
    """Wrong: what the failed command left prevents what its message asks for."""
    disk.fill(free=16384)  # Why: it fails in the middle of an array, not at its head.
    with pytest.raises(SystemExit, match=FULL):
        behaviours(tiny, trained, disk.root / "out")
    assert disk.files() == set()
    (disk.root / "ballast").unlink()
    behaviours(tiny, trained, disk.root / "out")
    for path in (tiny / "store/behaviours").glob("*.npy"):
        assert (disk.root / "out" / path.name).read_bytes() == path.read_bytes()


def test_an_older_file_survives_a_full_disk(tiny, trained, disk):
    """Wrong: a table that was there is lost, or is half the new one."""
    gathered(tiny, trained, disk.root)
    before = (disk.root / "scores.csv").read_bytes()
    disk.fill()
    with pytest.raises(SystemExit, match=FULL):
        gathered(tiny, trained, disk.root)
    assert (disk.root / "scores.csv").read_bytes() == before


@pytest.mark.parametrize("write", WRITERS)
def test_a_read_only_folder_is_one_line(write, tiny, trained, disk, caplog):
    """Wrong: a traceback, or hours of training before the first file is refused."""
    disk.protect()
    caplog.set_level("INFO")
    with pytest.raises(SystemExit, match=rf"^error: {disk.root}/\S+: {READ_ONLY}"):
        write(tiny, trained, disk.root / "out")
    assert "epoch" not in caplog.text


def test_a_folder_without_permission_is_one_line(tmp_path):
    """Wrong: a traceback, or a message that does not name the folder."""
    from userbench.errors import command
    from userbench.results.artifact import check_writable, write_json

    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    calls = [lambda path: write_json(path, {}), check_writable]
    for call in calls:
        message = of_another_user(lambda call=call: command(call)(closed / "scores.json"))
        assert message.startswith(f"error: {closed}")
        assert "permission denied. Name another folder" in message


# ------------------------------------------------------------------------------- without root


def write_array(path: Path) -> None:
    from userbench.data.arrays import save_array

    save_array(path, np.arange(9999))


def write_tensors(path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"x": torch.arange(9999)}, path)


def write_parquet(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"x": np.random.default_rng(0).normal(size=9999)}), path)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("write", [write_array, write_tensors, write_parquet])
def test_every_library_says_why_it_cannot_write(write, tmp_path):
    """Wrong: what NumPy or safetensors raises instead does not say why, and ends in a traceback."""
    from userbench.results.artifact import atomic

    with pytest.raises(OSError) as refused, files_of_at_most(4096), atomic(tmp_path / "x") as part:
        write(part)
    assert (refused.value.errno, refused.value.filename) == (errno.EFBIG, str(tmp_path / "x"))
    assert list(tmp_path.iterdir()) == []
