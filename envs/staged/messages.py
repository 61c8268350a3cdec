"""What is told before a task: messages, one by one, each answered with a word.

The context is reset after the exposure; what a memory keeps stays. The agent is not told that
there are stages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...harness.errors import DataError
from ...harness.types import Task
from ..common import readable

MAX_REPLY = 100_000  # characters of an answer to what is told, which need not be short
OK = "ok"
GOAL = (
    "keep in mind what you are told, since there may be a question about it later; "
    "answer each message in a word, such as ok, to hear the next"
)
# Of the instructions: what there is to hear, and how to hear it.
LISTENING = """\
one message at a time. Anything in it may matter later, and nothing says \
what will. Earlier messages can disappear from your context, so keep what you may need.

Answer a message in a word, such as `ok`, to hear the next one."""


@dataclass(frozen=True, slots=True)
class Script:
    """What is said, message by message, before the task."""

    exposure: tuple[str, ...]
    small_talk: tuple[str, ...]  # with corrections of what was told, if there are any


@dataclass(frozen=True, slots=True)
class Heard:
    """What follows an answer to a message.

    Attributes:
        note: stands before what is said next; empty unless the answer could not be read.
        message: the next message; None where all have been said.
        anew: whether the context begins anew with it.
        valid: whether the answer could be read.
    """

    note: str
    message: str | None
    anew: bool
    valid: bool


class Telling:
    """The messages of an episode.

    Attributes:
        first: what is said before any answer.
        over: whether all messages have been answered.
    """

    def __init__(self, script: Script) -> None:
        self._said = (*script.exposure, *script.small_talk)
        self._n_exposure = len(script.exposure)
        self._heard = 1  # messages so far
        self.first = self._said[0]
        self.over = False

    def answer(self, action: str) -> Heard:
        """Hear the next message; any answer moves on, one that cannot be read too."""
        anew = self._heard == self._n_exposure
        valid = readable(action, MAX_REPLY) is not None
        note = "" if valid else "That was no readable answer.\n\n"
        if self._heard == len(self._said):
            self.over = True
            return Heard(note, None, anew, valid)
        self._heard += 1
        return Heard(note, self._said[self._heard - 1], anew, valid)


def data_seed(task: Task) -> int:
    """The seed of a task's data: of small talk and corrections, not of an episode.

    Raises:
        DataError: it is not a whole number.
    """
    seed = task.data.get("seed", 0)
    if not isinstance(seed, int):
        raise DataError(f"{task.id}: the task's 'seed' is not a whole number")
    return seed


def dealt(parts: Sequence[str], count: int, joint: str) -> tuple[str, ...]:
    """Parts joined into so many messages of about the same length, in their order.

    As many messages as parts, where there are fewer parts than `count`.
    """
    messages: list[str] = []
    left = list(parts)
    for messages_left in range(min(count, len(parts)), 0, -1):
        share = sum(map(len, left)) / messages_left
        taken = [left.pop(0)]
        while len(left) >= messages_left and (
            messages_left == 1 or sum(map(len, taken)) + len(left[0]) / 2 <= share
        ):
            taken.append(left.pop(0))
        messages.append(joint.join(taken))
    return tuple(messages)
