"""A memory that raises where it is told to."""

from __future__ import annotations

from typing import Any

from agemem_eval.baselines.none import NoMemory
from agemem_eval.harness.types import Scope, Services


class BrokenMemory(NoMemory):
    """Raises `ValueError` in the method named by the option `where`."""

    def __init__(self, services: Services, *, where: str) -> None:
        self.where = where
        self._raise("init")
        super().__init__(services)

    def _raise(self, method: str) -> None:
        if self.where == method:
            raise ValueError(f"broken in {method}")

    async def begin(self, scope: Scope) -> None:
        self._raise("begin")
        await super().begin(scope)

    def entries(self) -> list[dict[str, Any]]:
        self._raise("entries")
        return super().entries()

    def snapshot(self) -> bytes:
        self._raise("snapshot")
        return super().snapshot()

    async def close(self) -> None:
        self._raise("close")
        await super().close()
