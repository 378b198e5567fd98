"""What a config says, as one typed model: every key once, with its type, default, unit and meaning.

`runs.py` says what a config implies (warm starts, trials, label shares), `ledger.yaml` explains the
switches of `protocol`. Here are names and values only: no path of a result, and no torch.
"""

from collections.abc import Iterable
from string import Formatter
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from userbench.experiment.corpora import AnyCorpus, LabelTable, NextItem, TargetTable
from userbench.experiment.parts import (
    BatchSize,
    Count,
    DottedName,
    Epochs,
    Fields,
    FileName,
    Name,
    Names,
    Pair,
    Part,
    Positive,
    Rate,
    Seed,
    Share,
    each_once,
)


def each_run_once(runs: Iterable[str]) -> list[str]:
    """The runs without those that come again."""
    return list(dict.fromkeys(runs))


def truth(value: Any) -> Any:
    """A truth value for the text of one: on a command line, Snakemake reads True, but not true."""
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


def names_vector_files(path: str) -> str:
    """The path of vector files; ValueError where it has other fields than {corpus} and {seed}."""
    remedy = (
        "Of what is in braces, {corpus} and {seed} are filled in, and nothing else; "
        "write {{ and }} for braces of a name"
    )
    try:
        fields = [part[1:] for part in Formatter().parse(path) if part[1] is not None]
    except ValueError as problem:
        raise ValueError(f"{path!r}: {problem}. {remedy}") from None
    for name, form, conversion in fields:
        if name not in ("corpus", "seed") or form or conversion:
            raise ValueError(f"{path!r}: {{{name}}} is not known. {remedy}")
    return path


VectorFiles = Annotated[str, StringConstraints(min_length=1), AfterValidator(names_vector_files)]
METRICS = {"classification": "accuracy", "binary": "auc", "top_n": "ndcg@10"}


class Splits(Part):
    """Pre-training users are split 90/10, examples of tasks 6:2:2."""

    seed: Seed


class EncoderSizes(Part):
    """Sizes of the encoder, equal for all methods."""

    dim: Count
    layers: Count
    heads: Count
    max_length: Count
    """Latest behaviours of a user that it reads."""


class Pretrain(Part):
    """Budget of pre-training, equal for all methods."""

    epochs: Count
    batch_size: BatchSize
    """Users per step."""
    keep: Epochs = []
    """Epochs whose checkpoints are kept beside those that are fine-tuned."""


class Finetune(Part):
    """Budget of fine-tuning, equal for all methods."""

    epochs: Count
    from_epochs: Epochs
    """Candidate checkpoints; validation chooses one for each task."""
    test: bool = True
    """false: the test split is never read, as in a tuning."""


class Task(Part):
    """A downstream task."""

    corpus: Name
    source: Name | None = None
    """Raw file of the task; default: the task's own name. A task of an event log has, instead, one
    of the next three."""
    labels: LabelTable | None = None
    """Table of a label for each user: of classification and binary tasks."""
    targets: TargetTable | None = None
    """Table of targets with a catalogue of their own: of top_n tasks."""
    next_item: NextItem | None = None
    """The held-out events of the corpus are the targets: of top_n tasks."""
    kind: Literal["classification", "binary", "top_n"]
    label: str
    paper: Literal["T1", "T2", "T3", "T4", "T5", "T6"] | None = None
    """Task of the paper that it stands for."""
    lr: Positive
    batch_size: Count
    """Examples per step."""
    epochs: Count | None = None
    """Default: finetune.epochs."""

    @property
    def metric(self) -> str:
        """What the task is measured by."""
        return METRICS[self.kind]

    @property
    def examples(self) -> dict[str, LabelTable | TargetTable | NextItem]:
        """Where the examples of a task of an event log are, by the key that says it."""
        keys = {"labels": self.labels, "targets": self.targets, "next_item": self.next_item}
        return {key: value for key, value in keys.items() if value is not None}

    @property
    def tables(self) -> list[LabelTable | TargetTable]:
        """The tables that its examples are read from."""
        return [
            part for part in self.examples.values() if isinstance(part, LabelTable | TargetTable)
        ]

    def settings(self) -> Fields:
        """Where the examples of a task of an event log are, as its command gets it."""
        return {
            key: part.model_dump(mode="json", exclude_none=True)
            for key, part in self.examples.items()
        }


