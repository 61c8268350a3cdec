"""Typed memories of a conversation: facts, what was done and came of it, what works."""

from __future__ import annotations

import re
from typing import Any

from ...harness.types import Json
from .decisions import decide, memories_of
from .facts import extract_facts
from .games import FAILURE, MOVES, SUCCESS
from .text import dict_of, key, lines, list_of, plain, sentences, text_of

MAX_CONTENT = 300  # characters of an episode
_DID = re.compile(
    r"^You (?:open|close|pick up (?!nothing)|put|clean|heat|cool|turn (?:on|off)|focus on|pour|mix"
    r"|move the|toggle|unlock)\b"
)
_REASON = re.compile(r"Nothing happens: ([^.]{5,200})")
_PLAIN = re.compile(r"^[a-z][^\n]{3,100}$")  # an action of a game, not “ok”


def manage(messages: Any, memories: Any, deletes: Any) -> Json:
    """What to insert, to change, and to remove where that is allowed."""
    insert: list[Json] = []
    patch: dict[str, Json] = {}
    remove: list[str] = []
    for decision in decide(extract_facts(messages), memories):
        if decision.event == "ADD":
            insert.append({"kind": "semantic", "content": decision.text})
        elif decision.id is None or decision.event == "NONE":
            continue
        elif decision.event == "UPDATE":
            patch[decision.id] = {"id": decision.id, "content": decision.text}
        elif deletes is True:
            remove.append(decision.id)
        else:
            patch[decision.id] = {"id": decision.id, "content": f"No longer: {decision.text}"}
    known = {memory.said.key for memory in memories_of(memories).items}
    for kind, content in _experience(messages):
        if key(content) not in known:
            known.add(key(content))
            insert.append({"kind": kind, "content": content})
    return {"insert": insert, "patch": list(patch.values()), "remove": sorted(remove)}


def _experience(messages: Any) -> list[tuple[str, str]]:
    """What was done and what came of it; what failed, and what solved a task."""
    found: list[tuple[str, str]] = []
    action = ""
    for item in list_of(messages):
        text = plain(text_of(dict_of(item).get("content"))).strip()
        if dict_of(item).get("role") == "assistant":
            action = text if _PLAIN.match(text) and " " in text else ""
        else:
            found += _learnt(action, text)
            action = ""
    return found


def _learnt(action: str, text: str) -> list[tuple[str, str]]:
    said = " ".join(line for line in lines(text[:2000]) if line)
    first = next(sentences(said), "")
    if FAILURE.search(said):
        reason = _REASON.search(said)
        if action:
            return [("procedural", f"“{action}” does not work: {first}"[:MAX_CONTENT])]
        return [("procedural", f"An action fails if {reason[1]}."[:MAX_CONTENT])] if reason else []
    learnt = []
    if MOVES.match(said) and not SUCCESS.search(said):
        return []  # what is seen after it is told by the facts
    if action:
        learnt.append(("episodic", f"After “{action}”: {said}"[:MAX_CONTENT]))
    elif _DID.match(said):
        learnt.append(("episodic", f"Done: {said}"[:MAX_CONTENT]))
    if SUCCESS.search(said):
        how = f"“{action}”" if action else first
        learnt.append(("procedural", f"The task was solved by: {how}"[:MAX_CONTENT]))
    return learnt
