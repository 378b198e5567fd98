"""The downstream tasks: a head on the user vector, its loss, and its scores on a whole split.

Three kinds: classification (accuracy), binary (AUC), top-N recommendation (NDCG@10).
"""

import json
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from userbench.data.store import LabelledExamples, TargetExamples, load_labels, load_targets
from userbench.encoder import UserVectors, initialise
from userbench.losses import BIAS_STARTS, log_frequency
from userbench.method import check_fields
from userbench.metrics import TIES, metrics_of, ranks

SELECTION_METRIC = {"classification": "accuracy", "binary": "auc", "top_n": "ndcg@10"}
LEGAL = {
    "kind": tuple(SELECTION_METRIC),
    "bias_start": BIAS_STARTS,
    "known_targets": ("all", "train"),
    "ties": TIES,
    "average": ("pairs", "users"),
}
# Why: bounds the memory of one (users, candidates) score matrix when whole splits are ranked.
RANKED_AT_ONCE = 512


@dataclass(frozen=True)
class Task:
    """One task and how it is fine-tuned; values come from the config, so they are the same for all.

    Sources of the paper-scale values: AdaptSSR's release (spec of its fine-tuning scripts).
    """

    name: str
    kind: str
    lr: float
    batch_size: int
    epochs: int
    dropout: float = 0.5
    bias_start: str = "zero"
    """Bias of the last layer at the start: "zero" as released, or "frequency", the log frequency of
    each class or target in the training split (why: see `methods/mlm.py`)."""
    known_targets: str = "all"
    """Positives of a user that are neither her negatives nor ranked beside the one asked for: those
    of "all" splits as released, or those of "train" alone."""
    ties: str = "pessimistic"
    average: str = "pairs"
    """Ranking metrics are means over (user, target) "pairs" as released, or over "users"."""
    label_share: float = 1.0
    """Share of the training examples that are used, in as many steps; validation and test stay
    whole."""

    def __post_init__(self) -> None:
        for name, legal in LEGAL.items():
            if getattr(self, name) not in legal:
                raise ValueError(
                    f"task {self.name}: {name} {getattr(self, name)!r} is none of "
                    f"{', '.join(legal)}"
                )
        for name in ("lr", "batch_size", "epochs"):
            if not getattr(self, name) > 0:
                raise ValueError(f"task {self.name}: {name} {getattr(self, name)}: must be above 0")
        if not 0.001 <= self.label_share <= 1:
            raise ValueError(
                f"task {self.name}: label_share {self.label_share}: must be from 0.001 to 1"
            )

    @property
    def metric(self) -> str:
        """The metric that selects the epoch and enters the table."""
        return SELECTION_METRIC[self.kind]


def check_task(given: dict[str, Any]) -> None:
    """ValueError unless a task as given on the command line has the fields of `Task`, and `out`."""
    told = {name: value for name, value in given.items() if name != "out"}
    check_fields(Task, told, "--task")
    needed = [field.name for field in fields(Task) if field.default is MISSING] + ["out"]
    if missing := [name for name in needed if name not in given]:
        raise ValueError(f"--task {json.dumps(given)}: without {', '.join(missing)}")


class Head(nn.Module):
    """Linear, ReLU, Linear: user vector -> one score per class or candidate (as released).

    A user vector wider than the encoder's `dim` (several interests) meets a wider first layer.
    """

    def __init__(self, width: int, dim: int, outputs: int):
        super().__init__()
        self.widen = nn.Linear(width, dim)
        self.score = nn.Linear(dim, outputs)
        self.apply(initialise)

    def forward(self, users: UserVectors) -> Float[Tensor, "users outputs"]:
        """Scores of all classes or candidates."""
        return self.score(F.relu(self.widen(users)))

    def start_at_frequencies(self, outputs: Int[Tensor, " examples"]) -> None:
        """Set the last bias to the log frequency of each class or candidate in `outputs`."""
        counts = outputs.bincount(minlength=len(self.score.bias))
        self.score.bias.data.copy_(log_frequency(counts))


class LabelTask(nn.Module):
    """Classification and binary tasks: softmax cross-entropy; accuracy, or AUC of class 1."""

    def __init__(self, examples: LabelledExamples, width: int, dim: int, kind: str):
        super().__init__()
        if kind == "binary" and examples.n_classes != 2:
            raise ValueError(f"a binary task needs 2 classes, the data has {examples.n_classes}")
        self.examples = examples
        self.kind = kind
        self.head = Head(width, dim, examples.n_classes)

    def loss(self, users: UserVectors, picked: Int[Tensor, " users"]) -> Float[Tensor, ""]:
        """Cross-entropy of the picked examples, whose user vectors are given."""
        return F.cross_entropy(self.head(users), self.examples.labels[picked])

    def predict(self, users: UserVectors, picked: Int[Tensor, " users"]) -> dict[str, Tensor]:
        """Of each picked example its label, and the class predicted or the score of class 1."""
        logits, labels = self.head(users), self.examples.labels[picked]
        if self.kind == "binary":
            return {"label": labels, "score": logits[:, 1] - logits[:, 0]}
        return {"label": labels, "predicted": logits.argmax(-1)}

    def evaluate(
        self, users: UserVectors, picked: Int[Tensor, " users"]
    ) -> dict[str, Float[Tensor, ""]]:
        """Metrics over the picked examples."""
        return metrics_of(self.predict(users, picked))


