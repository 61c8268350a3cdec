"""Mistakes made on purpose: what follows on them is an example, they themselves are none.

Who learns from faultless play alone has never seen where its own first mistake leads, and fails
from there on. So some actions are replaced by wrong ones, and the teacher goes on from what comes
of them (noise in the demonstrator's place: Laskey et al., DART, arXiv 1703.09327). The thought is
that of the wrong action: a policy errs in its thoughts, and its actions follow them.
"""

from __future__ import annotations

import random
import re

from ...envs.alfworld.scenes import ROOMS
from ...harness.models import ModelBase
from ...harness.protocol import parse_text
from ...harness.types import Completion, EpisodeView, Request
from .lesson import OK
from .prompt import UNKNOWN, view
from .world import World

_PLACE = re.compile(r"go to ([a-z]+) \d+")  # of a house
_PLACES = sorted({kind.lower() for room in ROOMS.values() for kind in room.receptacles})
_NUMBER = re.compile(r"\d+(?!.*\d)")  # the last one
# Of the mistakes; the rest are other admissible actions.
_MISREAD, _AGAIN, _ABSENT = 0.25, 0.2, 0.2
_STUCK = 0.5  # how often the last action is done again, once it was
_OFF_BY = 4  # how far a number is misread, at most


class Slip(Completion):
    """A reply whose action is a mistake."""

    __slots__ = ()


class Slipping(ModelBase):
    """A teacher some of whose actions are wrong.

    Args:
        teacher: For one episode; what it says follows from the prompt alone, so also after a slip.
        rate: How often an action is wrong.
        draws: Say which, and how.
        episode: What is played.
    """

    def __init__(
        self, teacher: World, rate: float, draws: random.Random, episode: EpisodeView
    ) -> None:
        self.info = teacher.info
        self._teacher, self._rate, self._draws, self._episode = teacher, rate, draws, episode
        self._stuck = False  # whether the last reply did the action before it again

    async def generate(self, request: Request) -> Completion:
        """The teacher's reply, or a `Slip`."""
        reply = await self._teacher.generate(request)
        action = parse_text(reply.text).answer
        if reply.tool_calls or not action or action == OK:
            return reply
        if self._draws.random() >= (_STUCK if self._stuck else self._rate):
            self._stuck = False
            return reply
        admissible = await self._episode.env.valid_actions() or []
        wrong = self._wrong(action, request, [one for one in admissible if one != action])
        if wrong is None:
            return reply
        text = f"<think>{self._teacher.thought(wrong)}</think><answer>{wrong}</answer>"
        return Slip(text, reply.usage, finish=reply.finish)

    def _wrong(self, action: str, request: Request, others: list[str]) -> str | None:
        """Another action; None where there is none."""
        kind, seen = self._draws.random(), view(request.messages).seen
        before = seen[-1].head if seen else ""
        again = self._stuck or _MISREAD <= kind < _MISREAD + _AGAIN
        self._stuck = again and before not in ("", UNKNOWN, action)
        if self._stuck:
            return before  # whether it can be done again or not, as policies do
        number = _NUMBER.search(action)
        if kind < _MISREAD and number:
            read = str(int(number[0]) + self._draws.randint(1, _OFF_BY))
            return action[: number.start()] + read + action[number.end() :]
        if kind >= 1 - _ABSENT and _PLACE.fullmatch(action):  # what other rooms have
            there = {found[1] for one in others if (found := _PLACE.fullmatch(one))}
            return f"go to {self._draws.choice([p for p in _PLACES if p not in there])} 1"
        return self._draws.choice(others) if others else None
