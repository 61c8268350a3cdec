"""Each check of the environments' suite finds the fault that it is there for."""

from __future__ import annotations

import dataclasses
import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from agemem_example import Doors

from agemem_eval.testing import EnvironmentConformance


def failures(make: Callable[[], Any]) -> dict[str, str]:
    class Suited(EnvironmentConformance):
        def make(self) -> Any:
            return make()

    return {o.check: o.detail for o in Suited().run() if o.result == "failed"}


class Unstable(Doors):
    n = 0

    def tasks(self, split):
        type(self).n += 1
        return super().tasks(split)[:: 1 if self.n % 2 else -1]


class TooFew(Doors):
    def tasks(self, split):
        return super().tasks(split)[:7]


class Twins(Doors):
    def tasks(self, split):
        tasks = super().tasks(split)
        return [*tasks[:9], tasks[0]]


class AnySplit(Doors):
    def tasks(self, split):
        return super().tasks("test")


class Random(Doors):
    def step(self, action):
        return dataclasses.replace(super().step(action), observation=os.urandom(8).hex())


class Echo(Doors):
    def step(self, action):
        result = super().step(action)
        if result.valid:
            return result
        return dataclasses.replace(result, observation=f"You cannot {action}.")


class Forgiving(Doors):
    def step(self, action):
        return dataclasses.replace(super().step(action), valid=True)


class Fragile(Doors):
    def step(self, action):
        if not action.strip():
            self.exit = "purple"
        return super().step(action)


class Backwards(Doors):
    n = 0

    def step(self, action):
        result = super().step(action)
        self.n += 1
        return dataclasses.replace(result, progress=0.0 if self.n % 3 == 0 else 0.5)

    def expert_action(self, name="oracle"):
        return "read note"


class OutOfRange(Doors):
    def step(self, action):
        return dataclasses.replace(super().step(action), progress=7.0)


class NotANumber(Doors):
    def step(self, action):
        return dataclasses.replace(super().step(action), reward=float("nan"))


class SecretScore(Doors):
    def step(self, action):
        return dataclasses.replace(super().step(action), metrics={"undocumented": 1.0})


class Boaster(Doors):
    def expert_action(self, name="oracle"):
        super().expert_action(name)
        return "read note"


class Liar(Doors):
    def valid_actions(self):
        return [*super().valid_actions(), "fly"]

    def step(self, action):
        result = super().step(action)
        return dataclasses.replace(result, valid=result.valid and action != "fly")


class Loud(Doors):
    def reset(self, task, seed):
        os.write(1, b"hello\n")
        return super().reset(task, seed)


class Buffered(Doors):
    def reset(self, task, seed):
        print("hello")  # stays in Python's buffer where standard output is no terminal
        return super().reset(task, seed)


class NoText(Doors):
    def reset(self, task, seed):
        return dataclasses.replace(super().reset(task, seed), text=None)


class NoGoal(Doors):
    def reset(self, task, seed):
        return dataclasses.replace(super().reset(task, seed), goal=" ")


class Wordy(Doors):
    spec = dataclasses.replace(Doors.spec, metrics={"size": "how much"})

    def step(self, action):
        return dataclasses.replace(super().step(action), metrics={"size": "high"})


class EarlyScore(Doors):
    def reset(self, task, seed):
        return dataclasses.replace(super().reset(task, seed), metrics={"undocumented": 1.0})


class NoSteps(Doors):
    def tasks(self, split):
        return [dataclasses.replace(task, max_steps=0) for task in super().tasks(split)]


class Tuples(Doors):
    def tasks(self, split):
        tasks = super().tasks(split)
        return [dataclasses.replace(t, data={**t.data, "at": (1, 2)}) for t in tasks]


class Lonely(Doors):
    """Of which a process may hold one: sound, and not to be failed."""

    spec = dataclasses.replace(Doors.spec, max_live=1)
    live = [0]

    def __init__(self):
        super().__init__()
        self.open = True
        self.live[0] += 1
        if self.live[0] > 1:
            raise RuntimeError("two at once")

    def close(self):
        self.live[0] -= self.open
        self.open = False


