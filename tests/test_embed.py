"""User vectors out: against one user at a time, and the ids and notes that go with them."""

import json

import numpy as np
import pytest
import torch
from small_runs import SMALL, pretrain

METHODS = ("mlm", "adaptssr", "idicl")


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory):
    """Folders with the checkpoints of some methods."""
    folder = tmp_path_factory.mktemp("trained")
    for method in METHODS:
        pretrain(tiny, folder / method, method=method, epochs=1)
    return folder


def embed(*flags):
    """Run the command; what the file of `--out` holds."""
    from pathlib import Path

    from userbench import embed
    from userbench.data.vectors import read_vectors

    embed.main(["--device", "cpu", *map(str, flags)])
    return read_vectors(Path(flags[-1]))


def flags_of(tiny, trained, method):
    """The flags of the workflow."""
    named = ["--store", tiny / "store", "--run", f"my {method}", "--method", method]
    checkpoint = ["--checkpoint", trained / method / "epoch1.safetensors"]
    return [*named, "--encoder", SMALL, "--seed", "0", *checkpoint]


@pytest.mark.parametrize("method", METHODS)
def test_vectors_are_those_of_one_user_at_a_time(tiny, trained, tmp_path, method, monkeypatch):
    """Wrong: users are mixed up, dropout is left on, or the encoder is not as its method reads."""
    from userbench.data.store import BehaviourStore
    from userbench.encoders import adapted_encoder
    from userbench.model import user_vectors
    from userbench.training.checkpoint import start_from

    monkeypatch.setattr(user_vectors, "ENCODED_AT_ONCE", 37)
    found = embed(*flags_of(tiny, trained, method), "--out", tmp_path / "v.parquet")
    torch.manual_seed(0)
    store = BehaviourStore.open(tiny / "store", 20, "cpu")
    encoder = adapted_encoder(store.n_items, 0.5, method, {}, json.loads(SMALL)).eval()
    drawn = start_from(encoder, trained / method / "epoch1.safetensors")
    for user in range(store.n_users):
        with torch.no_grad():
            alone = encoder(store.batch(torch.tensor([user])).items)[0].numpy()
        np.testing.assert_allclose(found.values[user], alone, rtol=1e-4, atol=1e-6)
    assert found.ids.to_pylist() == list(range(200))
    assert found.about["untrained"] == drawn == (["pooling.query"] if method == "mlm" else [])
    assert (found.about["run"], found.about["seed"]) == (f"my {method}", 0)
    assert (found.about["pretrain_epoch"], found.about["width"]) == (1, encoder.width)


