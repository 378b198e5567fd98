"""What a training step asks of a GPU, counted without one: kernels, bytes, predicted milliseconds.

python -m benchmarks.kernels --out results/kernels

A step of each method at the paper's scale is taken on the CPU along the code paths of a GPU
(`Tensor.is_cuda` is true), under a dispatch mode that counts every operator that is no view, by the
part of the step it belongs to. What is counted is not what a profiler would see: an operator of
several kernels (argsort, cumsum, the backward pass of an embedding) counts as one, attention as one
forward and three backward.

Predicted: 3.95 us per kernel and 0.623 ms per GB. Counted at commit e11d820, that fits its seven
captured steps, measured on an H100 (docs/gpu.md), to 0.17 ms. Where a kernel of our own meets every
item with every prediction, arithmetic is more than nothing: it is added, at 400 TFLOP/s and 3.75 T
exponentials a second, as if nothing of it overlapped. No figure here was measured.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from benchmarks.configurations import BATCH, CANDIDATES, KINDS, PARTS, TTL_ITEMS
from benchmarks.corpus import simulated_store
from userbench import finetune, pretrain
from userbench.data.splits import TRAIN
from userbench.data.store import LabelledExamples, TargetExamples
from userbench.errors import command
from userbench.method import PretrainMethod, configure, load_method
from userbench.model.encoder import EncoderConfig, UserEncoder
from userbench.model.kernels import language
from userbench.model.kernels.language import OPERATORS
from userbench.model.tasks import Task, build_head
from userbench.results import artifact
from userbench.training import optimizer
from userbench.training.optimizer import Adam

METHODS = ("adaptssr", "coserec", "cl4srec", "ptum", "clue", "idicl", "duorec", "ccl", "mlm")
METHODS += ("peterrec",)
USERS, LEARNT_FROM, CLASSES, MAX_LENGTH = 20_000, 3_000, 8, 150
# Of the batch: its users have as many behaviours as TTL's have in the mean.
SEED = 0
# Operators that move no data, and those that only make room.
NO_KERNEL = frozenset(
    (
        *("view", "_unsafe_view", "t", "transpose", "permute", "expand", "slice", "select"),
        *("unsqueeze", "squeeze", "detach", "alias", "as_strided", "split", "split_with_sizes"),
        *("unbind", "chunk", "_reshape_alias", "diagonal", "unfold", "narrow", "view_as"),
        *("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"),
        *("lift_fresh", "_assert_async", "_record_function_enter_new", "_record_function_exit"),
    )
)
MS_PER_KERNEL, MS_PER_GB = 3.95e-3, 0.623
MS_PER_OPERATION, MS_PER_EXPONENTIAL = 1e3 / 400e12, 1e3 / 3.75e12
ADAM_BYTES = 28  # of a parameter: read weight, gradient and two moments, write all but the gradient


class Count(NamedTuple):
    """What a part of a step asks of a GPU."""

    kernels: int
    gigabytes: float
    arithmetic: float = 0.0
    """Milliseconds of it, in kernels of our own."""

    @property
    def milliseconds(self) -> float:
        """Predicted time on an H100."""
        return self.kernels * MS_PER_KERNEL + self.gigabytes * MS_PER_GB + self.arithmetic


class Operators(TorchDispatchMode):
    """Counts kernels and bytes of all operators in its block, by part and by name."""

    def __init__(self) -> None:
        super().__init__()
        self.part = "loss"
        self.paused = False
        self.kernels: Counter[tuple[str, str]] = Counter()
        self.bytes: Counter[tuple[str, str]] = Counter()
        self.arithmetic: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operator; count it unless it is a view. Our own kernels are not run."""
        library, name = func.overloadpacket._qualified_op_name.split("::")
        if library == "userbench":
            return self.count_own(name, args, kwargs or {})
        out = func(*args, **(kwargs or {}))
        if name not in NO_KERNEL and not self.paused:
            read = tensors_in((args, kwargs or {}))
            made = tensors_in(out)
            if name == "_fused_adam_":
                self.add("adam", 2, ADAM_BYTES * sum(value.numel() for value in args[0]))
            elif name == "embedding":
                self.add(name, 1, 2 * sum(map(bytes_of, made)))
            elif name in ("index_select", "index", "gather"):
                self.add(name, 1, 2 * sum(map(bytes_of, made)) + sum(map(bytes_of, read[1:])))
            else:
                self.add(name, 1, sum(map(bytes_of, read + made)))
        return out

    def count_own(self, name: str, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Count a kernel of our own; its results are zeros."""
        shapes, traffic, work = OPERATORS[name]
        out = shapes(*args, **kwargs)
        for made in tensors_in(out):
            made.zero_()
        moved = tensors_in((args, kwargs, out))
        size = sum(map(bytes_of, moved)) if traffic is None else traffic(*args, **kwargs)
        self.add(name, 1, size)
        if work is not None:
            operations, exponentials = work(*args, **kwargs)
            took = operations * MS_PER_OPERATION + exponentials * MS_PER_EXPONENTIAL
            self.arithmetic[self.part] += took
        return out

    def add(self, name: str, kernels: int, size: int) -> None:
        """Add to the counts of the present part."""
        self.kernels[self.part, name] += kernels
        self.bytes[self.part, name] += size

    def clear(self) -> None:
        """Forget what was counted."""
        self.kernels.clear()
        self.bytes.clear()
        self.arithmetic.clear()

    def counts(self) -> dict[str, Count]:
        """The counts of each part."""
        return {
            part: Count(
                sum(count for (where, _), count in self.kernels.items() if where == part),
                sum(size for (where, _), size in self.bytes.items() if where == part) / 1e9,
                self.arithmetic[part],
            )
            for part in PARTS
        }

    @contextmanager
    def within(self, part: str) -> Iterator[None]:
        """Count what the block does as a part of the step."""
        before, self.part = self.part, part
        try:
            yield
        finally:
            self.part = before

    def as_part(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function whose operators are counted as a part of the step."""

        def counted(*args: Any, **kwargs: Any) -> Any:
            with self.within(part):
                return function(*args, **kwargs)

        return counted


def tensors_in(tree: Any) -> list[Tensor]:
    """All tensors in a tree."""
    return [leaf for leaf in tree_flatten(tree)[0] if isinstance(leaf, Tensor)]


def bytes_of(tensor: Tensor) -> int:
    """Bytes of a tensor; dimensions that are broadcast count once."""
    distinct = 1
    for length, stride in zip(tensor.shape, tensor.stride(), strict=True):
        distinct *= length if stride else 1
    return distinct * tensor.element_size()


def fused_attention(operators: Operators) -> Callable[..., Tensor]:
    """Stands for fused attention, one kernel forward and three backward; computes nothing."""

    class Attention(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            operators.paused = True
            ctx.save_for_backward(query, key, value)
            out = torch.zeros_like(query)
            operators.paused = False
            operators.add("attention", 1, 4 * query.numel() * query.element_size())
            return out

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
            operators.paused = True
            out = tuple(torch.zeros_like(part) for part in ctx.saved_tensors)
            operators.paused = False
            operators.add("attention", 3, 9 * out[0].numel() * out[0].element_size())
            return out

    return lambda query, key, value, *_, **__: Attention.apply(query, key, value)


@contextmanager
def as_on_a_gpu(operators: Operators) -> Iterator[None]:
    """Inside, tensors of the CPU take the code paths of a GPU."""
    with ExitStack() as patches:
        for place, name, value in (
            (F, "scaled_dot_product_attention", fused_attention(operators)),
            (Tensor, "is_cuda", property(lambda _: True)),
            (language, "INSTALLED", True),
            (Tensor, "backward", operators.as_part("backward", Tensor.backward)),
        ):
            patches.enter_context(mock.patch.object(place, name, value))
        yield


def pretraining_step(name: str, n_items: int = TTL_ITEMS) -> dict[str, Count]:
    """Counts of one step of a method, bf16, by part."""
    store = simulated_store(USERS, n_items, MAX_LENGTH, torch.device("cpu"))
    module = load_method(name)
    config = configure(module, {})
    method: PretrainMethod = module.Method(
        UserEncoder(EncoderConfig(n_items), config.dropout), config
    )
    method.encoder.bf16 = True
    with as_on_a_gpu(Operators()):
        method.prepare(store, torch.arange(LEARNT_FROM))
    method.train()
    operators = Operators()
    adam = adam_on_a_gpu(operators, method, config.lr, method.encoder)
    method.encoder.by_length = operators.as_part("encoder", method.encoder.by_length)
    if method.views is not None:
        method.views = CountedViews(method.views, operators)
    step = pretrain.Step(method, adam, {"trained": 0.0})
    with as_on_a_gpu(operators):
        torch.manual_seed(SEED)
        batch = store.bounded_batch(torch.randperm(USERS)[:BATCH])
        for _ in range(2):  # the first step makes the moments of Adam
            operators.clear()
            with operators:
                step(batch, 0.5)
    return operators.counts()


def adam_on_a_gpu(operators: Operators, model: nn.Module, lr: float, encoder: UserEncoder) -> Adam:
    """The optimizer of the paper's scale on a GPU, whatever the size of this item table."""
    with as_on_a_gpu(operators), mock.patch.object(optimizer, "DEFERRED_FROM", 1):
        adam = Adam(model, lr, "dense", encoder.items)
    adam.step = operators.as_part("optimizer", adam.step)
    return adam


class CountedViews:
    """Views of a method whose operators are counted as such."""

    def __init__(self, views: Any, operators: Operators):
        self.views, self.operators = views, operators

    def __call__(self, *args: Any) -> Any:
        """The views of a batch."""
        with self.operators.within("views"):
            return self.views(*args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.views, name)


def finetuning_step(kind: str, n_items: int = TTL_ITEMS) -> dict[str, Count]:
    """Counts of one step of fine-tuning, bf16, by part."""
    store = simulated_store(USERS, n_items, MAX_LENGTH, torch.device("cpu"))
    model, task = finetuned_model(kind, USERS, EncoderConfig(n_items))
    encoder = model.train()["encoder"]
    encoder.bf16 = True
    operators = Operators()
    adam = adam_on_a_gpu(operators, model, task.lr, encoder)
    encoder.by_length = operators.as_part("encoder", encoder.by_length)
    step = finetune.Step(model, adam)
    with as_on_a_gpu(operators):
        torch.manual_seed(SEED)
        picked = torch.randperm(USERS)[:BATCH]
        batch = store.bounded_batch(picked)
        for _ in range(2):
            operators.clear()
            with operators:
                step(batch, picked)
    return operators.counts()


class Finetuned(NamedTuple):
    """A new encoder and head, and their task."""

    model: nn.ModuleDict
    task: Task


def finetuned_model(kind: str, users: int, sizes: EncoderConfig) -> Finetuned:
    """A task of 8 classes or of 17,879 candidates; example u is of user u."""
    examples = simulated_examples(kind, users)
    task = Task(kind, kind, lr=1e-3, batch_size=BATCH, epochs=1)
    encoder = UserEncoder(sizes, task.dropout)
    stages = torch.full_like(examples.users, TRAIN, dtype=torch.uint8)
    head = build_head(task, examples, stages, encoder.width, sizes.dim, seed=0)
    return Finetuned(nn.ModuleDict({"encoder": encoder, "head": head}), task)


def simulated_examples(kind: str, users: int) -> LabelledExamples | TargetExamples:
    """An example of every user, labels and targets drawn uniformly."""
    everyone = torch.arange(users)
    if kind == "classification":
        return LabelledExamples(everyone, torch.randint(CLASSES, (users,)), CLASSES)
    targets = torch.randint(CANDIDATES, (users,))
    offsets = torch.arange(users + 1)
    return TargetExamples(everyone, targets, everyone, CANDIDATES, targets, offsets)


def table(counts: dict[str, dict[str, Count]]) -> pd.DataFrame:
    """A row per step and part, and one for the whole step."""
    rows = []
    for step, parts in counts.items():
        for part, count in {**parts, "step": whole_step(parts)}.items():
            rows.append(
                {
                    "step": step,
                    "part": part,
                    "kernels": count.kernels,
                    "gigabytes": round(count.gigabytes, 3),
                    "arithmetic_ms": round(count.arithmetic, 3),
                    "predicted_ms": round(count.milliseconds, 3),
                }
            )
    return pd.DataFrame(rows)


@command
def main(argv: list[str] | None = None) -> None:
    """Count the steps and write kernels.csv."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", nargs="*", choices=STEPS, default=[*STEPS], help="default: all")
    parser.add_argument("--out", type=Path, required=True, help="folder of kernels.csv")
    args = parser.parse_args(argv)
    counts = {}
    for step in args.steps:
        counts[step] = STEPS[step]()
        whole = whole_step(counts[step])
        print(
            f"{step}: {whole.kernels} kernels, {whole.gigabytes:.2f} GB, "
            f"predicted {whole.milliseconds:.2f} ms",
            flush=True,
        )
    path = args.out / "kernels.csv"
    artifact.write_text(path, table(counts).to_csv(index=False, lineterminator="\n"))
    artifact.record(path, vars(args))


def whole_step(parts: dict[str, Count]) -> Count:
    """The counts of all parts together."""
    kernels, gigabytes, arithmetic = zip(*parts.values(), strict=True)
    return Count(sum(kernels), sum(gigabytes), sum(arithmetic))


STEPS: dict[str, Callable[..., dict[str, Count]]] = {
    **{name: partial(pretraining_step, name) for name in METHODS},
    **{f"finetune {kind}": partial(finetuning_step, kind) for kind in KINDS},
}

if __name__ == "__main__":
    main()
