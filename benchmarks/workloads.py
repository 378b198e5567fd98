"""The two sides of each configuration: the package as its loops call it, and `plain`."""

import random
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import plain
from benchmarks.configurations import Configuration
from benchmarks.corpus import Corpus
from userbench.data.splits import TRAIN
from userbench.data.store import Batch
from userbench.method import PretrainMethod, configure, load_method
from userbench.model.encoder import EncoderConfig, UserEncoder
from userbench.model.evaluation import evaluate
from userbench.model.tasks import Task, build_head
from userbench.training.optimizer import Adam
from userbench.view import Pair, Views

DROPOUT = 0.5  # of fine-tuning, as released


class Stopwatch:
    """Seconds spent in each stage; on a GPU it waits for the work it has to charge."""

    def __init__(self, device: torch.device):
        self.device = device
        self.start()

    def start(self) -> None:
        """Forget everything and begin to count."""
        self.seconds: dict[str, float] = {}
        self.last = self.now()

    def lap(self, stage: str) -> None:
        """Charge the time since the last call to a stage."""
        now = self.now()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self.last
        self.last = now

    def now(self) -> float:
        """Time at which all work asked for so far is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


class Workload(NamedTuple):
    """What one side does with some examples."""

    users: Tensor
    """The user of every example there is."""
    step: Callable[[Tensor], float | Tensor]
    """One step on the picked examples; gives a number that has to be finite."""


class Setting(NamedTuple):
    """What both sides are given."""

    configuration: Configuration
    corpus: Corpus
    sizes: EncoderConfig
    watch: Stopwatch

    @property
    def device(self) -> torch.device:
        """Where everything is."""
        return self.watch.device

    @property
    def task(self) -> Task:
        """The task of a fine-tuning, with the released values."""
        top_n = self.configuration.kind != "classification"
        return Task(
            name="click" if top_n else "age",
            kind="top_n" if top_n else "classification",
            lr=5e-4 if top_n else 2e-4,
            batch_size=self.configuration.batch_size,
            epochs=1,
            dropout=DROPOUT,
        )

    @property
    def outputs(self) -> int:
        """Classes or candidates of the head, 0 without one."""
        if self.configuration.kind == "pretrain":
            return 0
        top_n = self.configuration.kind != "classification"
        return self.corpus.clicks.n_candidates if top_n else self.corpus.ages.n_classes


def build(side: str, setting: Setting) -> Workload:
    """The workload of one side."""
    kind = setting.configuration.kind
    builders = {
        ("ours", "pretrain"): our_pretraining,
        ("ours", "classification"): our_finetuning,
        ("ours", "top_n"): our_finetuning,
        ("ours", "evaluate"): our_evaluation,
        ("plain", "pretrain"): plain_pretraining,
        ("plain", "classification"): plain_classification,
        ("plain", "top_n"): plain_top_n,
        ("plain", "evaluate"): plain_evaluation,
    }
    return builders[side, kind](setting)


# ------------------------------------------------------------------------------------------- ours


class TimedViews:
    """Views that report to the stopwatch when they are made."""

    def __init__(self, views: Views, watch: Stopwatch):
        self.views, self.watch = views, watch

    def __getattr__(self, name: str) -> Any:
        """What a method reads of its own views beside the pair."""
        return getattr(self.views, name)

    def __call__(self, batch: Batch, progress: float) -> Pair:
        """The views of the method."""
        pair = self.views(batch, progress)
        self.watch.lap("augment")
        return pair


def timed_adam(model: torch.nn.Module, lr: float, encoder: UserEncoder, setting: Setting) -> Adam:
    """The package's optimizer, reporting to the stopwatch when gradients are there."""
    item_table = setting.configuration.item_table
    optimizer = Adam(model, lr, item_table, encoder.items)
    optimizer.of_others.register_step_pre_hook(lambda *_: setting.watch.lap("backward"))
    return optimizer


