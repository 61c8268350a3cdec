"""Models that answer `inc`, and endpoints that are down, always or now and then."""

from __future__ import annotations

from typing import Any

from agemem_eval.harness.errors import ModelError
from agemem_eval.harness.ledger import Usage
from agemem_eval.harness.models import ModelBase
from agemem_eval.harness.types import Completion, ModelInfo, Request


class Inc(ModelBase):
    """Says `inc` after `delay` seconds; the first `fail` calls of the process find it down."""

    execution_options = ("delay", "fail")

    def __init__(self, name: str = "", *, delay: str = "0", fail: str = "0") -> None:
        self.info = ModelInfo("inc", identity={"name": "inc"})
        self.delay, self.left = float(delay), int(fail)
        self.calls = 0

    async def generate(self, request: Request) -> Completion:
        import asyncio

        self.calls += 1
        await asyncio.sleep(self.delay)
        if self.left > 0:
            self.left -= 1
            raise ModelError("the endpoint is down")
        return Completion("<answer>inc</answer>", Usage(100, 5))


class Down(Inc):
    """An endpoint that never answers."""

    def __init__(self, name: str = "", **options: Any) -> None:
        super().__init__(name, fail="1000000000")


class Outage(Inc):
    """An endpoint that is down for the next `calls_down` calls, over all instances."""

    calls_down = 0

    async def generate(self, request: Request) -> Completion:
        if self.calls_down > 0:
            type(self).calls_down -= 1
            raise ModelError("the endpoint is down")
        return await super().generate(request)
