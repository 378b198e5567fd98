"""RecBole's side: BERT4Rec, one sample a user, by RecBole's own data loader and trainer.

Started by `benchmarks.peer` with the Python of the peer's virtual environment, where nothing of
this package is installed; answers like `benchmarks.peer_ours`.
"""

import json
import os
import resource
import sys
import time
import warnings

# Why: standard output belongs to the answers; whatever RecBole prints goes to standard error.
ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
warnings.simplefilter("ignore")

import psutil  # noqa: E402
import recbole  # noqa: E402
import torch  # noqa: E402
from recbole.config import Config  # noqa: E402
from recbole.data import create_dataset, data_preparation  # noqa: E402
from recbole.utils import get_model, get_trainer, init_seed  # noqa: E402

GIB = 2**30


class Limited:
    """A loader that begins again at its end, and stops when the time is up or after one batch."""

    def __init__(self, loader, seconds):
        self.loader, self.seconds = loader, seconds
        self.shuffle = loader.shuffle
        self.users = 0

    def __iter__(self):
        started = time.perf_counter()
        while True:
            for batch in self.loader:
                self.users += len(batch)
                yield batch
                if time.perf_counter() - started >= self.seconds:
                    return


def main():
    """Answer until there are no more lines to read."""
    setting = json.loads(sys.argv.pop())  # RecBole reads the command line, too
    torch.set_num_threads(1)
    repetitions = trained(setting)
    answer(ready=next(repetitions))
    for _ in sys.stdin:
        answer(rows=next(repetitions))


def answer(**content):
    """One line that the runner reads."""
    print(json.dumps(content), file=ANSWERS, flush=True)


def trained(setting):
    """First how long the file took to the first batch, then the row of one repetition each."""
    started = time.perf_counter()
    config = Config(model="BERT4Rec", dataset="peer", config_dict=settings(setting))
    init_seed(config["seed"], config["reproducibility"])
    loader, _, _ = data_preparation(config, create_dataset(config))
    next(iter(loader))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak *= 1 if sys.platform == "darwin" else 1024
    loading = {"seconds": time.perf_counter() - started, "memory_gib": peak / GIB}

    model = get_model(config["model"])(config, loader.dataset)
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    # Importing a sequential model of RecBole turns these checks on for all of them (sine.py).
    if not setting["checks"]:
        torch.autograd.set_detect_anomaly(False)
    trainer._train_epoch(Limited(loader, 0.0), 0)
    versions = {
        "recbole": recbole.__version__,
        "torch": torch.__version__,
        "checks": torch.is_anomaly_enabled(),
    }
    yield {"loading": loading, "versions": versions}
    while True:
        limited, started = Limited(loader, setting["seconds"]), time.perf_counter()
        trainer._train_epoch(limited, 0)  # raises where a loss is not a number
        seconds = time.perf_counter() - started
        memory = psutil.Process().memory_info().rss / GIB
        yield [{"users": limited.users, "seconds": seconds, "memory_gib": memory}]


def settings(setting):
    """Our model and data in RecBole's words."""
    return {
        "data_path": setting["data"],
        "benchmark_filename": ["train", "valid", "test"],
        "load_col": {"inter": ["user_id", "item_id_list", "item_id"]},
        "alias_of_item_id": ["item_id_list"],
        "MAX_ITEM_LIST_LENGTH": setting["length"],
        "hidden_size": setting["dim"],
        "inner_size": 4 * setting["dim"],
        "n_layers": setting["layers"],
        "n_heads": setting["heads"],
        "hidden_dropout_prob": setting["dropout"],
        "attn_dropout_prob": setting["dropout"],
        "mask_ratio": setting["mask_ratio"],
        "ft_ratio": 0,  # of batches that mask the last item alone
        "loss_type": "CE",
        "train_neg_sample_args": None,
        "train_batch_size": setting["batch_size"],
        "learning_rate": setting["lr"],
        "eval_args": {"order": "TO"},
        "use_gpu": False,
        "show_progress": False,
        "seed": setting["seed"],
    }


if __name__ == "__main__":
    main()
