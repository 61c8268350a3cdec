"""An LLM as judge of answers and of memories, after AgeMem's J and MQ (arXiv 2601.01885).

Its prompts, how it is asked, how its reply is read, and what is kept of it:

- The judged texts are quoted as JSON strings on one line each, with `<`, `>` and what may be read
  as a control token escaped, so that nothing in them can end the quotation.
- A reply must be one number from 0 to 1: as `{"score": x}`, alone, or as a last line, perhaps
  after `score:` and within quotes or emphasis, with no other such line before it. What is off by
  rounding is clipped; `8`, `85%` and `10/10` are of another scale and refused, not guessed at. An
  unreadable reply is asked for once more; then there is no score, and a `judge_fault` event.
- It always asks; that a reply is kept and not asked for again is the model's own affair (see
  `models.cache`), so that a score is booked the same whoever was judged before.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..ledger import Role
from ..trace import Trace
from ..types import ChatMessage, Sampling
from .rubrics import AGAIN, ANSWER, MEMORY

if TYPE_CHECKING:
    from ..metering import MeteredModel

MAX_TOKENS = 2048  # a judge may think before it writes its number
MAX_ENTRY_CHARS = 4000  # of an entry as the judge is shown it
MAX_REPLY_CHARS = 50_000
TOLERANCE = 0.02  # beyond 0 or 1 that counts as rounding
_SAMPLING = Sampling(max_tokens=MAX_TOKENS, temperature=0.0)
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)", re.ASCII)
_MARKS = r"[*_`\"'“”‘’\s]*"
_SAYS = re.compile(rf"{_MARKS}(?:final |my |overall )?score{_MARKS}[:=]", re.IGNORECASE)
_LINE = re.compile(
    rf"(?:{_SAYS.pattern})?{_MARKS}({_NUMBER.pattern}){_MARKS}\.?{_MARKS}",
    re.ASCII | re.IGNORECASE,
)
MAX_LINE_CHARS = 100  # of a line that may be a score
_THOUGHT = re.compile(r"<(think|thinking|reasoning)>.*?</\1>", re.DOTALL | re.IGNORECASE)
_UNCLOSED = re.compile(r"</?(?:think|thinking|reasoning)>", re.IGNORECASE)
_FENCE = re.compile(r"```(?:json|text)?\s*\n?(.*?)\n?\s*```", re.DOTALL)
# What chat templates and parsers give a meaning to; and what ends a line for some of them.
_ESCAPED = re.compile("[<>\x7f-\x9f\u2028\u2029\ud800-\udfff]|\\[(?=/?[A-Z_]+\\])")


class ReplyError(ValueError):
    """Why a reply cannot be read as a score."""


class Judge:
    """Scores from 0 to 1 by a model at temperature 0.

    Args:
        model: Booked under the role `judge`.
        trace: Receives a `judge` event for each score and a `judge_fault` for what failed.
    """

    def __init__(self, model: MeteredModel, trace: Trace | None = None) -> None:
        self._model = model.as_role(Role.JUDGE)
        self._trace = trace if trace is not None else Trace()

    async def answer(self, question: str, gold: str, given: str) -> float | None:
        """J: how far an answer says what the gold answer says; a blank one is 0, without a call.

        Raises:
            ModelError: when the endpoint failed for good.
        """
        if not given.strip():
            return 0.0
        quoted = {"QUESTION": question, "CORRECT ANSWER": gold, "GIVEN ANSWER": given}
        return await self._score("answer", ANSWER, quoted)

    async def memory(
        self, question: str, facts: Sequence[str], entries: Sequence[str]
    ) -> float | None:
        """MQ: how far entries hold the facts that a question needs; none is 0, without a call.

        Raises:
            ModelError: when the endpoint failed for good.
        """
        if not any(entry.strip() for entry in entries):
            return 0.0
        quoted = {"QUESTION": question}
        quoted |= {f"FACT {number}": fact for number, fact in enumerate(facts, 1)}
        quoted |= {f"ENTRY {number}": _clip(text) for number, text in enumerate(entries, 1)}
        return await self._score("memory", MEMORY, quoted)

    async def _score(self, op: str, rubric: str, quoted: dict[str, str]) -> float | None:
        lines = [f"{name}: {quote(text)}" for name, text in quoted.items()]
        messages = [ChatMessage("system", rubric), ChatMessage("user", "\n".join(lines))]
        value = await self._ask(op, messages)
        self._trace.emit("judge", op=op, score=value)
        return value

    async def _ask(self, op: str, messages: list[ChatMessage]) -> float | None:
        problem = ""
        for _ in range(2):  # the reply, and one more after an unreadable one
            text = (await self._model.generate(messages, _SAMPLING)).text
            try:
                return read_score(text)
            except ReplyError as error:
                problem = str(error)
            retry = ChatMessage("user", AGAIN.format(problem=problem))
            messages = [*messages, ChatMessage("assistant", text[-2000:]), retry]
        self._trace.emit("judge_fault", op=op, problem=problem)
        return None


def quote(text: str) -> str:
    """A text as a JSON string that nothing in it can end, of one line, without control tokens."""
    quoted = json.dumps(text, ensure_ascii=False)
    return _ESCAPED.sub(lambda match: f"\\u{ord(match.group()):04x}", quoted)


def read_score(reply: str) -> float:
    """The score in a reply, from 0 to 1.

    Raises:
        ReplyError: for anything but one of the three forms.
    """
    if len(reply) > MAX_REPLY_CHARS:
        raise ReplyError("the reply is far too long")
    text = _THOUGHT.sub(" ", reply)
    if (last := list(_UNCLOSED.finditer(text))) and last[-1].group().startswith("</"):
        text = text[last[-1].end() :]  # templates that open the thought in the prompt
    elif last:
        raise ReplyError("the reply ends within its thoughts")
    text = text.strip()
    fenced = _FENCE.fullmatch(text)
    text = fenced[1].strip() if fenced else text
    if not text:
        raise ReplyError("the reply is empty")
    return _in_range(_from_json(text) if text.startswith("{") else _from_lines(text))


def _from_json(text: str) -> float:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) < len(pairs):
            raise ReplyError("a key stands twice in the JSON")
        return dict(pairs)

    try:
        value = json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        if isinstance(error, ReplyError):
            raise
        raise ReplyError("the JSON cannot be read") from error
    found = value.get("score") if isinstance(value, dict) else None
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise ReplyError('the JSON has no number as "score"')
    try:
        return float(found)
    except OverflowError as error:
        raise ReplyError("the score is no number from 0 to 1") from error


def _from_lines(text: str) -> float:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    short = [line for line in lines if len(line) <= MAX_LINE_CHARS]
    if sum(bool(_SAYS.match(line) or _LINE.fullmatch(line)) for line in short) > 1:
        raise ReplyError("there is more than one score")
    last = _LINE.fullmatch(lines[-1]) if lines[-1] in short else None
    if last is None or len(last[1]) > 32:
        raise ReplyError("the last line is not one number")
    return float(last[1])


def _in_range(value: float) -> float:
    if not math.isfinite(value) or not -TOLERANCE <= value <= 1 + TOLERANCE:
        raise ReplyError("the score is no number from 0 to 1")
    return min(1.0, max(0.0, value)) + 0.0  # + 0.0 makes -0.0 a plain zero


def _clip(text: str) -> str:
    if len(text) <= MAX_ENTRY_CHARS:
        return text
    return f"{text[:MAX_ENTRY_CHARS]} [cut: {len(text) - MAX_ENTRY_CHARS} more characters]"
