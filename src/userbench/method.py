"""The contract of a pre-training method: one file in `methods/` with a `Config` and a `Method`."""

from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, NamedTuple

from jaxtyping import Float, Int
from torch import Tensor, nn

from userbench.data.store import Batch, BehaviourStore
from userbench.errors import check_fields
from userbench.model.encoder import EncoderConfig, UserEncoder
from userbench.view import load_part, load_views


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

    def prepare(self, store: BehaviourStore, users: Int[Tensor, " users"]) -> None:
        """Compute statistics of the corpus before the first step, of the training `users` alone."""

    @staticmethod
    def adapt(encoder: UserEncoder, config: TrainingConfig) -> None:
        """Change an encoder that is about to load a checkpoint of this method and be fine-tuned."""

    def get_extra_state(self) -> dict[str, Any]:
        """What changes in training beside parameters and buffers: saved with them (`resume.py`).

        Of the methods here, what their views say. A method with more of it extends this.
        """
        views = getattr(self, "views", None)
        return {name: getattr(views, name) for name in getattr(views, "changing", ())}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Put back what `get_extra_state` told."""
        for name, value in state.items():
            setattr(self.views, name, value)

    def forward(self, batch: Batch, progress: float) -> Objective:
        """Loss of one batch; `progress` runs from 0 to 1 over training, for curricula."""
        raise NotImplementedError


def load_method(name: str) -> ModuleType:
    """The file methods/<name>.py, or an importable module where the name has a dot.

    ValueError for a name that is neither, or for a module without `Config` or `Method`.
    """
    module = load_part("method", name)
    for part in ("Config", "Method"):
        if not hasattr(module, part):
            raise ValueError(f"{name} has no class {part}")
    return module


def configure(module: ModuleType, changes: dict[str, Any]) -> TrainingConfig:
    """The method's defaults with `changes`; ValueError for a misspelt field.

    `views` takes options of the way to make views that it has, or of the one that `kind` names.
    """
    check_fields(module.Config, changes, module.__name__)
    changes = dict(changes)
    if isinstance(views := changes.get("views"), dict):
        default = module.Config().views
        options = {name: value for name, value in views.items() if name != "kind"}
        if views.get("kind", default.kind) != default.kind:
            default = load_views(views["kind"]).Options()
        check_fields(type(default), options, f"views {default.kind}")
        changes["views"] = replace(default, **options)
    config = module.Config(**changes)
    if not config.lr > 0:
        raise ValueError(f"lr={config.lr}: must be above 0")
    if not 0 <= config.dropout < 1:
        raise ValueError(f"dropout={config.dropout}: must be from 0 to below 1")
    return config


def encoder_sizes(changes: dict[str, Any], n_items: int = 0) -> EncoderConfig:
    """The default sizes with `changes`; ValueError for a misspelt one, or for items of its own."""
    check_fields(EncoderConfig, changes, "--encoder")
    if "n_items" in changes:
        raise ValueError("--encoder: leave out n_items; the store says how many there are")
    return EncoderConfig(n_items, **changes)
