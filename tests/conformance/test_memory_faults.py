"""Each check of the memories' suite finds the fault that it is there for."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import pytest
from agemem_example import Recent

from agemem_eval.baselines.agemem import AgeMem
from agemem_eval.harness.errors import DataError
from agemem_eval.harness.ledger import Ledger
from agemem_eval.harness.metering import Meter, MeteredEmbedder
from agemem_eval.harness.tools import ToolResult, ToolStatus
from agemem_eval.harness.trace import Trace
from agemem_eval.harness.types import Services
from agemem_eval.testing import MemoryConformance


def failures(make: Callable[[Services], Any]) -> dict[str, str]:
    class Suited(MemoryConformance):
        def make(self, services: Services) -> Any:
            return make(services)

    return {o.check: o.detail for o in Suited().run() if o.result == "failed"}


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
        own = MeteredEmbedder(embedder._embedder, Meter(Ledger(), Trace()))  # behind its back
        super().__init__(dataclasses.replace(services, embedder=own), **options)


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


class Silent(Recent):
    async def before_turn(self, context):
        pass


class Fleeting(Recent):
    async def end_episode(self, outcome):
        self.notes[self.scope] = []


class Numbered(Recent):
    def entries(self):
        return [{**entry, "id": int(entry["id"])} for entry in super().entries()]


class Parrot(AgeMem):
    """Repeats what it is asked for and finds nothing."""

    async def call(self, call, context):
        if call.name == "Retrieve_memory":
            text = f"nothing found for {call.arguments.get('query')!r}"
            return ToolResult(call.name, ToolStatus.SUCCESS, text)
        return await super().call(call, context)


class Blocking(Recent):
    def close(self):
        pass


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
        (Silent, "what is read is kept", "is not shown"),
        (Fleeting, "what is read is kept", "forgets everything"),
        (Numbered, "what is read is kept", "both texts"),
        (Parrot, "what is added", "a search for"),
        (Blocking, "it says what it is", "close must be an `async def`"),
        (Global, "sixteen scopes", "saw"),
        (Once, "it closes twice", "closed twice"),
    ],
)
def test_a_broken_memory_is_caught(broken: Any, check: str, said: str) -> None:
    GLOBAL.clear()
    found = failures(broken)
    detail = next((text for name, text in found.items() if name.startswith(check)), "")
    assert said in detail, found


def test_a_sound_memory_passes() -> None:
    assert failures(Recent) == {}
