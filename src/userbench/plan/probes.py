"""What a job costs, from a few steps of it on this machine."""

import contextlib
import io
import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from userbench import baselines, finetune, pretrain, similarity
from userbench.data import splits, store
from userbench.data.arrays import behaviours_folder
from userbench.data.labelled import Split, labelled_split
from userbench.data.splits import VALIDATION
from userbench.method import PretrainMethod, load_method
from userbench.model.encoder import EncoderConfig
from userbench.model.evaluation import evaluate
from userbench.model.tasks import Task, load_examples
from userbench.plan.corpora import Corpus, Cost, corpus, run_alone, stores_of
from userbench.plan.frozen_probes import probe_counts, probe_embed, probe_frozen
from userbench.plan.jobs import TRAINING, Job, changed
from userbench.training.acceleration import STAGES, captured, chosen
from userbench.training.cpu_memory import bound_kernel_cache
from userbench.training.device import pick_device
from userbench.training.optimizer import Adam
from userbench.views import operators

SECONDS_PER_PROBE = 0.5
STEPS_PER_PROBE = 3
# Why so many: every common shape is met twice, and so is captured, before a step counts.
STEPS_TO_CAPTURE = 40


class Measured(NamedTuple):
    """What decides the cost of every job."""

    corpora: dict[str, Corpus]
    probes: dict[str, Cost]
    """Of one seed of the jobs that train or score, without the start of a process; by `key_of`."""
    starts: dict[str, float]
    """Seconds, by stage, until a process begins with what the probes measure."""
    of_report: float

    def cost(self, job: Job, slowdown: float = 1.0) -> Cost:
        """The cost of a job with all of its seeds, each `slowdown` times as long as alone."""
        for made in self.corpora.values():
            if job.outputs and job.outputs[0] in made.costs:
                return made.costs[job.outputs[0]]
        if job.stage not in PROBES:
            return Cost(self.of_report)
        one, seeds = self.probes[key_of(job)], len(job.seeds)
        seconds = self.starts[job.stage] + seeds * one.seconds * slowdown
        return Cost(seconds, one.memory, seeds * one.disk)

    def seconds_of_seed(self, job: Job) -> float:
        """Seconds of one seed of a job, alone and without the start of a process."""
        return self.probes[key_of(job)].seconds


def measured(jobs: list[Job], folder: Path, cores: int) -> Measured:
    """Measure every kind of job; jobs that differ in nothing that matters are measured once.

    As many probes run beside each other as jobs will: they share memory and caches.
    """
    corpora = {path: corpus(path, jobs, folder) for path in stores_of(jobs)}
    device = next((job.flags["device"][0] for job in jobs if job.stage in TRAINING), "cpu")
    stages = dict.fromkeys((*TRAINING, *(job.stage for job in jobs if job.stage in PROBES)))
    starts = {stage: start_of(stage, device) for stage in stages}
    of_report, _ = run_alone("-c", "import userbench.report.tables.table2")
    probes = {key_of(job): job for job in jobs if job.stage in PROBES}
    # Why: a fork of a process that holds torch starts at once, and its memory is its own.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    pairs = [(job, corpora[job.flags["store"][0]]) for job in probes.values()]
    # Why not concurrent.futures: with one task a process, it hangs (Python issue 115634).
    with context.Pool(1 if device.startswith("cuda") else cores, maxtasksperchild=1) as pool:
        found = dict(zip(probes, pool.starmap(probe, pairs, chunksize=1), strict=True))
    return Measured(corpora, found, starts, of_report)


def start_of(stage: str, device: str) -> float:
    """Seconds that a process of a stage takes to start, its libraries and its device included."""
    words = f"import torch, userbench.{stage}"
    if stage in TRAINING:
        # Why: the first optimizer of a process loads torch's compiler, which takes over a second.
        weight = f"torch.zeros(1, device={device!r}, requires_grad=True)"
        words += f"; torch.optim.Adam([{weight}])"
    return run_alone("-c", words)[0]


