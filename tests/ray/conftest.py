"""Real Ray clusters on this machine; nothing here is imported where Ray is not installed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from processes import children


def new_cluster(**head: Any) -> Any:
    """A cluster of one node, to which others can be added."""
    from ray.cluster_utils import Cluster

    arguments = {"include_dashboard": False, "object_store_memory": 80 << 20, **head}
    return Cluster(initialize_head=True, head_node_args=arguments)


def lose(cluster: Any, node: Any) -> None:
    """End a node as a power failure does: its daemon and all that it started, at once."""
    (raylet,) = node.all_processes["raylet"]
    workers = children(raylet.process.pid)
    cluster.remove_node(node, allow_graceful=False)
    for pid in workers:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """A cluster of two CPUs."""
    cluster = new_cluster(num_cpus=2)
    yield cluster.address
    cluster.shutdown()