def our_pretraining(setting: Setting) -> Workload:
    """One step as in `userbench.pretrain`."""
    store, watch = setting.corpus.store, setting.watch
    module = load_method(setting.configuration.method)
    config = configure(module, setting.configuration.changes)
    method: PretrainMethod = module.Method(UserEncoder(setting.sizes, config.dropout), config)
    everyone = torch.arange(store.n_users, device=setting.device)
    method.to(setting.device).prepare(store, everyone)
    if method.views is not None:
        method.views = TimedViews(method.views, watch)
    optimizer = timed_adam(method, config.lr, method.encoder, setting)
    method.train()

    def step(users: Tensor) -> Tensor:
        batch = store.batch(users.cpu())
        watch.lap("batch")
        loss, _ = method(batch, progress=0.5)
        watch.lap("forward")
        optimizer.step(loss)
        watch.lap("optimizer")
        return loss.detach()

    return Workload(everyone, step)


def our_model(setting: Setting) -> torch.nn.ModuleDict:
    """Encoder and head as in `userbench.finetune`."""
    task, corpus = setting.task, setting.corpus
    examples = corpus.clicks if task.kind == "top_n" else corpus.ages
    encoder = UserEncoder(setting.sizes, task.dropout)
    stages = torch.full_like(examples.users, TRAIN, dtype=torch.uint8)
    head = build_head(task, examples, stages, encoder.width, setting.sizes.dim, seed=0)
    return torch.nn.ModuleDict({"encoder": encoder, "head": head}).to(setting.device)


def our_finetuning(setting: Setting) -> Workload:
    """One step as in `userbench.finetune`."""
    store, watch = setting.corpus.store, setting.watch
    model = our_model(setting).train()
    encoder, head = model["encoder"], model["head"]
    optimizer = timed_adam(model, setting.task.lr, encoder, setting)

    def step(picked: Tensor) -> Tensor:
        batch = store.batch(head.examples.users[picked].cpu())
        watch.lap("batch")
        loss = head.loss(encoder(batch.items, batch.bounds), picked)
        watch.lap("forward")
        optimizer.step(loss)
        watch.lap("optimizer")
        return loss.detach()

    return Workload(head.examples.users, step)


def our_evaluation(setting: Setting) -> Workload:
    """`userbench.model.evaluation.evaluate` on the picked (user, target) pairs."""
    watch = setting.watch
    model = our_model(setting)
    evaluate_head = model["head"].evaluate

    def timed(users: Tensor, picked: Tensor) -> dict[str, Tensor]:
        watch.lap("forward")
        return evaluate_head(users, picked)

    model["head"].evaluate = timed

    def step(picked: Tensor) -> float:
        found = evaluate(model, setting.corpus.store, picked)
        watch.lap("rank")
        return found["ndcg@10"]

    return Workload(model["head"].examples.users, step)


# ------------------------------------------------------------------------------------------ plain


def sequences_of(setting: Setting) -> list[list[int]]:
    """Every user's items as a Python list."""
    store = setting.corpus.store
    items, offsets = store.items.tolist(), store.offsets.tolist()
    return [items[begin:end] for begin, end in zip(offsets, offsets[1:], strict=False)]


def plain_encoder(setting: Setting, dropout: float) -> plain.Encoder:
    """The plain encoder in our sizes."""
    s = setting.sizes
    encoder = plain.Encoder(s.n_items, dropout, s.dim, s.layers, s.heads, s.max_length)
    return encoder.to(setting.device)


def plain_pretraining(setting: Setting) -> Workload:
    """One step of AdaptSSR as released."""
    watch, sequences, length = setting.watch, sequences_of(setting), setting.sizes.max_length
    config = configure(load_method("adaptssr"), setting.configuration.changes)
    encoder = plain_encoder(setting, config.dropout).train()
    optimizer = torch.optim.Adam(encoder.parameters(), lr=config.lr)

    def step(users: Tensor) -> Tensor:
        batch = [sequences[user] for user in users.tolist()]
        watch.lap("batch")
        views = [[plain.augment(items) for items in batch] for _ in range(2)]
        watch.lap("augment")
        first, second = (plain.pad(view, length, setting.device) for view in views)
        watch.lap("batch")
        loss = plain.adaptssr_loss(encoder, first, second)
        watch.lap("forward")
        walk_down(loss, optimizer, watch)
        return loss.detach()

    return Workload(torch.arange(len(sequences), device=setting.device), step)


def walk_down(loss: Tensor, optimizer: torch.optim.Optimizer, watch: Stopwatch) -> None:
    """Gradients and one step of the optimizer."""
    optimizer.zero_grad()
    loss.backward()
    watch.lap("backward")
    optimizer.step()
    watch.lap("optimizer")


