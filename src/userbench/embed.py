"""Write the user vectors of pre-trained encoders, with the ids of the users.

userbench embed --checkpoint results/mine/pretrain/adaptssr/ml/seed0/epoch4.safetensors
    --out vectors.parquet
userbench embed --store DATA --run adaptssr --method adaptssr --seed 0 1
    --checkpoint seed{seed}/epoch1.safetensors seed{seed}/epoch4.safetensors
    --out vectors/seed{seed}/{candidate}.parquet

Parquet: `user`, the id of the raw data (where it has none, the row from 0), and `vector`; or an
array, NAME.npy, with the ids in NAME.ids.parquet. What is not given is as the checkpoint says.
`--raw` encodes other users, of a file or folder of the same kind as the raw data of the store: an
item that the store does not know is read as the mask. Without a checkpoint: random weights, of so
many `--starts`. `{candidate}` in `--out` is `epoch<k>` or `start<k>`. Encoders compute in fp32.
"""

import argparse
import importlib
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float32
from safetensors import safe_open

from userbench import command_line
from userbench.command_line import at_least, json_object
from userbench.data.arrays import behaviours_folder, read_checksums
from userbench.data.ids import ids_folder, user_ids
from userbench.data.store import BehaviourStore
from userbench.data.vectors import check_suffix, write_vectors, written_beside
from userbench.encoders import EncoderOptions, Origin, build_encoder, origins_of
from userbench.errors import command
from userbench.method import encoder_sizes
from userbench.model.encoder import UserEncoder
from userbench.model.user_vectors import user_vectors
from userbench.results.artifact import fingerprint, fingerprints, provenance_of, record, sha256
from userbench.training.checkpoint import epoch_of
from userbench.training.cpu_memory import bound_kernel_cache
from userbench.training.gpu_share import gpu_facts, take_device
from userbench.training.several_seeds import check_outputs, with_seed

log = logging.getLogger("userbench")


@dataclass(frozen=True)
class Options:
    """What is encoded, and by which encoders: the flags of the command."""

    store: Path
    run: str
    method: str | None
    set: dict[str, Any]
    encoder: dict[str, Any]
    checkpoint: list[Path]
    starts: int
    seed: list[int]
    raw: Path | None
    max_bad_rows: int
    device: str
    out: Path


class Users(NamedTuple):
    """Whom to encode."""

    ids: pa.Array
    store: BehaviourStore
    unknown: int
    """Events of items that the store of the checkpoint does not know."""


class Job(NamedTuple):
    """One file of vectors."""

    seed: int
    origin: Origin
    out: Path


def flags() -> argparse.ArgumentParser:
    """The flags of the command."""
    parser = command_line.parser("embed", __doc__)
    parser.add_argument(
        "--checkpoint", type=Path, nargs="+", default=[], help="of the encoder, one file each"
    )
    parser.add_argument("--starts", type=at_least(1), default=1, help="files without --checkpoint")
    parser.add_argument("--store", type=Path, help="array store of the corpus")
    parser.add_argument("--run", help="name of the run in the metadata")
    parser.add_argument("--method", help="method of the run, which may adapt the encoder")
    parser.add_argument("--set", type=json_object, help="fields of its Config, as JSON")
    parser.add_argument("--encoder", type=json_object, help="encoder sizes, as JSON")
    parser.add_argument(
        "--seed", type=at_least(0), nargs="+", help="of what a checkpoint does not hold"
    )
    parser.add_argument("--raw", type=Path, help="file, folder or zip of other users")
    parser.add_argument("--max-bad-rows", type=at_least(0), default=0, help="in --raw, left out")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:<n>")
    parser.add_argument("--out", type=Path, required=True, help=".parquet or .npy file to write")
    return parser


@command
def main(argv: list[str] | None = None) -> None:
    """Write the vectors of every seed and candidate."""
    args = flags().parse_args(argv)
    bound_kernel_cache()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    options = options_of(args)
    todo = jobs(options)
    check_suffix(options.out)
    check_outputs(job.out for job in todo)
    sizes = encoder_sizes(options.encoder)
    device = take_device(options.device)
    users = read_users(options, sizes.max_length, device)
    for job in todo:
        embed(job, options, users, device)


def options_of(args: argparse.Namespace) -> Options:
    """The flags, and what the checkpoint says where they say nothing."""
    given = vars(args)
    if not args.checkpoint:
        for name in ("store", "seed"):
            if given[name] is None:
                raise ValueError(f"--{name} is missing: without a checkpoint nothing else says it")
        known = {"run": "none", "method": None, "set": {}, "encoder": {}}
    elif None in (args.store, args.seed, args.method, args.encoder):
        known = of_checkpoint(args.checkpoint[0])
    else:
        known = {"run": args.method}
    # Why: overrides belong to a method, and those of the checkpoint to its own.
    known |= {"set": {}} if args.method is not None else {}
    return Options(
        **{name: known.get(name) if given[name] is None else given[name] for name in given}
    )


