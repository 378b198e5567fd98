"""What makes a GPU faster: few shapes, lower precision, captured steps.

All of it is the same function as on a CPU, and is checked here on one.
"""

import json
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, replace
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_steps import Recorded
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks import kernels
from userbench import conformance
from userbench.data.store import Batch
from userbench.method import configure, load_method
from userbench.model.encoder import most_behaviours
from userbench.model.kernels import language
from userbench.training.optimizer import Adam

# Each method as it is by default, and what else draws or selects.
CASES = {
    **{name: (name, {}) for name in ("adaptssr", "ccl", "cl4srec", "clue", "coserec", "duorec")},
    **{name: (name, {}) for name in ("idicl", "mlm", "peterrec", "ptum")},
    "mlm sampled": ("mlm", {"negatives": 16}),
    "peterrec next": ("peterrec", {"predict": "next"}),
    "cl4srec joint": ("cl4srec", {"rec_weight": 1.0}),
    "ccl score": ("ccl", {"views": {"curriculum": "score", "ban_original": True}}),
    "adaptssr fixed": ("adaptssr", {"coefficient": 0.5}),
}


@pytest.fixture(scope="module")
def store():
    """Users of every length from 1 to the encoder's longest."""
    return conformance.toy_store()


def build(case, store, **changes):
    name, settings_of_case = {**CASES, **STUDIED}[case]
    module = load_method(name)
    config = replace(configure(module, settings_of_case), **changes)
    return conformance.build(conformance.Case(module, config, store))


def loss_and_gradients(method, batch):
    torch.manual_seed(1)
    loss, _ = method(batch, progress=0.5)
    loss.backward()
    return loss, {name: value.grad for name, value in method.named_parameters()}


# ------------------------------------------------------------------------------ shapes from bounds


def bounded(lengths, copies=1):
    """Random sequences of these lengths on the host, and views of them that are not longer."""
    from userbench.data.store import BehaviourStore

    lengths = torch.tensor(lengths)
    store = BehaviourStore(
        items=torch.randint(1, 51, (int(lengths.sum()),)),
        offsets=torch.nn.functional.pad(lengths.cumsum(0), (1, 0)),
        lengths=lengths,
        n_items=50,
        max_length=60,
    )
    batch = store.bounded_batch(torch.arange(len(lengths)))
    views = batch.items.repeat(copies, 1)
    kept = (views != 0).sum(1)
    kept[len(lengths) :] = (kept[len(lengths) :] * torch.rand(len(kept) - len(lengths))).ceil()
    return batch, views * (torch.arange(views.shape[1]) < kept[:, None])


@pytest.fixture(scope="module")
def encoder():
    from userbench.model.encoder import EncoderConfig, UserEncoder

    torch.manual_seed(0)
    return UserEncoder(EncoderConfig(n_items=50, dim=8, max_length=60), dropout=0.0)


@settings(deadline=None, max_examples=30)
@given(lengths=st.lists(st.integers(1, 60), min_size=1, max_size=40), ratio=st.floats(0.01, 1))
def test_places_are_those_chosen_and_one_behind(lengths, ratio):
    """A bound below the number of chosen positions would lose some of them."""
    from userbench.model.augment import ceil_share, lengths_of, places_of, random_subset

    batch, _ = bounded(lengths)
    counts = ceil_share(lengths_of(batch.items), ratio)
    chosen = random_subset(lengths_of(batch.items), counts, batch.items.shape[1])
    exact = places_of(chosen, None)
    places = places_of(chosen, batch.at_most(ratio))
    assert places[: len(exact)].tolist() == exact.tolist()
    assert set(places[len(exact) :].tolist()) <= {chosen.numel()}
    assert len(places) == batch.at_most(ratio)


