"""Measure how similar a user's vectors stay under augmentation, of a trained encoder.

userbench similarity --store DATA --splits SPLITS --run adaptssr --method adaptssr
    --checkpoint epoch20.safetensors --seed 0 --out seed0.parquet

The three tiers of AdaptSSR (Yu et al., NeurIPS 2023, Figure 5), of users whom pre-training held
out: cosines of a user's vector with that of the same sequence under dropout (the dropout twin), of
the sequence under each operator, and of another held-out user. The paper does not say which of them
are encoded under dropout. `--encode evaluation`: the twin alone, at one rate for all methods, so
that methods are compared on equal terms. `--encode training`: every vector, with a mask of its own,
at the rate of its pre-training, so that tiers differ by what they compare and not by noise.
Encoders compute in fp32 here, on a GPU too and whatever they were trained in.

One row per user and draw. Columns: run, corpus, seed, encode (of the flag), dropout (the rate),
user (number in the store), draw (from 0), and the cosines: implicit (the dropout twin), crop,
reorder, mask (explicit augmentations), other.
"""

import argparse
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from userbench import command_line
from userbench.command_line import at_least, json_object
from userbench.data.splits import VALIDATION, check_user_split, load_user_split, user_data
from userbench.data.store import BehaviourStore
from userbench.encoders import adapted_encoder
from userbench.errors import command
from userbench.fields import check_fields
from userbench.method import TrainingConfig, configure, encoder_sizes, load_method
from userbench.model.augment import crop, mask, reorder
from userbench.model.encoder import Items, UserEncoder, UserVectors
from userbench.model.user_vectors import ENCODED_AT_ONCE
from userbench.results.artifact import atomic, fingerprints, record
from userbench.training.checkpoint import start_from
from userbench.training.gpu_share import gpu_facts, take_device
from userbench.views import operators

log = logging.getLogger("userbench")

FEWEST_USERS = 2
# Which of `sequences` are encoded in training mode, under dropout; the others in evaluation mode.
UNDER_DROPOUT = {
    "evaluation": ("implicit",),
    "training": ("own", "implicit", "crop", "reorder", "mask"),
}


@dataclass(frozen=True)
class Options:
    """What is measured: the flags of the command."""

    store: Path
    splits: Path
    run: str
    method: str
    set: dict[str, Any]
    encoder: dict[str, Any]
    checkpoint: Path
    encode: str
    dropout: float | None
    views: dict[str, Any]
    users: int
    draws: int
    seed: int
    device: str
    out: Path


def flags() -> argparse.ArgumentParser:
    """The flags of the command."""
    parser = command_line.parser("similarity", __doc__)
    parser.add_argument("--store", type=Path, required=True, help="array store of the corpus")
    parser.add_argument("--splits", type=Path, required=True, help="folder of split files")
    parser.add_argument("--run", required=True, help="name of the run in the file")
    parser.add_argument("--method", required=True, help="method that trained the checkpoint")
    parser.add_argument("--set", type=json_object, default={}, help="fields of its Config, as JSON")
    parser.add_argument("--encoder", type=json_object, default={}, help="encoder sizes, as JSON")
    parser.add_argument("--checkpoint", type=Path, required=True, help="of the encoder")
    parser.add_argument(
        "--encode",
        choices=list(UNDER_DROPOUT),
        default="evaluation",
        help="mode: evaluation but for the dropout twin, or training for all vectors",
    )
    parser.add_argument(
        "--dropout",
        type=float,
        help="rate of the dropout twin in evaluation mode, whatever the method "
        f"(default {TrainingConfig.dropout}); in training mode it is that of the pre-training",
    )
    parser.add_argument("--views", type=json_object, default={}, help="ratios, as JSON")
    parser.add_argument("--users", type=int, default=2000, help="at most so many held-out users")
    parser.add_argument("--draws", type=at_least(1), default=4, help="augmentations of each user")
    parser.add_argument("--seed", type=at_least(0), required=True, help="of the draws")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:<n>")
    parser.add_argument("--out", type=Path, required=True, help="parquet file to write")
    return parser


@command
def main(argv: list[str] | None = None) -> None:
    """Measure the similarities of one encoder."""
    options = Options(**vars(flags().parse_args(argv)))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    measure(options)


