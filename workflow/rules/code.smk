# Code is an input: an edit reruns exactly the jobs whose numbers it can move.
# Snakemake does not watch imported modules. `snakemake --touch` declares an edit harmless. In one call,
# Snakemake reruns whatever comes after a job that reruns: after an edit of what reads raw files, ask
# for the checksums.json of the data first, and nothing that reads equal arrays runs again.
from userbench.workflow.sources import part_sources, sources


def code(name):
    """Source files that `userbench.<name>` is made of."""
    return [os.path.relpath(path, ROOT) for path in or_stop(sources, name)]


def with_format(name):
    """Source files of `userbench.<name>`, and of the raw format of the job's corpus."""
    return lambda w: sorted({*code(name), *code(f"data.formats.{CORPORA[w.corpus].format}")})


def events_code(part):
    """Source files of a part of `userbench events`: what it reads and makes, and its flags."""
    return sorted({*code(f"data.events.{part}"), "src/userbench/data/events/command.py"})


def templates(*names):
    """Templates that pages are made from."""
    return [f"src/userbench/report/templates/{name}" for name in names]


def method_code(run):
    """Source files of a run's method, and of the views it is given."""
    method, views = RUNS[run].method, RUNS[run].overrides.get("views", {})
    parts = [("methods", method)] if method else []
    parts += [("views", views["kind"])] if "kind" in views else []
    files = (path for part in parts for path in or_stop(part_sources, *part))
    return sorted({os.path.relpath(path, ROOT) for path in files})


def figure_code(figure):
    """Source files of a figure, and of the command that makes it."""
    parts = ("report.drawing.command", f"report.figures.{figure.file}")
    return sorted({path for part in parts for path in code(part)})
