"""Check on a toy corpus that a pre-training method keeps its contract.

userbench conformance my_package.my_method --set '{"temperature": 0.1}'

It prints one line per check; the exit status is not 0 if one fails. The tests run the same checks
on every file in methods/.
"""

import re
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from userbench import command_line
from userbench.command_line import json_object
from userbench.data.store import BehaviourStore
from userbench.errors import command, one_line
from userbench.method import Objective, PretrainMethod, TrainingConfig, configure, load_method
from userbench.model.encoder import EncoderConfig, UserEncoder
from userbench.training.checkpoint import save, start_from, trained_tensors
from userbench.training.optimizer import Adam
from userbench.training.state import SavedProgress, TrainingState

SIZES = EncoderConfig(n_items=40, dim=16, max_length=16)
EVERYONE = torch.arange(48)


class Case(NamedTuple):
    """A method, its hyper-parameters, and the corpus that it is checked on."""

    module: ModuleType
    config: TrainingConfig
    store: BehaviourStore


@command
def main(argv: list[str] | None = None) -> None:
    """Run every check on one method; SystemExit if one fails."""
    parser = command_line.parser("conformance", __doc__)
    parser.add_argument("method", help="file in methods/, or a dotted module")
    parser.add_argument("--set", type=json_object, default={}, help="fields of its Config, as JSON")
    args = parser.parse_args(argv)
    try:
        module = load_method(args.method)
        case = Case(module, configure(module, args.set), toy_store())
    except TypeError as error:
        raise ValueError(str(error)) from None
    failed = 0
    for check in CHECKS:
        name = check.__name__.replace("_", " ")
        try:
            print(f"ok    {name}: {check(case)}")
        except Exception as error:  # Why: a method may raise anything, and the other checks go on.
            failed += 1
            print(f"FAIL  {name}: {describe(error, module)}")
    if failed:
        sys.exit(f"error: {args.method} fails {failed} of {len(CHECKS)} checks")


def describe(error: Exception, module: ModuleType) -> str:
    """An error in one line, with the innermost line of the method's file in its traceback."""
    kind = "" if type(error) is ValueError else f"{type(error).__name__}: "
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == module.__file__]
    where = f" (line {lines[-1]} of {module.__file__})" if lines else ""
    return kind + one_line(str(error)) + where


def require(condition: bool, message: str) -> None:
    """ValueError with the message unless the condition holds."""
    if not condition:
        raise ValueError(message)


def toy_store() -> BehaviourStore:
    """Behaviours of users of two tastes, with every length from 1 to 12."""
    rng = np.random.default_rng(0)
    half = SIZES.n_items // 2
    lengths, tastes = EVERYONE % 12 + 1, EVERYONE % 2
    rows = [
        rng.permutation(half)[:length] + 1 + taste * half
        for length, taste in zip(lengths.tolist(), tastes.tolist(), strict=True)
    ]
    return BehaviourStore(
        items=torch.from_numpy(np.concatenate(rows)),
        offsets=torch.cat([torch.zeros(1, dtype=torch.long), lengths.cumsum(0)]),
        lengths=lengths,
        n_items=SIZES.n_items,
        max_length=SIZES.max_length,
    )


def build(case: Case, users: Int[Tensor, " users"] = EVERYONE) -> PretrainMethod:
    """The method as the pre-training loop builds it, with seed 0 and these training users."""
    torch.manual_seed(0)
    method = case.module.Method(UserEncoder(SIZES, case.config.dropout), case.config)
    method.prepare(case.store, users)
    return method.train()


def backward(method: PretrainMethod, loss: Float[Tensor, ""]) -> None:
    """Compute the gradients of all parameters; ValueError for one that is not finite."""
    loss.backward()
    for name, value in method.named_parameters():
        finite = value.grad is None or bool(value.grad.isfinite().all())
        require(finite, f"the gradient of {name} is not finite")


