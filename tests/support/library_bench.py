"""A bench for memories that wrap a library, and rules that answer their models.

The rules know nothing of any prompt's wording. They look for statements of one form, `The lantern
of Zorla is amber.`, and for candidates written as `id` and `text`, be it as JSON or as Python.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from agemem_eval.baselines.longterm import Exchange, LongTermMemory
from agemem_eval.harness.ledger import Ledger, Role
from agemem_eval.harness.metering import Embedder, Meter, MeteredEmbedder, MeteredModel
from agemem_eval.harness.models import ModelBase, estimate_usage
from agemem_eval.harness.plan import make_embedder
from agemem_eval.harness.trace import Trace
from agemem_eval.harness.types import Completion, Model, ModelInfo, Request, Scope, Services

Json = dict[str, Any]
STATEMENT = re.compile(r"The ([a-z]+) of (Z[a-z]+) is ([a-z]+)\.")
_CANDIDATE = re.compile(
    r"""['"]id['"]:\s*['"](\d+)['"],\s*"""
    r"""['"]text['"]:\s*['"](The [a-z]+ of Z[a-z]+ is [a-z]+\.)['"]"""
)
GARBLED = "GARBLED"  # a message with this word is answered with prose
OWNERS = ("Zorla", "Zbren", "Zimra", "Zolt", "Zuvi")
THINGS = ("lantern", "cellar", "rooster", "violin", "harbour")
CARELESS = ("Zghost", "Znumber", "Zmute", "Ztwin", "Zafter", "Zodd")
VALUES = ("amber", "hollow", "silent", "northern", "broken", "gone")

Pair = tuple[str, str]


def conversation(seed: int, length: int = 30) -> list[Pair]:
    """Pairs of messages with facts, repetitions, contradictions, small talk and odd cases."""
    rng = random.Random(seed)
    pairs = []
    for _ in range(length):
        said = [
            f"The {rng.choice(THINGS)} of {rng.choice(OWNERS)} is {rng.choice(VALUES)}."
            for _ in range(rng.choice((0, 1, 1, 2, 3)))
        ]
        if rng.random() < 0.3:
            said.append(f"The oracle of {rng.choice(CARELESS)} is amber.")
        reply = rng.choice(("I see.", "go on", f"The tower of {rng.choice(OWNERS)} is silent."))
        pairs.append((" ".join(["Listen!", *said]), reply))
    return pairs


def decide(facts: Sequence[str], memories: Sequence[Json]) -> list[Json]:
    """What a careful model would answer, and for some owners a careless one."""
    events: list[Json] = []
    for fact in facts:
        thing, owner, value = _parts(fact)
        about = [m for m in memories if _parts(m["text"])[:2] == (thing, owner)]
        if owner == "Zghost":  # an id that was made up
            events.append({"event": "UPDATE", "id": "99", "text": fact})
            events.append({"event": "DELETE", "id": "no-such-id", "text": fact})
        elif owner == "Ztwin":  # said before, added again
            events.append({"event": "ADD", "id": "0", "text": fact})
        elif owner == "Zafter" and memories:  # an update of what is deleted just before
            first = memories[0]["id"]
            events.append({"event": "DELETE", "id": first, "text": memories[0]["text"]})
            events.append({"event": "UPDATE", "id": first, "text": fact})
        elif owner == "Zodd":  # nothing of it is an operation
            events += [{"event": "add", "text": fact}, {"event": "ADD", "text": ""}, {}]
        elif owner == "Znumber":  # an id that is no string
            events.append({"event": "UPDATE", "id": 0, "text": fact})
        elif owner == "Zmute":  # a deletion that does not repeat the text
            events += [{"event": "DELETE", "id": m["id"]} for m in memories]
        elif not about:
            events.append({"event": "ADD", "id": None, "text": fact})
        elif about[0]["text"] == fact:
            events.append({"event": "NONE", "id": about[0]["id"], "text": fact})
        elif value == "gone":
            events.append({"event": "DELETE", "id": about[0]["id"], "text": about[0]["text"]})
        else:
            change = {"event": "UPDATE", "id": about[0]["id"], "text": fact}
            events.append({**change, "old_memory": about[0]["text"]})
    return events


