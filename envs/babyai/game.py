"""One BabyAI game: minigrid's environment, played by actions in words."""

from __future__ import annotations

import contextlib
import hashlib
import io
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from .commands import Plan, Primitive, Refusal, plan, possible
from .progress import Progress
from .view import view_of

_SAYS = (  # by native action
    "turn left",
    "turn right",
    "move forward",
    "pick up the {}",
    "drop the {}",
    "toggle the {}",
    "stay",
)
OVER = "The game is over."


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an action did."""

    text: str
    valid: bool = True


class Game:
    """A level and a seed being played; never more than one mission long.

    Attributes:
        primitives: the native actions carried out so far.
        reward: the native reward, 0 until the mission is accomplished.
        success: the mission is accomplished: minigrid ended it with a reward above 0.
        terminated: minigrid ended the game, accomplished or failed.
        truncated: minigrid's own limit of native actions has been reached.
    """

    def __init__(self, level: str, seed: int) -> None:
        # pygame greets on standard output, and levels say there what they drew anew.
        with contextlib.redirect_stdout(io.StringIO()):
            import gymnasium
            import minigrid  # noqa: F401 - registers the levels

            made: Any = gymnasium.make(level, disable_env_checker=True)
            self.env: Any = made.unwrapped
            first, _ = self.env.reset(seed=seed)
        self.mission: str = self.env.mission
        self.view = view_of(first["image"].tobytes())
        self.primitives: list[Primitive] = []
        self.reward = 0.0
        self.success = self.terminated = self.truncated = False
        self._progress = Progress(self.env)

    def fingerprint(self) -> str:
        """A short hash of the mission, the building and where the agent stands."""
        env = self.env
        pose = [int(n) for n in (*env.agent_pos, env.agent_dir)]
        state = repr((self.mission, env.grid.encode().tolist(), pose))
        return hashlib.sha256(state.encode()).hexdigest()[:12]

    @property
    def progress(self) -> float:
        """See `progress`."""
        return self._progress.value

    @property
    def over(self) -> bool:
        """Nothing can be done any more."""
        return self.terminated or self.truncated

    def act(self, primitive: Primitive) -> None:
        """Carry out one native action."""
        seen, reward, self.terminated, self.truncated, _ = self.env.step(int(primitive))
        self.view = view_of(seen["image"].tobytes())
        self.primitives.append(primitive)
        self.reward = float(reward)
        self.success = self.terminated and self.reward > 0
        self._progress.update(primitive, success=self.success)

    def step(self, action: str) -> Outcome:
        """Carry out an action in words; a refused one changes nothing."""
        if self.over:
            return Outcome(OVER, valid=False)
        found = plan(action, self.view)
        if isinstance(found, Refusal):
            return Outcome(f"{found.reason} {self.view.text}", valid=False)
        return Outcome(f"{self._carry_out(found)} {self.view.text}")

    def possible(self) -> list[str]:
        """The actions that are possible now, sorted."""
        return [] if self.over else possible(self.view)

    def _carry_out(self, found: Plan) -> str:
        """Carry out a plan up to the end of the game; says what was done."""
        if len(found.primitives) == 1 and not found.may_stop:
            primitive = found.primitives[0]
            said = self._said(primitive)
            self.act(primitive)
            return f"You {said}.{self._end()}"
        done: list[str] = []
        blocked = ""
        for index, primitive in enumerate(found.primitives):
            last = index == len(found.primitives) - 1
            if last and found.may_stop and not self.view.front_is_walkable:
                blocked = " You stand in the doorway: the way beyond is blocked."
                break
            done.append(self._said(primitive))
            self.act(primitive)
            if self.over:
                break
        return f"You {_folded(done)}.{blocked}{self._end()}"

    def _said(self, primitive: Primitive) -> str:
        """What is about to be done."""
        says = _SAYS[primitive]
        if "{" not in says:
            return says
        front = self.view.front
        what = self.view.carried if primitive == Primitive.DROP else front.name if front else ""
        return says.format(what)

    def _end(self) -> str:
        if self.success:
            return " The mission is accomplished."
        if self.terminated:
            return " The mission has failed."
        return " The time is up." if self.truncated else ""


def _folded(done: list[str]) -> str:
    """`turn left, move forward 3 times` and so on."""
    if len(done) == 1:
        return done[0]
    runs = [(words, len(list(run))) for words, run in groupby(done)]
    said = [words if count == 1 else f"{words} {count} times" for words, count in runs]
    return ", ".join(said)
