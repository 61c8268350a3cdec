"""What draws the rollouts: the weights that are trained, in this process or by a vLLM server.

In this process they are decoded by torch, or a copy of them by numpy, which on a CPU is faster for
models of a few million weights. Each is a harness `Model`, which `Player` plays with, and is told
when the weights have changed:

    sampler = make_sampler(recipe, learner, base=folder, scratch=run / "adapters")
    await sampler.sync()    # after each update, and once after a checkpoint was restored
    await sampler.close()
"""

from __future__ import annotations

import asyncio
import inspect
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from ..harness.errors import DataError, UsageError, unknown_name
from ..harness.models import ModelBase
from ..harness.models.openai import checked_options
from ..harness.models.vllm import VllmModel
from ..harness.records import stable_hash
from ..harness.types import Completion, EpisodeView, Model, ModelInfo, Request
from .recipe import Recipe

if TYPE_CHECKING:
    from ..harness.models.hf.weights import Loaded

# Of `vllm:`, those that the recipe decides, or that have no meaning while weights change.
_DECIDED = ("name", "lora", "max_lora_rank", "card", "seed", "revision", "max_in_flight")


class Trained(Protocol):
    """What a sampler needs of the learner."""

    loaded: Loaded

    def refresh(self) -> None:
        """Bring `loaded` up to date, where it is a copy."""
        ...

    def save(self, folder: Path) -> None:
        """Write the weights, or the adapter where that is what is trained."""
        ...


class Sampler(Model, Protocol):
    """A model whose weights change between rounds of rollouts."""

    async def sync(self) -> None:
        """Draw with the learner's weights as they now are; no request may be under way.

        Raises:
            ModelError: if a server could not be told.
        """
        ...

    async def forget(self) -> None:
        """Draw as if nothing had been drawn before, to the last bit, where that is possible."""
        ...


