"""Exercises in comparing, in the words in which the teacher compares two things.

A demonstration compares once, in one token of a thousand: which of two digits is larger, or whether
two names are the same. So little teaches it late. Here a token of thirty does.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from ..envs.hotpotqa.generator import COUNTS, SIZES
from ..envs.hotpotqa.names import N_WORDS, PER_QUESTION, Names
from .teacher.reading import compared
from .trajectory import Step

_FORMS = ("same", "most", "least")
_YEARS = range(1500, 2025)
_NAMES = range(sum(SIZES.values()), N_WORDS // PER_QUESTION)  # of no question of any split


def comparisons(tokenizer: Any, length: int, tokens: int, draws: random.Random) -> Iterator[Step]:
    """Texts of exercises, so many tokens together; trained is the token that decides each.

    Args:
        tokenizer: The model's, of transformers; one that tells offsets.
        length: Tokens of a text, at least.
        tokens: Of all, at least.
        draws: Say the rest.
    """
    made = 0
    while made < tokens:
        ids: list[int] = []
        known: list[bool] = []
        while len(ids) < length:
            said, at = _exercise(draws)
            read = tokenizer(said, add_special_tokens=False, return_offsets_mapping=True)
            ids += read["input_ids"]
            known += [start <= at < end for start, end in read["offset_mapping"]]
        yield Step(tuple(ids[:1]), tuple(ids[1:]), None, tuple(known[1:]), 1)
        made += len(ids)


def _exercise(draws: random.Random) -> tuple[str, int]:
    """A comparison, and the place of the character that decides it."""
    form = draws.choice(_FORMS)
    names = Names(draws.choice(_NAMES), training=True, rng=draws)
    things = _name(names, draws), _name(names, draws)
    if form == "same":
        value = _name(names, draws)
        values = value, value if draws.random() < 0.5 else _name(names, draws)
    else:
        years = draws.random() < 0.5
        one, other = draws.sample(_YEARS if years else COUNTS, 2)
        values = (str(one), str(other)) if years else (f"{one:,}", f"{other:,}")
    said, answer = compared(form, things, values)
    if form == "same":
        return f"{said} Answer: {answer}. ", len(said) + len(" Answer: ")
    chosen = values[things.index(answer)]
    start = said.rindex(f"So {chosen}") + len("So ")
    left = values[1 - things.index(answer)]
    differs = next((i for i, (a, b) in enumerate(zip(chosen, left, strict=False)) if a != b), 0)
    return f"{said} ", start + differs


def _name(names: Names, draws: random.Random) -> str:
    return names.person(draws.choice("fm")) if draws.random() < 0.5 else names.word()
