"""What the jobs of the frozen table cost, from parts of them on a small corpus.

The vectors that heads read need not be there: they are drawn, of a usual width.
"""

import contextlib
import io
import json
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch

from userbench import counts, embed, frozen
from userbench.data.ids import user_ids
from userbench.data.store import BehaviourStore
from userbench.data.vectors import write_vectors
from userbench.encoders import adapted_encoder
from userbench.method import encoder_sizes
from userbench.model.user_vectors import user_vectors
from userbench.training.device import pick_device

USERS, WIDTH = 2_000, 64


def probe_embed(words: list[str], scale: float) -> tuple[float, float]:
    """Seconds and bytes of all vector files of one seed, from those of some users."""
    options = embed.options_of(embed.flags().parse_args(words))
    sizes, device = encoder_sizes(options.encoder), pick_device(options.device)
    behaviours = BehaviourStore.open(options.store, sizes.max_length, device)
    encoder = adapted_encoder(behaviours.n_items, 0.0, options.method, {}, options.encoder)
    encoder.to(device)
    some = torch.arange(min(USERS, behaviours.n_users))
    before = clock()
    for vectors in user_vectors(encoder, behaviours, some):
        vectors.cpu()
    times = scale * behaviours.n_users / len(some)
    files = len(options.checkpoint) or options.starts
    size = 4.0 * scale * behaviours.n_users * encoder.width
    return files * times * (clock() - before), files * size


def probe_counts(words: list[str], scale: float) -> tuple[float, float]:
    """Seconds of the item counts of the small corpus, scaled."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "counts.parquet")
        seconds = seconds_of(counts.main, [*without(words, ("out",)), "--out", str(out)])
        return scale * seconds, scale * out.stat().st_size


def probe_frozen(words: list[str], scale: float) -> tuple[float, float]:
    """Seconds of the heads of one seed on the small corpus, from their first two epochs."""
    args = frozen.flags().parse_args(words)
    tasks = [{**task, "out": ""} for task in args.task]
    with tempfile.TemporaryDirectory() as folder:
        vectors = Path(folder, "vectors.parquet")
        ids = user_ids(args.store)
        drawn = np.random.default_rng(0).normal(size=(len(ids), WIDTH)).astype(np.float32)
        write_vectors(vectors, ids, [drawn], {"width": WIDTH})
        others = without(words, ("task", "vectors", "seed"))
        others += ["--vectors", str(vectors), "--seed", "0"]

        def seconds(epochs: int) -> float:
            flags = list(others)
            for task in tasks:
                out = f"{folder}/{task['name']}.json"
                flags += ["--task", json.dumps({**task, "epochs": epochs, "out": out})]
            return seconds_of(frozen.main, flags)

        first, second = seconds(1), seconds(2)
    epochs = max(task["epochs"] for task in tasks)
    return len(args.vectors) * scale * (first + (epochs - 1) * max(second - first, 0.0)), 0.0


def without(words: list[str], names: Iterable[str]) -> list[str]:
    """The words of a command without some of its flags."""
    kept, left_out = [], False
    for word in words:
        if word.startswith("--"):
            left_out = word.removeprefix("--") in names
        kept += [] if left_out else [word]
    return kept


def seconds_of(main: Callable[[list[str]], None], words: list[str]) -> float:
    """Seconds of a command in this process, in silence."""
    before = clock()
    with contextlib.redirect_stderr(io.StringIO()):
        main(words)
    return clock() - before


def clock() -> float:
    """Seconds: of the clock where there is a GPU, which works beside this process, else of it."""
    return time.perf_counter() if torch.cuda.is_available() else time.process_time()
