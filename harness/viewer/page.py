"""The page itself: the template with its script, style and first data, and what it may do."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from importlib.resources import files
from typing import Any

# In the order in which they build on each other.
SCRIPTS = (
    "dom", "data", "replay", "charts", "table", "overview", "panes", "turns", "episode",
    "compare", "app",
)  # fmt: skip
STYLES = ("base", "table", "episode")


def index_html(overview: dict[str, Any]) -> bytes:
    """The page.

    Its policy lets run what is written here, by its hash, and what that adds: the data files. It
    lets the page ask for nothing from anywhere, and turn no text into markup.

    Args:
        overview: What the first page shows.
    """
    from jinja2 import Environment, StrictUndefined

    script, style = _joined(SCRIPTS, "js"), _joined(STYLES, "css")
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src '{_hash(script)}' 'strict-dynamic'",
            f"style-src '{_hash(style)}'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types agemem-data",
        ]
    )
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(
        _asset("index.html")
    )
    title = " and ".join(overview["runs"])
    page = template.render(
        policy=policy, title=title, script=script, style=style, overview=data_block(overview)
    )
    return page.encode(errors="replace")


def data_block(value: Any) -> str:
    """JSON that no HTML parser can take for markup, wherever a script element may hold it."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


@cache
def _joined(names: tuple[str, ...], kind: str) -> str:
    return "\n".join(_asset(f"{name}.{kind}") for name in names)


def _asset(name: str) -> str:
    return (files(__package__) / "assets" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
