"""The look of every figure: sizes of a two-column paper, and one colour and marker per method.

Colours are the scheme "muted" of Paul Tol (Colour Schemes, SRON technical note 09-002) and black,
which stay apart under the three common kinds of colour blindness; markers distinguish methods
without any colour. A variant of a method (other views, another coefficient) has its method's colour
lightened.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from userbench.results.artifact import atomic

SINGLE, DOUBLE = 3.3, 6.9  # widths of one and of both columns, inches
GREY, LIGHT_GREY = "#6E6E6E", "#D4D4D4"
FORMATS = ("svg", "pdf", "png")
NO_DATES = {
    "svg": {"Date": None},
    "pdf": {"CreationDate": None, "ModDate": None},
    "png": {"Software": None},
}
RC = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so figures look alike everywhere
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.labelsize": 7,
    "xtick.labelsize": 6,
    "ytick.labelsize": 6,
    "legend.fontsize": 6,
    "legend.frameon": False,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2,
    "ytick.major.size": 2,
    "xtick.major.pad": 2,
    "ytick.major.pad": 2,
    "grid.color": LIGHT_GREY,
    "grid.linewidth": 0.4,
    "lines.linewidth": 1,
    "lines.markersize": 4,
    "figure.constrained_layout.use": True,
    "figure.dpi": 100,
    "savefig.dpi": 300,
    # Why: TrueType fonts are embedded whole, as publishers ask; text of an SVG is drawn as paths,
    # because a page that shows it may not have the font.
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "userbench",
    # Why: a label is a text; a $ in it is no formula, which could be one that fails.
    "text.parse_math": False,
}


class Look(NamedTuple):
    """How the points of one method are drawn."""

    colour: str
    marker: str


LOOKS = {
    "none": Look("#000000", "o"),
    "peterrec": Look("#117733", "s"),
    "ptum": Look("#CC6677", "v"),
    "clue": Look("#44AA99", "^"),
    "ccl": Look("#88CCEE", "D"),
    "idicl": Look("#332288", "P"),
    "cl4srec": Look("#999933", "X"),
    "coserec": Look("#DDCC77", "<"),
    "duorec": Look("#AA4499", ">"),
    "adaptssr": Look("#882255", "*"),
}
LOOKS["mlm"] = LOOKS["peterrec"]  # the same pre-training
# Methods from outside of this package: greys, distinguished by their markers.
STRANGERS = tuple(Look(GREY, marker) for marker in ("p", "h", "d", "8", "H"))


def look(method: str) -> Look:
    """Colour and marker of a method, which are its own in every figure."""
    return LOOKS.get(method) or STRANGERS[zlib.crc32(method.encode()) % len(STRANGERS)]


def lightened(colour: str, share: float = 0.55) -> str:
    """A colour mixed with a share of white."""
    return to_hex([part + (1 - part) * share for part in to_rgb(colour)])


def face(method: str, variant: bool) -> str:
    """Colour of a run's marker or bar: its method's, lightened where the run is a variant of it."""
    colour = look(method).colour
    return lightened(colour) if variant else colour


@contextmanager
def applied() -> Iterator[None]:
    """Everything drawn inside has this look; settings outside stay as they are."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(RC)
        yield


def save(figure: Figure, out: Path) -> list[Path]:
    """Write <out>.svg, .pdf and .png atomically; equal figures have equal bytes."""
    files = {kind: out.with_name(f"{out.name}.{kind}") for kind in FORMATS}
    with applied():
        for kind, path in files.items():
            with atomic(path) as partial:
                figure.savefig(partial, format=kind, metadata=NO_DATES[kind])
    return list(files.values())