def after_one_step(case: Case) -> tuple[UserEncoder, list[str]]:
    """The encoder that fine-tuning would start from, and its tensors that are initialised anew."""
    method = build(case)
    backward(method, method(case.store.batch(EVERYONE), progress=0.0).loss)
    encoder = UserEncoder(SIZES, case.config.dropout)
    case.module.Method.adapt(encoder, case.config)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "epoch1.safetensors")
        save(path, trained_tensors(method), {"config": asdict(case.config)}, epoch=1)
        return encoder, start_from(encoder, path)


# ---------------------------------------------------------------- the checks
# Each returns what it found; ValueError, or any error of the method, where it fails.


def config_is_a_frozen_dataclass(case: Case) -> str:
    """Hyper-parameters are fields of `Config`, and a misspelt one is an error."""
    kind = case.module.Config
    require(issubclass(kind, TrainingConfig), "Config does not extend TrainingConfig")
    own = vars(kind).get("__dataclass_params__")
    require(own is not None and own.frozen, "@dataclass(frozen=True) is missing above Config")
    try:
        kind(temprature=1)
    except TypeError:
        return ", ".join(asdict(case.config))
    raise ValueError("Config accepts 'temprature', which is none of its fields")


def docstring_names_a_source(case: Case) -> str:
    """The docstring of the file cites the paper, with its year."""
    text = case.module.__doc__ or ""
    require(
        re.search(r"\b(19|20)\d\d\b", text) is not None,
        "the docstring names no year of publication",
    )
    return text.strip().splitlines()[0]


def loss_and_logs_are_finite_scalars(case: Case) -> str:
    """At the start, in the middle and at the end of training."""
    method = build(case)
    for progress in (0.0, 0.5, 1.0):
        objective = method(case.store.batch(EVERYONE), progress=progress)
        require(isinstance(objective, Objective), "forward returns no Objective")
        for name, value in {"the loss": objective.loss, **objective.logs}.items():
            require(value.shape == (), f"{name} is no scalar but of shape {tuple(value.shape)}")
            require(bool(value.isfinite()), f"{name} is {value.item()} at progress {progress}")
        for name, value in objective.logs.items():
            require(not value.requires_grad, f"{name} is logged with its graph: detach() it")
    return ", ".join(["loss", *objective.logs])


def gradient_reaches_the_items(case: Case) -> str:
    """The vectors of items get a gradient, not only those of padding and of the mask."""
    method = build(case)
    backward(method, method(case.store.batch(EVERYONE), progress=0.0).loss)
    gradient = method.encoder.items.weight.grad
    reached = 0 if gradient is None else int(gradient[1:-1].any(1).sum())
    require(reached > 0, "no item's vector gets a gradient")
    return f"{reached} of {SIZES.n_items}"


def same_seed_same_loss(case: Case) -> str:
    """All randomness comes from torch's seed."""
    batch = case.store.batch(EVERYONE)
    first, second = (build(case)(batch, progress=0.5).loss.item() for _ in range(2))
    require(first == second, f"{first}, then {second}: draw from torch's own generator")
    return f"{first:.4f} twice"


def two_users_of_one_behaviour_are_enough(case: Case) -> str:
    """The smallest batch of the training loop, with the shortest sequences, has a finite loss."""
    method = build(case)
    shortest = (case.store.lengths == 1).nonzero().squeeze(1)[:2]
    loss = method(case.store.batch(shortest), progress=0.0).loss
    require(bool(loss.isfinite()), f"the loss is {loss.item()}")
    backward(method, loss)
    return f"loss {loss.item():.4f}"


def sixty_steps_on_one_batch_lower_the_loss(case: Case) -> str:
    """Means over ten steps are compared, since every step draws other views and dropout masks."""
    method = build(case._replace(config=replace(case.config, dropout=0.1)))
    optimizer = torch.optim.Adam(method.parameters(), lr=3e-3)
    batch = case.store.batch(EVERYONE)
    losses = []
    for step in range(60):
        loss, _ = method(batch, progress=step / 60)
        optimizer.zero_grad()
        backward(method, loss)
        optimizer.step()
        losses.append(loss.item())
    first, last = np.mean(losses[:10]), np.mean(losses[-10:])
    require(bool(last < first), f"from {first:.4f} to {last:.4f}")
    return f"from {first:.4f} to {last:.4f}"


