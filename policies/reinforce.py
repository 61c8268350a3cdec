"""The phase of reinforcement learning: play groups, update, evaluate, keep, watch for collapse."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..harness.errors import InfraError
from ..harness.files import write_json
from .checkpoints import END, State, disk
from .collapse import Watch
from .logs import EVALUATION, METRICS, SFT, Logs, evaluation_line, judge_part, step_line
from .mixture import Mixture, Pick
from .rollout import Batch, add_up
from .sampler import Sampler, make_sampler
from .session import Session, Trained, in_thread
from .trajectory import Group


class Grpo:
    """The phase of reinforcement learning, from its beginning or the newest checkpoint.

    Args:
        session: The training.
        base: The model before all training.
        start: The model at the beginning of this phase, which the KL term holds to.
    """

    def __init__(self, session: Session, base: Path, start: Path) -> None:
        assert session.recipe.grpo is not None
        self.session, self.recipe, self.grpo = session, session.recipe, session.recipe.grpo
        log, path = session.directory / SFT, None
        self.state = State("grpo", 0, {SFT: log.stat().st_size} if log.is_file() else {})
        found = session.checkpoints.newest()
        if found is not None and found[0].phase == "grpo":
            self.state, path = found
        self.watch = Watch(self.recipe.collapse, self.state.collapse)
        self.logs = Logs(session.directory, self.state.logs, "grpo", self.state.step, self.recipe)
        done = self.state.step * self.grpo.epochs
        self.learner = session.open("grpo", base, start, path, done)
        scratch = session.directory / "scratch"
        self.sampler: Sampler = make_sampler(self.recipe, self.learner, base=base, scratch=scratch)
        self.player = session.player(self.sampler, base, scratch)
        self.mixture = Mixture(self.recipe, session.plan.tasks)

    async def run(self) -> Trained:
        """All steps that are left."""
        self.session.stop.busy = True
        try:
            await self.sampler.sync()
            await self.player.list_tasks()
            self.session.observer.begins("grpo", self.state.step, self.grpo.steps)
            if not self.state.step:
                await self._evaluate(0)
            for step in range(self.state.step + 1, self.grpo.steps + 1):
                reason = await self._step(step)
                if reason is not None:
                    return self._collapsed(reason)
                if self.session.stop.reason is not None and step < self.grpo.steps:
                    return self._told(stopped=self.session.stop.reason)
            return self._finish()
        finally:
            self.session.stop.busy = False
            self.logs.close()
            await self.player.close()
            await self.sampler.close()

    # --- one step -----------------------------------------------------------------------------

    async def _step(self, step: int) -> str | None:
        """Play, update, log, evaluate, keep; returns why training must end."""
        clock = time.perf_counter()
        played, groups = await self._play(step)
        generated = time.perf_counter()
        rate = self.grpo.learning_rate * min(1.0, step / max(1, self.grpo.warmup_steps))
        numbers = await in_thread(lambda: self.learner.grpo_update(groups, self.grpo, rate))
        await self.sampler.sync()
        updated = time.perf_counter()
        line = step_line(self.recipe, step, played.groups)
        replaced = sum(group not in played.groups for group in groups)
        line |= {"lost_groups": played.lost, "replaced_groups": replaced, **_own(numbers)}
        line |= judge_part(played.judged)
        computed = line["prompt_tokens"] + line["completion_tokens"]
        line["seconds"] = {
            "generation": round(generated - clock, 3),
            "reward": round(self.player.take_reward_seconds(), 3),
            "update": round(updated - generated, 3),
            "tokens_per_second": round(computed / max(1e-9, updated - clock), 1),
        }
        reason = self.watch.look(line["answered"], numbers)
        self.state = replace(
            self.state, step=step, tokens=self.state.tokens + int(numbers["tokens"]),
            collapse=self.watch.state,
        )  # fmt: skip
        self.logs.write(METRICS, line)
        self.session.observer.tells(METRICS, line)
        if reason is not None:
            return reason
        best = False
        if not step % self.recipe.evaluation.every or step == self.grpo.steps:
            best = await self._evaluate(step)
        due = not step % self.recipe.checkpoints.every or step == self.grpo.steps
        if best or due or self.session.stop.reason is not None:
            self._keep()
        return None

    async def _play(self, step: int) -> tuple[Batch, list[Group]]:
        """The groups of a step as they were played, and those to learn from.

        The batch's losses and costs are of all rounds.

        Groups whose rewards are all equal teach nothing: in further rounds other tasks of the same
        source are played in their place (dynamic sampling of DAPO, arXiv 2503.14476, section 3.2).
        What is told of rewards is of the first round, since those that replace are chosen by their
        rewards. A further round of which the infrastructure leaves nothing ends no training: it is
        lost, and the step goes on with what is there.

        Raises:
            InfraError: if no group of the first round could be finished.
        """
        rounds = self.grpo.resample.rounds + 1
        picks = self.mixture.of_step(step)
        batches = [await self._groups(picks, (step - 1) * rounds)]
        first, used = batches[0].groups, list(picks)
        wanted = self._by_source(picks)
        varied = [group for group in first if not group.flat]
        for round_ in range(1, rounds):
            pairs = zip(wanted, self._by_source(varied), strict=True)
            others = self.mixture.others(used, [all_ - got for all_, got in pairs], step, round_)
            if not others:
                break
            try:
                batches.append(await self._groups(others, (step - 1) * rounds + round_))
            except InfraError as error:
                batches.append(Batch((), len(others)))
                self.session.observer.says(f"step {step}: resampling ends: {error}")
                break
            varied += [group for group in batches[-1].groups if not group.flat]
            used += others
        flat = [group for group in first if group.flat]
        lost = sum(batch.lost for batch in batches)
        costs = [batch.judged for batch in batches if batch.judged is not None]
        learned = []
        for source, count in enumerate(wanted):
            learned += [group for group in varied + flat if group.source == source][:count]
        return Batch(first, lost, add_up(costs)), learned

    def _by_source(self, some: Sequence[Pick | Group]) -> list[int]:
        """How many of some tasks or groups are of each source."""
        found = [one.source for one in some]
        return [found.count(source) for source in range(len(self.recipe.parts))]

    async def _groups(self, picks: Sequence[Pick], round_: int) -> Batch:
        total = len(picks) * self.grpo.rollouts
        self.player.watch = lambda left: self.session.observer.plays("rollouts", left, total)
        return await self.player.groups(
            picks, rollouts=self.grpo.rollouts, temperature=self.grpo.temperature, round_=round_
        )

    async def _evaluate(self, step: int) -> bool:
        """Play the held-out tasks; whether the policy is the best so far."""
        by_source, clock = enumerate(self.session.plan.held_out), time.perf_counter()
        picks = [Pick(task, source) for source, tasks in by_source for task in tasks]
        self.player.watch = lambda left: self.session.observer.plays("held-out", left, len(picks))
        batch = await self.player.groups(
            picks, rollouts=1, temperature=self.recipe.evaluation.temperature, round_=0
        )
        self.player.take_reward_seconds()
        await self.sampler.forget()  # a training that goes on from here has nothing cached either
        seconds = time.perf_counter() - clock
        line = evaluation_line(self.recipe, step, batch.groups, batch.lost, seconds)
        line |= judge_part(batch.judged)
        self.watch.evaluated(line["answered"])
        best = self.state.best is None or line["reward"] > self.state.best[1]
        best = best and all(self._by_source(batch.groups))  # not where a source is lost
        if best:
            self.state = replace(self.state, best=(step, line["reward"]))
        self.state = replace(self.state, collapse=self.watch.state)
        self.logs.write(EVALUATION, line)
        self.session.observer.tells(EVALUATION, line)
        return best

    # --- what is kept -------------------------------------------------------------------------

    def _keep(self) -> None:
        self.state = replace(self.state, logs=self.logs.sizes())
        bad = self.watch.streak
        last_good = self.state.step - bad if bad else None
        self.session.checkpoint(self.learner, self.state, last_good)

    def _finish(self) -> Trained:
        final = self.session.directory / "final"
        self.session.publish(self.learner, self.state, final)
        return self._told(final=final)

    def _collapsed(self, reason: str) -> Trained:
        step = self.state.step
        with disk(f"the training {self.session.directory}"):
            write_json(
                self.session.directory / END,
                {"reason": reason, "step": step, "hash": self.recipe.hash},
            )
        self.logs.sizes()
        return self._told(stopped=f"step {step}: {reason}", collapsed=True)

    def _told(
        self, *, final: Path | None = None, stopped: str | None = None, collapsed: bool = False
    ) -> Trained:
        first_bad = self.state.step - self.watch.streak if collapsed else math.inf
        good = [
            p
            for phase, s, p in self.session.checkpoints.steps()
            if phase == "grpo" and s <= first_bad
        ]
        return Trained(
            self.session.directory, "grpo", self.state.step, self.grpo.steps, final, stopped,
            collapsed, good[-1] if good else None,
        )  # fmt: skip


def _own(numbers: dict[str, float]) -> dict[str, float]:
    """The numbers of an update, but for what the step tells of all its groups itself."""
    return {k: v for k, v in numbers.items() if k not in ("groups", "flat_groups")}
