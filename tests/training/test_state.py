"""A run that is killed and started again ends with the bits of one that nobody disturbed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from permissions import folder_of_everybody, of_another_user
from repository import ROOT
from safetensors.torch import save_file
from small_runs import content, data_flags, finetune, pretrain, seeds_flags


class Killed(BaseException):
    """In place of SIGKILL: nobody catches it."""


@contextmanager
def at_steps(**wanted):
    """Save, signal or kill after steps of a process, counted from 1 over all of its seeds.

    The end of a task of fine-tuning counts as a step.
    """
    from userbench.training.state import TrainingState

    made, original = 0, TrainingState.save_if_due

    def save_if_due(self):
        nonlocal made
        made += 1
        if made == wanted.get("save"):
            self.due = 0.0
        if made == wanted.get("signal"):
            os.kill(os.getpid(), wanted["number"])
        original(self)
        if made == wanted.get("kill"):
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingState, "save_if_due", save_if_due)
        yield


def deleted_by_snakemake(folder):
    """The outputs of a job that failed are deleted before it runs again; provenance stays."""
    for path in [*folder.rglob("*")]:
        if path.is_file() and "provenance" not in path.name:
            path.unlink()


def compared(folder, command, caplog, *kills):
    """Files of an undisturbed run, and after kills; each kill loses the step after its last save.

    The folder is the same, since checkpoints name their own paths.
    """
    out, state = folder / "out", folder / "state"
    command(out)
    undisturbed = content(out)
    for kill in kills:
        shutil.rmtree(out)
        with at_steps(save=kill, kill=kill + 1), pytest.raises(Killed):
            command(out, "--state", str(state / "{seed}"))
        deleted_by_snakemake(out)
        caplog.clear()
        with caplog.at_level("INFO", logger="userbench"):
            command(out, "--state", str(state / "{seed}"))
        assert "resumes after" in caplog.text, f"killed after step {kill}, it started anew"
        assert content(out) == undisturbed, f"killed after step {kill}"
        assert list(state.iterdir()) == []
    return undisturbed


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    """Provenance is not compared, and asking git for it takes longer than these trainings."""
    monkeypatch.setattr("userbench.results.artifact.environment", dict)


@pytest.fixture
def deferred(monkeypatch):
    """Adam defers item tables of every size: their rows lag behind, each by its own steps."""
    from userbench.training import optimizer

    monkeypatch.setattr(optimizer, "DEFERRED_FROM", 1)


@pytest.fixture(scope="module")
def mlm(tiny, tmp_path_factory):
    """A checkpoint of masked item prediction to start from and to write views."""
    return pretrain(tiny, tmp_path_factory.mktemp("mlm")) / "epoch2.safetensors"


def settings_of(name, mlm):
    """The method with what it holds beside parameters: a generator, neighbours that change."""
    given = {
        "ccl": {"views": {"generator": str(mlm)}},
        "coserec": {"views": {"hybrid_from": 0.3}, "rec_weight": 1.0, "negatives": 8},
        "duorec": {"rec_weight": 1.0, "negatives": 8},
    }
    return ["--set", json.dumps(given.get(name, {})), "--init", str(mlm)]


@pytest.mark.parametrize("name", ["mlm", "adaptssr", "ccl", "duorec", "coserec"])
def test_methods_resume_where_they_were(tiny, tmp_path, caplog, deferred, mlm, name):
    """Two halves joined by a state are the whole (`test_methods.py` asks that of every method)."""

    def command(out, *flags):
        size = ["--batch-size", "8"]  # 46 steps, which read few rows of the item table each
        pretrain(tiny, out, *settings_of(name, mlm), *size, *flags, method=name)

    # CoSeRec's neighbours, drawn anew at the last step, are those of the next one, too.
    assert len(compared(tmp_path, command, caplog, 31)) == 3


@pytest.mark.parametrize("table", ["dense", "lazy"])
def test_pretraining_killed_anywhere(tiny, tmp_path, caplog, table):
    """At the first step, at the end of an epoch, and one before the last: 3 steps an epoch."""

    def command(out, *flags):
        pretrain(tiny, out, "--item-table", table, *flags)

    compared(tmp_path, command, caplog, 1, 3, 5)


def test_encoder_passes_outlive_a_kill_after_the_last_step(tiny, tmp_path):
    """Wrong: no step is left that could be counted, and the record says nothing."""
    with at_steps(save=6, kill=6), pytest.raises(Killed):
        pretrain(tiny, tmp_path / "out", "--state", str(tmp_path / "state"))
    pretrain(tiny, tmp_path / "out", "--state", str(tmp_path / "state"))
    record = json.loads((tmp_path / "out/curve.json.provenance.json").read_text())
    assert record["encoder_passes"] == {"trained": 1.0, "others": 0.0}


@pytest.mark.parametrize("table", ["dense", "lazy"])
def test_fine_tuning_killed_anywhere(tiny, tmp_path, caplog, mlm, table):
    """In either candidate, epoch and task; between two tasks; scores and predictions alike."""
    first = mlm.with_name("epoch1.safetensors")

    def command(out, *flags):
        start = ["--init", str(first), str(mlm), "--item-table", table]
        finetune(tiny, out, *start, *flags, read=False)

    # Two steps an epoch for age: 8 of its two candidates, and the ninth is the end of the task.
    assert len(compared(tmp_path, command, caplog, 1, 3, 6, 9, 14)) == 6


def test_fine_tuning_from_several_starts_killed_anywhere(tiny, tmp_path, caplog):
    """In any of the starts: none is drawn anew, skipped or trained twice."""

    def command(out, *flags):
        finetune(tiny, out, "--starts", "3", *flags, read=False)

    # Four steps of each start of age; the thirteenth is the end of the task.
    found = compared(tmp_path, command, caplog, 1, 5, 8, 9, 12, 13, 18)
    starts = [point["start"] for point in json.loads(found["age.json"])["scores"]]
    assert starts[:6] == [1, 1, 2, 2, 3, 3]


def test_seeds_that_share_a_process(tiny, tmp_path, caplog, deferred):
    """Each resumes from its own state; one that had ended is not trained again."""

    def command(out, *flags):
        pretrain(tiny, out / "{seed}", *seeds_flags((0, 1)), *flags)

    compared(tmp_path, command, caplog, 2, 7, 10)


def test_a_seed_that_had_ended_is_given_back(tiny, tmp_path, caplog):
    """Snakemake deletes its files with those of the seed that was killed."""

    def command(*flags):
        both = [*seeds_flags((0, 1)), "--state", str(tmp_path / "state/{seed}")]
        finetune(tiny, tmp_path / "out/{seed}", *both, *flags, read=False)

    with at_steps(kill=20), pytest.raises(Killed):
        command()
    first = content(tmp_path / "out/0")
    assert len(first) == 6 and len(content(tmp_path / "out")) < 12
    deleted_by_snakemake(tmp_path / "out")
    with caplog.at_level("INFO", logger="userbench"):
        command()
    assert content(tmp_path / "out/0") == first
    assert "seed 0 resumes after tasks 3" in caplog.text
    assert "seed 0 age epoch" not in caplog.text


def test_saving_moves_no_bit(tiny, tmp_path, deferred, monkeypatch):
    """Updates of the item table are deferred; were they applied for that, sums would differ."""
    from userbench.training import state

    def command(*flags):  # of small batches, which read few rows, unlike a softmax over all
        flags = ["--batch-size", "8", *flags]
        pretrain(tiny, tmp_path / "out", *flags, method="adaptssr")

    command()
    undisturbed = content(tmp_path / "out")
    monkeypatch.setattr(state, "PAUSE_PER_SAVE", 0)
    saved = []
    save = state.StateFile.save
    monkeypatch.setattr(
        state.StateFile, "save", lambda self, *given: (save(self, *given), saved.append(self))
    )
    command("--state", str(tmp_path / "state"), "--save-every", "0")
    assert content(tmp_path / "out") == undisturbed
    assert len(saved) > 40


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_sigterm_and_sighup_save_and_end(number, tiny, tmp_path, caplog):
    """One line says what to do, the status is that of the signal, and nothing done is lost."""

    def command(*flags):
        both = [*seeds_flags((0, 1)), "--state", str(tmp_path / "state/{seed}")]
        pretrain(tiny, tmp_path / "out/{seed}", *both, *flags)

    with caplog.at_level("INFO", logger="userbench"):
        with at_steps(signal=9, number=number), pytest.raises(SystemExit) as stop:
            command()
        assert stop.value.code == 128 + number
        assert f"stopped by {number.name}. Run the same command again" in caplog.messages[-1]
        assert signal.getsignal(number) == signal.SIG_DFL
        caplog.clear()
        command()
    assert "seed 0 resumes after epoch 3, step 6" in caplog.text  # both epochs are done
    assert "seed 1 resumes after epoch 1, step 3" in caplog.text


def test_a_hang_up_that_is_ignored_ends_nothing(tmp_path):
    """Wrong: a training under nohup ends with the connection all the same."""
    from userbench.training.state import TrainingState

    state = TrainingState(0, tmp_path, {}, [0])
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with state.saved_on_signals():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert state.signal is None


def test_a_later_signal_does_not_hide_the_one_that_ends():
    """Wrong: SIGTERM and then SIGUSR1, within one step, and the training goes on."""
    from userbench.training.state import SavedProgress, TrainingState

    state = TrainingState(0, None, {}, [0])
    state.progress = SavedProgress()
    for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGUSR1):
        state.note(number, None)
    assert state.signal == signal.SIGTERM


def test_sigusr1_saves_and_goes_on(tiny, tmp_path, monkeypatch):
    from userbench.training.state import StateFile

    saved, save = [], StateFile.save

    def seen(self, state, files):
        save(self, state, files)
        saved.append(state["progress"].step)

    monkeypatch.setattr(StateFile, "save", seen)
    with at_steps(signal=2, number=signal.SIGUSR1):
        pretrain(tiny, tmp_path / "out", "--state", str(tmp_path / "state"))
    assert saved == [2]
    assert (tmp_path / "out/curve.json").exists() and not (tmp_path / "state").exists()


def test_a_state_that_may_not_be_read_is_kept():
    """Wrong: a state that another user wrote is deleted, and days of training with it."""
    from userbench.training.state_file import StateFile

    with folder_of_everybody() as folder:
        state = StateFile(folder / "state", {})
        state.save({"step": 1}, [])
        state.folder.chmod(0o777)  # others may delete what they may not read
        state.path.chmod(0)
        message = of_another_user(state.load)
        assert message.startswith("PermissionError") and "state.safetensors" in message
        state.path.chmod(0o600)
        assert state.load() == {"step": 1}


def test_a_state_that_cannot_be_written_ends_no_training(tiny, tmp_path, caplog, monkeypatch):
    """As on a full disk: a message in one line, and the outputs are there."""

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("userbench.training.state_file.save_file", full)
    with at_steps(save=2), caplog.at_level("INFO", logger="userbench"):
        pretrain(tiny, tmp_path / "out", "--state", str(tmp_path / "state"))
    assert "seed 0: no state is saved ([Errno 28] No space left on device" in caplog.text
    assert len(content(tmp_path / "out")) == 3 and not (tmp_path / "state").exists()


def flip(path):
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])


def of_an_older_version(path):
    """A state as version 0.1.0 wrote it: its text was under another name."""
    save_file({"total": torch.zeros(())}, path, {"told": "{}", "sha256": "0"})


def cut(path):
    path.write_bytes(path.read_bytes()[:-10])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda state: flip(state / "state.safetensors"), "is damaged, its checksum differs"),
        (lambda state: cut(state / "state.safetensors"), "cannot be read"),
        (lambda state: flip(state / "0-epoch1.safetensors"), "0-epoch1.safetensors beside it is"),
        (lambda state: (state / "0-epoch1.safetensors").unlink(), "damaged or gone"),
        (lambda state: of_an_older_version(state / "state.safetensors"), "by an older version"),
    ],
)
def test_damaged_state_is_not_used(tiny, tmp_path, caplog, damage, message):
    """One line says why, and the run starts from the beginning, with the same bits."""
    out, state = tmp_path / "out", tmp_path / "state"
    pretrain(tiny, out)
    undisturbed = content(out)
    with at_steps(save=5, kill=5), pytest.raises(Killed):
        pretrain(tiny, out, "--state", str(state))
    deleted_by_snakemake(out)
    damage(state)
    with caplog.at_level("INFO", logger="userbench"):
        pretrain(tiny, out, "--state", str(state))
    (line,) = [record.message for record in caplog.records if "starts from" in record.message]
    assert message in line and "state.safetensors" in line and "\n" not in line
    assert "resumes" not in caplog.text
    assert content(out) == undisturbed


def other_code(monkeypatch, flags):
    monkeypatch.setattr("userbench.training.identity.code_checksum", lambda: "other")


def other_version(monkeypatch, flags):
    monkeypatch.setattr("userbench.__version__", "9")


def other_rate(monkeypatch, flags):
    flags += ["--set", '{"lr": 1e-3}']


def other_start(monkeypatch, flags):
    """The same path, but what lies there has changed."""
    start = Path(flags[flags.index("--init") + 1])
    for name in (start.name, f"{start.name}.provenance.json"):
        shutil.copy(start.with_name(name.replace("epoch2", "epoch1")), start.with_name(name))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_code, "is of other code"),
        (other_version, "is of other version"),
        (other_rate, "is of other settings"),
        (other_start, "is of other inputs"),
    ],
)
def test_state_of_another_run_is_not_used(
    tiny, tmp_path, caplog, monkeypatch, mlm, change, message
):
    """Else the halves of two experiments would be joined."""
    start = shutil.copytree(mlm.parent, tmp_path / "mlm") / mlm.name
    flags = ["--state", str(tmp_path / "state"), "--init", str(start)]
    with at_steps(save=2, kill=2), pytest.raises(Killed):
        pretrain(tiny, tmp_path / "out", *flags)
    change(monkeypatch, flags)
    with caplog.at_level("INFO", logger="userbench"):
        pretrain(tiny, tmp_path / "out", *flags)
    assert message in caplog.text and "resumes" not in caplog.text


def test_states_of_two_seeds_need_two_places(tiny, tmp_path):
    both = [*seeds_flags((0, 1)), "--state", str(tmp_path / "state")]
    with pytest.raises(SystemExit, match="Put {seed} in it"):
        pretrain(tiny, tmp_path / "{seed}", *both)


# ---------------------------------------------------------------- a loss that is not a number


def spoilt(monkeypatch, kind, loss_of, when):
    """Let the loss be NaN, or its gradient alone, when `when(...)` is true."""

    def loss(self, *args, **named):
        value = original(self, *args, **named)
        found = value if isinstance(value, torch.Tensor) else value.loss
        if when(*args, **named):
            found = found * torch.nan if kind == "loss" else found + (0 * found).sqrt()
        return found if isinstance(value, torch.Tensor) else value._replace(loss=found)

    owner, name = loss_of
    original = getattr(owner, name)
    monkeypatch.setattr(owner, name, loss)


@pytest.mark.parametrize(
    ("kind", "what"), [("loss", "the loss is nan"), ("gradient", "a weight is not a number")]
)
def test_nan_names_the_last_good_checkpoint(tiny, tmp_path, monkeypatch, kind, what):
    """In the last step of all: its loss is still finite where it spoils the weights."""
    from userbench.methods import mlm

    def last(batch, progress):
        return 0.8 < progress < 1

    spoilt(monkeypatch, kind, (mlm.Method, "forward"), last)
    state = tmp_path / "state"
    with at_steps(save=6), pytest.raises(SystemExit, match=f"{what} at step 6") as stop:
        pretrain(tiny, tmp_path / "out", "--state", str(state))
    message = str(stop.value)
    assert "(learning rate 0.0005)" in message and "Lower the learning rate" in message
    assert f"The last good checkpoint is {tmp_path}/out/epoch1.safetensors." in message
    assert "\n" not in message and f"What it had finished is in {state}, too" in message
    assert list(content(tmp_path / "out")) == ["epoch1.safetensors"]
    # Weights that are not finite were not saved, though it was time to.
    assert (state / "0-epoch1.safetensors").exists()
    assert not (state / "state.safetensors").exists() or kind == "loss"


@pytest.mark.parametrize(
    ("kind", "what"), [("loss", "the loss is nan"), ("gradient", "a weight is not a number")]
)
def test_nan_in_fine_tuning_writes_no_score(tiny, tmp_path, monkeypatch, mlm, kind, what):
    """Of weights that are NaN an accuracy can be computed: class 0 for everybody."""
    from userbench.model.tasks import LabelTask

    spoilt(monkeypatch, kind, (LabelTask, "loss"), lambda users, picked: len(picked) < 64)
    finetune(tiny, tmp_path / "out", "--init", str(mlm))
    scores = json.loads((tmp_path / "out/age.json").read_text())
    assert (
        f"task age, run test, seed 0, from {mlm}: {what} at step 2 of task age" in scores["failed"]
    )
    assert f"The last good checkpoint is {mlm}." in scores["failed"]
    assert (scores["best"], scores["scores"]) == (None, [])
    assert json.loads((tmp_path / "out/click.json").read_text())["scores"]  # has no such loss


def test_fine_tuning_of_which_fits_fail_killed_anywhere(tiny, tmp_path, caplog, monkeypatch, mlm):
    """In the candidate after one that failed, and in the task after one that failed altogether."""
    from userbench import finetune as loop
    from userbench.errors import NotANumber

    first = mlm.with_name("epoch1.safetensors")
    finite = loop.finite

    def finite_but_some(loss, weights, where, lr, good):
        """Fails after the first epoch, with weights that are numbers and can be saved."""
        if "task gender" in where or ("task age" in where and good == first):
            raise NotANumber("a score is not a number")
        return finite(loss, weights, where, lr, good)

    monkeypatch.setattr(loop, "finite", finite_but_some)

    def command(out, *flags):
        tasks = []
        for name, kind in (("age", "classification"), ("gender", "binary"), ("click", "top_n")):
            task = {"name": name, "kind": kind, "lr": 1e-2, "batch_size": 64, "epochs": 2}
            tasks += ["--task", json.dumps({**task, "out": str(out / f"{name}.json")})]
        start = ["--run", "test", "--init", str(first), str(mlm)]
        loop.main([*data_flags(tiny), *start, *flags, *tasks])

    # Two steps of age's first candidate, four of its second, a place between two tasks, twice two
    # of gender, a place between two tasks, and click.
    found = compared(tmp_path, command, caplog, 1, 4, 7, 8, 10, 12, 15)
    scores = {name: json.loads(found[name]) for name in ("age.json", "gender.json", "click.json")}
    assert scores["age.json"]["best"]["pretrain_epoch"] == 2
    assert scores["gender.json"]["failed"].count("a score is not a number") == 2
    assert scores["click.json"]["scores"]


# ---------------------------------------------------------------- real processes, real signals


LONGER = ["--epochs", "30", "--batch-size", "32", "--keep", "2", "30"]


def started(tiny, folder, *flags):
    """A pre-training of a second or more in a process of its own."""
    words = [*data_flags(tiny), "--method", "mlm", *LONGER]
    words += ["--out", str(folder / "out"), "--state", str(folder / "state"), *flags]
    return subprocess.Popen(
        [sys.executable, "-m", "userbench", "pretrain", *words],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_process_that_is_killed_resumes(tiny, tmp_path, number):
    pretrain(tiny, tmp_path / "out", *LONGER)
    undisturbed = content(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")

    run = started(tiny, tmp_path, "--save-every", "0")
    deadline = time.monotonic() + 60
    while not (tmp_path / "state/state.safetensors").exists():
        assert run.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    run.send_signal(number)
    output = run.communicate(timeout=30)[1]
    assert run.returncode == (143 if number == signal.SIGTERM else -signal.SIGKILL), output
    assert ("stopped by SIGTERM" in output) == (number == signal.SIGTERM)
    assert "Traceback" not in output

    run = started(tiny, tmp_path)
    output = run.communicate()[1]
    assert run.returncode == 0 and "resumes after epoch" in output, output
    assert content(tmp_path / "out") == undisturbed
    assert not (tmp_path / "state").exists()
    assert not [*tmp_path.rglob("*.partial")]