class Protocol(Part):
    """Switches of the ambiguity ledger, which explains each (docs/ambiguities.md)."""

    attention_dropout: bool = True
    warm_start: Name = "mlm"
    """Run from whose last checkpoint every other run starts, or none."""
    order: Literal["reshuffled", "fixed"] = "reshuffled"
    item_table: Literal["dense", "lazy"] = "dense"
    test_users: Literal["included", "held_out", "others_held_out"] = "included"
    checkpoint: Literal["validation", "first", "last"] = "validation"
    split: Literal["interaction", "user"] = "interaction"
    known_targets: Literal["by_stage", "all", "train"] = "by_stage"
    finetune_dropout: Rate = 0.5
    bias_start: Literal["zero", "frequency"] = "zero"
    ties: Literal["pessimistic", "stable"] = "pessimistic"
    average: Literal["pairs", "users"] = "pairs"
    label_share: Share = 1.0
    """Of the training and validation examples of fine-tuning, in as many steps, by the seed."""


class Run(Part):
    """A method, where its encoder comes from, and what deviates: a row of a table."""

    method: DottedName | None = None
    """File in methods/, or an importable module; absent: no pre-training."""
    init_from: Name | None = None
    """Run whose last checkpoint it starts from, or none; default: protocol.warm_start."""
    encoder_of: Name | None = None
    """Run whose checkpoints are fine-tuned; then nothing is pre-trained here."""
    vectors: VectorFiles | None = None
    """Files of given user vectors instead of a method: a row of `frozen` alone. {corpus} and {seed}
    are filled in; a file without {seed} is that of all seeds."""
    overrides: Fields = {}
    """Fields of the method's Config that deviate from its defaults."""
    batch_size: BatchSize | None = None
    """Users per step, where it deviates."""
    inputs: dict[DottedName, Name] = {}
    """Fields of its Config that name a file: the last checkpoint of a run, or neighbours."""
    protocol: Protocol = Protocol()
    """What deviates from the experiment's protocol."""
    label: str | None = None
    """Name in tables and figures; default: the name of the run."""
    paper: str | None = None
    """Row of the paper's Table 2 that it stands for."""

    @model_validator(mode="after")
    def has_one_encoder(self) -> "Run":
        """What takes the encoder of another run starts from nothing itself."""
        if self.init_from is not None and self.encoder_of is not None:
            raise ValueError("init_from and encoder_of at once: leave one of them out")
        return self

    @model_validator(mode="after")
    def is_given_or_made(self) -> "Run":
        """Given vectors have no method, and nothing that could change them."""
        others = sorted(self.model_fields_set - {"vectors", "label"})
        if self.vectors is not None and others:
            raise ValueError(
                f"vectors and {others[0]} at once: given vectors have a label and no other key. "
                "Leave one of both out"
            )
        return self

    @field_validator("overrides")
    @classmethod
    def names_views(cls, overrides: Fields) -> Fields:
        """The kind of views is a file in views/, or an importable module: the name of one."""
        views = overrides.get("views")
        if isinstance(views, dict) and "kind" in views:
            try:
                TypeAdapter(DottedName).validate_python(views["kind"])
            except ValidationError:
                raise ValueError(f"views.kind: {views['kind']!r} names no file in views/") from None
        return overrides


class Figure(Part):
    """A figure, named after its file in report/figures/, which says what it reads and draws."""

    rows: Annotated[list[str], Field(min_length=1), AfterValidator(each_once)]
    """Runs that it compares."""
    tasks: Names | None = None
    """Default: all tasks of its corpora."""
    corpora: Names | None = None
    """Default: all."""
    options: Fields = {}
    """What else the figure's file reads (its class `Options`)."""