def test_few_shapes_for_many_batches():
    """Each shape is a graph to capture: lengths as in TTL must not give a new one in every step."""
    from userbench.data.simulation.world import choose_world
    from userbench.data.store import BehaviourStore

    torch.manual_seed(0)
    shares, values = (
        torch.tensor(choose_world("ttl", 100, items=1000).lengths).double().T.contiguous()
    )
    uniform = torch.rand(20_000, dtype=torch.float64)
    at = torch.searchsorted(shares, uniform).clamp(min=1)
    slope = (values[at] - values[at - 1]) / (shares[at] - shares[at - 1])
    lengths = (values[at - 1] + slope * (uniform - shares[at - 1])).ceil().long().clamp(min=1)
    offsets = torch.nn.functional.pad(lengths.cumsum(0), (1, 0))
    store = BehaviourStore(
        torch.ones(int(offsets[-1]), dtype=torch.int32), offsets, lengths, 1, 150
    )
    shapes = [store.bounds(users) for users in torch.randperm(20_000).split(128)[:-1]]
    assert len(set(shapes)) <= 8
    assert sum(shape.behaviours for shape in shapes) < 1.06 * int(
        lengths[: len(shapes) * 128].sum()
    )


VIEWS = ("adaptssr", "ccl", "clue", "coserec", "idicl")


@pytest.mark.parametrize("name", VIEWS)
def test_views_have_no_more_behaviours_than_their_bounds(name, store):
    """Wrong: a GPU has no room for the behaviours of a view, and stops."""
    batch = store.bounded_batch(conformance.EVERYONE)
    method = build(name, store)
    for _ in range(5):
        views = torch.cat(method.views(batch, 0.9))
        bounds = method.views.bounds(batch)
        assert views.shape[1] <= bounds.longest
        assert (views != 0).sum() <= most_behaviours(views, bounds)


