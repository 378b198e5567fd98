"""What the parts of a config are made of: their base class, and types that bound values."""

from collections import Counter
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints


def each_once(values: list[Any]) -> list[Any]:
    """The values; ValueError where one is there twice."""
    for value, count in Counter(values).items():
        if count > 1:
            raise ValueError(f"{value!r} is there twice. Leave it out once")
    return values


# Names become folders and words of commands: nothing that a path or a shell could misread.
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
DottedName = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)*$")]
Checksum = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, StringConstraints(min_length=1)]
Seed = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
BatchSize = Annotated[int, Field(ge=2)]
Positive = Annotated[float, Field(gt=0)]
Rate = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(ge=0.001, le=1)]
Names = Annotated[list[Name], Field(min_length=1), AfterValidator(each_once)]
Texts = Annotated[list[Text], Field(min_length=1), AfterValidator(each_once)]
Epochs = Annotated[list[Count], Field(min_length=1), AfterValidator(each_once)]
Pair = Annotated[list[Name], Field(min_length=2, max_length=2)]
FileName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
Fields = dict[str, Any]


class Part(BaseModel):
    """A part of a config: unknown keys are refused, and no value is converted to another type."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True
    )
