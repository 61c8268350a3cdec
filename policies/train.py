"""A training from its recipe to its last checkpoint; killed at any moment, it goes on the same way.

    base (given or fresh) -> demonstrations -> supervised fine-tuning -> step-wise GRPO -> final

Each phase opens the model from a folder, so that going on is the same as going through. What a
step plays is a function of the recipe's seed and the step's number alone.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import torch
import transformers

from ..harness.files import take_lock
from .apart import play_apart
from .checkpoints import (
    HEADER,
    Phase,
    check_header,
    disk,
    final_step,
    whole_folder,
    write_header,
)
from .demonstrations import Demonstration, demonstrations_of
from .demonstrations import files as demonstration_files
from .fresh import make_fresh
from .launched import launched_team
from .logs import BOARD, FILES
from .preflight import Plan, check_room
from .reinforce import Grpo
from .session import Observer, Session, Stop, Trained
from .team import END, check_team
from .warmup import DRILLED, drilled, warm_up


async def train(plan: Plan, stop: Stop, observer: Observer) -> Trained:
    """Carry out a training, or what is left of it.

    Args:
        plan: What `preflight` found to be in order.
        stop: Ends it early when asked to.
        observer: Is told how it goes.

    Raises:
        UsageError: if another process trains there, or has since `preflight` looked, or the model
            cannot be trained.
        DataError: for damaged files, or a disk that refuses.
        InfraError: if the rollouts of a whole step broke.
    """
    team = launched_team()
    check_team(plan.recipe, team)
    with disk(f"the training {plan.directory}"):
        plan.directory.mkdir(parents=True, exist_ok=True)
        lock = take_lock(plan.directory, f"the training {plan.directory.name}")
    try:
        if not check_header(plan.directory, plan.recipe, plan.data_hash):
            _clear(plan.directory, observer)
        write_header(plan.directory, plan.recipe, plan.data_hash)
        session = Session(plan, stop, observer, team)
        session.checkpoints.clean()
        transformers.utils.logging.disable_progress_bar()
        transformers.utils.logging.set_verbosity_error()  # e.g. of texts to be counted only
        if plan.recipe.model.threads is not None:
            torch.set_num_threads(plan.recipe.model.threads)
        trained = await _phases(session)
        team.tell(END)  # not after an error: the others may be in the middle of something
        return trained
    finally:
        os.close(lock)


def _clear(directory: Path, observer: Observer) -> None:
    """Remove what a start with another recipe left, which kept nothing of what it learned."""
    if (directory / HEADER).is_file():
        observer.says(f"an earlier start of {directory.name} learned nothing; begun anew")
    with disk(f"the training {directory}"):
        shown = [path.name for path in directory.glob("demonstrations*.jsonl")]
        for name in (*FILES, BOARD, *shown, "base", DRILLED, "scratch"):
            path = directory / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


async def _phases(session: Session) -> Trained:
    """Go through the phases that are left."""
    recipe, final = session.recipe, session.directory / "final"
    done = final_step(session.directory)
    if done is not None and (recipe.grpo is None or done >= recipe.grpo.steps):
        more = "; for more steps set grpo.steps" if recipe.grpo is not None else ""
        session.observer.says(f"{session.directory.name} is done already{more}")
        return _finished(session, final)
    base, tuned = await _base(session), session.directory / "sft"
    if recipe.sft is not None and not tuned.is_dir():
        begin = await drilled(session, base)
        if isinstance(begin, Trained):
            return begin
        texts = await _demonstrations(session)
        stopped = await warm_up(session, begin, texts, tuned)
        if stopped is not None:
            return stopped
    start = tuned if recipe.sft is not None else base
    if recipe.grpo is None:
        with whole_folder(final, f"the model {final}") as folder:
            shutil.copytree(start, folder, dirs_exist_ok=True)
        return _finished(session, final)
    return await Grpo(session, base, start).run()


async def _demonstrations(session: Session) -> list[Demonstration]:
    """What is learned from; played once, and read from then on."""
    recipe = session.recipe
    if recipe.sft is not None:
        paths = demonstration_files(recipe, session.directory)
        for source, path in zip(recipe.sft.sources, paths, strict=True):
            if not path.is_file():
                env = f" of {source.env}" if source.env is not None else ""
                how = f"of the run {source.runs}" if source.runs else "played by the teacher"
                session.observer.says(f"demonstrations: {source.episodes} episodes{env}, {how}")
    await play_apart(recipe, session.directory)
    return await demonstrations_of(recipe, session.directory)


def _finished(session: Session, final: Path) -> Trained:
    grpo = session.recipe.grpo
    phase: Phase = "grpo" if grpo is not None else "sft"
    steps = grpo.steps if grpo is not None else 0
    return Trained(session.directory, phase, steps, steps, final)


async def _base(session: Session) -> Path:
    """The folder of the model that training begins with."""
    plan, base = session.plan, session.directory / "base"
    if plan.model is not None:
        return plan.model
    fresh = plan.recipe.model.fresh
    assert fresh is not None
    if not base.is_dir():
        found = await _demonstrations(session)
        texts = [text for one in found for text in one.texts]
        with whole_folder(base, f"the model {base}") as folder:
            make_fresh(folder, fresh, texts, plan.recipe.seed)
            await check_room(plan.recipe, folder, plan.held_out, plan.directory.parent)
    return base
