"""What must be equal for every method at one seed, so that their scores can be paired."""

import json

import pytest
import torch
from small_runs import data_flags, pretrain


def test_generators_of_their_own():
    """Wrong: two names share their draws, or what was drawn before moves them."""
    from userbench.seeds import generator_of, seed_of

    drawn = torch.rand(5, generator=generator_of(3, "age", "head"))
    torch.rand(7)
    assert torch.equal(torch.rand(5, generator=generator_of(3, "age", "head")), drawn)
    others = [(4, "age", "head"), (3, "gender", "head"), (3, "age"), (3, "agehead"), (3, "3")]
    assert len({seed_of(*of) for of in [(3, "age", "head"), *others]}) == 6


@pytest.fixture
def begun(tiny, tmp_path, monkeypatch):
    """What a method's fine-tuning begins with: head, order of every epoch, and torch's stream."""
    from userbench import finetune

    def begin(name, task, *flags):
        seen = {"orders": []}
        original = finetune.order_of_labelled

        def order_of_labelled(*given):
            seen["orders"].append(original(*given))
            return seen["orders"][-1]

        def adam(model, *given):
            seen["head"] = {key: value.clone() for key, value in model["head"].state_dict().items()}
            seen["stream"] = torch.get_rng_state()
            return optimizer(model, *given)

        optimizer = finetune.Adam
        with monkeypatch.context() as patch:
            patch.setattr(finetune, "order_of_labelled", order_of_labelled)
            patch.setattr(finetune, "Adam", adam)
            task_options = {
                "name": task,
                "kind": KINDS[task],
                "lr": 1e-2,
                "batch_size": 64,
                "epochs": 2,
            }
            task_options = json.dumps({**task_options, "out": str(tmp_path / name / "scores.json")})
            finetune.main([*data_flags(tiny), "--run", name, *flags, "--task", task_options])
        return seen

    return begin


KINDS = {"age": "classification", "click": "top_n"}


@pytest.mark.parametrize("task", ["age", "click"])
def test_methods_begin_alike(begun, tiny, tmp_path, task):
    """Wrong: IDICL, whose encoder and first layer are larger, meets other chance than the rest."""
    path = pretrain(tiny, tmp_path / "idicl", method="idicl", epochs=1) / "epoch1.safetensors"
    ours = begun("cl4srec", task, "--method", "cl4srec")
    for theirs in (
        begun("idicl", task, "--method", "idicl"),
        begun("idicl", task, "--method", "idicl", "--init", str(path)),
    ):
        for name in ("head.score.weight", "head.score.bias", "head.widen.bias"):
            assert torch.equal(ours["head"][name], theirs["head"][name]), name
        assert ours["head"]["head.widen.weight"].shape != theirs["head"]["head.widen.weight"].shape
        assert len(ours["orders"]) == len(theirs["orders"]) == 2
        assert all(map(torch.equal, ours["orders"], theirs["orders"]))
        assert torch.equal(ours["stream"], theirs["stream"])
    assert not torch.equal(*ours["orders"])
    assert not torch.equal(
        ours["head"]["head.score.weight"],
        begun("x", task, "--seed", "1")["head"]["head.score.weight"],
    )


def test_pretraining_takes_users_in_one_order(tiny, tmp_path, monkeypatch):
    """Wrong: two methods meet the training users in different orders at one seed."""
    from userbench import pretrain as loop

    orders_of = {}
    original = loop.order_of_epoch
    for name in ("cl4srec", "idicl", "mlm"):
        orders = orders_of.setdefault(name, [])
        monkeypatch.setattr(
            loop, "order_of_epoch", lambda *given, to=orders: to.append(original(*given)) or to[-1]
        )
        pretrain(tiny, tmp_path / name, method=name)
    for name in ("idicl", "mlm"):
        assert all(map(torch.equal, orders_of["cl4srec"], orders_of[name]))
    assert len(orders_of["mlm"]) == 2 and not torch.equal(*orders_of["mlm"])
