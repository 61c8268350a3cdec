"""What the library mem0ai does during one `add`: told by its calls, and in `Request.work`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from ..harness.types import Json
from .mem0 import lost
from .mem0_prompts import Decisions, Facts
from .structured import Reply

R = TypeVar("R", bound=Reply)
Fault = tuple[str, str]  # what was skipped, as the faults of `mem0` are named, and why
_CHANGES = ("ADD", "UPDATE", "DELETE")


class Add:
    """One `add` of the library: told by its calls, in their order.

    Args:
        messages: What is added.
        date: When.
    """

    def __init__(self, messages: list[dict[str, str]], date: str) -> None:
        self._messages, self._date = messages, date
        self._replies: list[str] = []
        self._facts: list[str] = []
        self._candidates: dict[str, str] = {}  # text by id, in the library's order

    def searched(self, fact: str, found: Iterable[tuple[str, str]]) -> None:
        """The library looked for what resembles a fact."""
        self._facts.append(fact)
        for id_, text in found:
            self._candidates.setdefault(id_, text)

    def answered(self, text: str) -> None:
        """The model answered."""
        self._replies.append(text)

    def work(self) -> Json:
        """The request it makes now: the first is the extraction, the second the decision."""
        if not self._replies:
            messages = [dict(message) for message in self._messages]
            extract: Json = {"do": "extract_facts", "messages": messages, "date": self._date}
            return {**extract, "recent": [], "summary": ""}
        texts = enumerate(self._candidates.values())
        memories = [{"id": str(n), "text": text} for n, text in texts]
        return {"do": "decide", "facts": list(self._facts), "memories": memories}

    def faults(self, done: Sequence[Json], content: Callable[[str], str | None]) -> Iterator[Fault]:
        """What the model asked for in vain, and what was lost; the library only logs it.

        Args:
            done: What `add` returned: the operations that it carried out.
            content: What an entry says now; None if it is gone.
        """
        if self._replies:
            yield from self._not_extracted(self._replies[0])
        if len(self._replies) < 2:
            return
        decided = _read(self._replies[1], Decisions)
        if isinstance(decided, str):
            yield "decide", decided
            return
        problems = [self._problem(item) for item in decided.memory]
        yield from (problem for problem in problems if problem is not None)
        pairs = zip(decided.memory, problems, strict=True)
        sound = [item for item, problem in pairs if problem is None and item["event"] != "NONE"]
        for _ in range(len(sound) - len(done)):
            yield "unknown_id", "a change of what the same reply deletes"
        yield from self._lost(done, content)

    def _not_extracted(self, reply: str) -> Iterator[Fault]:
        """What the library passed over of the facts of a reply, or that it made nothing of it."""
        from mem0.memory.utils import normalize_facts

        facts = _read(reply, Facts)
        if not isinstance(facts, str):
            dropped = [item for item in facts.facts if not normalize_facts([item])]
            yield from (("fact", f"no fact: {item!r:.80}") for item in dropped)
        elif not self._facts:
            yield "extract_facts", facts

    def _problem(self, item: Any) -> Fault | None:
        """Why the library passes over an item of a decision."""
        if not isinstance(item, dict) or item.get("event") not in (*_CHANGES, "NONE"):
            return "event", f"no such event: {item!r:.80}"
        id_, text = item.get("id"), item.get("text")
        aimed = item["event"] in ("UPDATE", "DELETE")  # other events' ids are not looked at
        if not text or not isinstance(text, str) or (aimed and not isinstance(id_, str | None)):
            return "event", f"{item['event']} of {id_!r:.80} with the text {text!r:.80}"
        shown = {str(n) for n in range(len(self._candidates))}
        if aimed and id_ not in shown:
            return "unknown_id", f"{item['event']} of {id_!r:.80}"
        return None

    def _lost(self, done: Sequence[Json], content: Callable[[str], str | None]) -> Iterator[Fault]:
        """The facts that a deletion lost."""
        if not any(item["event"] == "DELETE" for item in done):
            return
        stored = [str(item["memory"]) for item in done if item["event"] != "DELETE"]
        now = {id_: content(id_) for id_ in self._candidates}
        left = [text for text in now.values() if text is not None]
        gone = [text for id_, text in self._candidates.items() if now[id_] is None]
        for fact in lost(self._facts, held=(*stored, *left), deleted=gone):
            yield "contradiction_lost", fact


def _read(text: str, form: type[R]) -> R | str:
    """A reply as the library reads it, or why it makes nothing of it.

    With the library's own functions: it is less patient than `structured.read`, and what only we
    could read is lost all the same.
    """
    from mem0.memory.utils import extract_json, remove_code_blocks

    try:
        try:
            value = json.loads(remove_code_blocks(text), strict=False)
        except json.JSONDecodeError:
            value = json.loads(extract_json(text), strict=False)
        return form.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except (ValueError, RecursionError) as error:
        return f"the library finds no JSON in it: {error}"
