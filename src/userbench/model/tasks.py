"""The downstream tasks: the loss of a head on user vectors, and its scores on a whole split.

Three kinds: classification (accuracy), binary (AUC), top-N recommendation (NDCG@10).
"""

import json
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64, Int, UInt8
from torch import Tensor, nn

from userbench.data.limits import check_classes
from userbench.data.splits import TEST, TRAIN
from userbench.data.store import LabelledExamples, TargetExamples, load_labels, load_targets
from userbench.fields import check_fields
from userbench.model.encoder import UserVectors
from userbench.model.heads import Head, TwoLayerHead
from userbench.model.kernels.bpr import WIDEST, Positives, bpr
from userbench.model.kernels.language import used_for
from userbench.model.losses import BiasStart
from userbench.model.metrics import (
    TIES,
    metrics_of,
    numbers,
    ranks,
    ranks_in_order,
    shared_order,
)

SELECTION_METRIC = {"classification": "accuracy", "binary": "auc", "top_n": "ndcg@10"}
LEGAL = {
    "kind": tuple(SELECTION_METRIC),
    "bias_start": get_args(BiasStart),
    "known_targets": ("by_stage", "all", "train"),
    "ties": TIES,
    "average": ("pairs", "users"),
}
# Why: bounds the memory of one (users, candidates) score matrix when whole splits are ranked.
RANKED_AT_ONCE, SCORES_AT_ONCE = 512, 1 << 28


@dataclass(frozen=True)
class Task:
    """One task and how it is fine-tuned; values come from the config, so they are the same for all.

    Sources of the paper-scale values: the fine-tuning scripts of AdaptSSR's authors.
    """

    name: str
    kind: str
    lr: float
    batch_size: int
    epochs: int
    dropout: float = 0.5
    bias_start: str = "zero"
    """Bias of the last layer at the start: "zero" as in the authors' code, or "frequency", the log
    frequency of each class or target in the training split (why: see `methods/mlm.py`)."""
    # Deviation: the authors' code knows those of all splits at every stage.
    known_targets: str = "by_stage"
    """Positives of a user that are neither her negatives nor ranked beside the one asked for: those
    of the splits up to the present one ("by_stage"), of "all" as in the authors' code, or of
    "train" alone."""
    ties: str = "pessimistic"
    average: str = "pairs"
    """Ranking metrics are means over (user, target) "pairs" as in the authors' code, or over
    "users"."""
    label_share: float = 1.0
    """Share of the training and validation examples that are used, the former in as many steps; the
    test stays whole."""

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
    own = {name: value for name, value in given.items() if name != "out"}
    check_fields(Task, own, "--task")
    needed = [field.name for field in fields(Task) if field.default is MISSING] + ["out"]
    if missing := [name for name in needed if name not in given]:
        raise ValueError(f"--task {json.dumps(given)}: without {', '.join(missing)}")


class LabelTask(nn.Module):
    """Classification and binary tasks: softmax cross-entropy; accuracy, or AUC of class 1."""

    def __init__(self, examples: LabelledExamples, head: Head, kind: str):
        super().__init__()
        check_classes(kind, examples.n_classes)
        self.examples = examples
        self.kind = kind
        self.head = head

    def loss(self, users: UserVectors, picked: Int[Tensor, " users"]) -> Float[Tensor, ""]:
        """Cross-entropy of the picked examples, whose user vectors are given."""
        return F.cross_entropy(self.head(users), self.examples.labels[picked])

    def predict(self, users: UserVectors, picked: Int[Tensor, " users"]) -> dict[str, Tensor]:
        """Of each picked example its label, and the class predicted or the score of class 1."""
        # Why checked here: the highest of logits that are NaN is that of class 0.
        logits, labels = numbers(self.head(users)), self.examples.labels[picked]
        if self.kind == "binary":
            return {"label": labels, "score": logits[:, 1] - logits[:, 0]}
        return {"label": labels, "predicted": logits.argmax(-1)}

    def evaluate(
        self, users: UserVectors, picked: Int[Tensor, " users"]
    ) -> dict[str, Float[Tensor, ""]]:
        """Metrics over the picked examples."""
        return metrics_of(self.predict(users, picked))


