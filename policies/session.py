"""What the phases of a training share: its plan, its checkpoints, who watches, and who stops it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import safetensors.torch

from .card import write_card
from .checkpoints import OPTIMIZER, Checkpoints, Phase, State, whole_folder
from .launched import Team
from .learner import Learner
from .logs import Line
from .preflight import Plan
from .rollout import Player
from .sampler import Sampler
from .team import TeamLearner, TeamPlayer

T = TypeVar("T")


class Stop:
    """Asks a training to end after the update under way."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self.busy = False  # whether there is an update to finish


class StoppedError(Exception):
    """The training was asked to end, and all that is done is on disk."""


class Observer(Protocol):
    """What shows a training."""

    def says(self, text: str) -> None:
        """Something in one line."""

    def begins(self, phase: Phase, done: int, total: int) -> None:
        """A phase begins, or goes on."""

    def plays(self, what: str, left: int, total: int) -> None:
        """So many of a round's episodes are still to be finished."""

    def tells(self, name: str, line: Line) -> None:
        """A line of a log was written."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What came of a training.

    Attributes:
        directory: Where it is.
        phase: The last one it was in.
        step: Updates done in that phase.
        total: Updates planned in that phase.
        final: The trained model; None where it is not finished.
        stopped: Why it ended early; None where it did not.
        collapsed: Whether that is for good.
        last_good: The newest checkpoint; None if there is none.
    """

    directory: Path
    phase: Phase
    step: int
    total: int
    final: Path | None = None
    stopped: str | None = None
    collapsed: bool = False
    last_good: Path | None = None


class Session:
    """One part of a training: from this process's start to its end.

    Args:
        plan: What is trained.
        stop: Asks it to end.
        observer: Shows it.
        team: The processes that carry it out.
    """

    def __init__(self, plan: Plan, stop: Stop, observer: Observer, team: Team) -> None:
        self.team = team
        self.plan, self.recipe, self.directory = plan, plan.recipe, plan.directory
        self.stop, self.observer = stop, observer
        self.checkpoints = Checkpoints(plan.directory, plan.recipe.checkpoints.keep)

    def open(self, phase: Phase, base: Path, start: Path, path: Path | None, done: int) -> Learner:
        """The learner at the beginning of a phase, or at a checkpoint of it.

        Args:
            phase: Which.
            base: The model before all training.
            start: The model at the phase's beginning, which the KL term holds to.
            path: The checkpoint; None: the beginning.
            done: Updates done.
        """
        recipe, now = self.recipe, path or start
        grpo = recipe.grpo if phase == "grpo" else None
        reference = start if grpo is not None and grpo.beta else None
        if recipe.model.lora is None:
            learner = TeamLearner.lead(
                self.team, recipe.model, now, recipe.seed, reference=reference
            )
        else:
            adapter = now if now != base else None
            learner = TeamLearner.lead(
                self.team, recipe.model, base, recipe.seed, adapter=adapter, reference=reference
            )
        if path is not None:
            learner.restore(path / OPTIMIZER)
        learner.updates = done
        return learner

    def player(self, sampler: Sampler, base: Path, scratch: Path) -> Player:
        """What plays with the policy; `base` and `scratch` are those of `make_sampler`."""
        runs_dir = self.directory.parent
        if self.team.size == 1:
            return Player(self.recipe, sampler, runs_dir)
        self.team.tell("play", str(base), str(scratch), str(runs_dir))
        return TeamPlayer(self.recipe, sampler, runs_dir, self.team)

    def checkpoint(self, learner: Learner, state: State, last_good: int | None = None) -> None:
        """Write a checkpoint, and remove what need not be kept; see `Checkpoints.prune`.

        Raises:
            DataError: if the disk refuses.
        """

        def save(folder: Path) -> None:
            self._save(learner, state, folder)
            moments = {name: value.contiguous() for name, value in learner.state().items()}
            safetensors.torch.save_file(moments, folder / OPTIMIZER)

        self.checkpoints.write(state, save)
        self.checkpoints.prune(state, last_good)

    def publish(self, learner: Learner, state: State, folder: Path) -> None:
        """Write a model for others to use.

        Raises:
            DataError: if the disk refuses.
        """
        with whole_folder(folder, f"the model {folder}") as new:
            self._save(learner, state, new)

    def _save(self, learner: Learner, state: State, folder: Path) -> None:
        learner.save(folder)
        write_card(folder, self.plan, state)


async def in_thread(work: Callable[[], T]) -> T:
    """Compute in a thread, so that signals are heard meanwhile.

    Its thread does not keep the process alive: where this is cancelled, nobody waits for it.
    """
    future: Future[T] = Future()

    def run() -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again where it is awaited
            future.set_exception(error)

    threading.Thread(target=run, name="learner", daemon=True).start()
    return await asyncio.wrap_future(future)