def batch_is_not_modified(case: Case) -> str:
    """A view that is written into the batch would corrupt the other view."""
    batch = case.store.batch(EVERYONE)
    before = {"users": batch.users.clone(), "items": batch.items.clone()}
    build(case)(batch, progress=0.0)
    for name, was in before.items():
        now = getattr(batch, name)
        require(torch.equal(now, was), f"batch.{name} was modified: clone() it first")
    return ", ".join(before)


def held_out_users_change_nothing(case: Case) -> str:
    """`prepare` reads the behaviours of the training users alone; the others are for validation."""
    store, training = case.store, EVERYONE[: len(EVERYONE) // 2]
    changed = store.items.clone()
    changed[store.offsets[len(training)] :] = 1
    first, second = (
        build(each, training)(each.store.batch(training), progress=0.5).loss.item()
        for each in (case, case._replace(store=replace(store, items=changed)))
    )
    require(first == second, f"their behaviours change the loss from {first} to {second}")
    return f"loss {first:.4f} for all their behaviours"


def fine_tuning_loads_what_was_trained(case: Case) -> str:
    """A checkpoint fits the encoder that `adapt` has changed, and vectors have its width."""
    encoder, new = after_one_step(case)
    shape = tuple(encoder(case.store.batch(EVERYONE).items).shape)
    expected = (len(EVERYONE), encoder.width)
    require(shape == expected, f"vectors are {shape}, by the encoder's width {expected}")
    return f"width {encoder.width}, initialised anew: {', '.join(new) or 'nothing'}"


def padding_changes_no_vector(case: Case) -> str:
    """The vector of a user is the same alone and in a batch with longer sequences."""
    encoder = after_one_step(case)[0].eval()
    with torch.no_grad():
        together = encoder(F.pad(case.store.batch(EVERYONE).items, (0, 3)))
        alone = torch.cat([encoder(case.store.batch(user).items) for user in EVERYONE.split(1)])
    largest = (together - alone).abs().max().item()
    require(largest < 1e-5, f"vectors change by up to {largest:.2g}")
    return f"by {largest:.1g} at most"


def resumed_training_is_identical(case: Case) -> str:
    """What changes during training is in parameters, buffers or `get_extra_state`: it is saved."""

    def trained(method: PretrainMethod, optimizer: Adam, steps: range) -> list[float]:
        losses = []
        for step in steps:
            loss = method(case.store.batch(EVERYONE), progress=step / 8).loss
            optimizer.step(loss)
            losses.append(loss.item())
        return losses

    def begun() -> tuple[PretrainMethod, Adam]:
        method = build(case)
        return method, Adam(method, 1e-2, "dense", method.encoder.items)

    with tempfile.TemporaryDirectory() as folder:

        def state() -> TrainingState:
            return TrainingState(0, Path(folder, "state"), {}, [0])

        method, optimizer = begun()
        trained(method, optimizer, range(4))
        stopped = state()
        stopped.follow(SavedProgress(), method, optimizer)
        stopped.save()
        whole = trained(method, optimizer, range(4, 8))
        method, optimizer = begun()
        resuming = state()
        resuming.follow(resuming.restore(SavedProgress), method, optimizer)
        resumed = trained(method, optimizer, range(4, 8))
    require(whole == resumed, f"losses {whole}, and resumed from a saved state {resumed}")
    return f"loss {whole[-1]:.4f} twice"


CHECKS: tuple[Callable[[Case], str], ...] = (
    config_is_a_frozen_dataclass,
    docstring_names_a_source,
    loss_and_logs_are_finite_scalars,
    gradient_reaches_the_items,
    same_seed_same_loss,
    two_users_of_one_behaviour_are_enough,
    sixty_steps_on_one_batch_lower_the_loss,
    batch_is_not_modified,
    held_out_users_change_nothing,
    fine_tuning_loads_what_was_trained,
    padding_changes_no_vector,
    resumed_training_is_identical,
)
