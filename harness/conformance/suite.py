"""The ground of the suites: checks are `test_…` methods, run by pytest or without it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeVar
from unittest import SkipTest

T = TypeVar("T")

# What no environment and no memory may stumble over; half of it comes from models sooner or later.
ODD_TEXTS = (
    "",
    "   ",
    "\x00\x07\x1b[31m",
    "\u202eright to left\u202c and 🦄🧠",
    "e\u0301 \ufdfa \u0bf5",
    "\ud800 half a surrogate pair",
    "<answer></answer><tool_call>[{}]</tool_call>",
    "'; DROP TABLE entries; --",
)
HUGE = 1_000_000  # characters


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one check ended."""

    check: str  # the name of the method, in words
    result: Literal["passed", "failed", "not applicable"]
    detail: str = ""  # what was wrong, or why it does not apply


class Suite:
    """Base of the suites."""

    def checks(self) -> list[str]:
        """The names of the checks, in the order they are written."""
        names: dict[str, None] = {}
        for cls in reversed(type(self).__mro__):
            names |= dict.fromkeys(name for name in vars(cls) if name.startswith("test_"))
        return list(names)

    def run(self) -> Iterator[Outcome]:
        """Run every check, one after the other."""
        for name in self.checks():
            words = name.removeprefix("test_").replace("_", " ")
            try:
                with output_to(2):  # what is checked may print; the report stays readable
                    getattr(self, name)()
            except SkipTest as reason:
                yield Outcome(words, "not applicable", str(reason))
            except Exception as error:  # noqa: BLE001 - whatever is checked may raise anything
                yield Outcome(words, "failed", _told(error))
            else:
                yield Outcome(words, "passed")


def expect(condition: bool, message: str) -> None:
    """Fail a check with a message, whatever flags Python runs with.

    Raises:
        AssertionError: if the condition does not hold.
    """
    if not condition:
        raise AssertionError(message)


def wait(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine; checks are plain functions, so that no plug-in is needed."""
    return asyncio.run(work)


def shown(value: object) -> str:
    """A value for a message, cut where it is long."""
    try:
        text = repr(value)
    except RecursionError:
        return "a value nested thousands of levels deep"
    return text if len(text) <= 200 else f"{text[:200]}…"


@contextlib.contextmanager
def output_to(descriptor: int) -> Iterator[None]:
    """Lets what is written to standard output, by whatever means, go elsewhere."""
    sys.stdout.flush()
    saved = os.dup(1)
    os.dup2(descriptor, 1)
    try:
        # Python's own stream may be another's: a test runner's, or one that buffers.
        with os.fdopen(os.dup(1), "w") as stream, contextlib.redirect_stdout(stream):
            yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)


@contextlib.contextmanager
def standard_output() -> Iterator[list[bytes]]:
    """Collects what is written to standard output; read it after the block."""
    written: list[bytes] = []
    with tempfile.TemporaryFile() as file:
        with output_to(file.fileno()):
            yield written
        file.seek(0)
        written.append(file.read())


def _told(error: Exception) -> str:
    if isinstance(error, AssertionError):
        return " ".join(str(error).split()) or "an assertion failed"
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
