"""`MemoryConformance`: what the harness relies on in a memory backend."""

from __future__ import annotations

import asyncio
import inspect
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar
from unittest import SkipTest

from ..build import build
from ..errors import AgememError
from ..ledger import Role
from ..plan import make_embedder
from ..tools import Tool, ToolFailure, ToolResult, ToolStatus, find_tool
from ..types import Json, Memory, Model, Services
from .bench import Bench, Scribe
from .suite import HUGE, ODD_TEXTS, Suite, expect, shown, wait

FACTS = (
    "The spare key lies under the blue flowerpot.",
    "Mira Okonkwo leads the tide laboratory in Vardo.",
    "The kettle in the north kitchen is broken.",
)
# Asked for in other words, so that a memory that repeats the question has not found anything.
QUESTIONS = (
    "Where is the spare key?",
    "Who is the leader of the tide laboratory?",
    "Which kettle in the kitchen does not work?",
)
OTHERS = (
    "Paul keeps eleven goats behind the windmill.",
    "The library of Tessin closes at six on Fridays.",
)
N_SCOPES = 16
_WRONG: tuple[Any, ...] = (None, [], {}, 3.5, True, "", "x" * 50_000, {"a": [1, {"b": None}]})


class MemoryConformance(Suite):
    """Subclass it in a test module and name the memory, or override `make`.

    ```python
    class TestMine(MemoryConformance):
        target = "my_package.memory:MyMemory"
    ```

    What a memory has no tool for is not applicable, and says so.

    Attributes:
        target: The registered name, or `package.module:Class`.
        options: The options to build it with.
    """

    target: ClassVar[str] = ""
    options: ClassVar[dict[str, str]] = {}

    def make(self, services: Services) -> Memory:
        """A fresh instance over these services."""
        expect(bool(self.target), "name the memory in `target`, or override `make`")
        memory: Memory = build("memories", self.target, self.options, services)
        return memory

    def model(self) -> Model:
        """The model the memory is given: one that writes a fixed note, unless overridden."""
        return Scribe()

    # --- what it says of itself -------------------------------------------------------------

    def test_it_says_what_it_is(self) -> None:
        with self._open() as bench, self._open() as other:
            memory = bench.memory
            expect(bool(memory.name), "the memory has no name")
            expect(isinstance(memory.instructions, str), "instructions must be a text")
            json.dumps(memory.identity, allow_nan=False)
            expect(bool(memory.identity), "identity is empty: nothing tells its results apart")
            expect(memory.identity == other.memory.identity, "two alike have different identities")
            expect(isinstance(memory.tools, tuple), "tools must be a tuple")
            names = [name.lower() for t in memory.tools for name in (t.name, *t.aliases)]
            expect(len(set(names)) == len(names), f"a tool's name occurs twice: {names}")
            for tool in memory.tools:
                json.dumps(tool.schema(), allow_nan=False)
                expect(bool(tool.description.strip()), f"{tool.name} has no description")
            for name in _METHODS:
                is_async = inspect.iscoroutinefunction(getattr(memory, name, None))
                expect(is_async, f"{name} must be an `async def`")

    # --- what it keeps ----------------------------------------------------------------------

    def test_scopes_do_not_see_each_other(self) -> None:
        with self._open() as bench:
            wait(bench.episode("a", FACTS))
            kept = bench.memory.entries()
            wait(bench.start("b"))
            expect(not bench.memory.entries(), "a new scope begins with another's entries")
            expect(not _leaks(wait(bench.look_up(QUESTIONS[0])), FACTS), "a search finds another's")
            wait(bench.episode("b", OTHERS))
            texts = [str(entry["content"]) for entry in bench.memory.entries()]
            expect(not any(_leaks(text, FACTS) for text in texts), "entries of another scope")
            wait(bench.start("a"))
            expect(bench.memory.entries() == kept, "a scope that is opened again has changed")

    def test_what_is_added_is_found_changed_and_deleted(self) -> None:
        with self._open() as bench:
            self._need(bench, "Add_memory", "Retrieve_memory", "Update_memory", "Delete_memory")
            wait(bench.episode("a", FACTS))
            entries = bench.memory.entries()
            expect(len(entries) == len(FACTS), f"{len(FACTS)} added, {len(entries)} held")
            ids = [entry["id"] for entry in entries]
            expect(len(set(ids)) == len(ids), "two entries have the same id")
            found = wait(bench.look_up(QUESTIONS[1]))
            expect(FACTS[1] in found, f"a search for {QUESTIONS[1]!r} gives {shown(found)}")
            id_ = next(e["id"] for e in entries if FACTS[1] in e["content"])
            expect(id_ in found, "a search does not show the id, so nothing can be changed")
            self._change(bench, id_)
            refused = wait(bench.call("Delete_memory", memory_id=id_, confirmation=False))
            expect(not refused.ok, "a deletion without confirmation is carried out")
            expect(len(bench.memory.entries()) == len(FACTS), "it deleted without confirmation")
            wait(bench.must("Delete_memory", memory_id=id_, confirmation=True))
            left = [entry["id"] for entry in bench.memory.entries()]
            expect(left == [other for other in ids if other != id_], "it deleted something else")
            for tool in ("Update_memory", "Delete_memory"):
                arguments: Json = {"memory_id": id_, "content": "x", "confirmation": True}
                taken = {k: v for k, v in arguments.items() if k in _parameters(bench, tool)}
                gone = wait(bench.call(tool, **taken))
                expect(gone.status is ToolStatus.NOT_FOUND, f"{tool} of a deleted id: {gone}")

    def _change(self, bench: Bench, id_: str) -> None:
        new = "Mira Okonkwo left the tide laboratory in March."
        wait(bench.must("Update_memory", memory_id=id_, content=new))
        entries = {entry["id"]: entry["content"] for entry in bench.memory.entries()}
        expect(entries.get(id_) == new, f"an update leaves {shown(entries.get(id_))}")
        expect(
            FACTS[1] not in wait(bench.look_up(QUESTIONS[1])), "a search finds what was replaced"
        )

    def test_what_is_read_is_kept_and_shown(self) -> None:
        with self._open() as bench:
            wait(bench.start("a"))
            for text in FACTS:
                wait(bench.add(text))
            during = bench.memory.entries()
            for entry in during:
                sound = isinstance(entry.get("id"), str) and isinstance(entry.get("content"), str)
                expect(sound, f"an entry needs an `id` and a `content`, both texts: {shown(entry)}")
            wait(bench.end())
            after = bench.memory.entries()
            expect(not during or bool(after), "it forgets everything when an episode ends")
            if not after:
                raise SkipTest("it kept nothing of three observations")
            if bench.memory.tools and find_tool(bench.memory.tools, "Retrieve_memory") is None:
                raise SkipTest("it has no Retrieve_memory, and the agent asks for nothing else")
            wait(bench.start("a"))
            seen = wait(bench.look_up(QUESTIONS[0]))
            texts = [str(entry["content"]) for entry in after]
            expect(
                any(text in seen for text in texts), f"what it keeps is not shown: {shown(seen)}"
            )

    def test_a_snapshot_brings_everything_back(self) -> None:
        with self._open() as bench, self._open() as other:
            wait(bench.episode("a", FACTS))
            snapshot, entries = bench.memory.snapshot(), bench.memory.entries()
            expect(isinstance(snapshot, bytes), "a snapshot must be bytes")
            found = wait(bench.look_up(QUESTIONS[2]))
            wait(other.start("a"))
            other.memory.restore(snapshot)
            expect(other.memory.entries() == entries, "restored, but the entries differ")
            expect(wait(other.look_up(QUESTIONS[2])) == found, "restored, but a search differs")
            wait(bench.episode("a", OTHERS))
            bench.memory.restore(snapshot)
            expect(bench.memory.entries() == entries, "what came after the snapshot is still there")
            bench.memory.restore(b"")
            expect(not bench.memory.entries(), "an empty snapshot does not empty the memory")
            for broken in (b"no snapshot", snapshot[: len(snapshot) // 2], snapshot[::-1]):
                if snapshot and broken:
                    self._refuses(bench, broken)

    def _refuses(self, bench: Bench, broken: bytes) -> None:
        try:
            bench.memory.restore(broken)
        except AgememError:
            expect(not bench.memory.entries(), "a broken snapshot was restored in part")
        else:
            raise AssertionError(f"restores what is no snapshot: {shown(broken)}")

    def test_the_same_seed_gives_the_same_memory(self) -> None:
        results = []
        for _ in range(2):
            with self._open() as bench:
                wait(bench.episode("a", (*FACTS, *OTHERS)))
                wait(bench.use_every_tool())
                results.append((bench.memory.entries(), bench.memory.snapshot(), bench.results))
        expect(results[0] == results[1], "two runs that were alike end differently")

    def test_sixteen_scopes_at_once_keep_to_themselves(self) -> None:
        secrets = [f"The code of box {n} is {1000 + 37 * n}." for n in range(N_SCOPES)]

        async def live(bench: Bench, n: int) -> None:
            await bench.start(f"scope {n}")
            for text in (secrets[n], *FACTS):
                await bench.add(text)
                await asyncio.sleep(0)
            await bench.end()

        benches = [Bench(self.make, self.model(), make_embedder("hashing")) for _ in secrets]

        async def all_of_them() -> None:
            await asyncio.gather(*(live(bench, n) for n, bench in enumerate(benches)))
            for bench in benches:
                await bench.memory.close()

        for n, bench in enumerate(benches):
            bench.watch(secrets[:n] + secrets[n + 1 :])
        wait(all_of_them())
        for n, bench in enumerate(benches):
            expect(not bench.leaked, f"scope {n} saw {shown(bench.leaked)}")

    # --- what it is fed ---------------------------------------------------------------------

    def test_empty_huge_and_odd_texts_are_survived(self) -> None:
        texts = (*ODD_TEXTS, "word " * (HUGE // 5))
        with self._open() as bench:
            wait(bench.episode("a", texts))
            for tool in bench.memory.tools:
                for text in texts:
                    result = wait(bench.call(tool.name, **_filled(tool, text)))
                    _check_result(result, tool.name)
            entries = bench.memory.entries()
            json.dumps(entries, allow_nan=False).encode()
            for entry in entries:
                expect(bool(str(entry["content"]).strip()), "an entry was stored that says nothing")
            snapshot = bench.memory.snapshot()
            bench.memory.restore(snapshot)
            expect(bench.memory.entries() == entries, "odd texts do not survive a snapshot")

    def test_bad_arguments_are_answered_and_change_nothing(self) -> None:
        with self._open() as bench:
            if not bench.memory.tools:
                raise SkipTest("it has no tools")
            wait(bench.episode("a", FACTS))
            before = bench.memory.entries()
            for tool in bench.memory.tools:
                for arguments in _bad(tool):
                    result = wait(bench.call(tool.name, **arguments))
                    where = f"{tool.name} with {shown(arguments)}"
                    _check_result(result, where)
                    expect(not result.ok, f"{where} counts as a success")
                    expect(bench.memory.entries() == before, f"{where} changed the memory")

    def test_an_unknown_tool_is_answered(self) -> None:
        with self._open() as bench:
            wait(bench.start("a"))
            result = wait(bench.call("Frobnicate_memory", content="x"))
            _check_result(result, "an unknown tool")
            expect(result.status is ToolStatus.UNKNOWN_TOOL, f"its status is {result.status}")

    def test_pinned_messages_stay(self) -> None:
        with self._open() as bench:
            wait(bench.episode("a", FACTS))
            pinned = [message for message in bench.context.messages if message.pinned]
            wait(bench.use_every_tool())
            wait(bench.memory.before_turn(bench.context))
            there = {message.id: message.content for message in bench.context.messages}
            for message in pinned:
                said = f"the pinned {message.kind} message"
                expect(there.get(message.id) == message.content, f"{said} was removed or changed")

    # --- what it costs ----------------------------------------------------------------------

    def test_every_model_and_embedding_call_is_metered(self) -> None:
        with self._open() as bench:
            wait(bench.episode("a", FACTS))
            wait(bench.use_every_tool())
            booked = dict(bench.meter.ledger.roles)
            embedding = booked.pop(Role.EMBEDDING.value, None)
            tokens = embedding.prompt_tokens if embedding is not None else 0
            served = bench.embedder.tokens
            expect(tokens == served, f"embedding: {served} tokens served, {tokens} booked")
            calls = sum(usage.calls for usage in booked.values())
            expect(calls == bench.served.calls, f"{bench.served.calls} model calls, {calls} booked")
            total = sum(usage.prompt_tokens + usage.completion_tokens for usage in booked.values())
            expect(total == bench.served.tokens, f"{bench.served.tokens} tokens, {total} booked")
            expect(Role.AGENT.value not in booked, "the memory books calls as the agent's")

    def test_it_closes_twice_and_leaves_its_folder_whole(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(self.make, self.model(), make_embedder("hashing"), Path(folder))
            wait(bench.episode("a", FACTS))
            snapshot, entries = bench.memory.snapshot(), bench.memory.entries()
            wait(bench.memory.close())
            wait(bench.memory.close())
            again = Bench(self.make, self.model(), make_embedder("hashing"), Path(folder))
            wait(again.start("a"))
            again.memory.restore(snapshot)
            expect(again.memory.entries() == entries, "in the same folder, the entries differ")
            wait(again.memory.close())

    # --- inside -----------------------------------------------------------------------------

    @contextmanager
    def _open(self) -> Iterator[Bench]:
        bench = Bench(self.make, self.model(), make_embedder("hashing"))
        try:
            yield bench
        finally:
            with suppress(Exception):  # a check of its own closes it, and tells
                wait(bench.memory.close())

    def _need(self, bench: Bench, *names: str) -> None:
        missing = [name for name in names if find_tool(bench.memory.tools, name) is None]
        if missing:
            raise SkipTest(f"it has no {', '.join(missing)}")


_METHODS = ("begin", "before_turn", "call", "after_turn", "end_episode", "close")


def _leaks(text: str, secrets: Sequence[str]) -> bool:
    return any(secret in text for secret in secrets)


def _parameters(bench: Bench, name: str) -> set[str]:
    tool = find_tool(bench.memory.tools, name)
    return set(tool.arguments.model_fields) if tool is not None else set()


def _filled(tool: Tool, text: str) -> Json:
    """Arguments in which every text is this one."""
    kinds = tool.schema()["function"]["parameters"].get("properties", {})
    return {name: text for name, kind in kinds.items() if kind.get("type") == "string"}


def _bad(tool: Tool) -> Iterator[Json]:
    """Arguments that the tool's own schema refuses."""
    good: Json = {"content": "x", "memory_id": "x", "query": "x", "criteria": "x", "span": "all"}
    names = tool.arguments.model_fields
    base = {name: good.get(name, True) for name in names if names[name].is_required()}
    candidates = [{}, {**base, "no_such_argument": 1}]
    candidates += [{**base, name: value} for name in names for value in _WRONG]
    nested: Any = "x"
    for _ in range(3000):
        nested = [nested]
    candidates += [{**base, name: nested} for name in names]
    for arguments in candidates:
        try:
            tool.check(arguments)
        except ToolFailure:
            yield arguments
        except (RecursionError, UnicodeError):
            yield arguments


def _check_result(result: object, where: str) -> None:
    if not isinstance(result, ToolResult):
        raise AssertionError(f"{where}: {type(result).__name__}, not a ToolResult")
    expect(isinstance(result.status, ToolStatus), f"{where}: status {result.status!r}")
    expect(bool(result.content), f"{where}: nothing is said to the agent")
    json.dumps([result.content, result.data], allow_nan=False)
