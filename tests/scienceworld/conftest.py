"""Shared by the tests of ScienceWorld: one environment with one Java for all that only play."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agemem_eval.envs.scienceworld.env import ScienceworldEnvironment


@pytest.fixture(scope="session")
def played() -> Iterator[ScienceworldEnvironment]:
    """An environment to play with; tests that harm their Java make their own."""
    environment = ScienceworldEnvironment()
    yield environment
    environment.close()
