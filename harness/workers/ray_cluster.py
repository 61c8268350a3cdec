"""A Ray cluster: found or started, asked for actors, left as it was."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

from ..errors import MissingExtraError, UsageError, WorkerError
from .ray_actor import WorkerActor
from .ray_guard import Guard

REACH_TIMEOUT_S = 5.0
STORE_BYTES = 80 << 20  # of a cluster of the run's own: nothing is kept in Ray's object store
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_AUTO_CONNECT": "0",  # or a call after the end would start another cluster
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # or Ray warns of what it will do in the future
}

_log = logging.getLogger("agemem_eval.ray")


class NotPlacedError(WorkerError):
    """Ray found no place for an actor, or lost the place before the actor ran."""


class Cluster:
    """The connection to Ray.

    Args:
        address: As `ray.init` takes it; None: `$RAY_ADDRESS`, or a cluster started here.
        cpus: CPUs that a worker takes.

    Raises:
        MissingExtraError: if Ray is not installed.
    """

    def __init__(self, address: str | None, cpus: float) -> None:
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        try:
            import ray
        except ImportError as error:
            raise MissingExtraError("Ray", "ray") from error
        self._ray: Any = ray
        self._address = address or os.environ.get("RAY_ADDRESS") or None
        self._cpus = cpus
        self._connected = self._ours = False
        self._guard: Guard | None = None
        self.counted = self._address is not None or ray.is_initialized()  # whether CPUs are
        self.bind: str | None = None  # where actors can reach this process

    def connect(self) -> None:
        """Join the cluster, or start one on this machine; once.

        Raises:
            UsageError: if there is no cluster at the address, or one of other versions.
            WorkerError: if none can be started.
        """
        if self._connected:
            return
        if not self._ray.is_initialized():
            self._guard = None if self.counted else Guard()
            self._ours = True  # what a start that fails leaves half made too
            try:
                self._init()
            finally:
                if self._guard is not None:
                    self._guard.watch()
        self._connected = True
        self._hush()
        client = self._address is not None and "://" in self._address
        if not self.counted:
            self.bind = "127.0.0.1"
        elif not client:  # a client's machine is not part of the cluster's network
            self.bind = self._ray.util.get_node_ip_address()

    def actor(self, number: int, alone: bool) -> Any:
        """A new actor, somewhere.

        One that plays a single episode again takes no CPU of the count: every worker may be in use.
        """
        options: dict[str, Any] = {"num_cpus": self._cpus, "scheduling_strategy": "SPREAD"}
        if alone or not self.counted:
            options["num_cpus"] = 0
        nodes = self._nodes() if alone and self.counted else []
        if nodes:
            affinity = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
            options["scheduling_strategy"] = affinity(nodes[number % len(nodes)], soft=True)
        return self._ray.remote(max_restarts=0)(WorkerActor).options(**options).remote()

    def kill(self, actor: Any) -> None:
        """End an actor at once; nothing if it is gone already."""
        if not self._connected:
            return
        with contextlib.suppress(ValueError, RuntimeError, self._ray.exceptions.RayError):
            self._ray.kill(actor)

    def places(self, held: int) -> int:
        """How many more workers fit beside the `held` ones."""
        if self._cpus == 0:
            return 1_000_000
        free = self._ray.available_resources().get("CPU", 0.0)
        total = self._ray.cluster_resources().get("CPU", 0.0)
        return int(max(0, min(free // self._cpus, total // self._cpus - held)))

    def room(self) -> str:
        """What was asked for and what is free."""
        free = self._ray.available_resources().get("CPU", 0.0)
        total = self._ray.cluster_resources().get("CPU", 0.0)
        return (
            f"it asked for {self._cpus:g} CPU, and {free:g} of the cluster's {total:g} are free; "
            "free some, add nodes, or let a worker take less (--ray-cpus)"
        )

    def explain(self, error: Exception) -> WorkerError:
        """What Ray says of an actor that could not be made or died, in one line.

        `NotPlacedError` for one that died, which before its first reply is no fault of what it ran.
        """
        text = " ".join(str(error).split()) or type(error).__name__
        if "No module named 'agemem_eval" in text:
            return WorkerError(
                "agemem_eval cannot be imported on a node of the cluster: install agemem-eval in "
                "the Python environment of its Ray, or submit the run with a runtime environment "
                'that does (ray job submit --runtime-env-json \'{"pip": ["agemem-eval"]}\')'
            )
        died = isinstance(error, self._ray.exceptions.RayActorError)
        return NotPlacedError(_cause(text)) if died else WorkerError(_cause(text))

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        if self._ours:
            with _own_signals():
                self._ray.shutdown()
        if self._guard is not None:  # also after a start that failed half way
            self._guard.close()
        self._connected = self._ours = False

    def _hush(self) -> None:
        """Log what Ray prints of dead workers and nodes: standard output is ours.

        No option of Ray turns that off (2.60), so its function is replaced where there is one.
        """
        module = self._ray._private.worker
        if hasattr(module, "print_to_stdstream"):
            module.print_to_stdstream = lambda data, **_: _log.debug(" ".join(data["lines"]))

    def _nodes(self) -> list[str]:
        nodes = self._ray.nodes()
        return sorted(
            n["NodeID"] for n in nodes if n["Alive"] and n["Resources"].get("CPU", 0) >= 1
        )

    def _init(self) -> None:
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if self._address is not None:
            _reach(self._address)
            what = f"no Ray cluster at {self._address}"
        else:
            if threading.current_thread() is not threading.main_thread():
                raise UsageError("Ray starts a cluster only from the main thread of a program")
            quiet |= {"address": "local", "num_cpus": 1, "include_dashboard": False}
            quiet["object_store_memory"] = STORE_BYTES
            if "RAY_AUTH_TOKEN_PATH" not in os.environ:  # Ray would write one, for all to read
                os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
            what = "Ray cannot start a cluster here"
        try:
            logging.getLogger("ray").setLevel(logging.ERROR)
            with _own_signals():
                self._ray.init(**{"address": self._address, **quiet})
        except ImportError as error:  # a client's address needs more of Ray
            raise MissingExtraError("Ray's client", "ray") from error
        except (ConnectionError, ValueError) as error:
            raise UsageError(f"{what}: {one_line(error)}") from error
        except Exception as error:  # Ray raises RuntimeError and more for what it meets
            text = one_line(error)
            if "Version mismatch" in text:
                raise UsageError(
                    f"the cluster at {self._address} has another Ray or Python; use the same as "
                    f"there: {text}"
                ) from error
            raise WorkerError(f"{what}: {text}") from error


def one_line(error: BaseException) -> str:
    """One of Ray's messages, which have many lines."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 600 else f"{text[:600]}…"


def _cause(text: str) -> str:
    """What of Ray's message on a dead actor tells why it died."""
    for before in ("The actor is dead because ", "The actor died because ", "Worker exit detail: "):
        text = text.rpartition(before)[2]
    return text.partition(" Some common causes include")[0]


def _reach(address: str) -> None:
    """Refuse an address at which nobody listens; Ray itself would try for a minute.

    Raises:
        UsageError: naming the address.
    """
    host, _, port = address.rpartition("://")[2].partition("/")[0].rpartition(":")
    if not host or not port.isdecimal():  # `auto`, or what Ray itself must judge
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACH_TIMEOUT_S).close()
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"no Ray cluster at {address}: {error}; start one with `ray start --head`, or leave "
            "the address out for one of the run's own on this machine"
        ) from error


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Keep this process's handlers: Ray sets one for SIGTERM that exits at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)
