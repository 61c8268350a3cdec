"""What an episode's trace says about what the agent had before it: its context, what it read."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from ..trace import Event
from . import texts

# Written by the agent or by its memory: what they invented is no evidence for itself.
_OWN = frozenset({"assistant", "tool_result", "memory", "summary", "message"})
_LOGICAL_TIME = re.compile(r"\b(?:step|turn)\s+\d+", re.IGNORECASE)
_BLANK_LINES = re.compile(r"\n\s*\n")
SHARE = 0.5  # of a sentence's content words that must have been read


def context_at_the_end(events: Sequence[Event]) -> list[str] | None:
    """The messages before the agent's last completion; None if it never completed one.

    The system prompt is left out: its worked example is no knowledge of the task.
    """
    last = max((at for at, e in enumerate(events) if e["type"] == "completion"), default=None)
    if last is None:
        return None
    shown: dict[str, str] = {}
    for event in events[:last]:
        if (event["type"] == "message" and event["kind"] != "system") or (
            event["type"] == "rewrite" and event["id"] in shown
        ):
            shown[event["id"]] = event["text"]
        elif event["type"] == "remove":
            for id_ in event["ids"]:
                shown.pop(id_, None)
    return list(shown.values())


def question_put(events: Sequence[Event], question: str) -> bool:
    """Whether the last goal that the agent was shown holds the question, but for blanks."""
    goals = [e["text"] for e in events if e["type"] == "message" and e["kind"] == "goal"]
    return bool(goals) and " ".join(question.split()) in " ".join(goals[-1].split())


def retrieved(events: Sequence[Event]) -> list[str] | None:
    """Contents retrieved since the last goal was put; None if nothing ever was by an event."""
    found = [e for e in events if _is_retrieval(e)]
    if not found:
        return None
    goals = (at for at, e in enumerate(events) if e["type"] == "message" and e["kind"] == "goal")
    since = max(goals, default=0)
    contents = [text for e in events[since:] if _is_retrieval(e) for text in e["contents"]]
    return list(dict.fromkeys(contents))


def unsupported(
    before: Mapping[str, str], after: Mapping[str, str], events: Sequence[Event]
) -> float | None:
    """Share of the sentences of new or changed entries that nothing in this episode supports.

    Supported means, word for word but for inflection, accents, demonyms and how numbers are
    written: every number of the sentence, every word of its names, and at least half of its words
    that carry meaning occur somewhere in what follows; things with a number (`mug 1`) have a
    number there that they had; and names and numbers hang together: one paragraph has two of them,
    another one of these and a third, and so on to the last, so that the year of one person given
    to another is noticed where each was read of by itself.

    - what the agent read: the prompt, goals, observations, error messages;
    - what it did: its actions, and what came of them;
    - what it knew: an entry's content before, and entries of before that were retrieved.

    Its thoughts, its tool calls and what its memory showed it are no support. Where the entries
    say `step 3` or `turn 4`, that is the harness's clock and is not looked for. A count that the
    agent made itself, or a conclusion with a number or a name of its own, counts as unsupported,
    and so does a comparison of two things that were never read of together. What is not seen:
    names and numbers of one paragraph that are mixed up, another verb between the same names, a
    `not` too much.

    Returns:
        None where no entry is new or changed, or none of them says anything.
    """
    changed = {id_: text for id_, text in after.items() if before.get(id_) != text}
    read = _read([*_read_or_done(events), *_remembered(before, events)])
    total = bad = 0
    for id_, content in changed.items():
        known = [*read, *_read([before[id_]])] if id_ in before else read
        places = [text.words for text in known]
        words = frozenset().union(*places)
        numbered: dict[str, set[str]] = {}
        for noun, numbers in (
            (n, numbers) for text in known for n, numbers in text.numbered.items()
        ):
            numbered.setdefault(noun, set()).update(numbers)
        for unit in texts.units(_LOGICAL_TIME.sub(" ", content)):
            if unit.said.content:
                total += 1
                exact = _exact(unit.said)
                sound = _supported(unit.said, exact, words, numbered)
                bad += not (sound and _hang_together(exact, places))
    return bad / total if total else None


def _exact(said: texts.Statement) -> list[frozenset[str]]:
    """What must have been read as it is: each number, each that is surely a name."""
    names = [name for name in said.names if not name <= said.unsure]
    return [*(frozenset({number}) for number in sorted(said.numbers)), *names]


def _supported(
    said: texts.Statement,
    exact: Iterable[frozenset[str]],
    words: Collection[str],
    numbered: Mapping[str, Collection[str]],
) -> bool:
    rest = said.content - said.numbers
    return (
        sum(word in words for word in rest) >= SHARE * len(rest)
        and all(word in words for one in exact for word in one)
        and all(numbers <= set(numbered.get(n, numbers)) for n, numbers in said.numbered.items())
    )


def _hang_together(exact: Sequence[frozenset[str]], places: Iterable[frozenset[str]]) -> bool:
    """Whether paragraphs link all names and numbers, each to some other."""
    found = [{n for n, one in enumerate(exact) if one <= place} for place in places]
    groups = [group for group in found if len(group) > 1]
    linked = {0} if exact else set()
    while more := [group for group in groups if group & linked and not group <= linked]:
        linked.update(*more)
    return len(linked) == len(exact)


def _read_or_done(events: Iterable[Event]) -> Iterable[str]:
    for event in events:
        if event["type"] == "message" and event["kind"] not in _OWN:
            yield event["text"]
        elif event["type"] == "action":
            yield event["action"]
            yield event.get("observation") or ""


def _remembered(before: Mapping[str, str], events: Iterable[Event]) -> Iterable[str]:
    ids = {id_ for e in events if e["type"] == "memory" for id_ in e.get("ids", ())}
    return [before[id_] for id_ in sorted(ids & before.keys())]


def _read(read: Iterable[str]) -> list[texts.Statement]:
    paragraphs = (part for text in read for part in _BLANK_LINES.split(text) if part.strip())
    return [texts.statement(part) for part in dict.fromkeys(paragraphs)]


def _is_retrieval(event: Event) -> bool:
    return event["type"] == "memory" and event["op"] == "retrieve" and "contents" in event