def _parts(statement: str) -> tuple[str, str, str]:
    match = STATEMENT.fullmatch(statement)
    assert match is not None, statement
    return match.group(1), match.group(2), match.group(3)


@dataclass
class Clerk:
    """A server's policy: answers extractions and decisions by what is in the prompt."""

    garble_decisions: bool = False
    decisions: list[tuple[list[str], list[tuple[str, str]]]] = field(default_factory=list)

    def __call__(self, body: Json) -> str:
        text = "\n".join(str(message["content"]) for message in body["messages"])
        if "DELETE" not in text:
            said = str(body["messages"][-1]["content"])
            if GARBLED in text:
                return "I would rather talk about the weather."
            return json.dumps({"facts": [m.group(0) for m in STATEMENT.finditer(said)]})
        shown = [(m.group(1), m.group(2)) for m in _CANDIDATE.finditer(text)]
        facts = [m.group(0) for m in STATEMENT.finditer(_CANDIDATE.sub("", text))]
        self.decisions.append((facts, shown))
        if self.garble_decisions:
            return '{"memory": [{"event": "ADD", "text": '
        memories = [{"id": id_, "text": text} for id_, text in shown]
        return json.dumps({"memory": decide(facts, memories)})


class WorkModel(ModelBase):
    """A model without weights that keeps every sentence it is told; it reads `work` alone."""

    info = ModelInfo("work", identity={"provider": "test", "name": "work"})

    def __init__(self) -> None:
        self.requests: list[Request] = []

    async def generate(self, request: Request) -> Completion:
        self.requests.append(request)
        text = json.dumps(self._answer(request.work or {}))
        return Completion(text, estimate_usage(request, text))

    def _answer(self, work: Json) -> Json:
        if work.get("do") == "extract_facts":
            return {"facts": _sentences(work["messages"])}
        if work.get("do") == "decide":
            known = [memory["text"] for memory in work["memories"]]
            new = [fact for fact in work["facts"] if fact not in known]
            return {"memory": [{"event": "ADD", "id": None, "text": fact} for fact in new]}
        if work.get("do") == "manage":
            known = [memory["content"] for memory in work["memories"]]
            new = [text for text in _sentences(work["messages"]) if text not in known]
            insert = [{"kind": "semantic", "content": text} for text in new]
            return {"insert": insert, "patch": [], "remove": []}
        return {}


def _sentences(messages: Sequence[Json]) -> list[str]:
    said = (m["content"] for m in messages if m["role"] == "user")
    parts = (part.strip() for text in said for part in text[:2000].split(". "))
    return [part for part in parts if part]


class Life:
    """A memory, its services and its books."""

    def __init__(
        self,
        make: Callable[..., LongTermMemory],
        model: Model,
        embedder: Embedder | None = None,
        **options: str,
    ) -> None:
        self.meter = Meter(Ledger(), Trace())
        self.embedder = embedder or make_embedder("hashing")
        services = Services(
            MeteredModel(model, self.meter, Role.MEMORY_WRITE),
            MeteredEmbedder(self.embedder, self.meter),
            None,
        )
        self.memory = make(services, **options)

    async def begin(self, scope: str = "a") -> Life:
        await self.memory.begin(Scope(scope, "remember what you are told", self.meter.trace))
        return self

    async def tell(self, observation: str, action: str | None = "go on") -> int:
        """One exchange; gives the number of model calls it took."""
        before = self.calls
        await self.memory.remember(Exchange(observation, action, self.meter.trace.step))
        self.meter.trace.step += 1
        return self.calls - before

    @property
    def calls(self) -> int:
        roles = self.meter.ledger.roles
        return sum(roles[r].calls for r in (Role.MEMORY_WRITE, Role.MEMORY_READ) if r in roles)

    @property
    def faults(self) -> list[str]:
        return [event["op"] for event in self.meter.trace.of("memory_fault")]

    def texts(self) -> list[str]:
        return [entry["content"] for entry in self.memory.entries()]
