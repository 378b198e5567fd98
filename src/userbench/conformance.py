"""What every pre-training method must keep: checks on a toy corpus, and a command.

python -m userbench.conformance my_package.my_method --set '{"temperature": 0.1}'

One line per check; the exit status is not 0 if one fails. The tests run the same checks over every
file in methods/.
"""

import argparse
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

from userbench.data.store import BehaviourStore
from userbench.errors import command, json_object
from userbench.method import Objective, PretrainMethod, TrainingConfig, configure, load_method
from userbench.model.encoder import EncoderConfig, UserEncoder
from userbench.training.checkpoint import save, start_from, trained_tensors
from userbench.training.optimizer import Adam
from userbench.training.state import SavedProgress, TrainingState

SIZES = EncoderConfig(n_items=40, dim=16, max_length=16)
EVERYONE = torch.arange(48)
DEVICE = torch.device("cpu")


class Case(NamedTuple):
    """A method, its hyper-parameters, and what it is tried on."""

    module: ModuleType
    config: TrainingConfig
    store: BehaviourStore


@command
def main(argv: list[str] | None = None) -> None:
    """Run every check on the method that the flags name."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("method", help="file in methods/, or a dotted module")
    parser.add_argument("--set", type=json_object, default={}, help="fields of its Config, as JSON")
    args = parser.parse_args(argv)
    try:
        module = load_method(args.method)
        case = Case(module, configure(module, args.set), toy_store())
    except TypeError as mistake:
        raise ValueError(str(mistake)) from None
    broken = 0
    for check in CHECKS:
        name = check.__name__.replace("_", " ")
        try:
            print(f"ok    {name}: {check(case)}")
        except Exception as problem:  # Why: whatever the method raises is what was to be found.
            broken += 1
            print(f"FAIL  {name}: {told(problem, module)}")
    if broken:
        sys.exit(f"error: {args.method} breaks {broken} of {len(CHECKS)} checks")


def told(problem: Exception, module: ModuleType) -> str:
    """A problem in one line, with the last line of the method's file that it passed through."""
    kind = "" if type(problem) is ValueError else f"{type(problem).__name__}: "
    frames = traceback.extract_tb(problem.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == module.__file__]
    where = f" (line {lines[-1]} of {module.__file__})" if lines else ""
    return kind + " ".join(str(problem).split()) + where


def demand(holds: bool, otherwise: str) -> None:
    """ValueError where something does not hold."""
    if not holds:
        raise ValueError(otherwise)


def toy_store() -> BehaviourStore:
    """Users of two tastes, of every length from 1 to 12."""
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
    """The method as the pre-training loop builds it, from seed 0, to learn from `users`."""
    torch.manual_seed(0)
    method = case.module.Method(UserEncoder(SIZES, case.config.dropout), case.config)
    method.prepare(case.store, users)
    return method.train()


def backward(method: PretrainMethod, loss: Float[Tensor, ""]) -> None:
    """Gradients of all parameters; ValueError for one that is not finite."""
    loss.backward()
    for name, value in method.named_parameters():
        finite = value.grad is None or bool(value.grad.isfinite().all())
        demand(finite, f"the gradient of {name} is not finite")


def after_one_step(case: Case) -> tuple[UserEncoder, list[str]]:
    """The encoder that fine-tuning would start from, and the names of what is drawn anew in it."""
    method = build(case)
    backward(method, method(case.store.batch(EVERYONE), progress=0.0).loss)
    encoder = UserEncoder(SIZES, case.config.dropout)
    case.module.Method.adapt(encoder, case.config)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "epoch1.safetensors")
        save(path, trained_tensors(method), {"config": asdict(case.config)}, epoch=1)
        return encoder, start_from(encoder, path)


# ---------------------------------------------------------------- the checks
# Each returns what it saw; ValueError, or whatever the method raises, where the contract is broken.


def config_is_a_frozen_dataclass(case: Case) -> str:
    """A hyper-parameter is a field of `Config`, and a misspelt one never passes silently."""
    kind = case.module.Config
    demand(issubclass(kind, TrainingConfig), "Config does not extend TrainingConfig")
    own = vars(kind).get("__dataclass_params__")
    demand(own is not None and own.frozen, "@dataclass(frozen=True) is missing above Config")
    try:
        kind(temprature=1)
    except TypeError:
        return ", ".join(asdict(case.config))
    raise ValueError("Config takes 'temprature', a field that it does not have")


def docstring_names_a_source(case: Case) -> str:
    """Whoever opens the file learns where the idea comes from."""
    text = case.module.__doc__ or ""
    demand(re.search(r"\b(19|20)\d\d\b", text) is not None, "it names no year of publication")
    return text.strip().splitlines()[0]


