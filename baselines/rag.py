"""RAG: every observation is stored as it is, and the most similar ones are shown before each step.

The short-term baseline of the AgeMem paper (arXiv 2601.01885, section 4); no model is asked.
"""

from __future__ import annotations

from ..harness.types import Services
from .longterm import Exchange, LongTermMemory


class Rag(LongTermMemory):
    """Stores each observation verbatim; before each step, the most similar come back.

    Args:
        services: Metered embedder, and where to keep the store.
        top_k: Entries that are put into the context before each step.
    """

    name = "rag"
    uses_model = False

    def __init__(self, services: Services, *, top_k: str = "3") -> None:
        super().__init__(services, top_k=top_k, version=1)

    async def remember(self, exchange: Exchange) -> None:
        """Store the observation, unless it says nothing or is stored already."""
        text = exchange.observation.strip()
        if not text:
            return
        alike = self._store.search((await self._embed([text]))[0], 1)
        if not alike or alike[0][0].content != text:  # seen again, it says nothing new
            await self._add(text, {"step": exchange.step})
