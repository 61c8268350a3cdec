"""A traced episode made by hand, and a judge that talks to a server on loopback."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from agemem_eval.harness.ledger import Ledger, Role
from agemem_eval.harness.metering import Meter, MeteredModel
from agemem_eval.harness.models.cache import ReplyCache, cached
from agemem_eval.harness.models.openai import OpenAIModel
from agemem_eval.harness.quality.judge import Judge
from agemem_eval.harness.quality.score import Evidence
from agemem_eval.harness.testserver import ChatServer
from agemem_eval.harness.trace import Trace
from agemem_eval.harness.types import Gold

FACTS = ("Silver Heron: It was built in Port Tallow.", "Nora Vell: She was born in 1901.")
GOLD = Gold("Where was the Silver Heron built?", "Port Tallow", FACTS)


class Episode:
    """Builds the events of an episode and the evidence of it."""

    def __init__(self) -> None:
        self.trace = Trace()
        self._ids = 0

    def message(self, text: str, kind: str = "observation") -> str:
        self._ids += 1
        id_ = f"m{self._ids}"
        fields = {"id": id_, "role": "user", "kind": kind, "text": text}
        self.trace.emit("message", **fields, tokens=1, pinned=False)
        return id_

    def remove(self, *ids: str) -> None:
        self.trace.emit("remove", ids=list(ids), reason="filter")

    def retrieve(self, *contents: str) -> None:
        ids = [str(place) for place in range(len(contents))]
        more = {"query": "q", "contents": list(contents), "changed": False}
        self.trace.emit("memory", op="retrieve", ids=ids, **more)

    def complete(self, text: str = "<answer>x</answer>") -> None:
        self.trace.emit("completion", text=text)

    def act(self, action: str, observation: str = "") -> None:
        self.trace.emit("action", action=action, observation=observation)

    def evidence(self, *contents: str, **changes: Any) -> Evidence:
        entries = [{"id": str(i), "content": c, "metadata": {}} for i, c in enumerate(contents)]
        fields: dict[str, Any] = {
            "gold": GOLD,
            "before": {},
            "entries": entries,
            "events": self.trace.events,
            "success": False,
            "answer": None,
        }
        return Evidence(**(fields | changes))


@asynccontextmanager
async def judging(
    reply: Callable[[dict[str, Any]], str], cache_dir: Path | None = None, **options: Any
):
    """A server that judges, the judge that asks it, its ledger and its trace."""
    async with ChatServer(reply) as server:
        model = cached(
            OpenAIModel("judge", base_url=server.url, timeout_s=5, max_retries=0, **options),
            None if cache_dir is None else ReplyCache(cache_dir),
        )
        ledger, trace = Ledger(), Trace()
        metered = MeteredModel(model, Meter(ledger, trace), Role.AGENT)
        try:
            yield server, Judge(metered, trace), ledger, trace
        finally:
            await model.close()
