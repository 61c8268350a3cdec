"""Each check of the suites finds the fault that it is there for."""

from __future__ import annotations

import dataclasses
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agemem_eval.baselines.agemem import AgeMem
from agemem_eval.harness.conformance.suite import Suite
from agemem_eval.harness.errors import DataError
from agemem_eval.harness.metering import MeteredEmbedder
from agemem_eval.harness.tools import ToolResult, ToolStatus
from agemem_eval.harness.types import Services
from agemem_eval.testing import EnvironmentConformance, MemoryConformance

sys.path.insert(0, str(Path(__file__).parents[1] / "support" / "example_plugin"))
from agemem_example import Doors, Recent


def failures(suite: Suite) -> dict[str, str]:
    return {o.check: o.detail for o in suite.run() if o.result == "failed"}


def env_suite(make: Callable[[], Any]) -> EnvironmentConformance:
    class Suited(EnvironmentConformance):
        def make(self) -> Any:
            return make()

    return Suited()


def memory_suite(make: Callable[[Services], Any]) -> MemoryConformance:
    class Suited(MemoryConformance):
        def make(self, services: Services) -> Any:
            return make(services)

    return Suited()


# --- environments ---------------------------------------------------------------------------


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
        (Shared, "two live instances", "interleaved"),
        (Leaky, "close releases", "after"),
        (Tuple, "scores are in range", "tuple"),
        (Silent, "the spec is complete", "example is empty"),
        (Crashing, "every expert", "KeyError"),
    ],
)
def test_a_broken_environment_is_caught(broken: type[Doors], check: str, said: str) -> None:
    found = failures(env_suite(broken))
    detail = next((text for name, text in found.items() if name.startswith(check)), "")
    assert said in detail, found


def test_a_sound_environment_passes() -> None:
    assert failures(env_suite(Doors)) == {}


def test_an_environment_that_depends_on_the_order_of_sets_is_caught_in_the_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "support"))

    class Suited(EnvironmentConformance):
        target = "agemem_fakes.unstable:SetOrder"

    assert "another trace" in failures(Suited())["it plays the same in a worker process"]


def test_a_thread_that_stays_is_caught() -> None:
    stop = threading.Event()

    class Threaded(Doors):
        def __init__(self):
            super().__init__()
            threading.Thread(target=stop.wait, daemon=True).start()

    try:
        assert "close releases everything" in failures(env_suite(Threaded))
    finally:
        stop.set()


# --- memories -------------------------------------------------------------------------------


class OneForAll(Recent):
    async def begin(self, scope):
        self.scope = "all"
        self.notes.setdefault("all", [])


class Forgetful(AgeMem):
    def snapshot(self):
        return b""


class Trusting(Recent):
    def restore(self, snapshot):
        try:
            super().restore(snapshot)
        except DataError:
            self.notes[self.scope] = []


class Dice(Recent):
    async def after_turn(self, turn):
        self.notes[self.scope].append(os.urandom(4).hex())


class Rude(AgeMem):
    async def call(self, call, context):
        if not isinstance(call.arguments.get("content", ""), str):
            raise TypeError("content must be a string")
        return await super().call(call, context)


class Yes(AgeMem):
    async def call(self, call, context):
        result = await super().call(call, context)
        return dataclasses.replace(result, status=ToolStatus.SUCCESS)


class Mute(AgeMem):
    async def call(self, call, context):
        return dataclasses.replace(await super().call(call, context), content="")


class Hoarder(AgeMem):
    async def call(self, call, context):
        if call.name == "Delete_memory":
            return ToolResult(call.name, ToolStatus.SUCCESS, "Deleted.")
        return await super().call(call, context)


class Unpinner(Recent):
    async def before_turn(self, context):
        for message in context.messages:
            context.unpin(message.id)
        context.remove([message.id for message in context.messages], "memory")


class Unmetered(AgeMem):
    def __init__(self, services, **options):
        embedder = services.embedder
        assert isinstance(embedder, MeteredEmbedder)
        raw = embedder._embedder  # behind the meter's back
        super().__init__(dataclasses.replace(services, embedder=raw), **options)


class Unstorable(Recent):
    async def after_turn(self, turn):
        self.notes[self.scope].append(turn.observation)


GLOBAL: dict[str, list[str]] = {}


class Global(Recent):
    def __init__(self, services, **options):
        super().__init__(services, **options)
        self.notes = GLOBAL

    async def begin(self, scope):
        self.scope = "all"
        self.notes.setdefault("all", [])


class Once(Recent):
    closed = False

    async def close(self):
        if self.closed:
            raise RuntimeError("closed twice")
        self.closed = True


@pytest.mark.parametrize(
    ("broken", "check", "said"),
    [
        (OneForAll, "scopes do not see", "another's entries"),
        (Forgetful, "a snapshot brings", "entries differ"),
        (Trusting, "a snapshot brings", "restores what is no snapshot"),
        (Dice, "the same seed", "end differently"),
        (Rude, "bad arguments", "TypeError"),
        (Yes, "bad arguments", "counts as a success"),
        (Mute, "an unknown tool", "nothing is said"),
        (Hoarder, "what is added", "without confirmation"),
        (Unpinner, "pinned messages", "was removed"),
        (Unmetered, "every model and embedding", "0 booked"),
        (Unstorable, "empty huge and odd", "says nothing"),
        (Global, "sixteen scopes", "saw"),
        (Once, "it closes twice", "closed twice"),
    ],
)
def test_a_broken_memory_is_caught(broken: Any, check: str, said: str) -> None:
    GLOBAL.clear()
    found = failures(memory_suite(broken))
    detail = next((text for name, text in found.items() if name.startswith(check)), "")
    assert said in detail, found


def test_a_sound_memory_passes() -> None:
    assert failures(memory_suite(Recent)) == {}
