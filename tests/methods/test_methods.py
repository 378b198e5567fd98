"""The conformance checks on every file in methods/: a new file is tested without further code.

`python -m userbench conformance` runs the same checks on a method outside of this package.
"""

import random
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

import userbench
from userbench import conformance
from userbench.conformance import CHECKS, EVERYONE, SIZES
from userbench.method import Objective, PretrainMethod, TrainingConfig, load_method
from userbench.model.augment import mask
from userbench.model.encoder import AttentionPooling
from userbench.model.losses import nt_xent
from userbench.pretrain import no_more_than_popularity

NAMES = sorted(
    path.stem
    for path in Path(userbench.__file__).parent.glob("methods/*.py")
    if path.stem != "__init__"
)


@pytest.fixture(scope="module")
def store():
    """Users of two tastes, with every length from 1 to 12."""
    return conformance.toy_store()


def build(name, store, **changes):
    module = load_method(name)
    return conformance.build(conformance.Case(module, replace(module.Config(), **changes), store))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", NAMES)
def test_conformance(name, check, store):
    module = load_method(name)
    check(conformance.Case(module, module.Config(), store))


# Losses of the first four steps on the store above: no refactoring may change one. A commit that
# changes them on purpose says `numbers:` in its title and edits them here.
TRAJECTORY = {
    "adaptssr": [0.636921, 0.58997, 0.593043, 0.578217],
    "ccl": [1.10917, 1.653336, 1.671578, 1.050768],
    "cl4srec": [2.786536, 2.581134, 2.378871, 2.971416],
    "clue": [0.143852, -0.003797, -0.201652, -0.145749],
    "coserec": [3.098701, 2.656289, 2.305683, 2.58421],
    "duorec": [3.425826, 2.824036, 2.741911, 1.873366],
    "idicl": [5.36286, 3.899859, 3.440352, 2.973417],
    "mlm": [3.695567, 3.7093, 3.68821, 3.675985],
    "peterrec": [3.695567, 3.7093, 3.68821, 3.675985],
    "ptum": [3.160655, 3.165967, 3.201272, 3.168135],
}


@pytest.mark.parametrize("name", sorted(TRAJECTORY))
def test_trajectory(name, store):
    method = build(name, store)
    # Why this eps: with Adam's default, a gradient that is float noise causes whole steps in the
    # direction of its sign, which differs between processors. CLUE, whose normalised heads have
    # many such gradients, differed by 1e-2.
    optimizer = torch.optim.Adam(method.parameters(), lr=1e-2, eps=1e-3)
    losses = []
    for users in EVERYONE.view(4, -1):
        loss, _ = method(store.batch(users), progress=0.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses == pytest.approx(TRAJECTORY[name], rel=1e-4, abs=1e-5)


def test_mlm_has_a_sampled_form(store):
    """Else the item table of the paper's size would need its exact softmax."""
    method = build("mlm", store, negatives=16)
    loss, _ = method(store.batch(EVERYONE), progress=0.0)
    loss.backward()
    assert loss.isfinite()


def test_mlm_masks_the_share_of_its_config(store):
    """ceil(0.3 n) behaviours of every user are predicted, all of them replaced by the mask."""
    from userbench.model.augment import proper_share

    torch.manual_seed(0)
    batch = store.batch(EVERYONE)
    hidden = mask(batch.items, 0.3, SIZES.mask_id) != batch.items
    assert torch.equal(hidden.sum(1), proper_share(store.lengths, 0.3))


def test_mlm_may_start_at_item_frequencies(store):
    """Else the first prediction would not be the unigram distribution."""
    method = build("mlm", store, bias_start="frequency")
    counts = np.bincount(store.items.numpy(), minlength=SIZES.n_items + 1) + 1
    assert method.bias.exp().tolist() == pytest.approx((counts / counts.sum()).tolist())


def test_mlm_logs_what_frequencies_alone_would_lose(store):
    """Else a warm start that has learnt only popularity would seem to be a trained one."""
    method = build("mlm", store, bias_start="frequency").eval()
    batch = store.batch(EVERYONE)
    torch.manual_seed(0)
    view = mask(batch.items, method.config.mask_ratio, SIZES.mask_id)
    hidden = batch.items[view != batch.items]
    counts = np.bincount(store.items.numpy(), minlength=SIZES.n_items + 1) + 1
    expected = -np.log(counts[hidden.numpy()] / counts.sum()).mean()
    torch.manual_seed(0)
    _, logs = method(batch, 0.0)
    assert float(logs["unigram"]) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("last", "warned"),
    [
        ({"loss": 6.0, "unigram": 6.5}, False),
        ({"loss": 6.47, "unigram": 6.5}, True),
        ({"loss": 7.0, "unigram": 6.5}, True),
        ({"loss": 7.0}, False),
    ],
)
def test_a_training_that_learnt_popularity_alone_is_reported(last, warned):
    """Else its row would measure popularity; a method without this log is never reported."""
    curve = [{"loss": 1.0, "unigram": 9.0}, {"split": "validation", **last}]
    assert ("frequencies alone" in no_more_than_popularity(curve)) == warned