class Table2(Part):
    """Table 2: baselines first, ours last."""

    rows: Names
    compared_with: Name
    """Row over which improvements are counted."""

    @property
    def figure(self) -> Figure:
        """The learning curves of its rows."""
        return Figure(rows=self.rows)


class Frozen(Part):
    """The table of the frozen protocol: encoders stay as they are, and a head alone learns."""

    rows: Names
    """Runs, also those of given `vectors`; one without a method is the untrained encoder."""
    compared_with: Name
    """Row over which improvements are counted."""
    head: Literal["linear", "mlp", "boosted"] = "linear"
    """What learns on the vectors, the same for all rows. mlp: as in fine-tuning; boosted: trees of
    scikit-learn, for labels (top-N tasks then have the linear head)."""
    epochs: Count = 30
    """Of the linear head and of mlp. Their learning rates are the same for all rows, and validation
    chooses among them."""


class Fairness(Part):
    """What fairness.csv shows beside the rows of Table 2."""

    controls: Names
    """Runs that are no rows of Table 2, such as a method for more epochs."""


class Margins(Part):
    """Percentage points, by task of the paper's Table 2."""

    T1: Positive
    T2: Positive
    T3: Positive
    T4: Positive
    T5: Positive
    T6: Positive


class Verify(Part):
    """How near to a published value is near enough (verdict.csv); set it before a run."""

    margin: Margins


class Ablation(Part):
    """Figure 4: a run beside others that lack one of its components."""

    full: Name
    rows: Names
    sweep: Names | None = None
    """Runs whose overrides have a number as `coefficient`."""

    @property
    def figure(self) -> Figure:
        """What it compares."""
        runs = each_run_once([*self.rows, *(self.sweep or []), self.full])
        return Figure(rows=runs, options=self.model_dump())


class Combination(Part):
    """Figure 3: a method alone, and AdaptSSR with its views."""

    pairs: Annotated[list[Pair], Field(min_length=1)]

    @property
    def figure(self) -> Figure:
        """What it compares."""
        runs = each_run_once(run for pair in self.pairs for run in pair)
        return Figure(rows=runs, options=self.model_dump())


class Similarity(Part):
    """Figure 5: cosines of user vectors at the last checkpoints of these runs."""

    corpus: Name
    rows: Names
    users: Annotated[int, Field(ge=2)] = 2000
    """At most so many held-out users."""
    views: Fields = {}
    """Ratios of crop, reorder and mask that deviate from those of the authors' code."""
    encode: Literal["evaluation", "training"] | None = None
    """evaluation (default): no dropout but in the dropout twin; training: dropout in every vector,
    at the rate of its pre-training."""
    dropout: Rate | None = None
    """Rate of the dropout twin with encode evaluation, for all methods; default 0.1."""

    @property
    def figure(self) -> Figure:
        """What it compares."""
        return Figure(rows=self.rows, corpora=[self.corpus], options=self.model_dump())


class Worlds(Part):
    """Figure 6: differences of runs over parameters of the simulated corpora."""

    parameters: Annotated[list[str], Field(min_length=1, max_length=2), AfterValidator(each_once)]
    """Names under `simulate.overrides` of every corpus; one line per value of the second."""
    differences: Annotated[list[Pair], Field(min_length=1)]
    """A run and the run it is compared with."""

    @property
    def figure(self) -> Figure:
        """What it compares."""
        runs = each_run_once(run for pair in self.differences for run in pair)
        return Figure(rows=runs, options=self.model_dump())


class LabelShare(NamedTuple):
    """A row fine-tuned with a share of the labels."""

    row: str
    share: float


