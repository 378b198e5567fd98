"""What a reader of the frozen table must know: the protocol, and what its user vectors lack."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from userbench.report.tables.headline import listed
from userbench.results.scores import read_score_content

HEADS = {
    "linear": "a linear head alone learns",
    "mlp": "the head of fine-tuning (two layers) alone learns",
    "boosted": "gradient-boosted trees of scikit-learn alone learn (of top-N tasks, a linear head)",
}


def is_frozen(layout: dict[str, Any]) -> bool:
    """Whether a layout is that of the frozen table."""
    return "head" in layout


def protocol_notes(layout: dict[str, Any], scores: Iterable[Path] = ()) -> list[str]:
    """What the frozen protocol is, and what the vectors of its rows lack by these score files."""
    untrained, given = layout["untrained"], layout["given"]
    notes = [
        "Frozen protocol: encoders stay as pre-training left them, and on their user vectors "
        f"{HEADS[layout['head']]}, the same for all rows. Vectors are standardised by a task's "
        f"training users. Validation chooses {choices(layout['head'], layout['epochs'])}, and "
        "among the candidate checkpoints."
    ]
    if untrained:
        what = "is the untrained encoder" if len(untrained) == 1 else "are untrained encoders"
        notes.append(f"{listed(untrained)} {what}: random weights, under the same head.")
    if given:
        notes.append(
            f"Vectors that were given: {listed(given)}. How they were made is not known here."
        )
    return notes + vector_notes(layout, list(scores))


def choices(head: str, epochs: int) -> str:
    """What of a head validation chooses."""
    if head == "boosted":
        return "the number of trees (of a linear head, learning rate and epoch)"
    return f"the learning rate and one of {epochs} epochs"


def vector_notes(layout: dict[str, Any], scores: Sequence[Path]) -> list[str]:
    """A sentence on the rows whose pooling query no training reached, and on missing vectors."""
    labels = {row["run"]: row["label"] for row in layout["rows"]}
    contents = [read_score_content(path) for path in scores if path.exists()]
    own = [content for content in contents if content["run"] in labels]
    query = {labels[c["run"]]: None for c in own if c.get("untrained")}
    trained = [label for label in query if label not in layout["untrained"]]
    notes = []
    if trained:
        notes.append(
            f"The pre-training of {listed(trained)} never trains the query that pools hidden "
            "states into a user vector (masked items): it is as it was drawn, and these vectors "
            "are weighted by chance."
        )
    names = {task["task"]: task["label"] for task in layout["tasks"]}
    without: dict[tuple[str, str], int] = {}
    for content in own:
        cell = labels[content["run"]], names.get(content["task"], content["task"])
        without[cell] = max(without.get(cell, 0), content.get("without_vector", 0))
    each = [f"{row} on {task} {count:,}" for (row, task), count in without.items() if count]
    if each:
        notes.append(f"Users without a vector, who have the mean of the others: {', '.join(each)}.")
    return notes
