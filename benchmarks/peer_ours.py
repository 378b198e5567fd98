"""Our side of the comparison with a peer: masked items, from a file of lines to steps.

Started by `benchmarks.peer`. Says when it has read the file and taken a step, then trains for some
seconds for every line that it reads, and answers each with one line of JSON.
"""

import json
import math
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor

import userbench
from userbench.data.arrays import peak_memory
from userbench.data.ingest import write_behaviours
from userbench.data.store import BehaviourStore
from userbench.methods import mlm
from userbench.model.encoder import EncoderConfig, UserEncoder
from userbench.results.artifact import hardware
from userbench.training.cpu_memory import bound_kernel_cache
from userbench.training.optimizer import Adam

GIB = 2**30


def main() -> None:
    """Answer until there are no more lines to read."""
    torch.set_num_threads(1)
    repetitions = trained(json.loads(sys.argv[1]))
    print(json.dumps({"ready": next(repetitions)}), flush=True)
    for _ in sys.stdin:
        print(json.dumps({"rows": next(repetitions)}), flush=True)


def trained(setting: dict[str, Any]) -> Iterator[Any]:
    """First how long the file took to the first batch, then the row of one repetition each."""
    bound_kernel_cache()
    torch.manual_seed(setting["seed"])
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        write_behaviours(Path(setting["data"], "raw"), "ttl", Path(folder, "behaviours"))
        store = BehaviourStore.open(Path(folder), setting["length"], "cpu")
    batches = shuffled(store, setting["batch_size"])
    first = store.batch(next(batches))
    loading = {"seconds": time.perf_counter() - started, "memory_gib": peak_memory() / GIB}

    method, optimizer = built(store, setting)

    def step(users: Tensor) -> float:
        loss, _ = method(store.batch(users), progress=0.5)
        optimizer.step(loss)
        return float(loss.detach())

    step(first.users)
    versions = {"userbench": userbench.__version__, "torch": torch.__version__}
    yield {"loading": loading, "machine": hardware(), "versions": versions}
    while True:
        started, n_users, losses = time.perf_counter(), 0, []
        while not losses or time.perf_counter() - started < setting["seconds"]:
            users = next(batches)
            losses.append(step(users))
            n_users += len(users)
        seconds = time.perf_counter() - started
        if not all(map(math.isfinite, losses)):
            raise ValueError(f"the losses are {losses}")
        memory = psutil.Process().memory_info().rss / GIB
        yield [{"users": n_users, "seconds": seconds, "memory_gib": memory}]


def built(store: BehaviourStore, setting: dict[str, Any]) -> tuple[mlm.Method, Adam]:
    """Method and optimizer, ready for the first step."""
    sizes = EncoderConfig(
        store.n_items,
        dim=setting["dim"],
        layers=setting["layers"],
        heads=setting["heads"],
        max_length=setting["length"],
    )
    config = mlm.Config(
        lr=setting["lr"], dropout=setting["dropout"], mask_ratio=setting["mask_ratio"]
    )
    method = mlm.Method(UserEncoder(sizes, config.dropout), config)
    method.prepare(store, torch.arange(store.n_users))
    method.train()
    return method, Adam(method, config.lr, "dense", method.encoder.items)


def shuffled(store: BehaviourStore, batch_size: int) -> Iterator[Tensor]:
    """Batches of users, epoch after epoch."""
    epochs = iter(lambda: torch.randperm(store.n_users).split(batch_size), None)
    return chain.from_iterable(epochs)


if __name__ == "__main__":
    main()