def plain_model(setting: Setting) -> torch.nn.ModuleDict:
    """Encoder and head as released."""
    encoder = plain_encoder(setting, DROPOUT)
    head = plain.Head(setting.sizes.dim, setting.outputs).to(setting.device)
    return torch.nn.ModuleDict({"encoder": encoder, "head": head})


def plain_classification(setting: Setting) -> Workload:
    """One step of a task with a label per user."""
    watch, sequences, length = setting.watch, sequences_of(setting), setting.sizes.max_length
    model = plain_model(setting).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=setting.task.lr)
    users, labels = setting.corpus.ages.users, setting.corpus.ages.labels.tolist()
    owners = users.tolist()

    def step(picked: Tensor) -> Tensor:
        examples = picked.tolist()
        views = [plain.unchanged(sequences[owners[example]]) for example in examples]
        batch = plain.pad(views, length, setting.device)
        expected = torch.tensor([labels[example] for example in examples], device=setting.device)
        watch.lap("batch")
        loss = F.cross_entropy(model["head"](model["encoder"](batch)), expected)
        watch.lap("forward")
        walk_down(loss, optimizer, watch)
        return loss.detach()

    return Workload(users, step)


class Clicks(NamedTuple):
    """The click task as Python lists."""

    owners: list[int]
    targets: list[int]
    known: list[list[int]]
    """All targets of each example's user."""


def clicks_of(setting: Setting) -> Clicks:
    """One entry per (user, target) pair."""
    clicks = setting.corpus.clicks
    bounds, targets = clicks.known_offsets.tolist(), clicks.targets.tolist()
    rows = clicks.rows.tolist()
    known = [targets[bounds[row] : bounds[row + 1]] for row in rows]
    return Clicks(clicks.users.tolist(), targets, known)


def plain_top_n(setting: Setting) -> Workload:
    """One step of BPR with one negative per positive."""
    watch, sequences, length = setting.watch, sequences_of(setting), setting.sizes.max_length
    model = plain_model(setting).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=setting.task.lr)
    owners, targets, known = clicks_of(setting)

    def step(picked: Tensor) -> Tensor:
        examples = picked.tolist()
        views = [plain.unchanged(sequences[owners[example]]) for example in examples]
        batch = plain.pad(views, length, setting.device)
        drawn = [plain.draw_negative(known[example], setting.outputs) for example in examples]
        positives = torch.tensor([targets[example] for example in examples], device=setting.device)
        negatives = torch.tensor(drawn, device=setting.device)
        watch.lap("batch")
        vectors = model["encoder"](batch)
        loss = plain.bpr_loss(model["head"], vectors, positives, negatives)
        watch.lap("forward")
        walk_down(loss, optimizer, watch)
        return loss.detach()

    return Workload(setting.corpus.clicks.users, step)


def plain_evaluation(setting: Setting) -> Workload:
    """Rank all candidates by a sort, for each (user, target) pair."""
    watch, sequences, length = setting.watch, sequences_of(setting), setting.sizes.max_length
    model = plain_model(setting).eval()
    owners, targets, known = clicks_of(setting)

    @torch.no_grad()
    def step(picked: Tensor) -> float:
        examples = picked.tolist()
        views = [plain.unchanged(sequences[owners[example]]) for example in examples]
        vectors = model["encoder"](plain.pad(views, length, setting.device))
        watch.lap("forward")
        scores = model["head"](vectors)
        some_targets = [targets[example] for example in examples]
        ranks = plain.rank_targets(scores, some_targets, [known[example] for example in examples])
        found = plain.ranking_metrics(ranks)
        watch.lap("rank")
        return found["ndcg@10"]

    return Workload(setting.corpus.clicks.users, step)


# ------------------------------------------------------------------------------------------ batches


def shuffled_batches(workload: Workload, batch_size: int) -> Iterator[Tensor]:
    """Shuffled batches of examples, for ever."""
    while True:
        order = torch.randperm(len(workload.users), device=workload.users.device)
        for picked in order.split(batch_size):
            if len(picked) == batch_size:
                yield picked


def seed(number: int) -> None:
    """Both generators: the plain side draws from Python's, too."""
    torch.manual_seed(number)
    random.seed(number)