def of_checkpoint(path: Path) -> dict[str, Any]:
    """Store, method, overrides, sizes and seed of the pre-training that wrote a checkpoint."""
    epoch_of(path)  # says what is wrong with a file that is no checkpoint
    with safe_open(path, framework="numpy") as file:
        config = json.loads(file.metadata()["userbench"])["config"]
    try:
        sizes = {name: size for name, size in config["encoder"].items() if name != "n_items"}
        found = {"run": config["method"], "method": config["method"], "set": config["config"]}
        found |= {"encoder": sizes, "seed": [config["seed"]], "store": Path(config["store"])}
    except (KeyError, TypeError, AttributeError):
        raise ValueError(
            f"{path}: does not say its method, sizes and store. Give all flags"
        ) from None
    # Why first: results may have been moved, or be read from another folder.
    for name in provenance_of(path).get("inputs", {}):
        behaviours = Path(os.path.normpath(path.parent / name))
        if behaviours.name == "behaviours" and behaviours.is_dir():
            found["store"] = behaviours.parent
    return found


def jobs(options: Options) -> list[Job]:
    """The files to write."""
    found = []
    for seed in options.seed:
        for origin in origins_of(with_seed(options.checkpoint, seed), options.starts):
            name = f"epoch{epoch_of(origin.init)}" if origin.init else f"start{origin.start}"
            out = Path(str(with_seed(options.out, seed)).replace("{candidate}", name))
            found.append(Job(seed, origin, out))
    if len({job.out for job in found}) < len(found):
        raise ValueError(
            f"--out {options.out}: one file for {len(found)} encoders. Put {{seed}} and "
            "{candidate} in it, and name each seed and checkpoint once"
        )
    return found


def read_users(options: Options, max_length: int, device: torch.device) -> Users:
    """The users of the store, or those of `--raw`."""
    if options.raw is None:
        store = BehaviourStore.open(options.store, max_length, device)
        return Users(user_ids(options.store), store, 0)
    # Why not above: an edit of what reads raw files is to rerun nothing that reads arrays.
    reader = importlib.import_module("userbench.data.new_log")
    ids, items, offsets, unknown = reader.read_new_log(
        options.raw, options.store, options.max_bad_rows, options.out
    )
    if unknown:
        log.warning(
            "%s: %d of %d events are of items that %s does not know; they are read as the mask",
            *(options.raw, unknown, len(items), options.store),
        )
    n_items = read_checksums(behaviours_folder(options.store))["items"]
    store = BehaviourStore.of_arrays(items, offsets, n_items, max_length, device)
    return Users(ids, store, unknown)


def embed(job: Job, options: Options, users: Users, device: torch.device) -> None:
    """Write the vectors of one encoder."""
    seed, origin, out = job
    if origin.init is not None:
        check_store(origin.init, options.store)
    torch.manual_seed(origin.seed(seed))
    building = EncoderOptions(options.method, with_seed(options.set, seed), options.encoder)
    encoder, untrained = build_encoder(users.store.n_items, 0.0, origin.init, building, device)
    encoder.to(device)
    about = {
        "run": options.run,
        "method": options.method,
        "corpus": options.store.name,
        "seed": seed,
        **origin.place(),
        "width": encoder.width,
        "behaviours": fingerprint(behaviours_folder(options.store)),
        "checkpoint": None if origin.init is None else sha256(origin.init),
        "untrained": untrained,
        "raw": options.raw is not None,
        "unknown_events": users.unknown,
    }
    write_vectors(out, users.ids, encoded(encoder, users.store), about)
    if origin.init is not None and untrained:
        never = "were never trained" if len(untrained) > 1 else "was never trained"
        log.warning("%s: %s %s, and is as drawn", origin.init, ", ".join(untrained), never)
    read = [behaviours_folder(options.store), *([origin.init] if origin.init else [])]
    if ids_folder(options.store).is_dir():
        read.append(ids_folder(options.store))
    if options.raw is not None and options.raw.is_file():
        read.append(options.raw)
    settings = {**building._asdict(), "raw": options.raw, "max_bad_rows": options.max_bad_rows}
    record(out, {**about, **settings}, fingerprints(read), written_beside(out), **gpu_facts(device))
    log.info("%s: %d vectors of width %d, of %s", out, len(users.ids), encoder.width, origin)


def check_store(checkpoint: Path, store: Path) -> None:
    """ValueError where a checkpoint was pre-trained on another corpus, by its record."""
    behaviours = behaviours_folder(store)
    for name, checksum in provenance_of(checkpoint).get("inputs", {}).items():
        if Path(name).name == behaviours.name and checksum != fingerprint(behaviours):
            raise ValueError(
                f"{checkpoint}: pre-trained on another corpus than that of {store}, items would be "
                "mixed up. Name its own store"
            )


def encoded(
    encoder: UserEncoder, store: BehaviourStore
) -> Iterator[Float32[np.ndarray, "some width"]]:
    """The vectors of all users, in ascending order."""
    for vectors in user_vectors(encoder, store, torch.arange(store.n_users)):
        yield vectors.float().cpu().numpy()
