"""What a way does next."""

from __future__ import annotations

from dataclasses import dataclass

from ....envs.pddl.words import Words


@dataclass(frozen=True, slots=True)
class Step:
    """The next step.

    Attributes:
        state: What is so, as far as it matters.
        why: What is done and for what.
        action: In the words of the environment; empty where the rules end.
    """

    state: str
    why: str
    action: str


class Telling:
    """Rules that say what they look at, one after the other, until one of them has a step."""

    def __init__(self, words: Words, state: str) -> None:
        self._forms, self._state = words.forms, state

    def _say(self, what: str) -> None:
        self._state += f" {what}"

    def _do(self, form: str, **args: str) -> Step:
        return Step(self._state, "", self._forms[form].format(**args))
