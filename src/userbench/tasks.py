"""The downstream tasks: a head on the user vector, its loss, and its scores on a whole split.

Three kinds: classification (accuracy), binary (AUC), top-N recommendation (NDCG@10).
"""

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from userbench.data.store import LabelledExamples, TargetExamples, load_labels, load_targets
from userbench.encoder import UserVectors, initialise
from userbench.losses import BIAS_STARTS, log_frequency
from userbench.metrics import accuracy, auc, ranking_metrics, ranks

SELECTION_METRIC = {"classification": "accuracy", "binary": "auc", "top_n": "ndcg@10"}
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

    def __post_init__(self) -> None:
        if self.bias_start not in BIAS_STARTS:
            raise ValueError(
                f"task {self.name}: bias_start {self.bias_start!r} is none of "
                f"{', '.join(BIAS_STARTS)}"
            )
        if self.kind not in SELECTION_METRIC:
            raise ValueError(
                f"task {self.name}: kind {self.kind!r} is none of {', '.join(SELECTION_METRIC)}"
            )

    @property
    def metric(self) -> str:
        """The metric that selects the epoch and enters the table."""
        return SELECTION_METRIC[self.kind]


class Head(nn.Module):
    """Linear, ReLU, Linear: user vector -> one score per class or candidate (as released)."""

    def __init__(self, dim: int, outputs: int):
        super().__init__()
        self.widen = nn.Linear(dim, dim)
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

    def __init__(self, examples: LabelledExamples, dim: int, kind: str):
        super().__init__()
        if kind == "binary" and examples.n_classes != 2:
            raise ValueError(f"a binary task needs 2 classes, the data has {examples.n_classes}")
        self.examples = examples
        self.kind = kind
        self.head = Head(dim, examples.n_classes)

    def loss(self, users: UserVectors, picked: Int[Tensor, " users"]) -> Float[Tensor, ""]:
        """Cross-entropy of the picked examples, whose user vectors are given."""
        return F.cross_entropy(self.head(users), self.examples.labels[picked])

    def evaluate(
        self, users: UserVectors, picked: Int[Tensor, " users"]
    ) -> dict[str, Float[Tensor, ""]]:
        """Metrics over the picked examples."""
        logits, labels = self.head(users), self.examples.labels[picked]
        if self.kind == "binary":
            return {"auc": auc(logits[:, 1] - logits[:, 0], labels == 1)}
        return {"accuracy": accuracy(logits, labels)}


class TopNTask(nn.Module):
    """Recommendation: the last layer's rows are the candidates' vectors, trained by BPR.

    BPR: Rendle et al., UAI 2009. Negatives and evaluation leave out all of the user's positives,
    those of other splits too (as released: see the notes on interaction splits).
    """

    def __init__(self, examples: TargetExamples, dim: int):
        super().__init__()
        self.examples = examples
        self.head = Head(dim, examples.n_candidates)
        self.known = padded_targets(examples)

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

    def evaluate(
        self, users: UserVectors, picked: Int[Tensor, " users"]
    ) -> dict[str, Float[Tensor, ""]]:
        """Metrics over the picked (user, target) pairs, ranked among the full catalogue."""
        found = [
            ranks(
                self.head(users[some]),
                self.examples.targets[picked[some]],
                self.known[self.examples.rows[picked[some]]],
            )
            for some in torch.arange(len(picked), device=picked.device).split(RANKED_AT_ONCE)
        ]
        return ranking_metrics(torch.cat(found))


def padded_targets(examples: TargetExamples) -> Int[Tensor, "rows known"]:
    """All targets of each row in ascending order, padded with `n_candidates`."""
    counts = examples.known_offsets.diff()
    width = int(counts.max())
    slots = torch.arange(width, device=counts.device) < counts[:, None]
    known = torch.full(slots.shape, examples.n_candidates, device=counts.device)
    known[slots] = examples.known_targets.long()
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


def build_task(
    task: Task, store: Path, train: Int[Tensor, " train"], dim: int, device: torch.device
) -> LabelTask | TopNTask:
    """Read the examples of a task from the store and build its head; `train` are those to fit."""
    if task.kind == "top_n":
        built = TopNTask(load_targets(store, task.name, device), dim)
        outputs = built.examples.targets
    else:
        built = LabelTask(load_labels(store, task.name, device), dim, task.kind)
        outputs = built.examples.labels
    if task.bias_start == "frequency":
        built.head.start_at_frequencies(outputs[train])
    return built.to(device)
