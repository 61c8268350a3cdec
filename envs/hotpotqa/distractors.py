"""Distractor messages: natural small talk that shares no content word with a question.

They are made once per task, from its id and a seed, so every rollout of a task sees the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from itertools import islice
from random import Random
from string import Formatter

from ...harness.errors import DataError
from .irregular import forms
from .smalltalk import FILLERS, TOPICS
from .text import STOP_WORDS, content_stems, stem, words

VERSION = "1"  # changes whenever the bytes of any message do
MAX_DISTRACTORS = 50
_TRIES = 20  # at a text that has not been said yet, before a topic is passed over


def distractors(key: str, seed: int, count: int, avoid: Iterable[str]) -> list[str]:
    """Different off-topic messages.

    Args:
        key: the task's id; with the seed it fixes the messages.
        seed: of the task's data, not of an episode.
        count: how many.
        avoid: texts with which no message shares a content word, whatever its ending: the
            question, the answer, the titles of the supporting facts.

    Raises:
        DataError: so much is to be avoided that too little can be said.
    """
    rng = Random(f"hotpotqa distractors {VERSION} {key} {seed}")
    banned = frozenset(found for text in avoid for found in _every_form(text))
    messages = list(islice(_messages(rng, banned), count))
    if len(messages) < count:
        raise DataError(f"{key}: no {count} distractor messages avoid the words of the question")
    return messages


def _every_form(text: str) -> Iterator[str]:
    """The stems of a text's content words, and of the other forms these words have."""
    for word in words(text):
        if word not in STOP_WORDS:
            # `goes` of `going`: a form may also have lost an ending before it is looked up.
            for form in {*forms(word), *forms(stem(word)), *forms(stem(word) + "e")}:
                yield stem(form)


def _messages(rng: Random, banned: frozenset[str]) -> Iterator[str]:
    """Messages on topics in turn, in a random order, until none finds anything new to say."""
    said: set[str] = set()
    order = rng.sample(range(len(TOPICS)), len(TOPICS))
    while order:
        for number in tuple(order):
            texts = (_message(rng, number, banned) for _ in range(_TRIES))
            text = next((t for t in texts if t is not None and t not in said), None)
            if text is None:
                order.remove(number)
            else:
                said.add(text)
                yield text


def _message(rng: Random, number: int, banned: frozenset[str]) -> str | None:
    topic = TOPICS[number]
    openings, remarks, closings = (
        [template for template in templates if _allowed(template, banned)]
        for templates in (topic.openings, topic.remarks, topic.closings)
    )
    if not openings or len(remarks) < 2:
        return None
    chosen = [rng.choice(openings), *rng.sample(remarks, rng.randint(2, min(3, len(remarks))))]
    if closings:
        chosen.append(rng.choice(closings))
    fillers = {  # one of each kind a message, so that its sentences agree
        slot: rng.choice([f for f in FILLERS[slot] if banned.isdisjoint(content_stems(f))])
        for slot in sorted({slot for template in chosen for slot in _parts(template)[1]})
    }
    return " ".join(template.format(**fillers) for template in chosen)


def _allowed(template: str, banned: frozenset[str]) -> bool:
    stems, slots = _parts(template)
    return banned.isdisjoint(stems) and all(
        any(banned.isdisjoint(content_stems(filler)) for filler in FILLERS[slot]) for slot in slots
    )


@cache
def _parts(template: str) -> tuple[frozenset[str], tuple[str, ...]]:
    """The content stems of a template's own words, and the slots to fill."""
    pieces = list(Formatter().parse(template))
    own = " ".join(literal for literal, _, _, _ in pieces)
    return frozenset(content_stems(own)), tuple(slot for _, slot, _, _ in pieces if slot)
