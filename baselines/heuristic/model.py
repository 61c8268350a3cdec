"""`heuristic`: a model that writes for memories by fixed rules, without weights or endpoint."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from ...harness.errors import UsageError
from ...harness.ledger import Role
from ...harness.models import ModelBase, estimate_usage, require_no_name
from ...harness.types import Completion, Json, ModelInfo, Request
from ..summary import extract
from . import decisions, facts, graph, managing, notes
from .text import list_of, text_of

RULES_VERSION = 1  # changes with any rule that could change an answer
MAX_SUMMARY = 4096  # tokens
_WORK: dict[str, Callable[[Json], Json]] = {
    "extract_facts": lambda w: {"facts": facts.extract_facts(w.get("messages"))},
    "decide": lambda w: {
        "memory": [asdict(d) for d in decisions.decide(w.get("facts"), w.get("memories"))]
    },
    "decide_one": lambda w: decisions.decide_one(w.get("fact"), w.get("memories")),
    "entities": lambda w: {"entities": graph.entities(w.get("text"))},
    "relations": lambda w: {"relations": graph.relations(w.get("text"), w.get("entities"))},
    "conflicts": lambda w: {"obsolete": graph.conflicts(w.get("new"), w.get("existing"))},
    "note": lambda w: notes.note(w.get("content")),
    "evolve": lambda w: notes.evolve(w.get("note"), w.get("neighbours")),
    "manage": lambda w: managing.manage(w.get("messages"), w.get("memories"), w.get("deletes")),
}


class HeuristicModel(ModelBase):
    """Answers what memories ask for by rules, from `Request.work` alone; it cannot act.

    Its answers have the form that the memories demand of any model, and no more tokens than they
    allow: a list that is too long loses its last items.
    """

    info = ModelInfo(
        "heuristic (rules)",
        writes=True,
        identity={"provider": "heuristic", "rules": RULES_VERSION},
    )

    def __init__(self, name: str = "") -> None:
        require_no_name("heuristic", name)

    async def generate(self, request: Request) -> Completion:
        """Answer one request of a memory.

        Raises:
            UsageError: for a request that is not a memory's, or not in machine-readable form.
        """
        if request.role is Role.AGENT:
            raise UsageError(
                "the model 'heuristic' cannot act: choose another --model, and this one as "
                "--memory-model"
            )
        text = self._answer(request.work, request.role, request.sampling.max_tokens)
        return Completion(text, estimate_usage(request, text))

    def _answer(self, work: Any, role: Role, max_tokens: int) -> str:
        do = work.get("do") if isinstance(work, dict) else None
        if do == "summarise":
            return self._summary(work, max_tokens)
        answer = _WORK.get(do) if isinstance(do, str) else None
        if answer is None:
            raise UsageError(
                f"the model 'heuristic' has no rule for this request ({role.value}): choose "
                "another --memory-model"
            )
        return self._fitting(answer(work), max_tokens)

    def _summary(self, work: Json, max_tokens: int) -> str:
        asked = work.get("max_tokens")
        if isinstance(asked, int) and not isinstance(asked, bool):
            max_tokens = min(max_tokens, asked)
        texts = [text_of(item) for item in list_of(work.get("texts"))]
        return extract(texts, max(1, min(max_tokens, MAX_SUMMARY)), self.count_tokens)

    def _fitting(self, answer: Json, max_tokens: int) -> str:
        """The answer as JSON; the last items of its longest list go until it fits."""
        text = _json(answer)
        lists = [name for name, value in answer.items() if isinstance(value, list)]
        while lists and self.count_tokens(text) > max_tokens:
            name = max(lists, key=lambda name: (len(answer[name]), name))
            items = answer[name]
            if not items:
                break
            excess = self.count_tokens(text) - max_tokens
            share = max(1, len(items) * excess // (2 * self.count_tokens(text)))
            answer = {**answer, name: items[: len(items) - share]}
            text = _json(answer)
        return text


def _json(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)
