"""The heads of downstream tasks: user vector -> one score per class or candidate."""

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from userbench.model.encoder import UserVectors, initialise
from userbench.model.losses import log_frequency
from userbench.seeds import generator_of


class Head(nn.Module):
    """What every head has: a last layer `score` with a row per class or candidate."""

    score: nn.Linear

    def start(self, *of: int | str) -> None:
        """Draw the weights `of` a seed and names: of equal layers, the same for every method."""
        for name, layer in self.named_children():
            initialise(layer, generator_of(*of, name))

    def start_at_frequencies(self, outputs: Int[Tensor, " examples"]) -> None:
        """Set the last bias to the log frequency of each class or candidate in `outputs`."""
        counts = outputs.bincount(minlength=len(self.score.bias))
        self.score.bias.data.copy_(log_frequency(counts))

    def hidden(self, users: UserVectors) -> Float[Tensor, "users hidden"]:
        """What the last layer reads."""
        raise NotImplementedError

    def forward(self, users: UserVectors) -> Float[Tensor, "users outputs"]:
        """Scores of all classes or candidates."""
        return self.score(self.hidden(users))


class TwoLayerHead(Head):
    """Linear, ReLU, Linear: the head of fine-tuning.

    A user vector wider than the encoder's `dim` (several interests) meets a wider first layer.
    """

    def __init__(self, width: int, dim: int, outputs: int):
        super().__init__()
        self.widen = nn.Linear(width, dim)
        self.score = nn.Linear(dim, outputs)

    def hidden(self, users: UserVectors) -> Float[Tensor, "users dim"]:
        """The hidden layer."""
        return F.relu(self.widen(users))


class LinearHead(Head):
    """One linear layer: what the user vector says without another one in between."""

    def __init__(self, width: int, outputs: int):
        super().__init__()
        self.score = nn.Linear(width, outputs)

    def hidden(self, users: UserVectors) -> UserVectors:
        """The user vector itself."""
        return users
