"""App: a line of item ids per user, in task files followed by `,,` and a label, 0 or 1."""

from userbench.data import padded_lines
from userbench.data.format import Source

SOURCES = {
    "pretrain": Source("app_pretrain", "none"),
    "gender": Source("app_gender", "label", 0, 1),
    "cvr": Source("app_cvr", "label", 0, 1),
}
read_rows = padded_lines.read_rows