def loss_and_logs_are_finite_scalars(case: Case) -> str:
    """At the start, in the middle and at the end of training."""
    method = build(case)
    for progress in (0.0, 0.5, 1.0):
        given = method(case.store.batch(EVERYONE), progress=progress)
        demand(isinstance(given, Objective), "forward gives no Objective")
        for name, value in {"the loss": given.loss, **given.logs}.items():
            demand(value.shape == (), f"{name} is no scalar but of shape {tuple(value.shape)}")
            demand(bool(value.isfinite()), f"{name} is {value.item()} at progress {progress}")
        for name, value in given.logs.items():
            demand(not value.requires_grad, f"{name} is logged with its graph: detach() it")
    return ", ".join(["loss", *given.logs])


def gradient_reaches_the_items(case: Case) -> str:
    """Rows of items, not only of padding and of the mask."""
    method = build(case)
    backward(method, method(case.store.batch(EVERYONE), progress=0.0).loss)
    gradient = method.encoder.items.weight.grad
    reached = 0 if gradient is None else int(gradient[1:-1].any(1).sum())
    demand(reached > 0, "no item's vector gets a gradient")
    return f"{reached} of {SIZES.n_items}"


def same_seed_same_loss(case: Case) -> str:
    """Randomness comes from torch's seed alone."""
    batch = case.store.batch(EVERYONE)
    first, second = (build(case)(batch, progress=0.5).loss.item() for _ in range(2))
    demand(first == second, f"{first}, then {second}: draw from torch's own generator")
    return f"{first:.4f} twice"


def two_users_of_one_behaviour_are_enough(case: Case) -> str:
    """The smallest batch the loop ever gives, of the shortest sequences there are."""
    method = build(case)
    shortest = (case.store.lengths == 1).nonzero().squeeze(1)[:2]
    loss = method(case.store.batch(shortest), progress=0.0).loss
    demand(bool(loss.isfinite()), f"the loss is {loss.item()}")
    backward(method, loss)
    return f"loss {loss.item():.4f}"


def sixty_steps_on_one_batch_lower_the_loss(case: Case) -> str:
    """Means of ten steps are compared: views and dropout are drawn anew in each."""
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
    demand(bool(last < first), f"from {first:.4f} to {last:.4f}")
    return f"from {first:.4f} to {last:.4f}"


def batch_is_left_as_it_was(case: Case) -> str:
    """A view that writes into its source would corrupt the other view."""
    batch = case.store.batch(EVERYONE)
    before = {"users": batch.users.clone(), "items": batch.items.clone()}
    build(case)(batch, progress=0.0)
    for name, was in before.items():
        now = getattr(batch, name)
        demand(torch.equal(now, was), f"batch.{name} was written into: clone() it first")
    return ", ".join(before)


def held_out_users_teach_nothing(case: Case) -> str:
    """`prepare` learns from the users it is given; the others are for validation."""
    store, training = case.store, EVERYONE[: len(EVERYONE) // 2]
    changed = store.items.clone()
    changed[store.offsets[len(training)] :] = 1
    first, second = (
        build(each, training)(each.store.batch(training), progress=0.5).loss.item()
        for each in (case, case._replace(store=replace(store, items=changed)))
    )
    demand(first == second, f"other behaviours of theirs move the loss from {first} to {second}")
    return f"{first:.4f} whatever they do"


def fine_tuning_loads_what_was_trained(case: Case) -> str:
    """A checkpoint fits an encoder that `adapt` has changed, which gives vectors of its width."""
    encoder, new = after_one_step(case)
    given = tuple(encoder(case.store.batch(EVERYONE).items).shape)
    expected = (len(EVERYONE), encoder.width)
    demand(given == expected, f"vectors are {given}, by the encoder's width {expected}")
    return f"width {encoder.width}, drawn anew: {', '.join(new) or 'nothing'}"


def padding_changes_no_vector(case: Case) -> str:
    """A user has one vector, alone or beside longer sequences."""
    encoder = after_one_step(case)[0].eval()
    with torch.no_grad():
        together = encoder(F.pad(case.store.batch(EVERYONE).items, (0, 3)))
        alone = torch.cat([encoder(case.store.batch(user).items) for user in EVERYONE.split(1)])
    largest = (together - alone).abs().max().item()
    demand(largest < 1e-5, f"vectors change by up to {largest:.2g}")
    return f"by {largest:.1g} at most"


def resumed_it_goes_on_as_if_never_stopped(case: Case) -> str:
    """What changes in training is in parameters, buffers or `get_extra_state`."""

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
    demand(whole == resumed, f"losses {whole}, after it was stopped and resumed {resumed}")
    return f"loss {whole[-1]:.4f} twice"


CHECKS: tuple[Callable[[Case], str], ...] = (
    config_is_a_frozen_dataclass,
    docstring_names_a_source,
    loss_and_logs_are_finite_scalars,
    gradient_reaches_the_items,
    same_seed_same_loss,
    two_users_of_one_behaviour_are_enough,
    sixty_steps_on_one_batch_lower_the_loss,
    batch_is_left_as_it_was,
    held_out_users_teach_nothing,
    fine_tuning_loads_what_was_trained,
    padding_changes_no_vector,
    resumed_it_goes_on_as_if_never_stopped,
)


if __name__ == "__main__":
    main()
