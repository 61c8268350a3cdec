"""Asking a model for JSON: one call, one repair, and then the operation is skipped and counted."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from ..harness.metering import MeteredModel
from ..harness.trace import Trace
from ..harness.types import ChatMessage, Json, Sampling
from .store import valid_unicode

MAX_REPLY_TOKENS = 1024
_THINKING = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_MAX_STARTS = 50  # places in a reply at which JSON is looked for
_SHOWN = 2000  # characters of a bad reply that are shown to the model again


class Reply(BaseModel):
    """Base of what a model must answer: further keys are ignored, types are not guessed."""

    model_config = ConfigDict(extra="ignore", str_strip_whitespace=True)


R = TypeVar("R", bound=Reply)


def fault(trace: Trace, op: str, problem: str) -> None:
    """Book something that a memory skipped; the harness counts it by `op` and shows it."""
    line = " ".join(problem.split())
    trace.emit("memory_fault", op=op, problem=line if len(line) <= 300 else f"{line[:300]}…")


async def ask(
    model: MeteredModel,
    messages: Sequence[ChatMessage],
    reply: type[R],
    *,
    work: Json,
    op: str,
    trace: Trace,
    max_tokens: int = MAX_REPLY_TOKENS,
) -> R | None:
    """The model's answer in the form of `reply`; None if it gave none, twice.

    Args:
        model: Metered under the role that this call has.
        messages: The prompt, which says what JSON to answer with.
        reply: The form.
        work: The same request in machine-readable form; see `Request.work`.
        op: What is skipped if there is no answer, for the count of faults.
        trace: The episode's; receives a `memory_fault` then.
        max_tokens: Length the reply may have.

    Raises:
        ModelError: if the endpoint failed for good.
    """
    sampling = Sampling(max_tokens=max_tokens, temperature=0.0)
    completion = await model.generate(messages, sampling, work)
    answer = read(completion.text, reply)
    if isinstance(answer, str):
        said = completion.text[:_SHOWN] or "(nothing)"
        repair = f"That could not be used: {answer}. Answer again, with the JSON object alone."
        again = [*messages, ChatMessage("assistant", said), ChatMessage("user", repair)]
        completion = await model.generate(again, sampling, work)
        answer = read(completion.text, reply)
    if isinstance(answer, str):
        fault(trace, op, answer)
        return None
    return answer


def read(text: str, reply: type[R]) -> R | str:
    """What a model's text says, or why it cannot be used.

    The first JSON object that fits counts, whatever stands around it.
    """
    problem = "it holds no JSON object"
    for value in _objects(_THINKING.sub("", text)):
        try:
            return reply.model_validate(valid_unicode(value))
        except ValidationError as error:
            first = error.errors()[0]
            problem = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        except RecursionError:
            problem = "it is nested too deeply"
    return problem


def _objects(text: str) -> list[Any]:
    """The JSON objects in a text, outermost ones, in order."""
    found, position = [], text.find("{")
    for _ in range(_MAX_STARTS):
        if position < 0:
            break
        try:
            value, end = _DECODER.raw_decode(text, position)
            found.append(value)
        except (ValueError, RecursionError):
            end = position + 1
        position = text.find("{", end)
    return found


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse)
