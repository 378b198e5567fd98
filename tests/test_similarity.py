"""The cosines of Figure 5 against one user at a time, and the command that writes them."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

KINDS = ["implicit", "crop", "reorder", "mask", "other"]
ALL = ["own", "implicit", "crop", "reorder", "mask"]
SMALL = '{"dim": 8, "layers": 1, "heads": 2, "max_length": 20}'


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory):
    """Checkpoints of masked items and of AdaptSSR, and the flags of their data."""
    from userbench import pretrain

    folder = tmp_path_factory.mktemp("trained")
    data = ["--store", str(tiny / "store"), "--splits", str(tiny / "splits")]
    data += ["--encoder", SMALL, "--device", "cpu"]
    size = ["--epochs", "1", "--batch-size", "64", "--keep", "1", "--seed", "0"]
    for method in ("mlm", "adaptssr", "idicl", "clue"):
        pretrain.main([*data, *size, "--method", method, "--out", str(folder / method)])
    return folder, data


def measure(trained, out, method="adaptssr", seed=0, *flags):
    """Run the command; what it wrote."""
    from userbench import similarity

    folder, data = trained
    named = ["--run", method, "--method", method, "--seed", str(seed), "--out", str(out)]
    checkpoint = ["--checkpoint", str(folder / method / "epoch1.safetensors")]
    similarity.main([*data, *named, *checkpoint, *flags])
    return pd.read_parquet(out)


def encoder_and_store(tiny, dropout):
    """A small encoder as it is drawn, and the behaviours of 200 users."""
    from userbench.data.store import BehaviourStore
    from userbench.model.encoder import EncoderConfig, UserEncoder

    torch.manual_seed(0)
    store = BehaviourStore.open(tiny / "store", 20, "cpu")
    return UserEncoder(EncoderConfig(store.n_items, 8, 1, 2, 20), dropout), store


def flags_of(*flags):
    """The flags of the command that `untrained_encoder` reads, others left out."""
    from userbench import similarity

    needed = ["--store", "a", "--splits", "a", "--run", "a", "--checkpoint", "a", "--out", "a"]
    return similarity.Options(
        **vars(similarity.flags().parse_args([*needed, "--seed", "0", "--encoder", SMALL, *flags]))
    )


@pytest.mark.parametrize("encode", ["evaluation", "training"])
def test_cosines_are_those_of_one_user_at_a_time(tiny, monkeypatch, encode):
    """Wrong: rows of a batch are mixed up, padding speaks, or "other" is the user herself."""
    from userbench import similarity
    from userbench.views import operators

    encoder, store = encoder_and_store(tiny, dropout=0.0)
    users = torch.randperm(store.n_users)[:37]
    seen = []
    drawn = similarity.sequences
    monkeypatch.setattr(similarity, "ENCODED_AT_ONCE", 10)
    monkeypatch.setattr(similarity, "sequences", lambda *a: seen.append(drawn(*a)) or seen[-1])
    found = similarity.cosines(encoder, store, users, operators.Options(), encode)

    def vector(row):
        return encoder(row[row != 0][None])[0].detach().numpy()

    rows = [
        {kind: items[n] for kind, items in part.items()}
        for part in seen
        for n in range(len(part["own"]))
    ]
    assert len(rows) == 37
    for place, user in enumerate(rows):
        behaviours = store.batch(users[place : place + 1]).items[0]
        assert user["own"][user["own"] != 0].tolist() == behaviours.tolist()
        own = vector(user["own"])
        others = {**user, "other": rows[(place + 1) % 37]["own"]}
        for kind in KINDS:
            other = vector(others[kind])
            expected = own @ other / np.linalg.norm(own) / np.linalg.norm(other)
            assert found[kind][place] == pytest.approx(expected, abs=1e-5)
    assert torch.allclose(found["implicit"], torch.ones(37), atol=1e-5)  # no dropout, no twin


def test_only_the_twin_is_encoded_under_dropout(tiny):
    """Wrong: noise of dropout is in what is called the original, an augmentation or another."""
    from userbench.similarity import cosines, directions, sequences
    from userbench.views import operators

    encoder, store = encoder_and_store(tiny, dropout=0.5)
    users, views = torch.arange(20), operators.Options()
    drawn = sequences(store.batch(users).items, views, encoder.config.mask_id)
    seeds = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        seeds.append(directions(encoder, drawn, ["implicit"]))
    for name in ALL:
        assert torch.equal(seeds[0][name], seeds[1][name]) == (name != "implicit"), name
    exact = encoder.eval()(drawn["own"]).detach()
    torch.testing.assert_close(seeds[0]["own"], exact / exact.norm(dim=1, keepdim=True))
    # And so of what is written, where the augmentations are drawn, too.
    first, again = (cosines(encoder, store, users, views, "evaluation") for _ in range(2))
    assert torch.equal(first["other"], again["other"])
    assert not torch.equal(first["implicit"], again["implicit"])


def test_in_training_mode_one_pass_encodes_all(tiny):
    """Wrong: cosines of that reading are no longer those of the figures made with it."""
    from userbench.similarity import cosines, sequences
    from userbench.views import operators

    encoder, store = encoder_and_store(tiny, dropout=0.3)
    users = torch.arange(20)
    torch.manual_seed(3)
    found = cosines(encoder, store, users, operators.Options(), "training")
    torch.manual_seed(3)
    drawn = sequences(store.batch(users).items, operators.Options(), encoder.config.mask_id)
    vectors = encoder.train()(torch.cat([drawn[name] for name in ALL])).detach().chunk(5)
    expected = dict(zip(ALL, vectors, strict=True))
    expected["other"] = expected["own"].roll(-1, 0)
    for kind in KINDS:
        cosine = torch.cosine_similarity(expected["own"], expected[kind])
        torch.testing.assert_close(found[kind], cosine)


@pytest.mark.parametrize("method", ["adaptssr", "clue", "mlm"])
@pytest.mark.parametrize("change", ["{}", '{"dropout": 0.3}'])
def test_the_rate_is_that_of_the_flags_or_of_the_pretraining(method, change):
    """Wrong: methods are compared at different rates, or one flag is ignored."""
    from userbench.model.encoder import Dropout
    from userbench.similarity import untrained_encoder

    def rates(*flags):
        encoder = untrained_encoder(9, flags_of("--method", method, "--set", change, *flags))
        return {part.p for part in encoder.modules() if isinstance(part, Dropout)}

    of_pretraining = 0.3 if change != "{}" else {"mlm": 0.5}.get(method, 0.1)
    assert rates() == rates("--encode", "evaluation") == {0.1}
    assert rates("--dropout", "0.2") == {0.2}
    assert rates("--encode", "training") == {of_pretraining}


def test_the_file_holds_every_held_out_user_and_draw(trained, tiny, tmp_path):
    """Wrong: users whom pre-training has seen, a missing draw, or cosines beyond one."""
    from userbench.data.splits import VALIDATION, load_user_split

    table = measure(trained, tmp_path / "a.parquet", "adaptssr", 0, "--draws", "3")
    held_out = (load_user_split(tiny / "splits") == VALIDATION).nonzero()[:, 0].tolist()
    about = ["run", "corpus", "seed", "encode", "dropout", "user", "draw"]
    assert list(table.columns) == [*about, *KINDS]
    assert set(table["encode"]) == {"evaluation"} and set(table["dropout"]) == {0.1}
    assert sorted(table["user"].unique()) == held_out
    assert (table.groupby("user")["draw"].nunique() == 3).all()
    assert table[KINDS].abs().max().max() <= 1 + 1e-6
    config = json.loads((tmp_path / "a.parquet.provenance.json").read_text())["config"]
    assert (config["encode"], config["dropout"]) == ("evaluation", 0.1)
    # The twin differs by dropout, and only by that: it is nearer than another user.
    assert 0.5 < table["implicit"].mean() < 1 - 1e-4
    assert table["implicit"].mean() > table["other"].mean()


def test_same_seed_same_bytes(trained, tmp_path):
    """Wrong: something is drawn outside of the seed."""
    files = [tmp_path / name for name in ("a", "b", "c")]
    for file, seed in zip(files, (0, 0, 1), strict=True):
        measure(trained, file, "adaptssr", seed)
    first, again, other = (file.read_bytes() for file in files)
    assert first == again != other


@pytest.mark.parametrize("method", ["mlm", "idicl", "clue"])
def test_encoders_of_other_methods_are_read_as_they_are(trained, tmp_path, method):
    """Wrong: no pooling query (MLM), or a wider user vector (IDICL), stops the command, or
    something beside dropout (a batch norm) makes twin and original differ."""
    table = measure(trained, tmp_path / "a.parquet", method, 0, "--users", "9", "--dropout", "0")
    assert table["user"].nunique() == 9
    assert table["implicit"].min() > 1 - 1e-5
    training = ["--users", "9", "--encode", "training"]
    table = measure(trained, tmp_path / "b.parquet", method, 0, *training)
    assert table["implicit"].max() < 1 - 1e-4
    assert set(table["dropout"]) == {0.5 if method == "mlm" else 0.1}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--views", '{"crop": 0.5}'], "--views has no hyper-parameter 'crop'"),
        (["--views", '{"crop_ratio": 2.0}'], "crop_ratio=2.0: must be above 0"),
        (["--users", "1"], "another user is needed"),
        (["--encode", "training", "--dropout", "0.1"], "--dropout 0.1: in training mode"),
        (["--dropout", "1"], "--dropout 1.0: must be 0 or more, and below 1"),
        (["--dropout", "nan"], "--dropout nan: must be"),
        (["--set", '{"coefficients": 1}'], "no hyper-parameter 'coefficients'"),
    ],
)
def test_errors_are_one_line(trained, tmp_path, flags, message):
    with pytest.raises(SystemExit, match=message):
        measure(trained, tmp_path / "a.parquet", "adaptssr", 0, *flags)
    assert not (tmp_path / "a.parquet").exists()
