"""The contract of a pre-training method: one file in `methods/` with a `Config` and a `Method`."""

from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from userbench.data.store import Batch, BehaviourStore
from userbench.fields import check_fields, check_values
from userbench.model.encoder import EncoderConfig, UserEncoder
from userbench.view import ViewOptions, Views, load_part, load_views


@dataclass(frozen=True)
class TrainingConfig:
    """What the training loop reads; a method's `Config` extends it and may change the defaults."""

    lr: float = 2e-4
    dropout: float = 0.1

    def __post_init__(self) -> None:
        check_values(self)


class Objective(NamedTuple):
    """What a method computes for one batch."""

    loss: Float[Tensor, ""]
    logs: dict[str, Float[Tensor, ""]] = {}
    """Values to follow during training; they stay on the device until the loop logs them."""


class PretrainMethod(nn.Module):
    """The encoder being pre-trained, the views it is trained on, and what is trained beside it.

    `views` are built from the field `views` of the `Config`; None where it has no such field.
    """

    def __init__(self, encoder: UserEncoder, config: TrainingConfig):
        super().__init__()
        self.encoder = encoder
        self.config = config
        options = getattr(config, "views", None)
        self.views: Views | None = None
        if isinstance(options, ViewOptions):
            self.views = options.build(encoder)

    def prepare(self, store: BehaviourStore, users: Int[Tensor, " users"]) -> None:
        """Compute statistics of the training `users`, and of nobody else, before the first step.

        These are the statistics of the views. A method whose loss needs others, too, extends this.
        """
        if self.views is not None:
            self.views.prepare(store, users)

    @staticmethod
    def adapt(encoder: UserEncoder, config: TrainingConfig) -> None:
        """Change an encoder that is about to load a checkpoint of this method and be fine-tuned."""

    def forward(self, batch: Batch, progress: float) -> Objective:
        """Loss of one batch; `progress` runs from 0 to 1 over training, for curricula."""
        raise NotImplementedError

    def encode_views(self, batch: Batch, progress: float) -> Float[Tensor, "views width"]:
        """User vectors of both views: those of all first views, then those of all second views."""
        pair = self.views(batch, progress)
        return self.encoder(torch.cat(pair), self.views.bounds(batch))

    def get_extra_state(self) -> dict[str, Any]:
        """What changes during training beside parameters and buffers, and is saved with them.

        These are the changing attributes of the views. A method with more of them extends this.
        """
        changing = () if self.views is None else self.views.changing
        return {name: getattr(self.views, name) for name in changing}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_extra_state` returned."""
        for name, value in state.items():
            setattr(self.views, name, value)


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
    """The method's defaults with `changes`; ValueError for an unknown field or a wrong value.

    `views` takes options of the method's own augmentation strategy, or of the one `kind` names.
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
    """The default sizes with `changes`; ValueError for an unknown field, or for `n_items`."""
    check_fields(EncoderConfig, changes, "--encoder")
    if "n_items" in changes:
        raise ValueError("--encoder: leave out n_items; it is the number of items of the store")
    return EncoderConfig(n_items, **changes)
