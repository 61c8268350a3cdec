"""Memories that only remember which episodes they saw, or fail when told to."""

from __future__ import annotations

import json
from typing import Any

from agemem_eval.harness.errors import InfraError
from agemem_eval.harness.types import Outcome, Scope, Services


class Diary:
    """One entry an episode; no tools. `fail` names a method that raises."""

    name = "diary"
    instructions = ""
    tools = ()
    begun = 0  # over all instances of this process

    def __init__(self, services: Services, *, fail: str = "", times: str = "1000000") -> None:
        self.identity = {"name": "diary"}
        self._fail, self._times = fail, int(times)
        self._directory = services.directory
        self._entries: list[dict[str, Any]] = []
        self._check("init")

    def _check(self, what: str) -> None:
        if self._fail == what and self._times > 0:
            self._times -= 1
            raise OSError(f"no {what} today")

    async def begin(self, scope: Scope) -> None:
        self._check("begin")
        type(self).begun += 1
        if self._directory is not None:  # ahead of the last commit if this episode never ends
            (self._directory / "ahead").write_text(scope.id)

    async def before_turn(self, context: Any) -> None:
        self._check("before_turn")

    async def call(self, call: Any, context: Any) -> Any:
        raise AssertionError("it has no tools")

    async def after_turn(self, turn: Any) -> None:
        self._check("after_turn")

    async def end_episode(self, outcome: Outcome) -> None:
        self._entries.append({"id": str(len(self._entries)), "content": outcome.status})
        self._check("end_episode")

    def entries(self) -> list[dict[str, Any]]:
        return self._entries

    def snapshot(self) -> bytes:
        self._check("snapshot")
        return json.dumps(self._entries).encode()

    def restore(self, snapshot: bytes) -> None:
        self._check("restore")
        self._entries = json.loads(snapshot) if snapshot else []

    async def close(self) -> None:
        self._check("close")


class FarAway(Diary):
    """Kept in a server that is away when it is made the 2nd and 3rd time, and at each close."""

    made = 0

    def __init__(self, services: Services) -> None:
        type(self).made += 1
        self._answer(self.made not in (2, 3))
        super().__init__(services)

    def _answer(self, here: bool) -> None:
        if not here:
            raise InfraError("the server of the memory is away")

    async def close(self) -> None:
        self._answer(here=False)
