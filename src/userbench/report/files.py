"""What the JSON files hold that the report reads: each is checked before a number of it is used."""

import json
import reprlib
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)

Text = Annotated[str, StringConstraints(min_length=1)]
Count = Annotated[int, Field(ge=0)]
Length = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Metric = Annotated[str, StringConstraints(pattern=r"^(accuracy|auc|(hr|mrr|ndcg)@[1-9][0-9]*)$")]


class Content(BaseModel):
    """A part of a file: keys that no reader needs are let through, no value is converted.

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
    """What a baseline's file says of its task beside scores (`userbench.baselines`)."""

    test_users_in_train: Share = 0.0
    constant: Constant | None = None
    max_length: Count = 0
    longer_histories: Share = 0.0


class ScoreFile(Content):
    """What `finetune` and `references` write."""

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
    """A fit that failed: nothing stands where scores would."""

    failed: Text
    best: None
    scores: Annotated[list[Score], Field(max_length=0)]


def read_score_content(path: Path) -> dict[str, Any]:
    """The content of a score file; ValueError, naming it, where it is none."""
    content = parse_json(path.read_bytes(), str(path))
    failed = isinstance(content, dict) and "failed" in content
    check(content, FailedFit if failed else Fit, str(path))
    return content


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

    format: Literal["ttl", "app"]
    counts: BehaviourCounts


class ExampleManifest(Content):
    """The manifest of a task's examples, as far as Table 1 needs it."""

    format: Literal["ttl", "app"]
    counts: ExampleCounts


class Array(Content):
    """An array of a folder."""

    sha256: Text


class Arrays(Content):
    """The checksums of a folder of arrays, by the names of their files."""

    arrays: dict[str, Array]


class FolderManifest(Content):
    """The manifest of a folder of arrays: the checksum of its list, and what it was made of."""

    checksums: Text
    inputs: dict[str, Text] = {}


class Origin(Content):
    """What a record or a manifest says of code and libraries."""

    userbench: Text
    git: dict[str, Any]
    libraries: dict[str, Any]


class Record(Content):
    """The provenance record of an artefact."""

    artefact: Text
    command: list[str]
    config: dict[str, Any]
    sha256: Text = ""
    inputs: dict[str, Text] = {}
    beside: dict[str, Text] = {}


# ------------------------------------------------------------------------------------------ reading


def parse_json(text: str | bytes, source: str) -> Any:
    """Parse JSON; NaN and the infinities, which Python would let through, are refused.

    Raises:
        ValueError: naming the source, for anything that is not JSON.
    """

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{source}: not valid JSON: {error}") from error


def read_checked(path: Path, kind: Any) -> Any:
    """The content of a JSON file, as it is; ValueError, naming it, unless it is of this kind."""
    content = parse_json(path.read_bytes(), str(path))
    check(content, kind, str(path))
    return content


@cache
def adapter(kind: Any) -> TypeAdapter:
    """What checks content of a kind. Why kept: there are thousands of score files."""
    return TypeAdapter(kind)


def check(content: Any, kind: Any, source: str) -> Any:
    """The content as an object of this kind.

    Raises:
        ValueError: naming source, place and reason, where it is not of this kind.
    """
    try:
        return adapter(kind).validate_python(content)
    except ValidationError as errors:
        raise ValueError(f"{source}: {first_problem(errors)}") from None


def first_problem(errors: ValidationError) -> str:
    """The place and the reason of the first thing that is refused, in one line."""
    first = errors.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"])) or "top level"
    above = ".".join(map(str, first["loc"][:-1])) or "top level"
    found, said = reprlib.repr(first["input"]), first["msg"]
    if first["type"] == "missing":
        return f"{above}: {first['loc'][-1]!r} is missing"
    if first["type"] == "extra_forbidden":
        return f"{above}: unknown key {first['loc'][-1]!r}"
    if first["type"] == "value_error":
        return f"{where}: {first['ctx']['error']}"
    if first["type"] == "model_type":
        return f"{where}: {found} is no JSON object"
    if said.startswith("Input "):
        return f"{where}: {found} {said.removeprefix('Input ')}"
    return f"{where}: {found}: {said}"
