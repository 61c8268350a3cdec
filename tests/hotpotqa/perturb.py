"""Predictions made wrong in many ways, fixed by a question and a seed."""

from __future__ import annotations

import random
from typing import Any

Prediction = tuple[str, list[list[Any]]]  # an answer and cited facts
_MARKS = ".,;:!?\"'()-/&*"
KINDS = 12  # seeds 0 to 11 each do something else to the answer; further ones, several things


def perturbed(record: dict[str, Any], seed: int) -> Prediction:
    """A prediction for an official record."""
    rng = random.Random(f"{record['_id']} {seed}")
    answer = record["answer"]
    kinds = [seed] if seed < KINDS else rng.sample(range(KINDS), 3)
    for kind in kinds:
        answer = _answer(rng, answer, kind, record)
    return answer, _facts(rng, record)


def _answer(rng: random.Random, answer: str, kind: int, record: dict[str, Any]) -> str:
    words = answer.split()
    sentences = [s for _, texts in record["context"] for s in texts if s.strip()]
    if kind == 0:
        return answer
    if kind == 1:
        return rng.choice([answer.upper(), answer.lower(), answer.title(), answer.swapcase()])
    if kind == 2:
        return f"{rng.choice(['a', 'an', 'the', 'The', 'A'])} {answer}"
    if kind == 3:
        at = rng.randint(0, len(answer))
        return answer[:at] + rng.choice(_MARKS) + answer[at:] + rng.choice(_MARKS)
    if kind == 4:
        return " ".join(words[: rng.randint(0, len(words))])
    if kind == 5:
        return " ".join(words[rng.randint(0, max(0, len(words) - 1)) :])
    if kind == 6:
        return {"yes": "no", "no": "yes"}.get(answer, rng.choice(["yes", "no", "noanswer"]))
    if kind == 7:
        return f"{answer} {rng.choice(rng.choice(sentences).split())}"
    if kind == 8:
        return rng.choice(sentences)
    if kind == 9:
        return "  ".join(rng.sample(words, len(words))) + "\u00a0\n"
    if kind == 10:
        return rng.choice(["", "the", "a-the", "...", "yes yes", "no answer", "NoAnswer."])
    return f"{answer} {answer}"


def _facts(rng: random.Random, record: dict[str, Any]) -> list[list[Any]]:
    facts = [list(fact) for fact in record["supporting_facts"]]
    every = [[t, i] for t, texts in record["context"] for i in range(len(texts))]
    kind = rng.randrange(8)
    if kind == 1:
        return rng.sample(facts, rng.randint(0, len(facts)))
    if kind == 2:
        return facts + rng.sample(every, min(len(every), rng.randint(1, 4)))
    if kind == 3:
        return rng.sample(every, min(len(every), 3))
    if kind == 4:
        return [[title, index + 1] for title, index in facts]
    if kind == 5:
        return [[title.lower(), index] for title, index in facts]
    if kind == 6:
        return facts + facts + [["no such title", -1]]
    if kind == 7:
        return []
    return facts
