"""Boosted trees as the head of label tasks: what practitioners put on user vectors."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.ensemble import HistGradientBoostingClassifier
from torch import Tensor

from userbench.data.store import LabelledExamples
from userbench.model.encoder import UserVectors

# Why: as many as scikit-learn grows; validation chooses how many of them are used.
ITERATIONS = 100


class Boosted(NamedTuple):
    """Histogram gradient boosting with scikit-learn's settings, fitted to labels."""

    trees: HistGradientBoostingClassifier
    examples: LabelledExamples
    kind: str

    def staged(
        self, users: UserVectors, picked: Int[Tensor, " users"]
    ) -> Iterator[dict[str, Tensor]]:
        """What the first 1, 2, .. iterations predict of examples, as `LabelTask.predict` says."""
        labels = self.examples.labels[picked]
        for scores in self.trees.staged_decision_function(users.cpu().numpy()):
            yield self.predicted(scores, labels)

    def predicted(
        self, scores: Float[np.ndarray, "users ..."], labels: Int[Tensor, " users"]
    ) -> dict[str, Tensor]:
        """Labels, and the class predicted or the score of class 1, from the scores of the trees."""
        if self.kind == "binary":
            return {"label": labels, "score": torch.from_numpy(scores.reshape(len(labels)).copy())}
        # Of two classes there is the score of the second one alone.
        best = scores.argmax(1) if scores.ndim == 2 and scores.shape[1] > 1 else scores.ravel() > 0
        classes = torch.from_numpy(self.trees.classes_[best.astype(np.int64)])
        return {"label": labels, "predicted": classes.to(labels.device)}


def boosted(
    users: UserVectors,
    picked: Int[Tensor, " users"],
    examples: LabelledExamples,
    kind: str,
    seed: int,
) -> Boosted:
    """Trees fitted to the picked examples, of two classes or more."""
    labels = examples.labels[picked].cpu().numpy()
    # Why no early stopping: it would take a part of the training examples away.
    trees = HistGradientBoostingClassifier(
        max_iter=ITERATIONS, early_stopping=False, random_state=seed % 2**32
    )
    return Boosted(trees.fit(users.cpu().numpy(), labels), examples, kind)
