"""Ray clusters of several nodes on this machine. Ray is imported when one is wanted."""

from __future__ import annotations

import os
import signal
from typing import Any

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
