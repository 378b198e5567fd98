"""Read a log of events into the array store: its corpus, or the examples of a task.

userbench events corpus --raw RAW --settings JSON --out STORE
userbench events task --raw RAW --settings JSON --store STORE --out STORE/tasks/age

The settings are those of the config: `events` and what else a corpus of `format: events` has, or
the `labels`, `targets` or `next_item` of a task.
"""

from pathlib import Path

from userbench import command_line
from userbench.command_line import at_least, json_object, string_mapping
from userbench.data.events import tasks
from userbench.data.events.corpus import write_corpus
from userbench.data.events.settings import corpus_settings_of
from userbench.errors import command


@command
def main(argv: list[str] | None = None) -> None:
    """Write the folders of a corpus, or that of a task."""
    parser = command_line.parser("events", __doc__)
    commands = parser.add_subparsers(dest="what", required=True)
    corpus = commands.add_parser("corpus", help="behaviours, her ids, and what is held out")
    corpus.add_argument("--raw", type=Path, required=True, help="folder, zip or file of the events")
    corpus.add_argument(
        "--settings", type=json_object, required=True, help="JSON, as in the config"
    )
    corpus.add_argument("--max-bad-rows", type=at_least(0), default=0, help="rows left out at most")
    corpus.add_argument("--sha256", default="{}", help="JSON: raw file name -> expected SHA-256")
    corpus.add_argument("--threads", type=at_least(1), help="of the engine; by default, all cores")
    corpus.add_argument("--out", type=Path, required=True, help="store to write")
    tasks.add_flags(commands.add_parser("task", help="examples of a task"))
    args = parser.parse_args(argv)
    if args.what == "task":
        tasks.run(args)
    else:
        settings, checksums = (
            corpus_settings_of(args.settings),
            string_mapping("--sha256", args.sha256),
        )
        write_corpus(args.raw, settings, args.out, args.max_bad_rows, checksums, args.threads)
