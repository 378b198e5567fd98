"""The state of a training, saved between two steps: what is stopped resumes with the same bits.

A loop keeps its place in a dataclass, its progress. `TrainingState` saves the progress with the
model, the optimizer and torch's random state: at intervals, on SIGUSR1, and on SIGTERM or SIGHUP
(a lost connection), after which the process ends.
"""

import logging
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from userbench.model.losses import all_finite
from userbench.training.state_file import StateFile, rebuild

log = logging.getLogger("userbench")

ENDING = (signal.SIGTERM, signal.SIGHUP)
SIGNALS = (*ENDING, signal.SIGUSR1)
SECONDS_BETWEEN_SAVES = 60.0
# Why: saving takes at most a twentieth of the time, however slow the disk is.
PAUSE_PER_SAVE = 20


@dataclass
class SavedProgress:
    """The place of a loop, to which each loop adds its own fields; all of it is saved."""

    files: list[Path] = field(default_factory=list)
    """What the loop has written."""


AnyProgress = TypeVar("AnyProgress", bound=SavedProgress)


@runtime_checkable
class Optimizer(Protocol):
    """What updates the weights of a model."""

    def state_dict(self) -> dict[str, Any]:
        """Everything it keeps between two steps."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replace what it keeps."""


class TrainingState:
    """The state of the training of one seed, and the file that it is saved to.

    `seeds` are all seeds of the process, `about` further facts of it. Without a folder nothing is
    saved.
    """

    def __init__(
        self,
        seed: int,
        folder: Path | None,
        identity: dict[str, Any],
        seeds: list[int],
        save_every: float = SECONDS_BETWEEN_SAVES,
        about: dict[str, Any] | None = None,
    ):
        self.seed, self.seeds, self.save_every = seed, seeds, save_every
        self.about = about or {}
        self.file = StateFile(folder, identity) if folder else None
        self.progress: SavedProgress | None = None
        self.model: nn.Module | None = None
        self.optimizer: Optimizer | None = None
        self.loaded: dict[str, Any] = {}
        self.due = 0.0
        self.signal: int | None = None
        self.started, self.earlier_seconds = time.perf_counter(), 0.0

    def restore(self, kind: type[AnyProgress]) -> AnyProgress:
        """The saved progress; a new one where the training starts from the beginning."""
        self.started = time.perf_counter()
        self.loaded = self.file.load() if self.file else {}
        if not self.loaded:
            return kind()
        self.earlier_seconds = self.loaded["seconds"]
        restored = rebuild(kind, self.loaded["progress"])
        log.info("seed %d resumes after %s", self.seed, restored)
        return restored

    def follow(
        self,
        progress: SavedProgress,
        model: nn.Module | None = None,
        optimizer: Optimizer | None = None,
    ) -> None:
        """Save these from now on.

        A model and an optimizer get the weights and the random state that were restored, if any.
        """
        self.progress, self.model, self.optimizer = progress, model, optimizer
        self.due = self.due or time.perf_counter() + self.save_every
        if model is not None and self.loaded.get("model"):
            set_weights(model, self.loaded["model"])
            optimizer.load_state_dict(self.loaded["optimizer"])
            set_random_state(self.loaded["random"], device_of(model))
        if model is not None:
            self.loaded = {}

    def save_if_due(self) -> None:
        """Save at intervals and after a signal; after one of ENDING, end the process.

        Raises SystemExit with the status of the signal.
        """
        if self.file is None or (self.signal is None and time.perf_counter() < self.due):
            return
        self.save()
        if self.signal in ENDING:
            self.stop()
        self.signal = None

    def save_finished(self) -> None:
        """Save the end of this seed while other seeds of the process may still be stopped."""
        if len(self.seeds) > 1:
            self.save()

    def save(self) -> None:
        """Save now, unless the model is not finite; a full disk is only a warning."""
        if self.file is None or self.progress is None:
            return
        if self.model is not None and not all_finite(self.model.parameters()):
            return  # Why no error: the loop will find it, and knows what to name.
        began = time.perf_counter()
        state = {"progress": self.progress, "seconds": self.seconds()}
        if self.model is not None:
            state["model"] = weights_of(self.model)
            state["optimizer"] = self.optimizer.state_dict()
            state["random"] = random_state(device_of(self.model))
        try:
            self.file.save(state, self.progress.files)
        except (OSError, SafetensorError) as problem:
            message = "seed %d: no state is saved (%s). The training continues without"
            log.warning(message, self.seed, problem)
        ended = time.perf_counter()
        self.due = ended + max(self.save_every, PAUSE_PER_SAVE * (ended - began))

    @contextmanager
    def saved_on_signals(self) -> Iterator[None]:
        """Inside, SIGNALS are acted upon by `save_if_due`; not those that are ignored (nohup)."""
        if self.file is None:
            yield
            return
        heard = [each for each in SIGNALS if signal.getsignal(each) != signal.SIG_IGN]
        before = {each: signal.signal(each, self.note) for each in heard}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def note(self, number: int, _: object) -> None:
        """Keep a signal for `save_if_due`; before the first step there is nothing to save."""
        if self.signal not in ENDING:
            self.signal = number
        if self.signal in ENDING and self.progress is None:
            self.stop()

    def stop(self) -> None:
        """End the process with the status of its signal and one line."""
        name = signal.Signals(self.signal).name
        log.info("stopped by %s. Run the same command again: it resumes from its saved state", name)
        sys.exit(128 + self.signal)

    def keep_finished(self) -> str:
        """Keep the finished files of a training that failed; a sentence that says where."""
        if self.file is None or self.progress is None or not self.progress.files:
            return ""
        self.file.keep(self.progress.files)
        return f". What it had finished is in {self.file.folder}, too"

    def seconds(self) -> float:
        """Seconds of the training of this seed, those before it was stopped included."""
        return self.earlier_seconds + time.perf_counter() - self.started

    def facts(self) -> dict[str, Any]:
        """Facts of the process for the provenance records of a seed."""
        return {"process_seeds": self.seeds, "seed_seconds": self.seconds(), **self.about}

    def remove(self) -> None:
        """Delete the saved state: the process has ended well."""
        if self.file is not None:
            self.file.remove()


