"""Write report.html: everything an experiment has found, in a file that needs no network.

userbench page --folder results/ttl10k
    --config workflow/config/ttl10k.yaml --out results/ttl10k/report.html

Of the folder it reads experiment.json and what is there: Table 2 and the story behind each of its
cells (scores.csv, by its provenance the score files, by theirs the checkpoints and their curves),
the benchmarks of the jobs, and the tables and figures of the other sections. What is not there is
left out.
"""

from collections.abc import Sequence
from pathlib import Path

import yaml

from userbench import command_line
from userbench.errors import command
from userbench.report.page.render import finite, render
from userbench.report.page.sections import filled
from userbench.report.page.table2 import table2_of
from userbench.results import artifact
from userbench.results.tables import resolved


def page(folder: Path, config: Sequence[Path]) -> str:
    """The report of the experiment in `folder`, as HTML.

    Raises:
        ValueError: the folder has nothing to show, or a file is not what its rule writes.
    """
    table2, sections = table2_of(folder, [str(path) for path in config]), list(filled(folder))
    if not table2 and not sections:
        raise ValueError(f"{folder}: nothing to show. Make its tables first.")
    settings = [path.read_text(encoding="utf-8") for path in config]
    corpora = [(yaml.safe_load(text) or {}).get("corpora", {}) for text in settings]
    needs = {
        corpus["raw_env"] for each in corpora for corpus in each.values() if "raw_env" in corpus
    }
    keys = ("cells", "encoders", "jobs", "labels", "baseline")
    return render(
        {
            "experiment": folder.name,
            "table2": table2,
            "sections": sections,
            "settings": [(str(path), text) for path, text in zip(config, settings, strict=True)],
            "data": finite({key: table2.get(key, {}) for key in keys} | {"needs": sorted(needs)}),
        }
    )


@command
def main(argv: list[str] | None = None) -> None:
    """Write the page."""
    parser = command_line.parser("page", __doc__)
    parser.add_argument("--folder", type=Path, required=True, help="results of the experiment")
    parser.add_argument("--config", type=Path, nargs="+", required=True, help="its YAML file")
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    args = parser.parse_args(argv)
    artifact.write_text(args.out, page(args.folder, args.config))
    read = [*args.config, args.folder / "experiment.json", *sorted(args.folder.glob("*.csv"))]
    artifact.record(args.out, resolved(args), artifact.fingerprints(read))
