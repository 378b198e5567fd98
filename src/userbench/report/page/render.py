"""The page as one HTML file: page.html filled, with page.css, page.js and Vega-Lite inside.

Every text goes through Jinja's escaping or, as JSON, through the browser's `textContent`. The page
forbids itself all requests and all scripts but its own (Content-Security-Policy).
"""

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import vl_convert

HERE = Path(__file__).parent
VEGA_LITE = "6.4"


@cache
def vega() -> str:
    """Vega, Vega-Lite and vega-embed (BSD-3-Clause) as one script."""
    return vl_convert.javascript_bundle(vl_version=VEGA_LITE)


def script_hash(script: str) -> str:
    """How a Content-Security-Policy names a script that it allows."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def render(context: dict[str, Any]) -> str:
    """The page as HTML; the texts of the context are escaped."""
    scripts = [vega(), (HERE / "page.js").read_text(encoding="utf-8")]
    # Why: inside of <script>, only these words would end it.
    assert not any("</script" in script.lower() for script in scripts)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("page.html").render(
        context,
        scripts=[jinja2.utils.markupsafe.Markup(script) for script in scripts],
        hashes=[script_hash(script) for script in scripts],
        style=jinja2.utils.markupsafe.Markup((HERE / "page.css").read_text(encoding="utf-8")),
    )


def finite(content: Any) -> Any:
    """The same without NaN and infinities, which JSON does not have: null."""
    if isinstance(content, dict):
        return {key: finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    if isinstance(content, float | np.floating):
        return float(content) if np.isfinite(content) else None
    return content.item() if isinstance(content, np.generic) else content