@pytest.mark.parametrize("case", CASES)
def test_methods_give_the_same_loss_within_bounds(case, store):
    """Views that outgrow their bounds, or predictions that are padding, would show."""
    method = build(case, store, dropout=0.0)
    exact = loss_and_gradients(method, store.batch(conformance.EVERYONE))
    method.zero_grad()
    loss, gradients = loss_and_gradients(method, store.bounded_batch(conformance.EVERYONE))
    if case.startswith("ccl"):  # it draws one random number for each place, padding or not
        assert loss.isfinite()
        return
    assert_close(loss, exact[0])
    for name, gradient in exact[1].items():
        if gradient is not None:
            assert_close(gradients[name], gradient, rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.parametrize("kept", [1, 1 << 22])
def test_target_0_is_nothing_to_predict(kept, monkeypatch):
    """In the softmax whole or in blocks, and in the sampled one: as if the row were not there."""
    from userbench.model import losses

    monkeypatch.setitem(losses.LOGITS_KEPT, "cpu", kept)
    torch.manual_seed(0)
    states, table, bias = torch.randn(9, 4), torch.randn(30, 4), torch.randn(30)
    targets = torch.tensor([3, 0, 7, 29, 0, 1, 1, 0, 5])
    negatives, frequency = torch.randint(1, 30, (8,)), torch.full((30,), 1 / 30)

    def both(rows):
        some, table_now = states[rows].requires_grad_(), table.clone().requires_grad_()
        exact = losses.item_softmax(some, targets[rows], table_now, bias)
        sampled = losses.sampled_item_softmax(
            some, targets[rows], table_now.__getitem__, bias, negatives, frequency
        )
        return exact, sampled, torch.autograd.grad(exact + sampled, table_now)[0]

    for padded, dropped in zip(both(torch.arange(9)), both(targets.nonzero()[:, 0]), strict=True):
        assert_close(padded, dropped)


# --------------------------------------------------------------------- nothing waits for the device

# Operators whose result has to reach the host before the next line can run.
WAITING = ("_local_scalar_dense", "nonzero", "_unique2", "masked_select", "repeat_interleave")
# Every tensor that the host makes of its own numbers passes this one. A GPU is sent it in a copy,
# which the host waits for and which no CUDA graph may hold.
WAITING += ("lift_fresh",)


class Waits(TorchDispatchMode):
    """Remembers which of the WAITING operators ran."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        by_mask = name in ("index", "index_put", "index_put_", "_index_put_impl_") and any(
            value is not None and value.dtype in (torch.bool, torch.uint8) for value in args[1]
        )
        if name in WAITING or by_mask:
            self.seen.add(name)
        return func(*args, **(kwargs or {}))


def test_waits_are_seen():
    """Otherwise the next test could be green for another reason than the one it gives."""
    items = torch.tensor([0, 2, 2])
    for wait, name in (
        (lambda: int(items.max()), "_local_scalar_dense"),
        (lambda: bool((items > 0).any()), "_local_scalar_dense"),
        (lambda: items[items > 0], "index"),
        (lambda: items.nonzero(), "nonzero"),
        (lambda: items.unique(), "_unique2"),
        (lambda: items.masked_select(items > 0), "masked_select"),
        (lambda: items.repeat_interleave(items), "repeat_interleave"),
        (lambda: items.__setitem__(0, 1), "lift_fresh"),
        (lambda: items[[0, 1]], "lift_fresh"),
        (lambda: torch.tensor([0, 1]), "lift_fresh"),
    ):
        with Waits() as waits:
            wait()
        assert waits.seen == {name}


# What else Figures 3 and 4 train.
STUDIED = {
    "adaptssr all pairs": ("adaptssr", {"pairs": "all"}),
    "adaptssr released": ("adaptssr", {"coefficient": "released"}),
    "adaptssr fill": ("adaptssr", {"views": {"kind": "fill"}}),
    "adaptssr informative": ("adaptssr", {"views": {"kind": "informative"}}),
    "adaptssr same_target": ("adaptssr", {"views": {"kind": "same_target"}}),
}


@contextmanager
def waits_on_a_gpu(triton=True):
    """What waits along the code paths of a GPU; kernels of our own are not run."""
    operators = kernels.Operators()
    installed = mock.patch.object(language, "INSTALLED", triton)
    with Waits() as waits, operators, kernels.as_on_a_gpu(operators), installed:
        yield waits


@pytest.mark.parametrize(
    ("case", "triton"),
    [*((case, True) for case in [*CASES, *STUDIED]), ("adaptssr", False), ("mlm", False)],
)
def test_no_step_waits_for_the_device(case, triton, store):
    """Batch, views, loss, gradients and optimizer of a step: the host may run ahead of a GPU."""
    method = build(case, store)
    optimizer = Adam(method, 1e-3, "dense", method.encoder.items)
    users = conformance.EVERYONE[:16]
    bounds = store.bounds(users)
    with waits_on_a_gpu(triton) as waits:
        batch = Batch(users, store.padded(users, bounds.longest), bounds)
        loss, _ = method(batch, progress=0.5)
        optimizer.step(loss)
    assert waits.seen == set()


@pytest.mark.parametrize(("name", "kind"), [("age", "classification"), ("click", "top_n")])
def test_no_step_of_fine_tuning_waits_for_the_device(tiny, name, kind):
    """Its graph holds the loss of a task, too, with the negatives that are drawn for it."""
    from userbench.data.splits import load_split
    from userbench.data.store import BehaviourStore
    from userbench.model.encoder import EncoderConfig, UserEncoder
    from userbench.model.tasks import Task, build_head, load_examples

    store = BehaviourStore.open(tiny / "store", 20, "cpu")
    encoder = UserEncoder(EncoderConfig(store.n_items, dim=8, max_length=20), dropout=0.1)
    task = Task(name, kind, lr=1e-3, batch_size=16, epochs=1)
    examples = load_examples(task, tiny / "store", torch.device("cpu"))
    stages = load_split(tiny / "splits", name)
    head = build_head(task, examples, stages, encoder.width, 8, seed=0)
    model = torch.nn.ModuleDict({"encoder": encoder, "head": head})
    optimizer = Adam(model, task.lr, "dense", encoder.items)
    picked = torch.arange(16)
    batch = store.bounded_batch(examples.users[picked])
    with waits_on_a_gpu() as waits:
        optimizer.step(head.loss(encoder(batch.items, batch.bounds), picked))
    assert waits.seen == set()


# ---------------------------------------------------------------------------------------- precision


@pytest.mark.parametrize("case", CASES)
def test_bf16_moves_no_loss_far_and_losses_are_fp32(case, store):
    """Rounding factors to 8 bits of the encoder alone; a loss in bf16 would lose its digits."""
    from userbench.training.acceleration import accelerate

    losses, tables = [], []
    for precision in ("fp32", "bf16"):
        method = build(case, store, dropout=0.0)
        accelerate(method.encoder, precision, "none", "cpu")
        loss, gradients = loss_and_gradients(method, store.batch(conformance.EVERYONE))
        assert loss.dtype == torch.float32
        losses.append(loss.detach())
        tables.append(gradients["encoder.items.weight"])
    assert_close(losses[1], losses[0], rtol=0.05, atol=0.02)
    assert tables[1].dtype == torch.float32
    assert not torch.equal(tables[0], tables[1])


def test_what_is_set_is_refused_in_one_line(encoder):
    from userbench.training.acceleration import accelerate

    for precision, capture, message in (
        ("fp16", "none", "precision 'fp16': use one of fp32, tf32, bf16"),
        ("fp32", "graphs", "capture 'graphs': use one of none, graph, compile"),
        ("fp32", "graph", "capture graph: needs a GPU"),
    ):
        with pytest.raises(ValueError, match=message):
            accelerate(encoder, precision, capture, "cpu")


@dataclass(frozen=True)
class Asked:
    precision: str = "auto"
    capture: str = "auto"
    item_table: str = "dense"


@pytest.mark.parametrize(
    ("asked", "on_a_cpu", "on_a_gpu", "on_an_old_gpu"),
    [
        (Asked(), ("fp32", "none"), ("bf16", "graph"), ("fp32", "graph")),
        (Asked(precision="fp32"), ("fp32", "none"), ("fp32", "graph"), ("fp32", "graph")),
        (Asked(capture="none"), ("fp32", "none"), ("bf16", "none"), ("fp32", "none")),
        (Asked("tf32", "compile"), *[("tf32", "compile")] * 3),
        (Asked(item_table="lazy"), ("fp32", "none"), ("bf16", "none"), ("fp32", "none")),
    ],
)
def test_auto_is_the_way_of_the_device(monkeypatch, asked, on_a_cpu, on_a_gpu, on_an_old_gpu):
    """A word that is given counts; a lazy table, which waits for the device, is not captured."""
    from userbench.training.acceleration import chosen

    def way(device, has_bf16):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bf16)
        options = chosen(asked, device)
        return options.precision, options.capture

    assert way("cpu", has_bf16=True) == on_a_cpu
    assert way("cuda:1", has_bf16=True) == on_a_gpu
    assert way("cuda", has_bf16=False) == on_an_old_gpu


# ----------------------------------------------------------------------------------- captured steps


def test_graphs_make_the_steps_that_were_asked_for(store):
    """Stale inputs, or a graph of another shape or stage of training, would give other losses."""

    def losses_of(take_step):
        torch.manual_seed(0)
        users = conformance.EVERYONE
        losses = []
        for number in range(24):
            some = users[torch.randperm(48)[: 16 if number % 4 else 12]]
            losses.append(float(take_step(store.bounded_batch(some), number / 96)))
        return losses

    def step(batch, progress):
        return (batch.items.double().mean() + batch.bounds.users + int(20 * progress)).float()

    graphs = Recorded(step)
    assert losses_of(graphs) == losses_of(step)
    assert 4 < graphs.captures < 16


def run_loops(tiny, out, *flags):
    """Pre-train and fine-tune by the commands; the learning curve and the scores."""
    from userbench import finetune, pretrain

    sizes = '{"dim": 8, "layers": 1, "heads": 2, "max_length": 20}'
    common = ["--store", str(tiny / "store"), "--splits", str(tiny / "splits"), "--seed", "0"]
    common += ["--encoder", sizes, "--device", "cpu", *flags]
    size = ["--epochs", "2", "--batch-size", "16", "--keep", "2", "--out", str(out)]
    pretrain.main([*common, "--method", "cl4srec", *size])
    task = {"name": "click", "kind": "top_n", "lr": 1e-2, "batch_size": 32, "epochs": 1}
    task_flags = ["--task", json.dumps({**task, "out": str(out / "click.json")}), "--run", "test"]
    finetune.main([*common, *task_flags, "--init", str(out / "epoch2.safetensors")])
    return [(out / name).read_text() for name in ("curve.json", "click.json")]


def test_loops_replay_what_they_would_have_done(tiny, tmp_path, monkeypatch):
    """A captured loop with stale users, or an optimizer outside of it, would end elsewhere."""
    from userbench import encoders, finetune, pretrain

    expected = run_loops(tiny, tmp_path / "none")
    for loop in (pretrain, finetune):
        monkeypatch.setattr(loop, "captured", lambda step, capture: Recorded(step))
    for module in (encoders, pretrain):
        monkeypatch.setattr(module, "accelerate", lambda *_: None)  # it wants a GPU
    assert run_loops(tiny, tmp_path / "graph", "--capture", "graph") == expected


def test_loops_take_a_precision_and_refuse_a_capture(tiny, tmp_path):
    rounded = run_loops(tiny, tmp_path / "bf16", "--precision", "bf16")
    assert rounded != run_loops(tiny, tmp_path / "auto")
    for folder, precision in (("bf16", "bf16"), ("auto", "fp32")):
        for name in ("epoch2.safetensors", "curve.json", "click.json"):
            record = json.loads((tmp_path / folder / f"{name}.provenance.json").read_text())
            # What it was, not what was asked for.
            assert (record["config"]["precision"], record["config"]["capture"]) == (
                precision,
                "none",
            )
    with pytest.raises(SystemExit, match="error: capture graph: needs a GPU. Use capture none"):
        run_loops(tiny, tmp_path / "graph", "--capture", "graph")
    assert not (tmp_path / "graph").exists()


@pytest.mark.slow
def test_the_transformer_can_be_compiled():
    """Anything that a compiler cannot follow would stop `--capture compile` on a GPU."""
    # In a process of its own: here, every function checks the shapes of its arguments.
    subprocess.run([sys.executable, "-c", COMPILED], check=True)


COMPILED = """
import torch
from userbench.model.encoder import EncoderConfig, UserEncoder

encoder = UserEncoder(EncoderConfig(n_items=50, dim=8, max_length=60), dropout=0.0)
encoder.packed = False  # as on a GPU
items = torch.tensor([[3, 4, 0], [5, 6, 7]])
embedded = encoder.items(items)
compiled = torch.compile(UserEncoder.encode, backend="eager", fullgraph=True, dynamic=False)
torch.testing.assert_close(compiled(encoder, embedded, items), encoder.encode(embedded, items))
"""


@pytest.mark.parametrize(
    ("precision", "rounds"), [("fp32", False), ("tf32", True), ("bf16", False)]
)
def test_heads_and_losses_round_as_the_precision_says(precision, rounds, monkeypatch):
    """Wrong: beside a bf16 Transformer heads multiply in tf32, and CLUE's gradient is off by 3%."""
    from userbench.model.encoder import EncoderConfig, UserEncoder
    from userbench.training.acceleration import accelerate

    asked = []
    monkeypatch.setattr(torch, "set_float32_matmul_precision", asked.append)
    encoder = UserEncoder(EncoderConfig(9, dim=8), 0.1)
    accelerate(encoder, precision, "none", "cuda")
    assert asked == ["high" if rounds else "highest"]
    assert encoder.bf16 == (precision == "bf16")
