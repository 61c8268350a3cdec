"""Asking a model for JSON: one call, one repair, and then the operation is skipped and counted."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from ..harness.metering import MeteredModel
from ..harness.trace import Trace
from ..harness.types import ChatMessage, Completion, Json, Sampling
from .store import valid_unicode

MAX_REPLY_TOKENS = 1024
_SHOWN = 2000  # characters of a bad reply that are shown to the model again
_MARK = re.compile(r"\{|\[\s*\{|</?think>")  # what matters outside of JSON
_MEANT = re.compile(r"(?:\[\s*)?(?:\{\s*)++(?:[\"']|\w+\s*:)")  # begins as JSON, not as {a word}
_SYNTAX = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[{}\[\]]', re.DOTALL)  # a string, or a bracket
_PROSE = re.compile(r"[{}\[\]]|</think>")
_BROKEN = None  # in the place of an object that was meant to be JSON


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
    answer = _answer(completion, reply)
    if isinstance(answer, str):
        said = completion.text[:_SHOWN] or "(nothing)"
        repair = f"That could not be used: {answer}. Answer again, with the JSON object alone."
        again = [*messages, ChatMessage("assistant", said), ChatMessage("user", repair)]
        completion = await model.generate(again, sampling, work)
        answer = _answer(completion, reply)
    if isinstance(answer, str):
        fault(trace, op, answer)
        return None
    return answer


def _answer(completion: Completion, reply: type[R]) -> R | str:
    answer = read(completion.text, reply)
    if isinstance(answer, str) and completion.finish == "length":
        return f"{answer}; it was cut off, having grown too long"
    return answer


def read(text: str, reply: type[R]) -> R | str:
    """What a model's text says, or why it cannot be used.

    Whatever stands around it, the last JSON object with a key of the form is the answer: models
    repeat the form before they fill it in. If it does not fit, or JSON that is broken or cut off
    follows it, there is no answer: what stands before may be no more than an example. Nothing is
    looked for inside an object, and texts are without the white space around them.
    """
    answer: R | str = "it holds no JSON object"
    for value in _values(text):
        if value is _BROKEN:
            answer = "its JSON is broken or cut off"
        elif not isinstance(value, dict):
            continue  # a list of objects; one of them is no answer
        elif value.keys() & reply.model_fields.keys():
            answer = _validated(value, reply)
        elif isinstance(answer, str):
            answer = f"its JSON object has no key {' or '.join(reply.model_fields)}"
    return answer


def _validated(value: Any, reply: type[R]) -> R | str:
    try:
        return reply.model_validate(_stripped(valid_unicode(value)))
    except ValidationError as error:
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except RecursionError:
        return "it is nested too deeply"


def _stripped(value: Any) -> Any:
    """JSON with its texts stripped as Python does it; pydantic leaves control characters."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, dict):
        return {key: _stripped(item) for key, item in value.items()}
    return [_stripped(item) for item in value] if isinstance(value, list) else value


def _values(text: str) -> list[Any]:
    """The outermost JSON objects, and lists of them, in a text without its thoughts, in order.

    What is in braces and no JSON is passed over as a whole, so that no part of a broken object
    is taken for a whole one; where it never closes, the rest of the text belongs to it. Thinking
    ends at the last `</think>` outside of JSON, whether or not it was opened.
    """
    found: list[Any] = []
    position = 0
    while mark := _MARK.search(text, position):
        start, position = mark.span()
        if mark[0] == "</think>":
            found.clear()
        elif mark[0] == "<think>":
            end = text.find("</think>", position)
            if end < 0:
                break
            position = end + len("</think>")
        else:
            meant = _MEANT.match(text, start) is not None
            position = _close(text, start, _SYNTAX if meant else _PROSE)
            if meant or position > len(text):
                found.append(_decoded(text[start:position]))
    return found


def _close(text: str, start: int, tokens: re.Pattern[str]) -> int:
    """Where the bracket at `start` is closed, or the thought ends; beyond the text if neither."""
    opening, closing = "{}" if text[start] == "{" else "[]"
    depth = 0
    for token in tokens.finditer(text, start):
        if token[0] == "</think>":
            return token.start()  # it was a stray brace of the thought
        depth += (token[0] == opening) - (token[0] == closing)
        if depth == 0:
            return token.end()
    return len(text) + 1


def _decoded(text: str) -> Any:
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError):
        return _BROKEN


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse)