class Ranking:
    """How the targets of a task are ranked, and which of a user's positives are known meanwhile.

    `stages` says of each example to which split it belongs, TRAIN, VALIDATION or TEST.
    """

    def __init__(
        self,
        examples: TargetExamples,
        stages: UInt8[Tensor, " examples"],
        known_targets: str,
        ties: str,
        average: str,
    ):
        self.examples, self.ties, self.average = examples, ties, average
        self.known, self.known_from = padded_targets(examples, stages)
        # Most seen candidates of a row: on the host, so that no step waits for it.
        self.most_seen = 0 if examples.seen is None else int(examples.seen_offsets.diff().max())
        last = {"all": TEST, "train": TRAIN}.get(known_targets)
        # Of each example the last split whose positives are known where it is asked for.
        self.last = stages if last is None else torch.full_like(stages, last)

    def known_to(self, picked: Int[Tensor, " some"]) -> Int[Tensor, "some known"]:
        """The user's known positives for each picked example: ascending, padding anywhere.

        What the user has seen is among them, where the task excludes it.
        """
        rows = self.examples.rows[picked]
        later = self.known_from[rows] > self.last[picked, None]
        known = self.known[rows].masked_fill(later, self.examples.n_candidates)
        if self.examples.seen is None:
            return known
        return torch.cat([known, self.seen_by(rows)], dim=1).sort(1).values

    def seen_by(self, rows: Int[Tensor, " some"]) -> Int[Tensor, "some seen"]:
        """The seen candidates of some rows, padded with `n_candidates`."""
        # Why not one padded matrix of all rows: it would be 1.4 GB for 1.5 million users of up to
        # 100 items, in 64 bits. These arrays are at most half of that.
        seen, offsets = self.examples.seen, self.examples.seen_offsets
        places = offsets[rows, None] + torch.arange(self.most_seen, device=rows.device)
        there = places < offsets[rows + 1, None]
        found = seen[places.where(there, 0)].long()
        return found.where(there, self.examples.n_candidates)

    def positives(self, picked: Int[Tensor, " some"]) -> tuple[Int[Tensor, " some"], Positives]:
        """What the kernel of BPR draws negatives by: the examples' numbers, and what is known."""
        examples = self.examples
        if examples.seen is None:
            known = self.known, self.known_from
            return picked, Positives(examples.targets, examples.rows, self.last, *known)
        # The kernel reads rows of a padded matrix: that of this batch alone.
        each, known = torch.arange(len(picked), device=picked.device), self.known_to(picked)
        never_later = torch.zeros_like(known, dtype=torch.uint8)
        batch = examples.targets[picked], each, self.last[picked], known, never_later
        return each, Positives(*batch)

    def predict(
        self,
        picked: Int[Tensor, " some"],
        score: Callable[[Int[Tensor, " part"]], Float[Tensor, "part candidates"]],
    ) -> dict[str, Tensor]:
        """Rank of each picked (user, target) pair among the full catalogue, and its weight.

        `score` is asked for the scores of the examples at some places of `picked`.
        """
        return self.weighted(
            picked,
            lambda some: ranks(
                score(some),
                self.examples.targets[picked[some]],
                self.known_to(picked[some]),
                self.ties,
            ),
        )

    def predict_alike(
        self, picked: Int[Tensor, " some"], scores: Float[Tensor, " candidates"]
    ) -> dict[str, Tensor]:
        """`predict` where every user has the same scores: quick, however many candidates."""
        order = shared_order(scores, self.ties)
        return self.weighted(
            picked,
            lambda some: ranks_in_order(
                order, self.examples.targets[picked[some]], self.known_to(picked[some])
            ),
        )

    def weighted(
        self,
        picked: Int[Tensor, " some"],
        ranks_of: Callable[[Int[Tensor, " part"]], Int[Tensor, " part"]],
    ) -> dict[str, Tensor]:
        """Ranks of the picked examples, some places of `picked` at a time, and their weight."""
        at_once = min(RANKED_AT_ONCE, max(1, SCORES_AT_ONCE // self.examples.n_candidates))
        places = torch.arange(len(picked), device=picked.device)
        found = [ranks_of(some) for some in places.split(at_once)]
        if self.average == "pairs":
            return {"rank": torch.cat(found)}
        _, row, pairs = self.examples.rows[picked].unique(return_inverse=True, return_counts=True)
        weight = (len(picked) / len(pairs)) / pairs[row].double()
        return {"rank": torch.cat(found), "weight": weight}


class TopNTask(nn.Module):
    """Recommendation: the last layer's rows are the candidates' vectors, trained by BPR.

    BPR: Rendle et al., UAI 2009. Negatives and evaluation leave out the user's known positives.
    """

    def __init__(self, examples: TargetExamples, head: Head, ranking: Ranking):
        super().__init__()
        self.examples = examples
        self.head = head
        self.ranking = ranking

    def loss(self, users: UserVectors, picked: Int[Tensor, " users"]) -> Float[Tensor, ""]:
        """-log sigmoid(s_positive - s_negative), one uniform negative per positive."""
        last, ranking = self.head.score, self.ranking
        uniform = torch.rand(len(picked), device=picked.device, dtype=torch.float64)
        hidden = self.head.hidden(users)
        if used_for(users) and hidden.shape[1] <= WIDEST:
            asked, known = ranking.positives(picked)
            return bpr(hidden, last.weight, last.bias, uniform, asked, known).mean()
        positive = self.examples.targets[picked]
        known = ranking.known_to(picked)
        negative = unknown_candidates(known, self.examples.n_candidates, uniform)
        negative = negative.where(negative >= 0, positive)
        weight = last.weight[positive] - last.weight[negative]
        margin = (hidden * weight).sum(-1) + last.bias[positive] - last.bias[negative]
        return -F.logsigmoid(margin).mean()

    def predict(self, users: UserVectors, picked: Int[Tensor, " users"]) -> dict[str, Tensor]:
        """Rank of each picked (user, target) pair among the full catalogue, and its weight."""
        return self.ranking.predict(picked, lambda some: self.head(users[some]))

    def evaluate(
        self, users: UserVectors, picked: Int[Tensor, " users"]
    ) -> dict[str, Float[Tensor, ""]]:
        """Metrics over the picked (user, target) pairs."""
        return metrics_of(self.predict(users, picked))


def padded_targets(
    examples: TargetExamples, stages: UInt8[Tensor, " examples"]
) -> tuple[Int[Tensor, "rows known"], UInt8[Tensor, "rows known"]]:
    """All targets of each row, ascending, padded with `n_candidates`; and the stage of each."""
    counts = examples.known_offsets.diff()
    width = int(counts.max())
    slots = torch.arange(width, device=counts.device) < counts[:, None]
    known = torch.full(slots.shape, examples.n_candidates, device=counts.device)
    known[slots] = examples.known_targets.long()
    known_from = stages.new_zeros(slots.shape)
    known_from[slots] = stages
    known, order = known.sort(1)
    return known, known_from.gather(1, order)


def unknown_candidates(
    known: Int[Tensor, "users known"], n_candidates: int, uniform: Float64[Tensor, " users"]
) -> Int[Tensor, " users"]:
    """One candidate per user, drawn by `uniform` among those not in `known`; -1 for none.

    Exact without rejection: draw among n - |known| and step over each known candidate in order.
    Those ascend; `n_candidates`, which pads them, may be anywhere between, as no draw is so
    large that it would step over it.
    """
    free = n_candidates - (known < n_candidates).sum(1)
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
    stages: UInt8[Tensor, " examples"],
    width: int,
    dim: int,
    seed: int,
) -> LabelTask | TopNTask:
    """The task with fine-tuning's head for user vectors of `width`, as in `with_head`."""
    head = TwoLayerHead(width, dim, outputs_of(examples))
    return with_head(task, examples, stages, head, seed)


def outputs_of(examples: LabelledExamples | TargetExamples) -> int:
    """The number of classes or candidates."""
    ranked = isinstance(examples, TargetExamples)
    return examples.n_candidates if ranked else examples.n_classes


def with_head(
    task: Task,
    examples: LabelledExamples | TargetExamples,
    stages: UInt8[Tensor, " examples"],
    head: Head,
    seed: int,
) -> LabelTask | TopNTask:
    """The task with a new head, its weights drawn; `stages` of its examples as in `Ranking`."""
    if isinstance(examples, TargetExamples):
        protocol = task.known_targets, task.ties, task.average
        built = TopNTask(examples, head, Ranking(examples, stages, *protocol))
        outputs = examples.targets
    else:
        built = LabelTask(examples, head, task.kind)
        outputs = examples.labels
    head.start(seed, task.name, "head")
    if task.bias_start == "frequency":
        head.start_at_frequencies(outputs[stages == TRAIN])
    return built.to(stages.device)
