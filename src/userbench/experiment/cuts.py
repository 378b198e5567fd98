"""What event logs hold out and what their tasks ask for, in the sentences below tables."""

from userbench.experiment.config import Task
from userbench.experiment.corpora import EventCorpus
from userbench.experiment.runs import ResolvedExperiment


def cut_notes(resolved: ResolvedExperiment) -> list[str]:
    """How each event log was cut and ordered, and among what its next items are ranked."""
    notes = []
    for name, corpus in resolved.corpora.items():
        if isinstance(corpus, EventCorpus):
            said = f"{corpus.label or name}: "
            notes += [said + text for text in (*of_cut(corpus), *of_order(corpus))]
            notes += [
                f"{task.label}: {text}"
                for task in resolved.tasks_of(name).values()
                for text in of_task(task)
            ]
    return notes


def of_cut(corpus: EventCorpus) -> list[str]:
    """A sentence on the events that a log holds out, if it holds out any."""
    cut = corpus.hold_out
    if cut is None:
        return []
    if cut.last is not None:
        return [
            f"everybody's last {cut.last} events are asked for; events of others that happened "
            "later are in the input, so the future leaks into it."
        ]
    first, second, third = map(str, cut.days)
    return [
        f"all events from {first} on are asked for, and those before it are the input; training "
        f"targets begin at {first}, validation targets at {second}, test targets at {third}."
    ]


def of_order(corpus: EventCorpus) -> list[str]:
    """A sentence on the order of the events where no time says it."""
    if all(table.time is not None for table in corpus.events.values()):
        return []
    return ["the log has no time; the order of its files is that of the events."]


def of_task(task: Task) -> list[str]:
    """Sentences on the candidates of next items, and on parts that were not drawn."""
    if task.next_item is not None:
        where = "no candidates" if task.next_item.exclude_seen else "candidates, too"
        return [f"items that a user's input holds are {where}."]
    columns = [table.part for table in task.tables if table.part is not None]
    return [f"its parts are those of the column {column}, not drawn." for column in columns]