# ---------------------------------------------------------------- every check catches something


@dataclass(frozen=True)
class Config(TrainingConfig):
    """No field of its own."""


class Method(PretrainMethod):
    """Passes all checks: encoded twice under different dropout masks, a user attracts itself."""

    def forward(self, batch, progress):
        return Objective(self.contrast(batch.items))

    def contrast(self, items):
        return nt_xent(self.encoder(items), self.encoder(items), "cosine", 0.1)


class Undecorated(TrainingConfig):
    """Its temperature is no field, as the decorator is missing."""

    temperature: float = 0.1


@dataclass(frozen=True)
class Tolerant(TrainingConfig):
    """Accepts any field."""

    def __init__(self, lr=2e-4, dropout=0.1, **others):
        super().__init__(lr, dropout)


def module_with(config=Config, doc="An idea (Somebody, 2020).", **parts):
    """A module like a file in methods/, whose `Method` has these parts in place of its own."""
    module = ModuleType("of_somebody", doc)
    module.Config, module.Method = config, type("Method", (Method,), parts)
    return module


def loss_is(function):
    """The part of a method whose loss is function(method, batch, progress)."""
    return {"forward": lambda self, batch, progress: Objective(function(self, batch, progress))}


def logs_its_graph(self, batch, progress):
    loss = self.contrast(batch.items)
    return Objective(loss, {"doubled": 2 * loss})


def gradient_of_root_is_infinite(self, batch, progress):
    spread = (batch.items != 0).sum(1).float().var()
    return self.contrast(batch.items) + (spread * self.encoder.norm.weight[0]).sqrt()


def climbs(self, batch, progress):
    loss = self.contrast(batch.items)
    return 2 * loss.detach() - loss


def writes_into_the_batch(self, batch, progress):
    batch.items[:, 0] = self.encoder.config.mask_id
    return self.contrast(batch.items)


def counts_everybody(self, store, users):
    self.popularity = store.items.bincount(minlength=store.n_items + 1) / len(store.items)


def pools_three_times(self, encoder, config):
    PretrainMethod.__init__(self, encoder, config)
    encoder.pooling = AttentionPooling(encoder.config.dim, queries=3)


def pools_padding_too(encoder, config):
    encoder.pooling.forward = lambda hidden, items: hidden.mean(1)


def counts_its_steps(self, batch, progress):
    self.steps = getattr(self, "steps", 0) + 1
    return Objective(self.contrast(batch.items) * self.steps)


def has_a_wrong_width(encoder, config):
    encoder.pooling.width = 99