class TopNTask(nn.Module):
    """Recommendation: the last layer's rows are the candidates' vectors, trained by BPR.

    BPR: Rendle et al., UAI 2009. Negatives and evaluation leave out the user's `known` positives.
    """

    def __init__(
        self,
        examples: TargetExamples,
        width: int,
        dim: int,
        known: Int[Tensor, "rows known"],
        task: Task,
    ):
        super().__init__()
        self.examples = examples
        self.head = Head(width, dim, examples.n_candidates)
        self.known = known
        self.task = task

    def loss(self, users: UserVectors, picked: Int[Tensor, " users"]) -> Float[Tensor, ""]:
        """-log sigmoid(s_positive - s_negative), one uniform negative per positive."""
        positive = self.examples.targets[picked]
        known = self.known[self.examples.rows[picked]]
        negative = unknown_candidates(known, self.examples.n_candidates)
        last = self.head.score
        weight = last.weight[positive] - last.weight[negative]
        hidden = F.relu(self.head.widen(users))
        margin = (hidden * weight).sum(-1) + last.bias[positive] - last.bias[negative]
        return -F.logsigmoid(margin).mean()

    def predict(self, users: UserVectors, picked: Int[Tensor, " users"]) -> dict[str, Tensor]:
        """Rank of each picked (user, target) pair among the full catalogue, and its weight."""
        found = [
            ranks(
                self.head(users[some]),
                self.examples.targets[picked[some]],
                self.known[self.examples.rows[picked[some]]],
                self.task.ties,
            )
            for some in torch.arange(len(picked), device=picked.device).split(RANKED_AT_ONCE)
        ]
        if self.task.average == "pairs":
            return {"rank": torch.cat(found)}
        _, row, pairs = self.examples.rows[picked].unique(return_inverse=True, return_counts=True)
        weight = (len(picked) / len(pairs)) / pairs[row].double()
        return {"rank": torch.cat(found), "weight": weight}

    def evaluate(
        self, users: UserVectors, picked: Int[Tensor, " users"]
    ) -> dict[str, Float[Tensor, ""]]:
        """Metrics over the picked (user, target) pairs."""
        return metrics_of(self.predict(users, picked))


def padded_targets(
    examples: TargetExamples, kept: Bool[Tensor, " examples"]
) -> Int[Tensor, "rows known"]:
    """The `kept` targets of each row in ascending order, padded with `n_candidates`."""
    counts = examples.known_offsets.diff()
    width = int(counts.max())
    slots = torch.arange(width, device=counts.device) < counts[:, None]
    known = torch.full(slots.shape, examples.n_candidates, device=counts.device)
    known[slots] = examples.known_targets.long().where(kept, examples.n_candidates)
    return known.sort(1).values


def unknown_candidates(
    known: Int[Tensor, "users known"], n_candidates: int
) -> Int[Tensor, " users"]:
    """One candidate per user, uniform among those not in `known` (ascending, padded).

    Exact without rejection: draw among n - |known| and step over each known candidate in order.
    """
    free = n_candidates - (known < n_candidates).sum(1)
    uniform = torch.rand(len(known), device=known.device, dtype=torch.float64)
    drawn = torch.minimum((uniform * free).long(), free - 1)
    for column in known.unbind(1):
        drawn = drawn + (drawn >= column)
    return drawn


def load_examples(
    task: Task, store: Path, device: torch.device
) -> LabelledExamples | TargetExamples:
    """Read the examples of a task from the store."""
    load = load_targets if task.kind == "top_n" else load_labels
    return load(store, task.name, device)


def build_head(
    task: Task,
    examples: LabelledExamples | TargetExamples,
    train: Int[Tensor, " train"],
    width: int,
    dim: int,
) -> LabelTask | TopNTask:
    """A new head for user vectors of `width`; `train` are the examples to fit."""
    if isinstance(examples, TargetExamples):
        kept = torch.ones_like(examples.targets, dtype=torch.bool)
        if task.known_targets == "train":
            kept = torch.zeros_like(kept)
            kept[train] = True
        built = TopNTask(examples, width, dim, padded_targets(examples, kept), task)
        outputs = examples.targets
    else:
        built = LabelTask(examples, width, dim, task.kind)
        outputs = examples.labels
    if task.bias_start == "frequency":
        built.head.start_at_frequencies(outputs[train])
    return built.to(train.device)
