"""What goes between the parent and its environment workers: length-prefixed JSON, nothing else.

A request is `[operation, session, arguments]`; its reply is `{"value": …}` or `{"error": …}`.
Between replies, and while one is worked out, the worker sends beats.
Imports stay light, since every worker process pays for them.
"""

from __future__ import annotations

import dataclasses
import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .. import errors
from ..errors import AgememError, WorkerError
from ..types import (
    Environment,
    EnvSpec,
    Gold,
    Instructions,
    Observation,
    SplitSpec,
    StepResult,
    Task,
)

_LENGTH = struct.Struct(">I")
BEAT = "beat"  # a message that only says: I live
MAX_FRAME = 1 << 30  # bytes; more than any honest message, less than what exhausts a machine
MAX_MESSAGE = 2000  # characters of an error that are worth passing on


@dataclass(frozen=True, slots=True)
class EnvDescription:
    """What planning needs to know about one split of an environment."""

    spec: EnvSpec
    tasks: tuple[Task, ...]
    data_hash: str
    has_gold: bool = False  # whether a perfect memory is defined for its tasks


def pack(message: Any) -> bytes:
    """One frame.

    Raises:
        TypeError: for a value that is not JSON.
        ValueError: for NaN and infinities, which are not JSON either, or a message over 1 GiB.
    """
    body = json.dumps(message, separators=(",", ":"), allow_nan=False).encode()
    if len(body) > MAX_FRAME:
        raise ValueError(f"a message of {len(body)} bytes is too large")
    return _LENGTH.pack(len(body)) + body


class Frames:
    """Takes bytes as they arrive and gives messages as they are complete."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Any]:
        """Add bytes; yields every message that is complete.

        Raises:
            ValueError: for bytes that are no frames.
        """
        buffer = self._buffer
        buffer += data
        while len(buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer)
            if length > MAX_FRAME:
                raise ValueError(f"a frame of {length} bytes")
            end = _LENGTH.size + length
            if len(buffer) < end:
                return
            body = bytes(buffer[_LENGTH.size : end])
            del buffer[:end]
            try:
                message = json.loads(body)
            except RecursionError as error:
                raise ValueError("a frame nested too deeply") from error
            yield message


def plain(value: Any) -> Any:
    """A dataclass as a dict; anything else as it is."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return value


def sound(shown: Observation | StepResult) -> None:
    """Refuse what would break a run later: texts that are none, scores that are no numbers.

    Raises:
        TypeError: naming the field.
    """
    text = shown.text if isinstance(shown, Observation) else shown.observation
    if not isinstance(text, str) or not isinstance(shown.goal, str | None):
        raise TypeError("the observation and the goal must be texts")
    if isinstance(shown, StepResult) and not isinstance(shown.answer, str | None):
        raise TypeError("the answer must be a text or None")
    if isinstance(shown, Observation) and shown.goal is None:
        raise TypeError("the goal must be a text")
    for name, value in shown.metrics.items():
        if not isinstance(value, int | float | None):
            raise TypeError(f"the metric {name} is {type(value).__name__}, not a number or None")


def gold_from(value: dict[str, Any] | None) -> Gold | None:
    """The `Gold` that `plain` made a dict of."""
    if value is None:
        return None
    return Gold(
        value["question"],
        value["answer"],
        *(tuple(value[name]) for name in ("facts", "stale", "corrected")),
    )


def sound_gold(gold: object) -> Gold | None:
    """The value of an environment's `gold`, if it is one.

    Raises:
        TypeError: if it is not, or not each stale fact has a corrected one.
    """
    if gold is None:
        return None
    if not isinstance(gold, Gold):
        raise TypeError(f"gold returned {type(gold).__name__}, neither a Gold nor None")
    texts = (gold.question, gold.answer, *gold.facts, *gold.stale, *gold.corrected)
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("question, answer and facts of a Gold must be texts")
    if len(gold.stale) != len(gold.corrected):
        raise TypeError(
            f"a Gold has {len(gold.stale)} stale facts and {len(gold.corrected)} corrected: each "
            "stale one needs the one that was told in its place"
        )
    return gold


def knows_gold(environment: Environment, tasks: Sequence[Task]) -> bool:
    """Whether an environment says what a perfect memory of its tasks would hold."""
    gold = getattr(environment, "gold", None)
    return bool(tasks) and gold is not None and sound_gold(gold(tasks[0])) is not None


def spec_from(value: dict[str, Any]) -> EnvSpec:
    """The `EnvSpec` that `plain` made a dict of."""
    return EnvSpec(
        **{
            **value,
            "splits": tuple(SplitSpec(**split) for split in value["splits"]),
            "instructions": Instructions(**value["instructions"]),
            "experts": tuple(value["experts"]),
            "headline": tuple(value["headline"]),
        }
    )


def failure(error: Exception, what: str) -> dict[str, Any]:
    """A failure of environment code as a reply: errors of this project keep their type."""
    if isinstance(error, AgememError):
        name = next(t.__name__ for t in type(error).__mro__ if hasattr(errors, t.__name__))
        return {"error": name, "message": _line(error), "extra": getattr(error, "extra", None)}
    return {"error": WorkerError.__name__, "message": str(raised(error, what)), "extra": None}


def raised(error: Exception, what: str) -> WorkerError:
    """The `WorkerError` for any other exception of environment code, with where it was raised."""
    place = ""
    trace = error.__traceback__
    while trace is not None:
        place = f" ({trace.tb_frame.f_code.co_filename}:{trace.tb_lineno})"
        trace = trace.tb_next
    return WorkerError(f"{what} raised {type(error).__name__}: {_line(error)}{place}")


def error_from(reply: dict[str, Any]) -> AgememError:
    """The error that `failure` made a reply of."""
    kind = getattr(errors, reply["error"])
    error: AgememError = kind.__new__(kind)  # a subclass's constructor may take other arguments
    error.args = (reply["message"],)
    if reply["extra"] is not None:
        vars(error)["extra"] = reply["extra"]
    return error


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= MAX_MESSAGE else f"{text[:MAX_MESSAGE]}…"