def measure(options: Options) -> None:
    """Write the cosines of the held-out users, or a part of them drawn by the seed."""
    check_fields(operators.Options, options.views, "--views")
    sizes = encoder_sizes(options.encoder)
    views = operators.Options(**options.views)
    torch.manual_seed(options.seed)
    device = take_device(options.device)
    check_user_split(options.splits, options.store)
    store = BehaviourStore.open(options.store, sizes.max_length, device)
    held_out = (load_user_split(options.splits) == VALIDATION).nonzero().squeeze(1)
    users = held_out[torch.randperm(len(held_out))[: options.users]].to(device)
    if len(users) < FEWEST_USERS:
        raise ValueError(f"{options.splits}: {len(users)} held-out users; another user is needed")
    encoder = untrained_encoder(store.n_items, options)
    # What it does not hold (the pooling query of masked item prediction) stays as drawn.
    start_from(encoder, options.checkpoint)
    encoder.to(device)
    drawn = []
    for draw in range(options.draws):
        found = cosines(encoder, store, users, views, options.encode)
        frame = pd.DataFrame({name: values.cpu().numpy() for name, values in found.items()})
        frame.insert(0, "user", users.cpu().numpy().astype("int32"))
        frame.insert(1, "draw", draw)
        drawn.append(frame)
    table = pd.concat(drawn, ignore_index=True).astype({"draw": "int16"})
    rate = encoder.dropout.p
    about = {"run": options.run, "corpus": options.store.name, "seed": options.seed}
    about |= {"encode": options.encode, "dropout": rate}
    for place, (name, value) in enumerate(about.items()):
        table.insert(place, name, value)
    with atomic(options.out) as partial:
        table.to_parquet(partial, index=False)
    inputs = fingerprints([*user_data(options.store, options.splits), options.checkpoint])
    settings = {**asdict(options), "views": asdict(views), "dropout": rate, "precision": "fp32"}
    record(options.out, settings, inputs, held_out=len(held_out), **gpu_facts(device))
    means = ", ".join(f"{name} {table[name].mean():.3f}" for name in found)
    log.info("%s on %s: %d users, cosines: %s", options.run, options.store.name, len(users), means)


def untrained_encoder(n_items: int, options: Options) -> UserEncoder:
    """The encoder as its method reads it, with the dropout that the flags ask for."""
    of_pretraining = configure(load_method(options.method), options.set).dropout
    rate = dropout_rate(options, of_pretraining)
    changes = {**options.set, "dropout": rate}
    return adapted_encoder(n_items, rate, options.method, changes, options.encoder)


def dropout_rate(options: Options, of_pretraining: float) -> float:
    """The rate that `--encode` and `--dropout` ask for; ValueError for one that cannot be."""
    if options.encode == "training":
        if options.dropout is not None:
            raise ValueError(
                f"--dropout {options.dropout}: in training mode the rate is that of each method's "
                "pre-training. Leave it out, or use --encode evaluation"
            )
        return of_pretraining
    rate = TrainingConfig.dropout if options.dropout is None else options.dropout
    if not 0 <= rate < 1:
        raise ValueError(f"--dropout {rate}: must be 0 or more, and below 1")
    return rate


@torch.no_grad()
def cosines(
    encoder: UserEncoder,
    store: BehaviourStore,
    users: Int[Tensor, " users"],
    views: operators.Options,
    encode: str,
) -> dict[str, Float[Tensor, " users"]]:
    """Cosine of each user's vector with the dropout twin, each augmentation, and the next user."""
    parts = []
    for part in users.split(ENCODED_AT_ONCE):
        drawn = sequences(store.batch(part).items, views, encoder.config.mask_id)
        parts.append(directions(encoder, drawn, UNDER_DROPOUT[encode]))
    vectors = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    own = vectors.pop("own")
    vectors["other"] = own.roll(-1, dims=0)
    return {name: (own * vector).sum(-1) for name, vector in vectors.items()}


def sequences(items: Items, views: operators.Options, mask_id: int) -> dict[str, Items]:
    """Each user's sequence, the same again, and under each operator."""
    return {
        "own": items,
        "implicit": items,
        "crop": crop(items, views.crop_ratio),
        "reorder": reorder(items, views.reorder_ratio),
        "mask": mask(items, views.mask_ratio, mask_id),
    }


def directions(
    encoder: UserEncoder, items: dict[str, Items], under_dropout: Sequence[str]
) -> dict[str, UserVectors]:
    """Vectors of length 1 of all these sequences, by one pass of the encoder in each mode."""
    vectors = {}
    for training in (False, True):
        names = [name for name in items if (name in under_dropout) == training]
        if names:
            # Why the mode is a matter of dropout alone: only heads have batch norms (CLUE's).
            encoder.train(training)
            encoded = encoder(torch.cat([items[name] for name in names]))
            vectors |= zip(names, F.normalize(encoded, dim=-1).chunk(len(names)), strict=True)
    return {name: vectors[name] for name in items}
