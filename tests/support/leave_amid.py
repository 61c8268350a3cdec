"""A program that ends with 3 while its model decodes, and closes nothing."""

from __future__ import annotations

import asyncio
import sys

from agemem_eval.harness.models import make_model
from agemem_eval.harness.types import ChatMessage, Request, Sampling


async def leave(spec: str) -> None:
    model = make_model(spec)
    decoder = model._asked.decoder  # type: ignore[attr-defined]
    decoder.stop = frozenset()
    said = [ChatMessage("user", "Go to shelf 1. " * 40)]
    asking = asyncio.ensure_future(model.generate(Request(said, Sampling(max_tokens=20_000))))
    while not decoder.rows:
        await asyncio.sleep(0.001)
    assert not asking.done()
    sys.exit(3)


if __name__ == "__main__":
    asyncio.run(leave(sys.argv[1]))