class WithoutExperts(Doors):
    """Sound too: nothing says that an environment must have one."""

    spec = dataclasses.replace(Doors.spec, experts=())

    def tasks(self, split):
        return [dataclasses.replace(task, oracle_steps=None) for task in super().tasks(split)]


class Shared(Doors):
    out = [""]

    def reset(self, task, seed):
        observation = super().reset(task, seed)
        self.out[0] = self.exit
        return observation

    def step(self, action):
        self.exit = self.out[0]
        return super().step(action)


class Leaky(Doors):
    kept = []

    def __init__(self):
        super().__init__()
        self.kept.append(tempfile.TemporaryFile())  # noqa: SIM115 - left open on purpose


class Tuple(Doors):
    def step(self, action):
        result = super().step(action)
        return (result.observation, result.reward)


class Silent(Doors):
    spec = dataclasses.replace(
        Doors.spec, instructions=dataclasses.replace(Doors.spec.instructions, example="")
    )


class Crashing(Doors):
    def expert_action(self, name="oracle"):
        raise KeyError(name)


@pytest.mark.parametrize(
    ("broken", "check", "said"),
    [
        (Unstable, "splits hold", "another instance, other tasks"),
        (TooFew, "splits hold", "7 tasks, not 10"),
        (Twins, "splits hold", "same id"),
        (AnySplit, "unknown names", "unknown split is no error"),
        (Random, "the same seed", "room-"),
        (Echo, "what cannot be read as an action", "full length"),
        (Forgiving, "what cannot be read as an action", "counts as valid"),
        (Fragile, "what cannot be read changes nothing", "oracle fails"),
        (Backwards, "scores are in range", "progress falls"),
        (OutOfRange, "scores are in range", "outside 0 to 1"),
        (NotANumber, "scores are in range", "not JSON"),
        (SecretScore, "scores are in range", "undocumented"),
        (Boaster, "the oracle succeeds", "claims 1 steps"),
        (Liar, "listed actions", ": fly'"),
        (Loud, "nothing is printed", "hello"),
        (Buffered, "nothing is printed", "hello"),
        (NoText, "scores are in range", "must be texts"),
        (NoGoal, "scores are in range", "goal is empty"),
        (Wordy, "scores are in range", "the metric size is str"),
        (EarlyScore, "scores are in range", "undocumented"),
        (NoSteps, "splits hold", "below 1"),
        (Tuples, "splits hold", "JSON changes"),
        (Shared, "two live instances", "interleaved"),
        (Leaky, "close releases", "after"),
        (Tuple, "scores are in range", "tuple"),
        (Silent, "the spec is complete", "example is empty"),
        (Crashing, "every expert", "KeyError"),
    ],
)
def test_a_broken_environment_is_caught(broken: type[Doors], check: str, said: str) -> None:
    found = failures(broken)
    detail = next((text for name, text in found.items() if name.startswith(check)), "")
    assert said in detail, found


@pytest.mark.parametrize("sound", [Doors, Lonely, WithoutExperts])
def test_a_sound_environment_passes(sound: type[Doors]) -> None:
    assert failures(sound) == {}


def test_an_environment_that_depends_on_the_order_of_sets_is_caught_in_the_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "support"))

    class Suited(EnvironmentConformance):
        target = "agemem_fakes.unstable:SetOrder"

    found = {o.check: o.detail for o in Suited().run() if o.result == "failed"}
    assert "another trace" in found["it plays the same in a worker process"]


def test_a_thread_that_stays_is_caught() -> None:
    stop = threading.Event()

    class Threaded(Doors):
        def __init__(self):
            super().__init__()
            threading.Thread(target=stop.wait, daemon=True).start()

    try:
        assert "close releases everything" in failures(Threaded)
    finally:
        stop.set()