def key_of(job: Job) -> str:
    """What decides the cost of a job: all of its flags but the seed, and the paths it is given."""
    flags = {
        name: values
        for name, values in job.flags.items()
        if name not in ("seed", "out", "run", "checkpoint", "state", "save-every")
    }
    for name in ("init", "vectors"):
        flags[name] = [str(len(flags.get(name, [])))]
    if job.stage == "embed":
        flags["init"] = [str(len(job.flags.get("checkpoint", [])))]
    if "set" in flags:  # files it is given are those of its seed
        flags["set"] = [json.dumps(without_files(json.loads(flags["set"][0])))]
    if job.stage in ("finetune", "frozen"):
        flags["task"] = [json.dumps({**json.loads(t), "out": ""}) for t in flags["task"]]
    if job.stage in ("finetune", "embed"):
        method = flags.pop("method", [None])[0]
        changes = flags.pop("set", None)
        if method and load_method(method).Method.adapt is not PretrainMethod.adapt:
            flags |= {"method": [method], "set": changes}
    return json.dumps([job.stage, flags], sort_keys=True)


def probe(job: Job, of: Corpus) -> Cost:
    """Measure a job in this process, on one thread, as the workflow runs it."""
    bound_kernel_cache()
    torch.set_num_threads(1)
    places = {"store": of.store}
    if "splits" in job.flags:
        places["splits"] = of.splits[job.flags["splits"][0]]
    words = changed(job.words, **places)
    seconds, disk = PROBES[job.stage](words, of.scale)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    held = (of.scale - 1) * (behaviours_folder(of.store) / "items.npy").stat().st_size
    return Cost(seconds, peak + held, disk)


def probe_pretrain(words: list[str], scale: float) -> tuple[float, float]:
    """Seconds and bytes of a pre-training, from a few steps of it."""
    options = pretrain_options(words)
    before = clock()
    behaviours = open_store(options)
    method, train, validation, *_ = pretrain.set_up(options, behaviours)
    prepared = (clock() - before) * scale
    steps = steps_of(pretrain_step(options, behaviours, method, train), options.capture)
    some = validation[: 2 * options.batch_size]
    per_user = seconds_of(
        lambda _: pretrain.validate(method, behaviours, some, options.batch_size)
    ) / len(some)
    count = scale * len(train) / options.batch_size
    size = 4.0 * sum(value.numel() for value in method.parameters())
    seconds = prepared + min(STAGES, options.epochs * count) * steps.capturing
    seconds += options.epochs * (count * steps.each + scale * len(validation) * per_user)
    return seconds + len(options.keep) * size / 2e8, len(options.keep) * size


def pretrain_options(words: list[str]) -> pretrain.Options:
    """Options of the first seed, without files that may not exist yet."""
    options = pretrain.options_of(pretrain.flags().parse_args(words))[0]
    options = chosen(options, pick_device(options.device))
    return replace(options, init=None, set=without_files(options.set))


def pretrain_step(
    options: pretrain.Options,
    behaviours: store.BehaviourStore,
    method: PretrainMethod,
    train: Int[Tensor, " train"],
) -> Callable[[int], object]:
    """A function that takes one step of a pre-training on users drawn at random."""
    optimizer = Adam(method, method.config.lr, options.item_table, method.encoder.items)
    take_step = captured(pretrain.Step(method, optimizer, {}), options.capture)
    method.train()

    def step(number: int) -> None:
        users = train[torch.randint(len(train), (options.batch_size,))].cpu()
        take_step(behaviours.batch(users), 0.5)

    return step


def probe_finetune(words: list[str], scale: float) -> tuple[float, float]:
    """Seconds and bytes of the fine-tunings of one process, from a few steps of each task."""
    options = finetune_options(words)
    behaviours = open_store(options)
    seconds = sum(seconds_of_task(task, behaviours, options, scale) for task in options.tasks)
    return len(options.origins()) * seconds, 0.0


def finetune_options(words: list[str]) -> finetune.Options:
    """Options of the first seed, without files that its Config names."""
    options = finetune.options_of(finetune.flags().parse_args(words))[0]
    options = chosen(options, pick_device(options.device))
    return replace(options, set=without_files(options.set))