BROKEN = [
    ("config_is_a_frozen_dataclass", {"config": Undecorated}, "missing above Config"),
    ("config_is_a_frozen_dataclass", {"config": Tolerant}, "temprature"),
    ("docstring_names_a_source", {"doc": "An idea."}, "no year"),
    (
        "loss_and_logs_are_finite_scalars",
        {"forward": lambda self, batch, progress: self.contrast(batch.items)},
        "no Objective",
    ),
    (
        "loss_and_logs_are_finite_scalars",
        loss_is(lambda self, batch, progress: self.contrast(batch.items) / 0),
        "the loss is inf at progress 0.0",
    ),
    ("loss_and_logs_are_finite_scalars", {"forward": logs_its_graph}, "doubled .* detach"),
    (
        "gradient_reaches_the_items",
        loss_is(lambda self, batch, progress: self.encoder.norm.weight.sum()),
        "no item",
    ),
    (
        "same_seed_same_loss",
        loss_is(lambda self, batch, progress: self.contrast(batch.items) * random.random()),
        "own generator",
    ),
    (
        "two_users_of_one_behaviour_are_enough",
        loss_is(gradient_of_root_is_infinite),
        "gradient of encoder.norm.weight is not finite",
    ),
    ("sixty_steps_on_one_batch_lower_the_loss", loss_is(climbs), "from .* to"),
    ("batch_is_not_modified", loss_is(writes_into_the_batch), "batch.items was modified"),
    (
        "held_out_users_change_nothing",
        {
            "prepare": counts_everybody,
            **loss_is(lambda self, batch, progress: self.popularity[batch.items].sum()),
        },
        "change the loss",
    ),
    ("fine_tuning_loads_what_was_trained", {"__init__": pools_three_times}, "pooling.query"),
    (
        "fine_tuning_loads_what_was_trained",
        {"adapt": staticmethod(has_a_wrong_width)},
        "width",
    ),
    ("padding_changes_no_vector", {"adapt": staticmethod(pools_padding_too)}, "vectors change"),
    ("resumed_training_is_identical", {"forward": counts_its_steps}, "and resumed"),
]


def test_every_check_is_tested():
    assert {check for check, _, _ in BROKEN} == {check.__name__ for check in CHECKS}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_small_method_passes(check, store):
    """Else the next test could pass for another reason than the part it replaces."""
    module = module_with()
    check(conformance.Case(module, module.Config(), store))


@pytest.mark.parametrize(("check", "parts", "message"), BROKEN)
def test_check_catches(check, parts, message, store):
    module = module_with(**parts)
    with pytest.raises(ValueError, match=message):
        getattr(conformance, check)(conformance.Case(module, module.Config(), store))


def test_command_reports_all_checks_and_the_line(tmp_path, monkeypatch, capsys):
    """Else a user would not see all failed checks, or not the line of her file that raised."""
    (tmp_path / "hers").mkdir()
    (tmp_path / "hers/fancy.py").write_text(
        '"""Fancy (Herself, 2024)."""\n'
        "from userbench.method import PretrainMethod, TrainingConfig as Config\n"
        "class Method(PretrainMethod):\n"
        "    def forward(self, batch, progress):\n"
        "        return 1 / 0\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SystemExit, match="error: hers.fancy fails 10 of 12 checks"):
        conformance.main(["hers.fancy"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(CHECKS)
    assert lines[3].startswith("FAIL  gradient reaches the items: ZeroDivisionError")
    assert lines[3].endswith(f"(line 5 of {tmp_path}/hers/fancy.py)")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["mlmm"], "error: no method 'mlmm'"),
        (["nowhere.mine"], "error: no method 'nowhere.mine'"),
        (["userbench.model.losses"], "error: userbench.model.losses has no class Config"),
        (["mlm", "--set", '{"mask_ratoi": 0.1}'], "error: .* has no hyper-parameter 'mask_ratoi'"),
    ],
)
def test_command_reports_wrong_flags_in_one_line(words, message):
    with pytest.raises(SystemExit, match=message) as caught:
        conformance.main(words)
    assert "\n" not in str(caught.value)
