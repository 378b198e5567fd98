"""TTL: a line of item ids per user, in task files followed by `,,` and a label or targets.

The names are those under which its authors publish it.
"""

from userbench.data import padded_lines
from userbench.data.format import Source

SOURCES = {
    "pretrain": Source("original_desen_pretrain", "none"),
    "age": Source("original_desen_age", "label", 1, 255),
    "life_status": Source("original_desen_lifestatus", "label", 1, 255),
    "gender": Source("original_desen_gender", "label", 1, 255),
    "click": Source("original_desen_finetune_click_nouserID", "targets"),
    "like": Source("original_desen_finetune_like_nouserID", "targets"),
}
read_rows = padded_lines.read_rows
