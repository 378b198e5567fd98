"""Markdown, LaTeX and HTML, from the Jinja templates in templates/; all values in them are escaped.

The suffix of a template is its format, and `{{ value }}` is escaped for that format; `Markup` and
`{{ value | safe }}` are not. LaTeX is full of braces, so its templates write << value >> and
<% for .. %>.
"""

import html
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

TEMPLATES = Path(__file__).with_name("templates")
LATEX = str.maketrans(
    {
        **{sign: rf"\{sign}" for sign in "&%$#_{}"},
        **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
        **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"},
        # Why: after a line's end, LaTeX takes [..] and * for arguments.
        **{"[": "{[}", "]": "{]}", "*": "{*}"},
        **{"±": r"$\pm$", "−": "$-$", "–": "--"},
    }
)
LATEX_DELIMITERS = {
    **{"block_start_string": "<%", "block_end_string": "%>"},
    **{"variable_start_string": "<<", "variable_end_string": ">>"},
    **{"comment_start_string": "<#", "comment_end_string": "#>"},
}


def markdown_text(text: str) -> str:
    """A plain text in one line, escaped where GitHub Markdown would take it for markup.

    Control characters are left out: some Markdown is printed, and they would steer the terminal.
    """
    shown = "".join(sign for sign in " ".join(text.split()) if sign.isprintable())
    return re.sub(r"([\\`*_\[\]<>#|~&$])", r"\\\1", shown)


def latex_text(text: str) -> str:
    """A plain text in one line, escaped for LaTeX."""
    return " ".join(text.split()).translate(LATEX)


ESCAPES = {".md": markdown_text, ".tex": latex_text, ".html": html.escape}


def render(template: str, **values: Any) -> str:
    """The text that a template makes of these values."""
    return environment(Path(template).suffix).get_template(template).render(values)


@cache
def environment(suffix: str) -> jinja2.Environment:
    """Jinja's environment of the templates with this suffix."""
    escape = ESCAPES[suffix]

    def escaped(value: Any) -> Markup:
        return value if isinstance(value, Markup) else Markup(escape(str(value)))

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        finalize=escaped,
        autoescape=True,  # so that what a macro returns is Markup, and not escaped again
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **(LATEX_DELIMITERS if suffix == ".tex" else {}),
    )
    made.filters["code"] = lambda text: Markup(f"`{text}`")
    return made


def aligned(lines: Sequence[Sequence[str]]) -> Markup:
    """A Markdown table of these lines, the first its header, padded to read well as plain text."""
    escaped = [[markdown_text(text) for text in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*escaped, strict=True)]
    header, *rows = (
        [text.ljust(width) for text, width in zip(line, widths, strict=True)] for line in escaped
    )
    rule = ["-" * width for width in widths]
    return Markup("\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *rows)))
