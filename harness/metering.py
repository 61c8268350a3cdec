"""Metered access to models and embedders: nothing a memory does escapes the ledger."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from .errors import ModelError
from .ledger import Ledger, Role, Usage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .tools import Tool
    from .trace import Trace
    from .types import ChatMessage, Completion, Json, Model, ModelInfo, Sampling


class Embedder(Protocol):
    """Turns texts into unit vectors; a vector depends on its text alone.

    One that takes more than microseconds says so by the attribute `blocks = True`: it is then
    asked in a thread, which the event loop does not wait for.
    """

    name: str
    identity: Json  # hashed into a result's identity
    dim: int
    theta_f: float  # similarity from which Filter_context takes a message to match

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of shape (len(texts), dim); the zero vector for an empty text."""
        ...

    def count_tokens(self, text: str) -> int:
        """Tokens the embedder reads of a text."""
        ...


@contextmanager
def telling_failure(trace: Trace, role: Role, model: str) -> Iterator[None]:
    """Leave an event of a model call that failed for good."""
    clock = time.perf_counter()
    try:
        yield
    except ModelError as error:
        latency = round(time.perf_counter() - clock, 6)
        trace.emit(
            "call_failed",
            role=role.value,
            model=model,
            kind=error.kind,
            problem=str(error),
            latency_s=latency,
        )
        raise


class Meter:
    """Where metered calls are booked: the ledger and trace of the episode now running.

    A memory may outlive an episode, so the loop points the meter to each episode in turn.
    """

    def __init__(self, ledger: Ledger, trace: Trace) -> None:
        self.ledger = ledger
        self.trace = trace
        self._bound: dict[int, Model] = {}  # by the identity of what they are bound from

    def point_to(self, ledger: Ledger, trace: Trace) -> None:
        """Book into another episode, or another try of one, from now on."""
        self.ledger, self.trace = ledger, trace
        self._bound.clear()

    def bind(self, base: Model, bound: Model) -> None:
        """Calls of `base` go to the model bound to the present episode (`Model.bind`)."""
        self._bound[id(base)] = bound

    def resolve(self, base: Model) -> Model:
        """The model that answers for `base` in the present episode."""
        if id(base) not in self._bound:  # not the agent's own: a memory's or a judge's
            anew = getattr(base, "anew", None)  # a `CachedModel` counts requests within a try
            self._bound[id(base)] = base if anew is None else anew()
        return self._bound[id(base)]


class MeteredModel:
    """A model that books each call under a role and writes it to the trace."""

    def __init__(self, model: Model, meter: Meter, role: Role) -> None:
        self._model = model
        self._meter = meter
        self.role = role

    @property
    def info(self) -> ModelInfo:
        """What the model is."""
        return self._model.info

    def as_role(self, role: Role) -> MeteredModel:
        """The same model, booked under another role."""
        return MeteredModel(self._model, self._meter, role)

    def count_tokens(self, text: str) -> int:
        """Tokens of a text."""
        return self._model.count_tokens(text)

    async def generate(
        self,
        messages: Sequence[ChatMessage],
        sampling: Sampling,
        work: Json | None = None,
        tools: tuple[Tool, ...] = (),
    ) -> Completion:
        """Call the model and book it.

        Args:
            messages: The prompt.
            sampling: How to draw the completion.
            work: See `Request.work`.
            tools: Functions to offer natively.

        Raises:
            ModelError: when the endpoint failed for good.
        """
        from .types import Request  # types imports this module for its own annotations

        model = self._meter.resolve(self._model)
        request = Request(messages, sampling, self.role, tools, work=work)
        clock = time.perf_counter()
        with telling_failure(self._meter.trace, self.role, self.info.name):
            completion = await model.generate(request)
        self._meter.ledger.add(self.role, completion.usage)
        self._meter.trace.emit(
            "model_call",
            role=self.role.value,
            model=self.info.name,
            text=completion.text,
            tool_calls=[[call.name, call.arguments, call.id] for call in completion.tool_calls],
            prompt_tokens=completion.usage.prompt_tokens,
            completion_tokens=completion.usage.completion_tokens,
            estimated=completion.usage.estimated,
            latency_s=round(time.perf_counter() - clock, 6),
        )
        return completion


class SharedEmbedder:
    """An embedder that the event loop and threads may ask: it answers one at a time.

    Args:
        inner: What makes the vectors; it need not know of threads.
    """

    def __init__(self, inner: Embedder) -> None:
        self.inner = inner
        self.name, self.identity = inner.name, inner.identity
        self.dim, self.theta_f = inner.dim, inner.theta_f
        self.blocks = bool(getattr(inner, "blocks", False))
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="embedder")  # starts when used

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See `Embedder.embed`."""
        with self._lock:
            return self.inner.embed(texts)

    def count_tokens(self, text: str) -> int:
        """See `Embedder.count_tokens`."""
        with self._lock:
            return self.inner.count_tokens(text)

    def read(self, texts: Sequence[str]) -> tuple[int, NDArray[np.float32]]:
        """The tokens of some texts, and their vectors."""
        with self._lock:
            return sum(map(self.inner.count_tokens, texts)), self.inner.embed(texts)

    async def aread(self, texts: Sequence[str]) -> tuple[int, NDArray[np.float32]]:
        """As `read`; a slow embedder is asked in a thread of its own, in the order of calls."""
        if not self.blocks:
            return self.read(texts)
        return await asyncio.get_running_loop().run_in_executor(self._thread, self.read, texts)


def shared(embedder: Embedder) -> SharedEmbedder:
    """The embedder for several to use."""
    return embedder if isinstance(embedder, SharedEmbedder) else SharedEmbedder(embedder)


class MeteredEmbedder:
    """An embedder that books the tokens it reads."""

    def __init__(self, embedder: Embedder, meter: Meter) -> None:
        self._embedder = shared(embedder)
        self._meter = meter

    @property
    def name(self) -> str:
        """Name of the embedder."""
        return self._embedder.name

    @property
    def identity(self) -> Json:
        """What changes its vectors."""
        return self._embedder.identity

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self._embedder.dim

    @property
    def theta_f(self) -> float:
        """The embedder's own threshold for Filter_context."""
        return self._embedder.theta_f

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of shape (len(texts), dim), booked as one call.

        Every other episode waits meanwhile; where one can wait, `aembed` lets them go on.
        """
        if not texts:
            return np.zeros((0, self.dim), dtype=np.float32)
        tokens, vectors = self._embedder.read(texts)
        self._meter.ledger.add(Role.EMBEDDING, Usage(tokens, 0))
        return vectors

    async def aembed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """As `embed`, beside the event loop where the embedder is slow."""
        if not texts:
            return np.zeros((0, self.dim), dtype=np.float32)
        ledger = self._meter.ledger  # of the episode that asks
        tokens, vectors = await self._embedder.aread(texts)
        ledger.add(Role.EMBEDDING, Usage(tokens, 0))
        return vectors
