"""The agent's output: `<think>…</think>` and then one of `<tool_call>…` or `<answer>…`.

The format is the one of AgeMem (arXiv 2601.01885, prompt of the agent). Native function calling is
the second transport: calls come as structured data, and the answer as text. Parsing is tolerant:
what can be understood is used, and everything that was not as it should be is named in
`problems`, counted, and told to the model.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

from .tools import ToolCall
from .types import Completion

_TAG = re.compile(r"<(/?)(think|tool_call|tool_calls|answer)>", re.IGNORECASE)
_THINK = re.compile(r"</?think>", re.IGNORECASE)
_FENCE = re.compile(r"^\s*```[a-zA-Z]*\s*|\s*```\s*$")
_DEEPEST = 64  # levels of a call's arguments; much of what handles them later is recursive


@dataclass(frozen=True, slots=True)
class ParsedTurn:
    """What one output says: thought, then calls or an answer (both empty if unusable)."""

    think: str = ""
    calls: tuple[ToolCall, ...] = ()
    answer: str | None = None
    problems: tuple[str, ...] = ()  # each one line, written for the model

    @property
    def usable(self) -> bool:
        """Whether there is something to carry out."""
        return bool(self.calls) or self.answer is not None


def parse_completion(completion: Completion, *, native: bool) -> ParsedTurn:
    """Read a completion of either transport.

    In the native transport text without any tag is taken as the answer, since models that call
    functions natively seldom write tags.
    """
    if not native:
        return parse_text(completion.text)
    tagged = parse_text(completion.text) if _TAG.search(completion.text) else None
    if completion.tool_calls:
        problems = completion.malformed
        if tagged is not None and tagged.answer is not None:
            problems += ("an answer beside tool calls was ignored: give one or the other",)
        think = tagged.think if tagged is not None else completion.text.strip()
        return ParsedTurn(think, completion.tool_calls, None, problems)
    if tagged is not None:
        return ParsedTurn(
            tagged.think, tagged.calls, tagged.answer, completion.malformed + tagged.problems
        )
    text = completion.text.strip()
    if text and not completion.malformed:
        return ParsedTurn(answer=text)
    return ParsedTurn(problems=completion.malformed or (_nothing(),))


def parse_text(text: str) -> ParsedTurn:
    """Read the tagged text of the prompt transport; never raises."""
    problems: list[str] = []
    think: list[str] = []
    parts: list[tuple[str, str]] = []  # ("tool_call" | "answer", body) in order
    for tag, body, closed in _blocks(text):
        if not closed:
            problems.append(f"<{tag}> was not closed with </{tag}>")
        if tag == "think":
            think.append(body.strip())
        else:
            parts.append((tag, body))
    thought = "\n".join(think)
    if not parts:
        return ParsedTurn(thought, problems=(*problems, _nothing()))
    kind = parts[0][0]
    if any(tag != kind for tag, _ in parts):
        problems.append(f"both a tool call and an answer: only the <{kind}> was used")
    bodies = [body for tag, body in parts if tag == kind]
    if kind == "answer":
        if len(bodies) > 1:
            problems.append("more than one <answer>: only the first was used")
        return ParsedTurn(thought, answer=bodies[0].strip(), problems=tuple(problems))
    calls: list[ToolCall] = []
    for body in bodies:
        calls += _calls(body, problems)
    return ParsedTurn(thought, tuple(calls), problems=tuple(problems))


def make_call(name: Any, arguments: Any, call_id: str = "") -> ToolCall | str:
    """A call from loosely typed parts, or a line that says why it is none."""
    if not isinstance(name, str) or not name.strip():
        return "a tool call has no name"
    if isinstance(arguments, str):
        try:
            arguments = _loads(arguments) if arguments.strip() else {}
        except ValueError as error:
            return f"the arguments of {name} are not JSON ({error})"
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, dict):
        return f"the arguments of {name} are not a JSON object"
    if unfit := _unfit(arguments):
        return f"the arguments of {name} {unfit}"
    return ToolCall(name.strip(), arguments, call_id)


def render_calls(calls: tuple[ToolCall, ...]) -> str:
    """The `<tool_call>` block for these calls."""
    body = [{"name": call.name, "arguments": call.arguments} for call in calls]
    return f"<tool_call>{json.dumps(body, ensure_ascii=False)}</tool_call>"


def _nothing() -> str:
    return "no <tool_call> and no <answer> in the output: end each turn with exactly one of them"


def _blocks(text: str) -> list[tuple[str, str, bool]]:
    """Top-level blocks as (tag, body, closed); a block ends at its closing tag.

    Without a closing tag it ends at the next opening tag of another kind, or at the end. Tags
    inside a closed `<think>` are thoughts about tools, not calls.
    """
    blocks: list[tuple[str, str, bool]] = []
    position = 0
    first = _THINK.search(text)
    if first is not None and first.group().startswith("</"):
        # A chat template that opens the thought itself: the output begins inside it.
        blocks.append(("think", text[: first.start()], True))
        position = first.end()
    while True:
        opening = _TAG.search(text, position)
        if opening is None:
            return blocks
        position = opening.end()
        if opening.group(1):  # a closing tag without its opening one says nothing
            continue
        tag = opening.group(2).lower()
        closing = re.compile(f"</{tag}>", re.IGNORECASE).search(text, position)
        stop = closing or _TAG.search(text, position)
        end = stop.start() if stop is not None else len(text)
        closed = closing is not None
        blocks.append((tag.removesuffix("s"), text[position:end], closed))
        position = end


def _calls(body: str, problems: list[str]) -> list[ToolCall]:
    """The calls of one `<tool_call>` body: an array, an object, or several objects in a row."""
    text = _FENCE.sub("", body.strip())
    if not text:
        problems.append("the <tool_call> is empty")
        return []
    items: list[Any] = []
    while text:
        try:
            value, end = _DECODER.raw_decode(text)
        except (ValueError, RecursionError) as error:
            what = "text after the JSON was ignored" if items else f"not valid JSON ({error})"
            problems.append(f"<tool_call>: {what}; write a JSON array of calls")
            break
        if not isinstance(value, list):
            problems.append("<tool_call>: a single object was accepted; write a JSON array")
        items += value if isinstance(value, list) else [value]
        text = text[end:].lstrip(" \t\r\n,;")
    calls = []
    for item in items:
        call = _call(item)
        if isinstance(call, ToolCall):
            calls.append(call)
        else:
            problems.append(f"<tool_call>: {call}")
    if not items and not problems:
        problems.append("the <tool_call> holds no call")
    return calls


def _call(item: Any) -> ToolCall | str:
    if not isinstance(item, dict):
        return 'each call must be an object {"name": …, "arguments": {…}}'
    inner = item.get("function")
    if isinstance(inner, dict):  # the native form, written out as text
        item = inner
    arguments = item.get("arguments", item.get("parameters", {}))
    return make_call(item.get("name"), arguments)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _unfit(arguments: Any) -> str | None:
    """What of some arguments no record could hold: depth, and numbers that JSON has not."""
    level = [arguments]
    for _ in range(_DEEPEST):
        if not level:
            return None
        if any(isinstance(value, float) and not math.isfinite(value) for value in level):
            return "hold a number that is too large"
        inner = (
            v.values() if isinstance(v, dict) else v for v in level if isinstance(v, dict | list)
        )
        level = [value for values in inner for value in values]
    return "are nested too deeply"


def _loads(text: str) -> Any:
    try:
        return _DECODER.decode(text.strip())
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
