"""The encoder of a run before a downstream task changes it, built alike by every command."""

from pathlib import Path
from typing import Any, NamedTuple

import torch

from userbench.method import configure, encoder_sizes, load_method
from userbench.model.encoder import UserEncoder
from userbench.seeds import seed_of
from userbench.training.acceleration import accelerate
from userbench.training.checkpoint import epoch_of, start_from


class Origin(NamedTuple):
    """Where a candidate begins: at a checkpoint, or at the random weights of one of the starts."""

    init: Path | None
    start: int = 1

    def seed(self, seed: int) -> int:
        """The seed of all that is drawn at the beginning; of the first start the run's own."""
        return seed if self.start == 1 else seed_of(seed, "start", self.start)

    def place(self) -> dict[str, int]:
        """The keys by which its rows differ from those of other candidates in a score file."""
        if self.init is None:
            return {"pretrain_epoch": 0, "start": self.start}
        return {"pretrain_epoch": epoch_of(self.init)}

    def __str__(self) -> str:
        return f"random weights, start {self.start}" if self.init is None else str(self.init)


def origins_of(checkpoints: list[Path], starts: int) -> list[Origin]:
    """Where the candidates of a run begin: at its checkpoints, without any at so many starts."""
    given = [Origin(checkpoint) for checkpoint in checkpoints]
    return given or [Origin(None, start) for start in range(1, starts + 1)]


class EncoderOptions(NamedTuple):
    """How the encoder of a run is built: the flags that commands have in common."""

    method: str | None
    """The method of the run, which may adapt the encoder; None: no method has."""
    set: dict[str, Any]
    """Fields of its Config."""
    encoder: dict[str, Any]
    """Sizes."""
    precision: str = "fp32"
    capture: str = "none"


class Built(NamedTuple):
    """An encoder, and the names of what its checkpoint does not hold, which is as drawn."""

    encoder: UserEncoder
    untrained: list[str]


def build_encoder(
    n_items: int,
    dropout: float,
    init: Path | None,
    options: EncoderOptions,
    device: torch.device,
) -> Built:
    """The encoder as its method wants it used, with the weights of a checkpoint if any.

    Weights that no checkpoint holds are drawn from torch's generator: seed it before. The encoder
    computes as `options` say on the device, to which the caller moves it.
    """
    encoder = adapted_encoder(n_items, dropout, options.method, options.set, options.encoder)
    untrained = sorted(encoder.state_dict()) if init is None else start_from(encoder, init)
    accelerate(encoder, options.precision, options.capture, device)
    return Built(encoder, untrained)


def adapted_encoder(
    n_items: int,
    dropout: float,
    method: str | None,
    changes: dict[str, Any],
    sizes: dict[str, Any],
) -> UserEncoder:
    """An encoder with random weights, as its method wants it used."""
    encoder = UserEncoder(encoder_sizes(sizes, n_items), dropout)
    if method is not None:
        module = load_method(method)
        module.Method.adapt(encoder, configure(module, changes))
    return encoder
