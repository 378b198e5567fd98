"""The cosines of Figure 5 against one user at a time, and the command that writes them."""

import numpy as np
import pandas as pd
import pytest
import torch

KINDS = ["implicit", "crop", "reorder", "mask", "other"]
SMALL = '{"dim": 8, "layers": 1, "heads": 2, "max_length": 20}'


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory):
    """Checkpoints of masked items and of AdaptSSR, and the flags of their data."""
    from userbench import pretrain

    folder = tmp_path_factory.mktemp("trained")
    data = ["--store", str(tiny / "store"), "--splits", str(tiny / "splits")]
    data += ["--encoder", SMALL, "--device", "cpu"]
    size = ["--epochs", "1", "--batch-size", "64", "--keep", "1", "--seed", "0"]
    for method in ("mlm", "adaptssr", "idicl"):
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


def test_cosines_are_those_of_one_user_at_a_time(tiny, monkeypatch):
    """Wrong: rows of a batch are mixed up, padding speaks, or "other" is the user herself."""
    from userbench import similarity
    from userbench.data.store import BehaviourStore
    from userbench.encoder import EncoderConfig, UserEncoder
    from userbench.views import operators

    torch.manual_seed(0)
    store = BehaviourStore.open(tiny / "store", 20, "cpu")
    encoder = UserEncoder(EncoderConfig(store.n_items, 8, 1, 2, 20), dropout=0.0).train()
    users = torch.randperm(store.n_users)[:37]
    seen = []
    drawn = similarity.sequences
    monkeypatch.setattr(similarity, "ENCODED_AT_ONCE", 10)
    monkeypatch.setattr(similarity, "sequences", lambda *a: seen.append(drawn(*a)) or seen[-1])
    found = similarity.cosines(encoder, store, users, operators.Options())

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


def test_the_file_holds_every_held_out_user_and_draw(trained, tiny, tmp_path):
    """Wrong: users whom pre-training has seen, a missing draw, or cosines beyond one."""
    from userbench.data.splits import VALIDATION, load_split

    table = measure(trained, tmp_path / "a.parquet", "adaptssr", 0, "--draws", "3")
    held_out = (load_split(tiny / "splits", "pretrain") == VALIDATION).nonzero()[:, 0].tolist()
    assert list(table.columns) == ["run", "corpus", "seed", "user", "draw", *KINDS]
    assert sorted(table["user"].unique()) == held_out
    assert (table.groupby("user")["draw"].nunique() == 3).all()
    assert table[KINDS].abs().max().max() <= 1 + 1e-6
    assert (tmp_path / "a.parquet.provenance.json").exists()
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


@pytest.mark.parametrize("method", ["mlm", "idicl"])
def test_encoders_of_other_methods_are_read_as_they_are(trained, tmp_path, method):
    """Wrong: no pooling query (MLM), or a wider user vector (IDICL), stops the command."""
    table = measure(trained, tmp_path / "a.parquet", method, 0, "--users", "9")
    assert table["user"].nunique() == 9


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--views", '{"crop": 0.5}'], "--views has no hyper-parameter 'crop'"),
        (["--views", '{"crop_ratio": 2.0}'], "crop_ratio=2.0: must be above 0"),
        (["--users", "1"], "another user is needed"),
        (["--set", '{"coefficients": 1}'], "no hyper-parameter 'coefficients'"),
    ],
)
def test_mistakes_are_one_line(trained, tmp_path, flags, message):
    with pytest.raises(SystemExit, match=message):
        measure(trained, tmp_path / "a.parquet", "adaptssr", 0, *flags)
    assert not (tmp_path / "a.parquet").exists()
