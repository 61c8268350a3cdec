"""One real Ray cluster on this machine, for the tests that need no other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from clusters import new_cluster


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """A cluster of two CPUs."""
    cluster = new_cluster(num_cpus=2)
    yield cluster.address
    cluster.shutdown()
