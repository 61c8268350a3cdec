"""Drills: before a model made from nothing reads demonstrations, it learns to copy.

Of random tokens only the circuit that finds an earlier occurrence and goes on as that did foretells
anything (induction heads: Olsson et al., arXiv 2209.11895). In demonstrations it pays late, since
most of their tokens are foretold without it, and a small model trained on them alone names things
that do not stand in its prompt. A curriculum lets it form within minutes: few symbols in short
texts first, where chance finds it soon, then the whole vocabulary, then spans from anywhere, and
those of few symbols, where one token stands in many places, then two together do, and only several
tell which. Last it learns to compare (`comparisons`), which copying is not enough for. What is no
longer asked is forgotten within a few hundred updates, so the drills before are rehearsed in the
later ones and, where the recipe keeps them, beside the demonstrations.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from .comparisons import comparisons
from .learner import Learner
from .task_recipe import DrillRecipe
from .trajectory import Step

Watch = Callable[[int, dict[str, float]], None]  # updates done, and numbers

_MAX_GRAD_NORM = 1.0
_WARMUP = 20  # updates
_LOOK = 5  # updates between two looks at how well it copies
_FORWARD = {"cpu": 2048}  # tokens of a forward
_FORWARD_ELSEWHERE = 16_384


@dataclass(frozen=True, slots=True)
class Drill:
    """A kind of exercise.

    Attributes:
        symbols: Tokens that occur in it; 0: all of the vocabulary.
        least: Tokens of the shortest stretch that is copied.
        most: Of the longest one.
        length: Tokens of a text. Where it is 0, a text is one stretch, twice; else it begins with
            as many random tokens as fill half of it, and stretches from anywhere before follow.
        enough: Chance, over the tokens that can be known, at which the next drill begins.
        given: Tokens of a stretch after which the rest of it can be known: those that tell it from
            others. One of few symbols stands in many places.
    """

    symbols: int
    least: int
    most: int
    length: int
    enough: float
    given: int = 1


@dataclass(frozen=True, slots=True)
class Comparing:
    """Exercises in comparing; see `comparisons`.

    Attributes:
        length: Tokens of a text.
        enough: As of a drill.
    """

    length: int
    enough: float


CURRICULUM: tuple[Drill | Comparing, ...] = (
    Drill(64, 6, 16, 0, 0.9),
    Drill(64, 8, 32, 0, 0.9),
    Drill(512, 8, 32, 0, 0.8),
    Drill(0, 8, 32, 0, 0.8),
    Drill(0, 3, 12, 128, 0.8),
    Drill(0, 3, 12, 512, 0.8),
    Drill(48, 8, 24, 256, 0.8, given=2),
    Drill(12, 8, 24, 384, 0.75, given=3),
    Comparing(256, 0.9),
)


def drill(
    recipe: DrillRecipe, learner: Learner, seed: int, watch: Watch, muon: float = 0.0
) -> bool:
    """Train a model to copy, and to compare.

    Args:
        recipe: How much at most, and how fast.
        learner: Whose weights are changed; with a new optimizer.
        seed: Of the texts.
        watch: Told of each update: the numbers of `Learner.sft_update`, `drill` (its number in the
            curriculum, from 1) and `accuracy`: when last looked at, before an update, the mean
            chance of the tokens that can be known.
        muon: See `Learner.sft_update`.

    Returns:
        Whether the whole curriculum was learned, before `recipe.tokens` were used up.
    """
    draws = random.Random(f"drills {seed}")
    forward = _FORWARD.get(learner.loaded.model.device.type, _FORWARD_ELSEWHERE)
    symbols = _symbols(learner, draws)
    done = spent = 0
    for number, one in enumerate(CURRICULUM, 1):
        chance = 0.0
        again = round(recipe.batch_tokens * recipe.rehearsed) if number > 1 else 0
        while chance < one.enough:
            if spent >= recipe.tokens:
                return False
            steps = list(_texts(one, learner, symbols, recipe.batch_tokens - again, draws))
            if done % _LOOK == 0:
                chance = _chance(learner, steps, forward)
            steps += _mixed(CURRICULUM[: number - 1], learner, symbols, again, draws)
            rate = recipe.learning_rate * min(1.0, (done + 1) / _WARMUP)
            numbers = learner.sft_update(
                steps, rate, _MAX_GRAD_NORM, muon=muon, batch_tokens=forward
            )
            done, spent = done + 1, spent + sum(step.length for step in steps)
            watch(done, {**numbers, "drill": number, "accuracy": chance})
    return True


def rehearsal(learner: Learner, tokens: int, draws: random.Random) -> list[Step]:
    """Exercises of all drills together, of other symbols each time.

    Args:
        learner: Whose tokens they are of.
        tokens: Of all, at least.
        draws: Say the rest.
    """
    return _mixed(CURRICULUM, learner, _symbols(learner, draws), tokens, draws)


def _mixed(
    drills: Sequence[Drill | Comparing],
    learner: Learner,
    symbols: list[int],
    tokens: int,
    draws: random.Random,
) -> list[Step]:
    """Texts of so many tokens together, as many to copy as to compare where there are both."""
    kinds = [
        some
        for kind in (Drill, Comparing)
        if (some := [one for one in drills if isinstance(one, kind)])
    ]
    steps: list[Step] = []
    made = 0
    while made < tokens:
        one = draws.choice(draws.choice(kinds))
        text = next(_texts(one, learner, symbols, 1, draws))
        steps.append(text)
        made += text.length
    return steps


def _texts(
    one: Drill | Comparing, learner: Learner, symbols: list[int], tokens: int, draws: random.Random
) -> Iterator[Step]:
    if isinstance(one, Drill):
        return texts(one, symbols, tokens, draws)
    return comparisons(learner.loaded.tokenizer, one.length, tokens, draws)


def texts(one: Drill, symbols: list[int], tokens: int, draws: random.Random) -> Iterator[Step]:
    """Exercises of so many tokens together; trained is what can be known.

    Args:
        one: Of which kind.
        symbols: The vocabulary, shuffled.
        tokens: At least.
        draws: Say the rest.
    """
    few = symbols[: one.symbols or len(symbols)]
    made = 0
    while made < tokens:
        ids, known = _spans(one, few, draws) if one.length else _twice(one, few, draws)
        yield Step(tuple(ids[:1]), tuple(ids[1:]), None, tuple(known[1:]), 1)
        made += len(ids)


def _twice(one: Drill, symbols: list[int], draws: random.Random) -> tuple[list[int], list[bool]]:
    """A stretch of different tokens, and the same again; not known is where it begins again."""
    size = draws.randint(one.least, one.most)
    stretch = draws.sample(symbols, size)
    return stretch * 2, [False] * (size + 1) + [True] * (size - 1)


def _spans(one: Drill, symbols: list[int], draws: random.Random) -> tuple[list[int], list[bool]]:
    """Random tokens, then stretches of what came before, known after those that are given."""
    ids = draws.choices(symbols, k=one.length // 2)
    known = [False] * len(ids)
    while len(ids) < one.length:
        size = min(draws.randint(one.least, one.most), one.length - len(ids))
        start = draws.randrange(one.length // 2 - size)
        ids += ids[start : start + size]
        unknown = min(one.given, size)
        known += [False] * unknown + [True] * (size - unknown)
    return ids, known


def _symbols(learner: Learner, draws: random.Random) -> list[int]:
    """All tokens but those that end a message or pad, shuffled."""
    loaded = learner.loaded
    left_out = {*loaded.stop, *loaded.tokenizer.all_special_ids}
    symbols = [id_ for id_ in range(len(loaded.tokenizer)) if id_ not in left_out]
    draws.shuffle(symbols)
    return symbols


def _chance(learner: Learner, steps: list[Step], forward: int) -> float:
    """The mean chance of what can be known."""
    found = learner.logprobs(steps, batch_tokens=forward).exp().tolist()
    known = [kept for step in steps for kept in step.mask]
    chances = [chance for chance, kept in zip(found, known, strict=True) if kept]
    return math.fsum(chances) / len(chances)
