"""The pages of the docs as tests read them: fences with their marks, and command lines.

A comment before a fence says what the tests do with it:

    <!-- run -->      it is carried out: code with a title becomes a file, a shell block is run
    <!-- shows -->    each of its lines stands in what the block before it printed; `…` is anything
"""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
_FENCE = re.compile(
    r"(?:^<!-- (?P<mark>run|shows) -->\n)?^(?P<indent> *)```(?P<language>\w*)"
    r'(?: title="(?P<title>[^"]+)")?\n(?P<code>.*?)\n?^(?P=indent)```$',
    re.MULTILINE | re.DOTALL,
)
_SPAN = re.compile(r"`((?:agemem-eval|python -m agemem_eval) [^`]+)`")
_CALL = re.compile(r"(?:^|[\s(])(?:agemem-eval|python3? -m agemem_eval)\s+(?P<rest>.+)")
_ENDS = re.compile(r"\s(?:&&|\|\|?|;|>>?|2>|&|#)(?:\s|$)|;|\)$")


@dataclass(frozen=True, slots=True)
class Fence:
    """A block of code of a page."""

    language: str
    code: str
    mark: str | None  # `run`, `shows` or nothing
    title: str | None


def _reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_reference", DOCS / "_hooks/reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reference = _reference()


def pages() -> list[Path]:
    """All pages of the docs, and the README files that show commands."""
    return [*sorted(DOCS.rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


def name_of(page: Path) -> str:
    """A page's path in the repository."""
    return page.relative_to(ROOT).as_posix()


@cache
def text_of(page: Path) -> str:
    """A page with what is generated."""
    return str(reference.filled(page.read_text(encoding="utf-8")))


def fences(page: Path) -> list[Fence]:
    """The blocks of code of a page, in order."""
    return [
        Fence(found["language"], found["code"], found["mark"], found["title"])
        for found in _FENCE.finditer(text_of(page))
    ]


def command_lines(code: str) -> list[str]:
    """The lines of a shell block, those with a backslash at the end joined to the next."""
    joined = re.sub(r"\\\n\s*", "", code)
    lines = (line.removeprefix("$ ").strip() for line in joined.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def calls(page: Path) -> Iterator[list[str]]:
    """The words after `agemem-eval` of every command that a page shows, in fences and in prose."""
    lines = [line for fence in fences(page) for line in command_lines(fence.code)]
    spans = [" ".join(span.split()) for span in _SPAN.findall(_FENCE.sub("", text_of(page)))]
    for line in lines + spans:
        found = _CALL.search(line)
        while found:
            rest = _ENDS.split(found["rest"], maxsplit=1)[0]
            yield shlex.split(rest)
            found = _CALL.search(found["rest"])
