"""The files of a fit on a task: its scores, and what it predicts of every test example."""

import logging
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from userbench.data.ids import given_user_ids
from userbench.data.labelled import Split
from userbench.data.limits import TaskParts, described
from userbench.errors import NotANumber
from userbench.model.tasks import Task
from userbench.results.artifact import record, write_json
from userbench.results.predictions import COLUMNS, predictions_path, write_predictions

log = logging.getLogger("userbench")


class Tested(NamedTuple):
    """Content of the score file, and of the file of predictions unless nothing was to be tested."""

    scores: dict[str, Any]
    predictions: dict[str, Tensor] | None


class FitOf(NamedTuple):
    """What was fitted: the first keys of its score file, and the names in its messages."""

    task: Task
    run: str
    corpus: str
    seed: int

    def left_out(self, problem: NotANumber, place: str) -> str:
        """Warn of a fit that failed: which one, where, and why; returns the reason."""
        fit = f"task {self.task.name}, run {self.run}, seed {self.seed}"
        reason = f"{fit}, {place}: {problem}"
        log.warning("failed: %s", reason)
        return reason

    def scores(
        self,
        width: int,
        split: Split,
        chosen: dict[str, Any] | None,
        scores: list[dict[str, Any]],
        failed: list[str],
        parts: TaskParts,
    ) -> dict[str, Any]:
        """The content of a score file; without scores, with the reasons, where nothing is chosen.

        `chosen` is the candidate and epoch that validation chose, `scores` are the values of all.
        """
        lost = chosen is None
        return {
            "run": self.run,
            "task": self.task.name,
            "corpus": self.corpus,
            "seed": self.seed,
            "kind": self.task.kind,
            "metric": self.task.metric,
            "width": width,
            "examples": {part: len(examples) for part, examples in split._asdict().items()},
            "best": chosen,
            "scores": [] if lost else scores,
            **({"failed": "; ".join(failed)} if lost else {}),
            **({"facts": facts} if (facts := described(parts)) else {}),
        }

    def not_scorable(self, width: int, split: Split, parts: TaskParts, no_test: bool) -> Tested:
        """The files of a task that cannot be scored."""
        log.warning("task %s cannot be scored: %s", self.task.name, parts.limit)
        content = self.scores(width, split, None, [], [parts.limit], parts)
        return Tested(content, None if no_test else self.no_predictions())

    def no_predictions(self) -> dict[str, Tensor]:
        """The predictions of a fit that failed."""
        return {name: torch.empty(0) for name in ("example", "user", *COLUMNS[self.task.kind])}


def write_tested(
    out: Path,
    found: Tested,
    settings: dict[str, Any],
    read: dict[Path, str],
    facts: dict[str, Any],
    store: Path,
) -> list[Path]:
    """Write the files of a fit on a store, each with its record; returns the files."""
    tested = []
    if found.predictions is not None:
        tested = [predictions_path(out)]
        columns = {name: column.cpu() for name, column in found.predictions.items()}
        write_predictions(predictions_path(out), columns, found.scores, given_user_ids(store))
        record(predictions_path(out), settings, read)
    write_json(out, found.scores)
    record(out, settings, read, beside=tested, **facts)
    return [*tested, out]
