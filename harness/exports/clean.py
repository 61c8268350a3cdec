"""What leaves this machine: texts without secrets, without its paths, and valid Unicode."""

from __future__ import annotations

import re
import sys
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..config import RunConfig
from ..observe.text import Cleaner

_USER_INFO = re.compile(r"(?<=://)[^\s/@]+@")
# An absolute path of two parts or more; no part of a URL, nor of what was shortened already.
_PATH = re.compile(r"""(?<![\w.~/…>-])(?:/[^/\s:'",;()\[\]]+){2,}""")


class Clean:
    """Makes texts of a run fit to be handed on.

    Secrets are what `Cleaner` knows of, and what the variables hold that the run's options name.
    In all texts the folders of this machine (the run's, the working folder, home, Python's, the
    temporary one) become `<run>`, `.`, `~`, `<python>` and `<tmp>`; in settings and errors any
    other absolute path keeps only its last part.

    Args:
        directory: Of the run.
        config: Of the run.
    """

    def __init__(self, directory: Path, config: RunConfig) -> None:
        options = (option for options in config.options.values() for option in options.items())
        self._cleaner = Cleaner(value for name, value in options if name.endswith("key_env"))
        places = {
            str(directory.resolve()): "<run>",
            str(Path.cwd()): ".",
            str(Path.home()): "~",
            sys.prefix: "<python>",
            tempfile.gettempdir(): "<tmp>",
        }
        self._places = {place: shown for place, shown in places.items() if len(place) > 1}
        longest_first = sorted(map(re.escape, self._places), key=len, reverse=True)
        self.name = lru_cache(4096)(self.setting)  # of names that come again in every row
        self._place = re.compile(rf"(?<![\w.-])(?:{'|'.join(longest_first)})(?![\w-])")

    def text(self, text: str) -> str:
        """A text of a message, an observation or an answer."""
        if not text.isascii():
            text = _unicode(text)
        text = self._cleaner.secretless(text)
        if "://" in text and "@" in text:
            text = _USER_INFO.sub("***@", text)
        if any(place in text for place in self._places):  # faster than the pattern finds nothing
            text = self._place.sub(self._shown, text)
        return text

    def setting(self, text: str) -> str:
        """A setting, a name or an error: of any absolute path only the last part stays."""
        return _PATH.sub(lambda match: f"…/{match[0].rpartition('/')[2]}", self.text(text))

    def value(self, value: Any) -> Any:
        """A JSON value with its texts cleaned."""
        return _mapped(value, self.text)

    def settings(self, value: Any) -> Any:
        """A JSON value of settings."""
        return _mapped(value, self.setting)

    def _shown(self, match: re.Match[str]) -> str:
        return self._places[match[0]]


def _mapped(value: Any, change: Any) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {change(str(key)): _mapped(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_mapped(item, change) for item in value]
    return value


def _unicode(text: str) -> str:
    """A text that UTF-8 can hold: a lone surrogate, as JSON's escapes can bring, is replaced."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