class Labels(Part):
    """Figure 7: rows with shares of the labels of fine-tuning."""

    rows: Names
    shares: Annotated[list[Share], Field(min_length=1), AfterValidator(each_once)]

    @property
    def runs(self) -> dict[str, LabelShare]:
        """Every row with every share: <run>--labels-<percent>; with all labels, the run itself."""
        return {
            row if share == 1 else f"{row}--labels-{100 * share:g}": LabelShare(row, share)
            for row in self.rows
            for share in sorted(self.shares)
        }

    @property
    def figure(self) -> Figure:
        """What it compares."""
        return Figure(rows=list(self.runs), options=self.model_dump())


# Figures with a key of their own, which says more than what they show; in the order of the page.
KEYS_OF_FIGURES = {
    **{name: name for name in ("ablation", "combination", "similarity", "worlds", "labels")},
    "learning_curves": "table2",
}


class Experiment(Part):
    """The config of an experiment."""

    experiment: Name
    """Name of the folder under results/."""
    device: Annotated[str, StringConstraints(pattern=r"^(auto|cpu|cuda(:[0-9]+)?)$")]
    """auto: a GPU where torch can use one or a cluster is asked, else the CPU; cuda:2: that one."""
    precision: Literal["auto", "fp32", "tf32", "bf16"] = "auto"
    """Of training: fp32, tf32, or bf16 of the Transformer and the exact item softmax; auto: bf16 on
    a GPU, fp32 on a CPU."""
    capture: Literal["auto", "none", "graph", "compile"] = "auto"
    """How steps reach a GPU: none (one kernel at a time), graph (CUDA graphs), compile (of compiled
    code); auto: graph on a GPU, none on a CPU."""
    seeds: Annotated[list[Seed], Field(min_length=1), AfterValidator(each_once)]
    """One pre-training and fine-tuning each; splits and data do not change with them."""
    corpora: Annotated[dict[Name, AnyCorpus], Field(min_length=1)]
    splits: Splits
    encoder: EncoderSizes
    pretrain: Pretrain
    finetune: Finetune
    tasks: Annotated[dict[Name, Task], Field(min_length=1)]
    runs: Annotated[dict[Name, Run], Field(min_length=1)]
    protocol: Protocol = Protocol()

    table2: Table2 | None = None
    frozen: Frozen | None = None
    fairness: Fairness | None = None
    verify: Verify | None = None
    ablation: Ablation | None = None
    combination: Combination | None = None
    similarity: Similarity | None = None
    worlds: Worlds | None = None
    labels: Labels | None = None
    figures: dict[FileName, Figure] = {}
    """Other figures, by the names of their files in report/figures/."""
    tuning: dict[Name, Annotated[list[Fields], Field(min_length=1)]] = {}
    """Trials of each run: fields over its own overrides. Makes tuning.csv."""
    sensitivity: Name | None = None
    """Run of which each switch of the ledger is set to its other values, one at a time."""

    # Of the machine: given on the command line (--config seeds_together=true) or in a profile.
    seeds_together: Annotated[bool, BeforeValidator(truth)] = False
    """All seeds of a run share a process and are trained one after the other: where the start of a
    process takes as long as a training."""
    jobs_per_gpu: Count = 1
    """Trainings that share a GPU, each within its share of the memory (docs/sharing-a-gpu.md)."""
    limit_minutes: Positive = 24 * 60.0
    """Minutes after which a command is ended, as one that hangs."""
    save_every: Annotated[float, Field(ge=0)] | None = None
    """Seconds between two states of a training, from which it goes on when it was stopped."""
    gres: (
        Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]+(:[A-Za-z0-9_.]+)?:[0-9]+$")]
        | None
    ) = None
    """On Slurm, what a training asks for instead of a GPU: shard:2, gpu:a100:1."""

    def all_figures(self) -> dict[str, Figure]:
        """Every figure that is asked for, by the name of its file, in the order of the page."""
        parts = {name: getattr(self, key) for name, key in KEYS_OF_FIGURES.items()}
        return {name: part.figure for name, part in parts.items() if part} | self.figures