def test_vectors_know_no_dropout(tiny):
    """Wrong: an encoder that was just trained gives other vectors at every call."""
    from userbench.data.store import BehaviourStore
    from userbench.encoders import adapted_encoder
    from userbench.model.user_vectors import user_vectors

    store = BehaviourStore.open(tiny / "store", 20, "cpu")
    encoder = adapted_encoder(store.n_items, 0.5, None, {}, json.loads(SMALL)).train()
    first, second = (next(user_vectors(encoder, store, torch.arange(9))) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("method", METHODS)
def test_the_checkpoint_says_what_the_flags_leave_out(tiny, trained, tmp_path, method):
    """Wrong: a person gets other vectors than the workflow, or the same call gives other bytes."""
    embed(*flags_of(tiny, trained, method), "--run", method, "--out", tmp_path / "long.parquet")
    checkpoint = trained / method / "epoch1.safetensors"
    embed("--checkpoint", checkpoint, "--out", tmp_path / "short.parquet")
    long, short = ((tmp_path / f"{name}.parquet").read_bytes() for name in ("long", "short"))
    assert long == short


def test_what_was_never_trained_is_said(trained, tmp_path, caplog):
    """Wrong: vectors pooled by a random query pass for what masked items have learnt."""
    for method in ("mlm", "adaptssr"):
        caplog.clear()
        checkpoint = trained / method / "epoch1.safetensors"
        embed("--checkpoint", checkpoint, "--out", tmp_path / "v.parquet")
        warned = [line.getMessage() for line in caplog.records if line.levelname == "WARNING"]
        assert len(warned) == (method == "mlm")
        assert all("pooling.query was never trained" in line for line in warned)


def test_arrays_hold_the_same_vectors(trained, tmp_path):
    """Wrong: .npy and Parquet differ."""
    checkpoint = trained / "idicl" / "epoch1.safetensors"
    first = embed("--checkpoint", checkpoint, "--out", tmp_path / "v.parquet")
    second = embed("--checkpoint", checkpoint, "--out", tmp_path / "v.npy")
    assert np.array_equal(first.values, second.values) and first.about == second.about
    assert first.ids.equals(second.ids)


def test_every_seed_and_start_has_a_file(tiny, tmp_path):
    """Wrong: all files are of one encoder, or of other weights than fine-tuning begins with."""
    from userbench.encoders import Origin

    flags = ["--store", tiny / "store", "--encoder", SMALL, "--seed", "0", "1", "--starts", "2"]
    from userbench import embed as command
    from userbench.data.vectors import read_vectors

    out = tmp_path / "seed{seed}" / "{candidate}.parquet"
    command.main([*map(str, flags), "--device", "cpu", "--out", str(out)])
    found = {}
    for seed in (0, 1):
        for start in (1, 2):
            vectors = read_vectors(tmp_path / f"seed{seed}" / f"start{start}.parquet")
            about = vectors.about
            assert (about["seed"], about["start"], about["pretrain_epoch"]) == (seed, start, 0)
            assert "items.weight" in about["untrained"] and about["run"] == "none"
            found[Origin(None, start).seed(seed)] = vectors.values
    assert len(found) == 4
    assert len({values.tobytes() for values in found.values()}) == 4


def changed_raw(tiny, folder, change):
    """The raw pre-training file with another text of each line."""
    folder.mkdir()
    (file,) = (tiny / "raw").glob("*pretrain*.csv")
    lines = file.read_text().splitlines(keepends=True)
    (folder / file.name).write_text("".join(map(change, lines)))
    return folder / file.name


def test_a_new_log_is_read_as_the_store_reads_its_own(tiny, trained, tmp_path, caplog):
    """Wrong: items get other numbers, or unknown ones are left out, shift others, or end it."""
    checkpoint = ["--checkpoint", trained / "adaptssr" / "epoch1.safetensors"]
    own = embed(*checkpoint, "--out", tmp_path / "own.parquet")
    again = embed(*checkpoint, "--raw", tiny / "raw", "--out", tmp_path / "again.parquet")
    assert np.array_equal(own.values, again.values) and again.about["unknown_events"] == 0
    file = changed_raw(tiny, tmp_path / "raw", lambda line: line)
    alone = embed(*checkpoint, "--raw", file, "--out", tmp_path / "alone.parquet")
    assert np.array_equal(own.values, alone.values)
    # The last item of the second user is one that the store has never seen.
    from userbench.data.arrays import behaviours_folder, read_array

    behaviours = behaviours_folder(tiny / "store")
    known = read_array(behaviours, "item_ids.npy")
    offsets = read_array(behaviours, "offsets.npy")
    items = read_array(behaviours, "items.npy").copy()
    last = known[items[offsets[2] - 1]]
    unknown = next(str(number) for number in range(1, 10**6) if number not in known)
    lines = iter(range(10**6))

    def change(line):
        if next(lines) != 1:
            return line
        head, found, tail = line.rpartition(str(last))
        assert found
        return f"{head}{unknown}{tail}"

    file = changed_raw(tiny, tmp_path / "other", change)
    found = embed(*checkpoint, "--raw", file, "--out", tmp_path / "other.parquet")
    assert found.about["unknown_events"] == 1 and "1 of " in caplog.text
    same = (found.values == own.values).all(1)
    assert not same[1] and same[np.arange(200) != 1].mean() > 0.9
    from userbench.data.store import BehaviourStore
    from userbench.encoders import adapted_encoder
    from userbench.training.checkpoint import start_from

    store = BehaviourStore.open(tiny / "store", 20, "cpu")
    encoder = adapted_encoder(store.n_items, 0.0, "adaptssr", {}, json.loads(SMALL)).eval()
    start_from(encoder, checkpoint[1])
    masked = store.batch(torch.tensor([1])).items.clone()
    masked[0, -1] = encoder.config.mask_id
    with torch.no_grad():
        expected = encoder(masked)[0].numpy()
    np.testing.assert_allclose(found.values[1], expected, rtol=1e-4, atol=1e-6)


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    """A log of events, its store, which holds the last of everybody's out, and a checkpoint."""
    from stores import write_splits

    from userbench import pretrain
    from userbench.data.events.corpus import write_corpus
    from userbench.data.events.settings import HoldOut, corpus_settings_of

    folder = tmp_path_factory.mktemp("events")
    random = np.random.default_rng(0)
    users = [f"u{number % 30:02}" for number in range(300)]
    lines = [f"{user}::{random.integers(9, 29)}::{at}" for at, user in enumerate(users)]
    (folder / "raw").mkdir()
    (folder / "raw" / "ratings.dat").write_text("\n".join(lines) + "\n")
    named = {"user": "user", "item": "item", "time": "time", "time_unit": "s"}
    table = {"files": ["ratings.dat"], "columns": ["user", "item", "time"], **named}
    settings = corpus_settings_of({"events": {"rating": table}, "hold_out": {"last": 3}})
    write_corpus(folder / "raw", settings, folder / "store")
    write_splits(folder / "store", [], "interaction", 0, folder / "splits")
    data = ["--store", folder / "store", "--splits", folder / "splits", "--encoder", SMALL]
    size = ["--epochs", "1", "--batch-size", "16", "--keep", "1", "--seed", "0"]
    flags = [*data, *size, "--method", "adaptssr", "--device", "cpu", "--out", folder]
    pretrain.main(list(map(str, flags)))
    assert settings.hold_out == HoldOut(last=3)
    return folder


@pytest.mark.parametrize("name", ["v.parquet", "v.npy"])
def test_vectors_carry_the_ids_of_the_raw_data(events, tmp_path, name):
    """Wrong: she gets row numbers, which mean nothing outside of the store."""
    found = embed("--checkpoint", events / "epoch1.safetensors", "--out", tmp_path / name)
    assert found.ids.to_pylist() == [f"u{number:02}" for number in range(30)]


def test_a_new_log_of_events_has_users_and_items_of_its_own(events, tmp_path, caplog):
    """Wrong: an unknown item ends the command, is skipped, or is taken for another one."""
    checkpoint = ["--checkpoint", events / "epoch1.safetensors"]
    own = embed(*checkpoint, "--out", tmp_path / "own.parquet")
    lines = (events / "raw" / "ratings.dat").read_text().splitlines()
    # What the store holds of u01, in another order of lines; and two users that it does not know.
    first = [line for line in lines if line.startswith("u01:")][:7]
    shifted = [line.replace("u01", "new") for line in first]
    item = shifted[-1].split("::")[1]
    unknown = shifted[:-1] + [shifted[-1].replace(f"::{item}::", "::12345::")]
    odd = [line.replace("new", "odd") for line in unknown]
    log = tmp_path / "later.dat"
    log.write_text("\n".join([*reversed(first), *shifted, *odd]) + "\n")
    found = embed(*checkpoint, "--raw", log, "--out", tmp_path / "new.parquet")
    assert found.ids.to_pylist() == ["u01", "new", "odd"]
    assert found.about["unknown_events"] == 1
    assert "1 of 21 events are of items that store does not know" in caplog.text.replace(
        str(events) + "/", ""
    )
    np.testing.assert_allclose(found.values[0], own.values[1], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.values[1], own.values[1], rtol=1e-4, atol=1e-6)
    assert np.abs(found.values[2] - found.values[1]).max() > 1e-3
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_several_kinds_of_event_are_no_single_file(tmp_path):
    """Wrong: one file is read as both kinds."""
    from userbench.data.events.settings import corpus_settings_of
    from userbench.data.new_log import of_one_file

    tables = {kind: {"files": [f"{kind}.csv"], "user": "u", "item": "i"} for kind in ("buy", "see")}
    with pytest.raises(ValueError, match="Pass the folder of buy.csv, see.csv"):
        of_one_file(corpus_settings_of({"events": tables}), tmp_path / "x.csv")


def other_store(tiny, tmp_path):
    from userbench.data import simulate
    from userbench.data.ingest import write_behaviours

    size = ["--users", "30", "--items", "200", "--seed", "9"]
    simulate.main(["--format", "ttl", *size, "--out", str(tmp_path / "other-raw")])
    write_behaviours(tmp_path / "other-raw", "ttl", tmp_path / "other" / "behaviours")
    return tmp_path / "other"


BAD = {
    "nothing": (lambda c, t, p: ["--seed", "0"], "--store is missing"),
    "no seed": (lambda c, t, p: ["--store", t / "store"], "--seed is missing"),
    "no checkpoint": (
        lambda c, t, p: ["--checkpoint", p / "x.safetensors"],
        "x.safetensors: no such file",
    ),
    "other store": (
        lambda c, t, p: ["--checkpoint", c, "--store", other_store(t, p)],
        "pre-trained on another corpus than that of",
    ),
    "sizes": (
        lambda c, t, p: ["--checkpoint", c, "--encoder", '{"dim": 4}'],
        "the encoder has",
    ),
    "twice": (lambda c, t, p: ["--checkpoint", c, c], "one file for 2 encoders. Put {seed} and"),
    "raw": (lambda c, t, p: ["--checkpoint", c, "--raw", p / "x"], "x: does not exist"),
    "suffix": (
        lambda c, t, p: ["--checkpoint", c, "--out", p / "v.csv"],
        "v.csv: vectors are written as .parquet or .npy",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line(tiny, trained, tmp_path, name):
    """Wrong: vectors of other items, or a file that is overwritten by the next one."""
    from userbench import embed

    make, message = BAD[name]
    flags = make(trained / "mlm" / "epoch1.safetensors", tiny, tmp_path)
    with pytest.raises(SystemExit, match=message) as caught:
        embed.main(["--out", str(tmp_path / "v.parquet"), "--device", "cpu", *map(str, flags)])
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("v.*"))
