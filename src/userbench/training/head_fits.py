"""Fits of a head on given features of users: trained by Adam, or boosted trees."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from userbench.data.labelled import LabelledSplit
from userbench.data.splits import order_of_labelled
from userbench.data.store import LabelledExamples, TargetExamples
from userbench.model.boosted import boosted
from userbench.model.encoder import UserVectors
from userbench.model.heads import Head, LinearHead, TwoLayerHead
from userbench.model.losses import finite
from userbench.model.metrics import metrics_of
from userbench.model.tasks import Task, outputs_of, with_head
from userbench.seeds import seed_of

HEADS = ("linear", "mlp", "boosted")
# Why several: of 8,000 simulated users, hidden states gain three to six points of accuracy from
# 1e-3 to 3e-2, and item counts lose four; top-N recommendation is best at 1e-3 or 3e-3 for both.
RATES = (1e-3, 3e-3, 1e-2, 3e-2)
Predict = Callable[[Int[Tensor, " some"]], dict[str, Tensor]]


class HeadSettings(NamedTuple):
    """What is trained on features, the same for every run."""

    head: str
    """One of HEADS."""
    hidden: int
    """Hidden units of head mlp."""
    lr: list[float]
    """Learning rates, a fit each."""
    order: str
    """Of examples, as in `order_of_epoch`."""


class Data(NamedTuple):
    """A task's examples and their split, and the features of its users from one file."""

    task: Task
    examples: LabelledExamples | TargetExamples
    labelled: LabelledSplit
    users: UserVectors
    """Features of the users that have examples."""
    rows: Int[Tensor, " examples"]
    """Among them, the user of each example."""
    missing: int = 0
    """How many of these users had no vector."""

    def of(self, picked: Int[Tensor, " some"]) -> UserVectors:
        """Features of the users of these examples."""
        return self.users[self.rows[picked]]


class Fit(NamedTuple):
    """A head at its best epoch on validation."""

    value: float
    chosen: dict[str, Any]
    """Epoch, and learning rate if there is one."""
    curve: list[dict[str, Any]]
    predict: Predict


def head_for(task: Task, head: str) -> str:
    """The head of a task: the one asked for, or the linear one where trees have no labels."""
    return "linear" if head == "boosted" and task.kind == "top_n" else head


def fits_of(data: Data, settings: HeadSettings, seed: int) -> Iterator[Callable[[], Fit]]:
    """The fits to these data, each still to be made."""
    head = head_for(data.task, settings.head)
    if head == "boosted":
        yield lambda: fit_boosted(data, seed)
    else:
        for rate in settings.lr:
            task = replace(data.task, lr=rate)
            yield lambda task=task: train(task, data, settings._replace(head=head), seed)


def fit_boosted(data: Data, seed: int) -> Fit:
    """Boosted trees, as many iterations of them as are best on validation."""
    split, task = data.labelled.split, data.task
    fitted = boosted(data.of(split.train), split.train, data.examples, task.kind, seed)
    curve = [
        point(iteration, metric, float(value), {})
        for iteration, predicted in enumerate(
            fitted.staged(data.of(split.validation), split.validation), 1
        )
        for metric, value in metrics_of(predicted).items()
    ]
    # Tasks with labels have one metric; the first of equals is that of the fewest iterations.
    best = max(curve, key=lambda point: point["value"])

    def predict(picked: Int[Tensor, " some"]) -> dict[str, Tensor]:
        stages = enumerate(fitted.staged(data.of(picked), picked), 1)
        return next(predicted for iteration, predicted in stages if iteration == best["epoch"])

    return Fit(best["value"], {"epoch": best["epoch"]}, curve, predict)


def train(task: Task, data: Data, settings: HeadSettings, seed: int) -> Fit:
    """A head trained by Adam at the learning rate of `task`, at the epoch best on validation.

    NotANumber once a loss, a weight or a score is none.
    """
    split, length, stages = data.labelled
    # The same chance for every run and file: draws of BPR's negatives come from this stream.
    torch.manual_seed(seed_of(seed, task.name, "training"))
    built = head_of(data, settings)
    model = with_head(task, data.examples, stages, built, seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=task.lr, fused=True)
    curve, best, weights = [], None, {}
    for epoch in range(1, task.epochs + 1):
        of = seed, task.name, epoch
        batches = order_of_labelled(split.train, length, settings.order, *of).split(task.batch_size)
        total = torch.zeros((), device=split.train.device)
        for picked in batches:
            optimizer.zero_grad(set_to_none=True)
            loss = model.loss(data.of(picked), picked)
            loss.backward()
            optimizer.step()
            total += loss.detach()
        where = f"step {epoch * len(batches)} of task {task.name}"
        finite(total / len(batches), model.parameters(), where, task.lr, None)
        with torch.no_grad():
            found = model.evaluate(data.of(split.validation), split.validation)
        curve += [
            point(epoch, name, float(value), {"lr": task.lr}) for name, value in found.items()
        ]
        value = float(found[task.metric])
        if best is None or value > best[0]:
            best = value, epoch
            weights = {name: values.clone() for name, values in model.state_dict().items()}

    @torch.no_grad()
    def predict(picked: Int[Tensor, " some"]) -> dict[str, Tensor]:
        model.load_state_dict(weights)
        return model.predict(data.of(picked), picked)

    return Fit(best[0], {"epoch": best[1], "lr": task.lr}, curve, predict)


def head_of(data: Data, settings: HeadSettings) -> Head:
    """A new head for the vectors of one file."""
    width, outputs = data.users.shape[1], outputs_of(data.examples)
    if settings.head == "linear":
        return LinearHead(width, outputs)
    return TwoLayerHead(width, settings.hidden, outputs)


def point(epoch: int, metric: str, value: float, about: dict[str, float]) -> dict[str, Any]:
    """A value on validation, as a score file has it."""
    return {"epoch": epoch, "split": "validation", "metric": metric, "value": value, **about}
