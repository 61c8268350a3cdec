"""The bench, begun."""

from __future__ import annotations

import pytest
from memory_bench import Bench


@pytest.fixture
async def bench() -> Bench:
    return await Bench().begin()
