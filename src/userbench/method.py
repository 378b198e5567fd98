"""The contract of a pre-training method: one file in `methods/` with a `Config` and a `Method`."""

import importlib
from dataclasses import dataclass
from types import ModuleType
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from userbench.data.store import Batch, BehaviourStore
from userbench.encoder import UserEncoder


@dataclass(frozen=True)
class TrainingConfig:
    """What the loop itself reads; a method's `Config` extends it and may change the defaults."""

    lr: float = 2e-4
    dropout: float = 0.1


class Objective(NamedTuple):
    """What a method gives for one batch."""

    loss: Float[Tensor, ""]
    logs: dict[str, Float[Tensor, ""]] = {}
    """Numbers to follow in training; they stay on the device until the loop logs them."""


class PretrainMethod(nn.Module):
    """The encoder being pre-trained and whatever is trained beside it."""

    def __init__(self, encoder: UserEncoder, config: TrainingConfig):
        super().__init__()
        self.encoder = encoder
        self.config = config

    def prepare(self, store: BehaviourStore) -> None:
        """Compute corpus statistics needed before the first step, e.g. item frequencies."""

    def forward(self, batch: Batch, progress: float) -> Objective:
        """Loss of one batch; `progress` runs from 0 to 1 over training, for curricula."""
        raise NotImplementedError


def load_method(name: str) -> ModuleType:
    """The file methods/<name>.py, or an importable module where the name has a dot."""
    return importlib.import_module(name if "." in name else f"userbench.methods.{name}")
