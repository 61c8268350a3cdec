"""A small environment and a small memory of one's own: all that a plug-in needs."""

from __future__ import annotations

import json
import random

from agemem_eval.harness.errors import DataError, UsageError, unknown_name
from agemem_eval.harness.tools import ToolResult, ToolStatus
from agemem_eval.harness.types import (
    EnvSpec,
    Instructions,
    Observation,
    SplitSpec,
    StepResult,
    Task,
)


class Doors:
    """Three doors; a note on the wall tells which one leads out."""

    spec = EnvSpec(
        name="doors",
        version="1",
        splits=(SplitSpec("test", 10, "ten rooms"),),
        default_split="test",
        max_steps=6,
        instructions=Instructions(
            version="1",
            text="You are in a room with doors. Write `read note` or `open <colour> door`.",
            example="A note hangs here.\n<think>I read it.</think><answer>read note</answer>",
        ),
    )
    colours = ("blue", "green", "red")

    def __init__(self) -> None:
        self.exit = ""

    def tasks(self, split):
        if split != "test":
            raise unknown_name("split of doors:", split, ["test"])
        return [Task(f"room-{i}", "test", data={"n": i}, oracle_steps=1) for i in range(10)]

    def data_hash(self, split):
        return "rooms-1"

    def reset(self, task, seed):
        self.exit = random.Random(f"{task.data['n']}/{seed}").choice(self.colours)
        return Observation("A note hangs on the wall.", "leave the room")

    def step(self, action):
        if not self.exit:
            raise UsageError("reset a task first")
        if action == "read note":
            return StepResult(f"It says: the {self.exit} door.", 0.0, 0.0, False, False)
        if action not in self.valid_actions():
            return StepResult("You cannot do that.", 0.0, 0.0, False, False, valid=False)
        out = action == f"open {self.exit} door"
        return StepResult(
            "You are outside." if out else "A cupboard.", out * 1.0, out * 1.0, out, out
        )

    def valid_actions(self):
        return sorted(["read note", *(f"open {colour} door" for colour in self.colours)])

    def expert_action(self, name="oracle"):
        if name != "oracle":
            raise unknown_name("expert of doors:", name, ["oracle"])
        return f"open {self.exit} door"

    def close(self):
        pass


class Recent:
    """Keeps the last observations of its scope and shows them before each turn."""

    name = "recent"
    tools = ()
    instructions = ""

    def __init__(self, services, *, keep: str = "5"):
        if not keep.isdigit() or keep == "0":
            raise UsageError(f"memory option keep: a whole number from 1, not {keep!r}")
        self.keep = int(keep)
        self.identity = {"name": "recent", "keep": self.keep}
        self.scope, self.notes = "", {}

    async def begin(self, scope):
        self.scope = scope.id
        self.notes.setdefault(scope.id, [])

    async def before_turn(self, context):
        old = [message.id for message in context.messages if message.kind == "memory"]
        context.remove(old, "memory")
        if self.notes[self.scope]:
            context.add("user", "memory", "Earlier:\n" + "\n".join(self.notes[self.scope]))

    async def call(self, call, context):
        return ToolResult(call.name, ToolStatus.UNKNOWN_TOOL, "there are no tools here", call.id)

    async def after_turn(self, turn):
        text = " ".join((turn.observation or "").encode(errors="replace").decode().split())[:500]
        if text:
            self.notes[self.scope] = [*self.notes[self.scope], text][-self.keep :]

    async def end_episode(self, outcome):
        pass

    def entries(self):
        notes = enumerate(self.notes[self.scope])
        return [{"id": str(i), "content": text, "metadata": {}} for i, text in notes]

    def snapshot(self):
        return json.dumps(self.notes[self.scope]).encode()

    def restore(self, snapshot):
        try:
            self.notes[self.scope] = []
            self.notes[self.scope] = json.loads(snapshot) if snapshot else []
        except ValueError as error:
            raise DataError(f"this is no snapshot of `recent`: {error}") from error

    async def close(self):
        pass