def device_of(model: nn.Module) -> torch.device:
    """The device of a model's parameters."""
    return next(model.parameters()).device


def weights_of(model: nn.Module) -> dict[str, Any]:
    """All that a model holds.

    Its `state_dict` would apply the deferred updates of an item table first (`optimizer.py`):
    saving would then move bits of a training that nobody disturbed.
    """
    return {
        "tensors": {**dict(model.named_parameters()), **dict(model.named_buffers())},
        # What has a gradient counts as trained (`checkpoint.trained_tensors`).
        "trained": [name for name, value in model.named_parameters() if value.grad is not None],
        "extra": {name: part.get_extra_state() for name, part in parts_with_extra_state(model)},
    }


@torch.no_grad()
def set_weights(model: nn.Module, saved: dict[str, Any]) -> None:
    """Give a model what `weights_of` returned."""
    own = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for name, value in saved["tensors"].items():
        own[name].copy_(value)
    for name, value in model.named_parameters():
        value.grad = torch.zeros_like(value) if name in saved["trained"] else None
    for name, part in parts_with_extra_state(model):
        part.set_extra_state(saved["extra"][name])


def parts_with_extra_state(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Parts of a model that hold more than parameters and buffers, by torch's own hook for it."""
    for name, part in model.named_modules():
        if type(part).get_extra_state is not nn.Module.get_extra_state:
            yield name, part


def random_state(device: torch.device) -> list[Tensor]:
    """The state of torch's generators."""
    cuda = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return [torch.get_rng_state(), *cuda]


def set_random_state(state: list[Tensor], device: torch.device) -> None:
    """Set torch's generators to what `random_state` returned."""
    torch.set_rng_state(state[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state[1], device)
