"""`EnvironmentConformance`: what the harness relies on in an environment."""

from __future__ import annotations

import gc
import json
import math
import os
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar
from unittest import SkipTest

from ..build import build
from ..errors import AgememError
from ..types import Environment, Observation, StepResult, Task
from ..workers.pool import WorkerPool
from ..workers.wire import plain, sound
from .suite import HUGE, ODD_TEXTS, Suite, expect, shown, standard_output, wait

NONSENSE = "frobnicate the wobbly zork 17"
UNREADABLE = ("", "   ", "\x00\x07\x1b[31m", "x" * HUGE)
Trace = list[object]


class EnvironmentConformance(Suite):
    """Subclass it in a test module and name the environment, or override `make`.

    ```python
    class TestMine(EnvironmentConformance):
        target = "my_package.envs:Mine"
    ```

    Attributes:
        target: The registered name, or `package.module:Class`; also used to run it in a worker.
        options: The options to build it with.
        splits: The splits to look at; empty: the default one.
        n_tasks: Tasks of each split that are played; 1 where a process may hold only one instance,
            since such environments are slow to start.
        n_steps: Steps at most of a played task.
        forgiving: False where an action that cannot be read may move the episode on.
    """

    target: ClassVar[str] = ""
    options: ClassVar[dict[str, str]] = {}
    splits: ClassVar[tuple[str, ...]] = ()
    n_tasks: ClassVar[int] = 4
    n_steps: ClassVar[int] = 12
    forgiving: ClassVar[bool] = True

    def make(self) -> Environment:
        """A fresh instance."""
        expect(bool(self.target), "name the environment in `target`, or override `make`")
        environment: Environment = build("envs", self.target, self.options)
        return environment

    def sample(self, env: Environment) -> list[Task]:
        """The tasks that are played: some of each split, from its whole length."""
        chosen = []
        n_tasks = 1 if env.spec.max_live == 1 else self.n_tasks
        for split in self._splits(env):
            tasks = env.tasks(split)
            stride = max(1, len(tasks) // n_tasks)
            chosen += list(tasks[::stride][:n_tasks])
        return chosen

    # --- what it says of itself -------------------------------------------------------------

    def test_the_spec_is_complete(self) -> None:
        with self._open() as env:
            spec = env.spec
            names = [split.name for split in spec.splits]
            expect(bool(spec.name and spec.version), "the spec needs a name and a version")
            expect(spec.default_split in names, f"default_split is none of {names}")
            expect(len(set(names)) == len(names), f"a split is named twice: {names}")
            expect(spec.max_steps >= 1, "max_steps must be at least 1")
            expect(bool(spec.instructions.text.strip()), "instructions.text is empty")
            expect(bool(spec.instructions.example.strip()), "instructions.example is empty")
            expect(bool(spec.instructions.version), "instructions.version is empty")
            expect(all(spec.metrics.values()), "every metric needs a line that says what it is")
            own = {"success", "progress", *(f"metrics.{name}" for name in spec.metrics)}
            odd = [n for n in spec.headline if n not in own and not n.startswith("quality.")]
            expect(
                bool(spec.headline) and not odd,
                "the headline names scores: success, progress, metrics.NAME or quality.NAME, not "
                f"{odd}",
            )
            json.dumps(plain(spec), allow_nan=False)

    def test_splits_hold_the_tasks_they_promise_in_a_stable_order(self) -> None:
        with self._open() as env:
            seen: dict[str, tuple[list[Task], str]] = {}
            promised = {split.name: split.n_tasks for split in env.spec.splits}
            for split in self._splits(env):
                tasks = list(env.tasks(split))
                ids = [task.id for task in tasks]
                n = promised[split]
                expect(bool(tasks), f"{split} holds no task")
                expect(n is None or len(tasks) == n, f"{split}: {len(tasks)} tasks, not {n}")
                expect(len(set(ids)) == len(ids), f"{split}: two tasks have the same id")
                expect(all(task.split == split for task in tasks), f"{split}: a task of another")
                capped = all(task.max_steps is None or task.max_steps >= 1 for task in tasks)
                expect(capped, f"{split}: a task's max_steps is below 1")
                told = json.loads(json.dumps([plain(task) for task in tasks], allow_nan=False))
                same = [Task(**task) for task in told] == tasks
                expect(
                    same, f"{split}: JSON changes a task's data: lists, not tuples; texts as keys"
                )
                seen[split] = tasks, env.data_hash(split)
                expect(bool(seen[split][1]), f"{split}: data_hash is empty")
        with self._open() as other:  # not beside the first: a process may hold only one
            for split, (tasks, data_hash) in seen.items():
                expect(list(other.tasks(split)) == tasks, f"{split}: another instance, other tasks")
                expect(other.data_hash(split) == data_hash, f"{split}: data_hash varies")

    def test_unknown_names_and_early_steps_are_errors_of_one_line(self) -> None:
        with self._open() as env:
            _must_refuse("tasks of an unknown split", lambda: env.tasks("no-such-split"))
            _must_refuse("a step before any reset", lambda: env.step("look"))
            env.reset(self.sample(env)[0], 0)
            _must_refuse("an unknown expert", lambda: env.expert_action("no-such-expert"))

    # --- playing ----------------------------------------------------------------------------

    def test_the_same_seed_gives_the_same_trace(self) -> None:
        played = []
        with self._open() as env:
            for task in self.sample(env):
                actions, trace = self._play(env, task)
                expect(_replay(env, task, actions) == trace, f"{task.id}: after another reset")
                played.append((task, actions, trace))
        with self._open() as other:
            for task, actions, trace in played:
                expect(_replay(other, task, actions) == trace, f"{task.id}: another instance")

    def test_what_cannot_be_read_as_an_action_is_answered_and_counted(self) -> None:
        with self._open() as env:
            task = self.sample(env)[0]
            for action in UNREADABLE:
                env.reset(task, 0)
                result = env.step(action)
                said = shown(action[:20])
                expect(not result.valid, f"the action {said} counts as valid")
                expect(bool(result.observation), f"nothing is said to the action {said}")
                expect(len(result.observation) < 10_000, f"{said} is echoed at full length")
                expect(not result.success, f"the action {said} solves the task")
            for action in (NONSENSE, *ODD_TEXTS):
                env.reset(task, 0)
                _check_result(env, env.step(action), shown(action))

    def test_what_cannot_be_read_changes_nothing(self) -> None:
        if not self.forgiving:
            raise SkipTest("here such an action may move the episode on")
        with self._open() as env:
            for task in self.sample(env):
                env.reset(task, 0)
                for action in UNREADABLE:
                    result = env.step(action)
                    expect(not result.terminated, f"{task.id}: ended by {shown(action[:20])}")
                if task.oracle_steps is not None:
                    solved, _ = _follow(env, limit=task.oracle_steps)
                    expect(solved, f"{task.id}: the oracle fails after actions that do nothing")

    def test_scores_are_in_range_and_progress_never_falls(self) -> None:
        with self._open() as env:
            for task in self.sample(env):
                first = env.reset(task, 0)
                expect(isinstance(first, Observation), f"{task.id}: reset gives {shown(first)}")
                sound(first)
                expect(bool(first.goal.strip()), f"{task.id}: the goal is empty")
                unknown = sorted(first.metrics.keys() - env.spec.metrics.keys())
                expect(not unknown, f"{task.id}: the spec does not tell what {unknown} are")
                best = 0.0
                for action in self._actions(env):
                    result = env.step(action)
                    _check_result(env, result, f"{task.id}: {shown(action)}")
                    if result.progress is not None:
                        expect(result.progress >= best, f"{task.id}: progress falls from {best}")
                        best = result.progress
                        full = not result.success or best == 1
                        expect(full, f"{task.id}: solved with progress {best}")
                    if result.terminated or result.truncated:
                        break

    def test_the_oracle_succeeds_where_it_claims_to(self) -> None:
        claims = 0
        with self._open() as env:
            for task in self.sample(env):
                if task.oracle_steps is None:
                    continue
                claims += 1
                env.reset(task, 0)
                solved, steps = _follow(env, limit=task.oracle_steps)
                said = f"{task.id}: the oracle claims {task.oracle_steps} steps"
                expect(solved, f"{said} and has not solved it after {steps}")
        if not claims:
            raise SkipTest("the oracle claims no task")

    def test_every_expert_plays_without_an_exception(self) -> None:
        with self._open() as env:
            for expert in env.spec.experts:
                for task in self.sample(env):
                    env.reset(task, 0)
                    env.step(NONSENSE)  # whatever an agent may have done before
                    for _ in range(self.n_steps):
                        action = env.expert_action(expert)
                        if action is None:
                            break
                        result = env.step(action)
                        if result.terminated or result.truncated:
                            break

    def test_listed_actions_are_valid_ones(self) -> None:
        rng, tried, invalid = random.Random(0), 0, []
        with self._open() as env:
            if not env.spec.has_valid_actions:
                raise SkipTest("this environment lists no valid actions")
            exact = env.spec.valid_actions_exact
            for task in self.sample(env):
                env.reset(task, 0)
                listed = env.valid_actions()
                expect(bool(listed), f"{task.id}: no action is valid")
                actions = listed or []
                expect(len(set(actions)) == len(actions), f"{task.id}: an action is listed twice")
                for action in rng.sample(actions, min(3, len(actions))):
                    env.reset(task, 0)
                    tried += 1
                    if not env.step(action).valid:
                        invalid.append(f"{task.id}: {action}")
        said = f"{len(invalid)} of {tried} listed actions are invalid, such as {invalid[:1]}"
        least = tried if exact else tried / 2
        expect(tried - len(invalid) >= least, said)

    # --- living with others -----------------------------------------------------------------

    def test_nothing_is_printed(self) -> None:
        with standard_output() as written, self._open() as env:
            for task in self.sample(env):
                self._play(env, task)
        expect(not written[0], f"written to standard output: {shown(written[0])}")

    def test_two_live_instances_do_not_disturb_each_other(self) -> None:
        with self._open() as env:
            if env.spec.max_live == 1:
                raise SkipTest("a process may hold only one instance")
            tasks = self.sample(env)
            first, last = tasks[0], tasks[-1]
            alone = [self._play(env, first), self._play(env, last)]
            with self._open() as other:
                traces: list[Trace] = [[plain(env.reset(first, 0))], [plain(other.reset(last, 0))]]
                for step in range(max(len(actions) for actions, _ in alone)):
                    for player, (actions, _), trace in zip(
                        (env, other), alone, traces, strict=True
                    ):
                        if step < len(actions):
                            trace.append(plain(player.step(actions[step])))
        expect(
            [trace for _, trace in alone] == traces, "interleaved episodes differ from lone ones"
        )

    def test_close_releases_everything(self) -> None:
        if not Path("/proc/self/fd").is_dir():
            raise SkipTest("open files and children can be counted on Linux only")
        for _ in range(2):  # what is loaded once for the whole process is loaded after the first
            before = _held()
            with self._open() as env:
                self._play(env, self.sample(env)[0])
                env.close()
                env.close()
            del env
            gc.collect()
        after = _held()
        fine = all(now <= then for now, then in zip(after, before, strict=True))
        expect(fine, f"before (files, threads, children) {before}, after {after}")

    def test_it_plays_the_same_in_a_worker_process(self) -> None:
        if not self.target:
            raise SkipTest("`target` does not name the environment, so no worker can build it")
        with self._open() as env:
            split = self._splits(env)[0]
            task = self.sample(env)[0]
            actions, trace = self._play(env, task)
            tasks = tuple(env.tasks(split))
        seed = os.environ.get("PYTHONHASHSEED")
        os.environ["PYTHONHASHSEED"] = "4711"  # another order of sets than here
        try:
            found, far = wait(self._in_worker(split, task, actions))
        finally:
            os.environ.pop("PYTHONHASHSEED")
            if seed is not None:
                os.environ["PYTHONHASHSEED"] = seed
        expect(found == tasks, "a worker process lists other tasks")
        expect(far == trace, f"{task.id}: a worker process plays another trace")

    # --- inside -----------------------------------------------------------------------------

    async def _in_worker(
        self, split: str, task: Task, actions: list[str]
    ) -> tuple[tuple[Task, ...], Trace]:
        pool = WorkerPool(workers=1, concurrency=1)
        try:
            found = await pool.describe(self.target, self.options, split)
            env = await pool.acquire(self.target, self.options)
            trace: Trace = [plain(await env.reset(task, 0))]
            trace += [plain(await env.step(action)) for action in actions]
            await env.close()
            return found.tasks, trace
        finally:
            await pool.close()

    @contextmanager
    def _open(self) -> Iterator[Environment]:
        env = self.make()
        try:
            yield env
        finally:
            env.close()

    def _splits(self, env: Environment) -> tuple[str, ...]:
        return self.splits or (env.spec.default_split,)

    def _actions(self, env: Environment) -> Iterator[str]:
        """The oracle's actions with some nonsense in between."""
        for step in range(self.n_steps):
            action = env.expert_action(env.spec.experts[0]) if env.spec.experts else None
            if step % 5 == 2 or action is None:
                yield NONSENSE
            else:
                yield action

    def _play(self, env: Environment, task: Task) -> tuple[list[str], Trace]:
        """Actions of an episode and what came of them."""
        trace: Trace = [plain(env.reset(task, 0))]
        actions = []
        for action in self._actions(env):
            result = env.step(action)
            actions.append(action)
            trace.append(plain(result))
            if result.terminated or result.truncated:
                break
        return actions, trace


def _replay(env: Environment, task: Task, actions: list[str]) -> Trace:
    trace: Trace = [plain(env.reset(task, 0))]
    return trace + [plain(env.step(action)) for action in actions]


def _follow(env: Environment, limit: int) -> tuple[bool, int]:
    """Let the oracle go on; whether it solved the task, and after how many steps."""
    for step in range(limit):
        action = env.expert_action(env.spec.experts[0])
        if action is None:
            return False, step
        result = env.step(action)
        if result.terminated or result.truncated:
            return bool(result.success), step + 1
    return False, limit


def _check_result(env: Environment, result: StepResult, where: str) -> None:
    expect(isinstance(result, StepResult), f"{where}: {type(result).__name__}, not a StepResult")
    json.dumps(plain(result), allow_nan=False)
    sound(result)
    expect(math.isfinite(result.reward), f"{where}: reward {result.reward}")
    inside = result.progress is None or 0 <= result.progress <= 1
    expect(inside, f"{where}: progress {result.progress} is outside 0 to 1")
    unknown = sorted(result.metrics.keys() - env.spec.metrics.keys())
    expect(not unknown, f"{where}: the spec does not tell what these metrics are: {unknown}")


def _must_refuse(what: str, ask: object) -> None:
    assert callable(ask)
    wanted = "an error of agemem_eval.harness.errors is wanted, such as UsageError"
    try:
        ask()
    except AgememError as error:
        expect("\n" not in str(error), f"{what}: the error is longer than a line")
    except Exception as error:  # a third party's environment may raise anything
        raise AssertionError(f"{what} raises {type(error).__name__}: {wanted}") from error
    else:
        raise AssertionError(f"{what} is no error: {wanted}")


def _held() -> tuple[int, int, int]:
    """Open files, threads and child processes of this process."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    n_children = len(children.read_text().split()) if children.exists() else 0
    return len(os.listdir("/proc/self/fd")), threading.active_count(), n_children
