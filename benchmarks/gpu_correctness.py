"""Is a GPU's step the CPU's, and does it repeat: a section of `benchmarks.gpu`."""

from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from benchmarks.corpus import simulated_store
from benchmarks.gpu_training import METHODS, Row, Setting, attempt, batches, training
from userbench.data.store import BehaviourStore
from userbench.model.encoder import EncoderConfig, UserEncoder
from userbench.model.losses import sample_items
from userbench.training import optimizer
from userbench.training.acceleration import captured
from userbench.training.optimizer import Adam
from userbench.views import fill


class SameDraws(TorchFunctionMode):
    """Random numbers from the CPU's generator, whatever device asks for them."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        """Draw on the CPU, then move."""
        kwargs = dict(kwargs or {})
        if func in (torch.rand, torch.randint):
            device = kwargs.pop("device", None)
            return func(*args, **kwargs).to(device or "cpu")
        if func in (torch.Tensor.exponential_, torch.Tensor.uniform_):
            return args[0].copy_(func(torch.empty(args[0].shape, dtype=args[0].dtype)))
        return func(*args, **kwargs)


class SameFills:
    """CCL's fills: those that the first caller draws, for every later one.

    Another device or precision would draw others, from as good a softmax: it takes random numbers
    in another order, or rounds logits otherwise.
    """

    drawn: Tensor | None = None

    def __call__(self, states: Tensor, *given: Any) -> Tensor:
        """An item for each row."""
        if self.drawn is None:
            self.drawn = sample_items(states, *given)
        return self.drawn.to(states.device)


def drawn_alike(
    store: BehaviourStore, name: str, precision: str, users: Tensor, fills: SameFills
) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss and gradients of a method on a device, without dropout, from the same random numbers."""
    with SameDraws(), mock.patch.object(fill, "sample_items", fills):
        trained = training(store, name, precision, "none", torch.device("cpu"), dropout=0.0)
        torch.manual_seed(1)
        loss, _ = trained.method(store.bounded_batch(users), 0.5)
    loss.backward()
    gradients = {
        part: value.grad.cpu()
        for part, value in trained.method.named_parameters()
        if value.grad is not None
    }
    return loss.detach().cpu(), gradients


def correctness(setting: Setting) -> Iterator[Row]:
    """Is a GPU's step the CPU's? What does bf16 change? Does a step repeat, captured or not?"""
    on_cpu = simulated_store(2_000, setting.compared_items, setting.max_length, torch.device("cpu"))
    moved = {name: getattr(on_cpu, name).to(setting.device) for name in ("items", "offsets")}
    on_device = BehaviourStore(
        **moved,
        lengths=on_cpu.lengths.to(setting.device),
        n_items=on_cpu.n_items,
        max_length=on_cpu.max_length,
    )
    users = torch.arange(setting.batch_size)
    for name in METHODS:

        def compare(name: str = name) -> Row:
            fills = SameFills()
            reference = drawn_alike(on_cpu, name, "fp32", users, fills)
            exact = drawn_alike(on_device, name, "fp32", users, fills)
            rounded = drawn_alike(on_device, name, "bf16", users, fills)
            loss, gradient = difference(exact, reference)
            loss_of_bf16, gradient_of_bf16 = difference(rounded, exact)
            return {
                "loss_error": loss,
                "gradient_error": gradient,
                "bf16_loss_error": loss_of_bf16,
                "bf16_gradient_error": gradient_of_bf16,
                "ok": loss <= 1e-4 and gradient <= 1e-3 and loss_of_bf16 <= 5e-2,
            }

        yield attempt({"what": name, "check": "CPU and GPU, fp32 and bf16"}, compare)
    facts = {"what": "item table", "check": "Adam by rows, and over all rows in float64"}
    yield attempt(facts, lambda: stepped_by_rows(setting))
    for name in METHODS:

        def repeat(name: str = name) -> Row:
            with deferred_at_any_size():
                first, again = (losses_of_steps(on_device, name, "none", setting) for _ in range(2))
                found = {"repeats": torch.equal(first, again)}
                if setting.device.type == "cuda":
                    captured = losses_of_steps(on_device, name, "graph", setting)
                    found["captured_error"] = float((captured - first).abs().max())
                    found["ok"] = found["captured_error"] <= 1e-2 * float(first.abs().max())
            return found

        yield attempt({"what": name, "check": "twice, and captured"}, repeat)


def difference(
    one: tuple[Tensor, dict[str, Tensor]], other: tuple[Tensor, dict[str, Tensor]]
) -> tuple[float, float]:
    """Relative error of the loss, and of all gradients together."""
    of_loss = float((one[0] - other[0]).abs() / other[0].abs().clamp(min=1e-3))
    assert one[1].keys() == other[1].keys()
    error = sum(float((one[1][part] - value).square().sum()) for part, value in other[1].items())
    size = sum(float(value.square().sum()) for value in other[1].values())
    return of_loss, (error / size) ** 0.5


def stepped_by_rows(setting: Setting, steps: int = 300) -> Row:
    """How far the optimizer of large item tables, captured, goes astray from torch's Adam."""
    torch.manual_seed(0)
    encoder = UserEncoder(EncoderConfig(setting.compared_items), dropout=0.0).to(setting.device)
    with deferred_at_any_size():
        adam = Adam(encoder, 1e-3, "dense", encoder.items)
    exact = encoder.items.weight.detach().double().requires_grad_()
    dense = torch.optim.Adam([exact], lr=1e-3)

    def step(ids: Tensor, gradient: Tensor) -> Tensor:
        loss = (encoder.items(ids) * gradient).sum()
        adam.step(loss)
        return loss.detach()

    take_step = captured(step, "graph" if setting.device.type == "cuda" else "none")
    for _ in range(steps):
        # Zipf's law: some rows are read in every step, others rest for hundreds.
        rank = setting.compared_items ** torch.rand(50 * setting.batch_size, device=setting.device)
        gradient = torch.randn(len(rank), encoder.config.dim, device=setting.device)
        take_step(rank.long(), gradient)
        exact.grad = torch.zeros_like(exact).index_add_(0, rank.long(), gradient.double())
        dense.step()
    error = float((encoder.items.whole() - exact).detach().abs().max())
    return {"table_error": error, "ok": error <= 1e-6}


def deferred_at_any_size() -> Any:
    """Inside, optimizers do for any item table what they do for those of the paper's scale."""
    return mock.patch.object(optimizer, "DEFERRED_FROM", 1)


def losses_of_steps(store: BehaviourStore, name: str, capture: str, setting: Setting) -> Tensor:
    """Losses of some steps with dropout on, from one seed."""
    trained = training(store, name, "fp32", capture)
    torch.manual_seed(2)
    # Why one batch: its shape is captured in the second step, however few there are.
    users = next(batches(store, setting.batch_size))
    losses = [trained.step(store.bounded_batch(users), 0.5).cpu().clone() for _ in range(6)]
    return torch.stack(losses)
