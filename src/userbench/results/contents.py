"""What the JSON files of results hold: each is checked before a number of it is used."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Text = Annotated[str, StringConstraints(min_length=1)]
Count = Annotated[int, Field(ge=0)]
Length = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Metric = Annotated[str, StringConstraints(pattern=r"^(accuracy|auc|(hr|mrr|ndcg)@[1-9][0-9]*)$")]


class Content(BaseModel):
    """A part of a file: keys that no reader needs are accepted, no value is converted.

    A key with a default may be absent, but not null.
    """

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)


# ------------------------------------------------------------------------------------------ scores


class Best(Content):
    """The candidate and epoch that validation chose."""

    pretrain_epoch: Count
    epoch: Count
    start: Length = 1
    """Which of the random initialisations, where there was no checkpoint to begin at."""


class Score(Best):
    """A value of a metric."""

    split: Literal["validation", "test"]
    metric: Metric
    value: Share


class Examples(Content):
    """Numbers of examples."""

    train: Count
    validation: Count
    test: Count


class Constant(Content):
    """What a constant score would get, by how ties are broken."""

    pessimistic: Share
    stable: Share
    random: Share


class Facts(Content):
    """Facts of a task beside the scores of a baseline (`userbench.baselines`)."""

    test_users_in_train: Share = 0.0
    constant: Constant | None = None
    max_length: Count = 0
    longer_histories: Share = 0.0
    limit: Text = ""
    """Why the task cannot be scored, whatever the run."""
    without_rival: dict[str, Count] = {}
    """Pairs of a part that are left out, as no other candidate is ranked beside them."""


class ScoreFile(Content):
    """What `finetune` and `baselines` write."""

    run: Text
    task: Text
    corpus: Text
    seed: Count
    kind: Literal["classification", "binary", "top_n"]
    metric: Metric
    examples: Examples
    width: Length = 0
    """Length of the user vectors; baselines have none."""
    facts: Facts = Facts()
    same_as: Text = ""
    """The baseline whose scores these are again."""
    untrained: list[Text] = []
    """Of frozen encoders, the parts that pre-training did not reach."""
    without_vector: Count = 0
    """Users of the task who had no vector and got the mean one."""


class Fit(ScoreFile):
    """Scores of every candidate and epoch, and which was chosen."""

    best: Best
    scores: Annotated[list[Score], Field(min_length=1)]

    @model_validator(mode="after")
    def has_user_vectors(self) -> "Fit":
        """What was trained has user vectors."""
        if self.best.epoch > 0 and "width" not in self.model_fields_set:
            raise ValueError("'width' is missing")
        return self


class FailedFit(ScoreFile):
    """A fit that failed: it has no scores."""

    failed: Text
    best: None
    scores: Annotated[list[Score], Field(max_length=0)]


# -------------------------------------------------------------------------- curves, stores, records


class Point(Content):
    """A loss of an epoch of pre-training."""

    epoch: Count
    split: Literal["train", "validation"]
    loss: float


Curve = Annotated[list[Point], Field(min_length=1)]


class Parts(Content):
    """Numbers of users by part of pre-training."""

    train: Count
    validation: Count


class Tested(Content):
    """Test users of a task, and how many of them fine-tuning trains on, too."""

    test_users: Count
    also_in_training: Count


class HeldOut(Content):
    """Who was left out of a pre-training, as its record says (`userbench.data.held_out.Parts`)."""

    tested: Count
    alike: Count
    removed: Parts
    left: Parts
    missing: Parts
    tasks: dict[str, Tested]


class ExampleCounts(Content):
    """The examples of a task: with classes, or with candidates to rank."""

    rows: Count
    classes: dict[str, Any] = {}
    candidates: Count = 0

    @model_validator(mode="after")
    def has_labels(self) -> "ExampleCounts":
        """Labels are classes or candidates."""
        if not self.model_fields_set & {"classes", "candidates"}:
            raise ValueError("neither 'classes' nor 'candidates'")
        return self


class BehaviourCounts(Content):
    """The behaviours of a corpus."""

    users: Count
    items: Count
    mean_length: float


class BehaviourManifest(Content):
    """The manifest of a corpus's behaviours, as far as Table 1 needs it."""

    format: Literal["ttl", "app", "events"]
    counts: BehaviourCounts


class ExampleManifest(Content):
    """The manifest of a task's examples, as far as Table 1 needs it."""

    format: Literal["ttl", "app", "events"]
    counts: ExampleCounts


class Array(Content):
    """An array of a folder."""

    sha256: Text


class Arrays(Content):
    """The checksums of a folder of arrays, by the names of their files."""

    arrays: dict[str, Array]


class RawRead(Content):
    """A raw file that was read."""

    name: Text
    sha256: Text


class FolderManifest(Content):
    """The manifest of a folder of arrays: the checksum of its list, and what it was made of."""

    checksums: Text
    command: list[str] = []
    inputs: dict[str, Text] = {}
    raw: dict[str, RawRead] = {}


class Origin(Content):
    """Code and libraries in a record or a manifest."""

    userbench: Text
    git: dict[str, Any]
    code: dict[str, Text] = {}
    libraries: dict[str, Any]


class Record(Content):
    """The provenance record of an artefact."""

    artefact: Text
    command: list[str]
    config: dict[str, Any]
    sha256: Text = ""
    inputs: dict[str, Text] = {}
    beside: dict[str, Text] = {}
