"""What an encoder with the head of a task predicts of examples, every user encoded once."""

import torch
from jaxtyping import Int
from torch import Tensor

from userbench.data.store import BehaviourStore
from userbench.model.encoder import UserVectors
from userbench.model.tasks import LabelTask, TopNTask
from userbench.model.user_vectors import user_vectors


@torch.no_grad()
def evaluate(
    model: torch.nn.ModuleDict, store: BehaviourStore, picked: Int[Tensor, " examples"]
) -> dict[str, float]:
    """Metrics of the picked examples."""
    found = model["head"].evaluate(encode(model, store, picked), picked)
    return {metric: float(value) for metric, value in found.items()}


@torch.no_grad()
def predict(
    model: torch.nn.ModuleDict, store: BehaviourStore, picked: Int[Tensor, " examples"]
) -> dict[str, Tensor]:
    """Number and user of the picked examples, and what the head predicts of them."""
    head: LabelTask | TopNTask = model["head"]
    predicted = head.predict(encode(model, store, picked), picked)
    return {"example": picked, "user": head.examples.users[picked], **predicted}


def encode(
    model: torch.nn.ModuleDict, store: BehaviourStore, picked: Int[Tensor, " examples"]
) -> UserVectors:
    """User vectors of the picked examples, every user encoded once."""
    model.eval()
    unique, place = model["head"].examples.users[picked].unique(return_inverse=True)
    users: UserVectors = torch.cat([*user_vectors(model["encoder"], store, unique)])
    return users[place]
