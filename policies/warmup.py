"""The warm start: supervised fine-tuning, logged, kept and stopped update by update."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .checkpoints import State
from .demonstrations import Demonstration
from .learner import Learner
from .logs import SFT, Logs
from .session import Session, StoppedError, Trained, in_thread
from .sft import sft


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
