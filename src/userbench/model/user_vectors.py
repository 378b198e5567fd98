"""User vectors of an encoder, made alike wherever they are needed."""

from collections.abc import Iterator

import torch
from jaxtyping import Int
from torch import Tensor

from userbench.data.store import BehaviourStore
from userbench.model.encoder import UserEncoder, UserVectors

# Why: evaluation keeps no activations, so its batches may be larger than those of training.
ENCODED_AT_ONCE = 512


def user_vectors(
    encoder: UserEncoder, store: BehaviourStore, users: Int[Tensor, " users"]
) -> Iterator[UserVectors]:
    """Vectors of these users without dropout, in their order, `ENCODED_AT_ONCE` at a time."""
    encoder.eval()
    for some in users.cpu().split(ENCODED_AT_ONCE):
        batch = store.batch(some)
        with torch.no_grad():
            vectors = encoder(batch.items, batch.bounds)
        yield vectors