def seconds_of_task(
    task: Task, behaviours: store.BehaviourStore, options: finetune.Options, scale: float
) -> float:
    """Seconds that one fine-tuning takes, with its evaluations."""
    before = clock()
    model, split, length = finetune_model(task, behaviours, options)
    prepared = clock() - before
    step = finetune_step(task, behaviours, options, model, split)
    some = split.validation[:512]
    per_example = seconds_of(lambda _: evaluate(model, behaviours, some)) / len(some)
    count, steps = -(-scale * length // task.batch_size), steps_of(step, options.capture)
    epoch = count * steps.each + scale * len(split.validation) * per_example
    tested = scale * len(split.test) * per_example
    return prepared + steps.capturing + task.epochs * epoch + tested


def finetune_model(
    task: Task, behaviours: store.BehaviourStore, options: finetune.Options
) -> tuple[torch.nn.ModuleDict, Split, int]:
    """A model with random weights for a task, the task's split, and the examples of an epoch."""
    examples = load_examples(task, options.store, behaviours.items.device)
    parts = splits.load_split(options.splits, task.name).numpy()
    split, length, stages = labelled_split(task.name, task.label_share, examples, parts, seed=0)
    origin = finetune.Origin(init=None)
    model = finetune.build_model(task, examples, stages, origin, options, behaviours.n_items)
    return model, split, length


def finetune_step(
    task: Task,
    behaviours: store.BehaviourStore,
    options: finetune.Options,
    model: torch.nn.ModuleDict,
    split: Split,
) -> Callable[[int], object]:
    """A function that takes one step of a fine-tuning on examples drawn at random."""
    optimizer = Adam(model, task.lr, options.item_table, model["encoder"].items)
    take_step = captured(finetune.Step(model, optimizer), options.capture)
    train, users = split.train, model["head"].examples.users

    def step(number: int) -> None:
        model.train()
        picked = train[torch.randint(len(train), (min(task.batch_size, len(train)),))]
        take_step(behaviours.batch(users[picked].cpu()), picked)

    return step


def open_store(
    options: pretrain.Options | finetune.Options | similarity.Options,
) -> store.BehaviourStore:
    """The store that a command reads, on its device."""
    max_length = EncoderConfig(n_items=0, **options.encoder).max_length
    return store.BehaviourStore.open(options.store, max_length, pick_device(options.device))


def without_files(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of a method without the files it is given, which need not be there yet."""
    kept = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            kept[name] = without_files(value)
        elif not str(value).startswith("results/"):
            kept[name] = value
    return kept


def probe_baselines(words: list[str], scale: float) -> tuple[float, float]:
    """Seconds of the simple baselines on the small corpus, scaled."""
    with tempfile.TemporaryDirectory() as folder:
        tasks = [json.loads(word) for word in words if word.startswith("{")]
        others = [word for word in words if word != "--task" and not word.startswith("{")]
        for task in tasks:
            task["out"] = f"{folder}/{task['name']}.json"
            others += ["--task", json.dumps(task)]
        before = clock()
        with contextlib.redirect_stderr(io.StringIO()):
            baselines.main(others)
        return (clock() - before) * scale, 0.0


def probe_similarity(words: list[str], scale: float) -> tuple[float, float]:
    """Seconds of the similarities of one encoder, from those of a few held-out users."""
    options = similarity.Options(**vars(similarity.flags().parse_args(words)))
    options = replace(options, set=without_files(options.set))
    behaviours = open_store(options)
    device = behaviours.items.device
    encoder = similarity.untrained_encoder(behaviours.n_items, options).to(device)
    held_out = (splits.load_user_split(options.splits) == VALIDATION).nonzero()[:, 0]
    some = held_out[: similarity.ENCODED_AT_ONCE].to(device)
    views = operators.Options(**options.views)
    seconds = seconds_of(
        lambda _: similarity.cosines(encoder, behaviours, some, views, options.encode)
    )
    per_user = seconds / len(some)
    return options.draws * min(options.users, scale * len(held_out)) * per_user, 0.0


PROBES = {
    "pretrain": probe_pretrain,
    "finetune": probe_finetune,
    "similarity": probe_similarity,
    "baselines": probe_baselines,
    "embed": probe_embed,
    "counts": probe_counts,
    "frozen": probe_frozen,
}


class Steps(NamedTuple):
    """Seconds of a step of a training, and those it takes to capture its steps."""

    each: float
    capturing: float


def steps_of(step: Callable[[int], object], capture: str) -> Steps:
    """Time a step as the loops take it: where it is captured, after that."""
    if capture == "none":
        return Steps(seconds_of(step), 0.0)
    before = clock()
    for number in range(STEPS_TO_CAPTURE):
        step(number)
    first, each = clock() - before, seconds_of(step)
    return Steps(each, max(first - STEPS_TO_CAPTURE * each, 0.0))


def seconds_of(step: Callable[[int], object]) -> float:
    """Mean seconds of a step, after one that is not counted."""
    step(0)
    done, before = 0, clock()
    while done < STEPS_PER_PROBE or clock() - before < SECONDS_PER_PROBE:
        step(done + 1)
        done += 1
    return (clock() - before) / done


def clock() -> float:
    """Seconds that pass here alone: of the GPU where there is one, else CPU time of this process.

    So what else the machine is doing while it is asked does not count.
    """
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()
