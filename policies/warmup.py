"""The warm start: drills of a fresh model, then supervised fine-tuning.

Fine-tuning is logged, kept and stopped update by update; drills take minutes, and are done whole.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .checkpoints import State
from .demonstrations import Demonstration
from .drills import CURRICULUM, drill
from .learner import Learner
from .logs import DRILLS, SFT, Logs
from .session import Session, StoppedError, Trained, in_thread
from .sft import sft

_DRILLS_TOLD = 50  # updates between two lines
DRILLED = "drilled"  # the folder of a fresh model after its drills


async def drilled(session: Session, base: Path) -> Path | Trained:
    """Teach a fresh model to copy, where the recipe has drills; done once.

    Args:
        session: The training.
        base: The model.

    Returns:
        The folder of the model that comes of it, `base` itself without drills; or, where it was
        asked to stop, how far it came: drills begin anew.
    """
    recipe, target = session.recipe, session.directory / DRILLED
    if recipe.sft is None or recipe.sft.drills is None or target.is_dir():
        return target if target.is_dir() else base
    own, muon = recipe.sft.drills, recipe.sft.muon
    logs = Logs(session.directory, {DRILLS: 0}, "sft", 0, recipe)
    session.observer.says("drills: copying, then comparing, until they are learned")
    session.stop.busy = True
    try:
        learner = session.open("sft", base, base, None, 0)
        watch = _Drilled(session, logs)
        learned = await in_thread(lambda: drill(own, learner, recipe.seed, watch, muon))
        if not learned:
            session.observer.says(f"drills: not learned in {own.tokens} tokens; training goes on")
        session.publish(learner, State("sft", 0), target)
    except StoppedError:
        return Trained(
            session.directory, "sft", 0, watch.done, stopped=session.stop.reason, last_good=None
        )
    finally:
        session.stop.busy = False
        logs.close()
    return target


class _Drilled:
    """Looks at each update of the drills."""

    def __init__(self, session: Session, logs: Logs) -> None:
        self._session, self._logs, self.done = session, logs, 0
        self._clock = time.perf_counter()

    def __call__(self, update: int, numbers: dict[str, float]) -> None:
        """See `drill`."""
        now = time.perf_counter()
        line = {"step": update, **numbers, "seconds": {"update": round(now - self._clock, 3)}}
        self._clock, self.done = now, update
        self._logs.write(DRILLS, line)
        if not update % _DRILLS_TOLD:
            self._session.observer.says(
                f"drill {numbers['drill']:.0f} of {len(CURRICULUM)}, update {update}: "
                f"accuracy {numbers['accuracy']:.2f}"
            )
        if self._session.stop.reason is not None:
            raise StoppedError


async def warm_up(
    session: Session, base: Path, demonstrations: Sequence[Demonstration], target: Path
) -> Trained | None:
    """Fine-tune a model on demonstrations, or go on with that.

    Args:
        session: The training.
        base: The model.
        demonstrations: What it learns to say.
        target: The folder of the model that comes of it.

    Returns:
        None when it is done; else how far it came until it was asked to stop.
    """
    found = session.checkpoints.newest()
    state, path = found if found is not None else (State("sft", 0), None)
    logs = Logs(session.directory, state.logs, "sft", state.step, session.recipe)
    session.stop.busy = True
    try:
        learner = session.open("sft", base, base, path, state.step)
        watch = _Watch(session, learner, logs, state)
        await in_thread(
            lambda: sft(session.recipe, learner, demonstrations, watch, start=state.step)
        )
        session.publish(learner, watch.state, target)
    except StoppedError:
        last = session.checkpoints.newest()
        return Trained(
            session.directory, "sft", watch.state.step, watch.total, stopped=session.stop.reason,
            last_good=last[1] if last is not None else None,
        )  # fmt: skip
    finally:
        session.stop.busy = False
        logs.close()
    return None


class _Watch:
    """Looks at each update."""

    def __init__(self, session: Session, learner: Learner, logs: Logs, state: State) -> None:
        self._session, self._learner, self._logs, self.state = session, learner, logs, state
        self.total = -1
        self._clock: float | None = None  # the first update's time is not known: texts are read

    def __call__(self, update: int, total: int, numbers: dict[str, float]) -> None:
        """See `sft`."""
        session, now = self._session, time.perf_counter()
        if self.total != total:
            self.total = total
            session.observer.begins("sft", update - 1, total)
        seconds: dict[str, float] = {}
        if self._clock is not None:
            took = now - self._clock
            speed = round(numbers["tokens_computed"] / took, 1)
            seconds = {"update": round(took, 3), "tokens_per_second": speed}
        line = {"step": update, **numbers, "seconds": seconds}
        self._logs.write(SFT, line)
        session.observer.tells(SFT, line)
        trained = self.state.tokens + int(numbers["tokens"])
        self.state = replace(self.state, step=update, tokens=trained)
        asked = session.stop.reason is not None
        if update == total or asked or not update % session.recipe.checkpoints.sft_every:
            self.state = replace(self.state, logs=self._logs.sizes())
            if update < total:
                session.checkpoint(self._learner, self.state)
                if asked:
                    raise StoppedError
        self._clock = time.perf_counter()
