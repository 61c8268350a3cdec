"""What is told in the first stage about a task's environment: casual talk in a few messages."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from ...harness.types import Environment, Task
from .messages import dealt

N_MESSAGES = 3  # of exposure, at most
MAX_PAIRS = 20  # actions of an episode that are told, with what came of each
MAX_SEEN = 800  # characters of one observation that are told
_SAYERS = (
    "Somebody told me about a place that you may get to see one day. This is what it is like:",
    "I have a note here about a place that is new to both of us. It says:",
    "A friend described a place to me, and I would like to pass it on:",
)
_GO_ON = ("It goes on like this:", "And further:", "There is more of it:")
_PLAYED = (
    "Let me tell you about something that I did the other day.",
    "I had something to do last week, and I wrote down how it went.",
    "Here is how I spent an afternoon not long ago.",
)
_VISITED = (
    "I have been to a place that you may get to see one day. This is what I found.",
    "I had a look around a place where you may be before long. Here is what I saw.",
    "I took a walk in a place that you may come to, and wrote down what I saw.",
)


@dataclass(frozen=True, slots=True)
class Told:
    """A played episode, as far as it is told.

    Attributes:
        first: the first observation.
        goal: what was to be done.
        pairs: actions, each with its observation.
        success: whether the goal was reached with the last of them.
    """

    first: str
    goal: str
    pairs: tuple[tuple[str, str], ...]
    success: bool


def describe(text: str, key: str) -> tuple[str, ...]:
    """The description of an environment, told in `n_described` messages.

    Args:
        text: of the instructions.
        key: the task's id, which fixes the words around it.
    """
    rng = Random(f"three-stage description {key}")
    told = dealt(_lines(text), N_MESSAGES, "\n")
    leads = [rng.choice(_SAYERS), *rng.sample(_GO_ON, len(told) - 1)]
    return tuple(f"{lead}\n\n{part}" for lead, part in zip(leads, told, strict=True))


def n_described(text: str) -> int:
    """In how many messages a description is told."""
    return min(N_MESSAGES, len(_lines(text)))


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def play(env: Environment, task: Task, seed: int, *, whole: bool) -> Told:
    """Let the environment's last expert play a task, and note what it reads.

    The last expert is the one that knows only what it was told, in every environment here. It is
    stopped after `MAX_PAIRS` actions.

    Args:
        env: reset here; its episode is lost.
        task: what is played.
        seed: of the episode.
        whole: tell it all. Otherwise it ends before the first action that brings the goal nearer:
            what there is to see is told, and not what to do.
    """
    first = env.reset(task, seed)
    pairs: list[tuple[str, str]] = []
    best, success = 0.0, False
    while len(pairs) < MAX_PAIRS:
        action = env.expert_action(env.spec.experts[-1])
        if action is None:
            break
        result = env.step(action)
        over = result.terminated or result.truncated
        if not whole and (over or result.reward or (result.progress or 0.0) > best):
            break
        best = max(best, result.progress or 0.0)
        pairs.append((action, result.observation))
        success = bool(result.success)
        if over:
            break
    return Told(first.text, first.goal, tuple(pairs), success)


def retell(told: Told, key: str, *, whole: bool) -> tuple[str, ...]:
    """An episode in exactly `N_MESSAGES` messages.

    Args:
        told: what was played.
        key: the task's id, which fixes the words around it.
        whole: whether what was to be done, and how it ended, is told too.
    """
    rng = Random(f"three-stage episode {key}")
    greeting = rng.choice(_PLAYED if whole else _VISITED)
    aim = f" This is what I was to do: {told.goal}" if whole else ""
    parts = [greeting + aim, f"At first I read:\n{_short(told.first)}"]
    parts += [f"I wrote: {action}\nI read: {_short(seen)}" for action, seen in told.pairs]
    ending = "That did it." if told.success else "There I left it."
    parts.append(ending if whole else "That is as far as I got.")
    return dealt(parts, N_MESSAGES, "\n\n")


def _short(text: str) -> str:
    return text if len(text) <= MAX_SEEN else f"{text[:MAX_SEEN].rstrip()}…"