class _InProcess(BaseModel):
    """Options of the engines `hf` and `numpy`; see their `LiveModel`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_wait_ms: float = Field(10.0, ge=0, le=10_000)
    max_tokens_in_flight: int | None = Field(None, ge=1)
    prefill_tokens: int = Field(2048, ge=16)
    prefix_reuse: bool = True


def check_sampler(recipe: Recipe) -> None:
    """Refuse what could not be sampled with, before anything is loaded.

    Raises:
        UsageError: for an unknown option of the engine, or `vllm` where no adapter is trained.
        MissingExtraError: without vLLM, where it is asked for.
    """
    known = _options_of(recipe.sampler.engine)
    for key in recipe.sampler.options:
        if key.replace("-", "_") not in known:
            raise unknown_name("recipe key", f"sampler.options.{key}", known)
    if recipe.sampler.engine != "vllm":
        checked_options(_InProcess, **_given(recipe))
        if recipe.sampler.engine == "numpy" and recipe.model.lora is not None:
            raise UsageError("recipe: sampler.engine numpy knows no adapter: use the engine hf")
        return
    if recipe.model.lora is None:
        raise UsageError(
            "recipe: sampler.engine vllm is given new weights as an adapter: add model.lora, or "
            "use the engine hf"
        )
    assert recipe.model.path is not None  # no adapter without it
    _vllm(recipe, recipe.model.path, Path("runs"))


def make_sampler(recipe: Recipe, learner: Trained, *, base: Path, scratch: Path) -> Sampler:
    """The sampler of a recipe.

    Args:
        recipe: Its `sampler` says which, and how.
        learner: Whose weights are drawn with.
        base: The folder of the model that is trained, as it was before training.
        scratch: A folder of the run's own for adapters under way, and the server's log; what
            stands in it is of no use once the run has ended.

    Raises:
        UsageError: see `check_sampler`.
        MissingExtraError: likewise.
    """
    check_sampler(recipe)
    if recipe.sampler.engine == "vllm":
        return VllmSampler(_vllm(recipe, str(base), scratch), learner, scratch)
    if recipe.sampler.engine == "numpy":
        return _in_numpy(recipe, learner, base.name)
    return _live(recipe, learner, base.name)


def _live(recipe: Recipe, learner: Trained, name: str) -> Sampler:
    from ..harness.models.hf.live import LiveModel
    from ..harness.models.inprocess.chat import Chat

    options = checked_options(_InProcess, **_given(recipe))

    class LiveSampler(LiveModel):
        """The very weights that are trained, decoded in this process."""

        async def sync(self) -> None:
            """See `Sampler.sync`."""
            learner.refresh()
            await self.forget()

    chat = Chat(learner.loaded.tokenizer, None, {}, name)
    info = ModelInfo(f"hf:{name}", training="agemem")
    return LiveSampler(
        learner.loaded, info, chat, max_batch=recipe.sampler.max_batch, **options.model_dump()
    )


def _in_numpy(recipe: Recipe, learner: Trained, name: str) -> Sampler:
    from ..harness.models.inprocess.chat import Chat
    from ..harness.models.numpy.live import LiveModel
    from ..harness.models.numpy.network import Network, network_of

    options = checked_options(_InProcess, **_given(recipe))
    loaded = learner.loaded

    def copied() -> Network:
        weights = loaded.model.state_dict().items()
        found = {key: value.float().cpu().numpy().copy() for key, value in weights}
        return network_of(loaded.model.config.to_dict(), found, Path(name))

    class NumpySampler(LiveModel):
        """A copy of the weights that are trained, decoded by numpy."""

        async def sync(self) -> None:
            """See `Sampler.sync`."""
            learner.refresh()
            await self.take(copied())

    try:
        network = copied()
    except DataError as error:
        raise UsageError(f"recipe: sampler.engine numpy: {error}") from error
    chat = Chat(loaded.tokenizer, None, {}, name)
    info = ModelInfo(f"numpy:{name}", training="agemem")
    return NumpySampler(
        network, loaded.stop, info, chat, max_batch=recipe.sampler.max_batch, **options.model_dump()
    )


class VllmSampler(ModelBase):
    """The policy as a vLLM server of this machine draws it: the base, and the newest adapter.

    The base is loaded once. Each `sync` writes the adapter as PEFT does, and the server loads it
    under a name that holds its hash, so that nothing that was computed with an older one, as the
    server's prefix cache, is taken for it. Without a `sync` so far, the first request does one.

    Args:
        server: Of the base, started for adapters of the rank that is trained.
        learner: Whose adapter it is.
        scratch: Where adapters are written; the newest one stays there while it is in use.
    """

    def __init__(self, server: VllmModel, learner: Trained, scratch: Path) -> None:
        self.info = replace(server.info, training="agemem")
        self._server, self._learner, self._scratch = server, learner, scratch
        self._count = 0
        self._syncing = asyncio.Lock()

    async def sync(self) -> None:
        """See `Sampler.sync`."""
        async with self._syncing:
            await self._sync()

    async def forget(self) -> None:
        """The server's cache stays: its last bits are not reproducible anyway."""

    async def _sync(self) -> None:
        before = self._scratch / f"adapter-{self._count}"
        self._count += 1
        folder = self._scratch / f"adapter-{self._count}"
        shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed here
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._learner.save(folder)
        await self._server.take(folder)
        shutil.rmtree(before, ignore_errors=True)

    async def generate(self, request: Request) -> Completion:
        """Ask the server.

        The server seeds its draws by the request alone, and one seed serves a whole run: so that
        its episodes and turns do not all draw the same numbers, the messages are mixed in.

        Raises:
            ModelError: see `VllmModel.generate`.
        """
        if not self._count:
            async with self._syncing:
                if not self._count:
                    await self._sync()
        sampling = request.sampling
        if sampling.seed is not None:
            said = [[message.role, message.content] for message in request.messages]
            mixed = int(stable_hash([sampling.seed, said], 8), 16) % 2**31
            request = replace(request, sampling=replace(sampling, seed=mixed))
        return await self._server.generate(request)

    def bind(self, episode: EpisodeView) -> Model:
        """The sampler itself."""
        self._server.bind(episode)
        return self

    def count_tokens(self, text: str) -> int:
        """Tokens by the model's tokenizer."""
        return self._server.count_tokens(text)

    async def close(self) -> None:
        """End the server."""
        await self._server.close()
        shutil.rmtree(self._scratch / f"adapter-{self._count}", ignore_errors=True)
        self._count = 0


def _vllm(recipe: Recipe, base: str, scratch: Path) -> VllmModel:
    """The server of a recipe, not started."""
    given = {"dtype": recipe.model.dtype, "runs_dir": str(scratch), **_given(recipe)}
    if recipe.model.lora is not None:
        given["max_lora_rank"] = recipe.model.lora.rank
    return VllmModel(base, max_in_flight=recipe.sampler.concurrency, **given)


def _given(recipe: Recipe) -> dict[str, Any]:
    return {key.replace("-", "_"): value for key, value in recipe.sampler.options.items()}


def _options_of(engine: str) -> list[str]:
    if engine != "vllm":
        return list(_InProcess.model_fields)
    taken = inspect.signature(VllmModel.__init__).parameters
    return [name for name in taken if name not in ("self", *_DECIDED)]
