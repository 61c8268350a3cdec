"""A model that is ready, asked by many episodes at once."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic import Json as JsonText

from ...errors import ModelError, UsageError
from ...ledger import Role
from ...records import stable_hash
from ...trace import Trace
from ...types import Completion, EpisodeView, Json, Model, ModelInfo, Request
from .. import ModelBase
from .answers import Answers, Spelling
from .batch import BatchDecoder
from .chat import Chat
from .decoding import Prompt
from .schedule import Batcher

_RESTRICTED = 1  # the rule by which actions are limited; raised whenever it changes


class BatchOptions(BaseModel):
    """Options that all models in this process have."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    chat_template: Path | None = None
    chat_template_kwargs: JsonText[dict[str, Any]] = Field(default_factory=dict)
    card: Path | None = None
    max_batch: int = Field(32, ge=1, le=4096)
    max_wait_ms: float = Field(10.0, ge=0, le=10_000)
    max_tokens_in_flight: int | None = Field(None, ge=1)
    prefill_tokens: int = Field(2048, ge=16)
    prefix_reuse: bool = True
    actions: Literal["free", "restricted"] = "free"

    @property
    def restricted(self) -> bool:
        """Whether actions are limited to those that an environment lists."""
        return self.actions == "restricted"

    def label(self, name: str) -> str:
        """A model's name in tables: free and restricted decoding are never one row."""
        return f"{name} (restricted)" if self.restricted else name

    def limits(self) -> Json:
        """What these options add to a model's identity: nothing where actions are free."""
        return {"actions": {"restricted": _RESTRICTED}} if self.restricted else {}


class InProcessModel(ModelBase):
    """A causal language model in this process.

    Args:
        decoder: What computes; used by one thread alone from now on.
        positions: Most tokens of a prompt and its continuation; None: no limit.
        info: What it is.
        chat: Between messages and tokens.
        max_wait_ms: How long a request waits for others, while others are decoded.
    """

    def __init__(
        self,
        decoder: BatchDecoder,
        positions: int | None,
        info: ModelInfo,
        chat: Chat,
        max_wait_ms: float,
    ) -> None:
        self.info = info
        self.decoder = decoder
        self._positions = positions
        self._chat = chat
        self._batcher = Batcher(decoder, info.name, max_wait_ms / 1000)

    @cached_property
    def spelling(self) -> Spelling:
        """What each token adds to a reply; see `Chat.spelling`."""
        return self._chat.spelling(self.decoder.stop)

    def bind(self, episode: EpisodeView) -> Model:
        """The model itself.

        Raises:
            UsageError: where functions are to be called natively and the template shows none.
        """
        if episode.native and episode.tools and not self._chat.knows_tools():
            raise UsageError(
                f"the chat template of {self.info.name} shows no tools: use --transport prompt, "
                "or a template that does with -o chat_template=FILE"
            )
        return self

    async def generate(self, request: Request, answers: Iterable[str] | None = None) -> Completion:
        """Decode a reply, together with the other requests of the time.

        A temperature or top_p of None is 1: the model's own distribution.

        Args:
            request: What to answer.
            answers: What may stand between `<answer>` and `</answer>`; None, or where the model
                could give none of them: anything.

        Raises:
            ModelError: if the prompt and `max_tokens` exceed the model's positions, or decoding
                fails.
            UsageError: if the chat template refuses the messages.
        """
        tokens = self._chat.encode(request)
        most, asked = self._positions, request.sampling.max_tokens
        if most is not None and len(tokens) + asked > most:
            raise ModelError(
                f"{self.info.name}: a prompt of {len(tokens)} tokens and --max-tokens {asked} "
                f"exceed the model's {most} positions: lower --context-tokens or --max-tokens",
                "refused",
            )
        limited = None if answers is None else Answers(self.spelling, answers)
        reply = await self._batcher.generate(prompt_of(tokens, request, limited))
        return self._chat.read(request, tokens, reply)

    def count_tokens(self, text: str) -> int:
        """Tokens of a text by the model's tokenizer."""
        return self._chat.count_tokens(text)

    def expect(self, callers: int) -> None:
        """Decode only while so many callers wait, so that batches do not depend on their speed."""
        self._batcher.expect(callers)

    async def forget(self) -> None:
        """Forget what was computed with weights that have changed; nothing may be under way."""
        await self._batcher.close()

    async def close(self) -> None:
        """End the thread that decodes; requests under way fail."""
        await self._batcher.close()


class FolderModel(ModelBase):
    """A model of a folder's files; its constructor calls `_take`."""

    cacheable = True
    execution_options: ClassVar[tuple[str, ...]] = ()
    _asked: InProcessModel
    _restricted: bool

    def _take(self, asked: InProcessModel, options: BatchOptions) -> None:
        """What to ask, and how.

        Raises:
            UsageError: if actions are to be restricted, and the tokenizer does not allow it.
        """
        self._asked, self.info, self._restricted = asked, asked.info, options.restricted
        if self._restricted:
            _ = asked.spelling  # now, so that a fault is told now
            self.cacheable = False  # a reply depends on the state of the environment

    def bind(self, episode: EpisodeView) -> Model:
        """The model itself, or one that gives only actions which the environment lists.

        Raises:
            UsageError: see `InProcessModel.bind`; also for restricted actions beside native
                calls, where a reply without tags is an action as it stands.
        """
        self._asked.bind(episode)
        if not self._restricted or not episode.env.spec.has_valid_actions:
            return self
        if episode.native:
            raise UsageError(f"{self.info.name}: actions=restricted needs --transport prompt")
        return _Restricted(self._asked, episode)

    async def generate(self, request: Request) -> Completion:
        """See `InProcessModel.generate`."""
        return await self._asked.generate(request)

    def count_tokens(self, text: str) -> int:
        """Tokens of a text by the model's tokenizer."""
        return self._asked.count_tokens(text)

    async def close(self) -> None:
        """End the thread that decodes; requests under way fail."""
        await self._asked.close()


class _Restricted(ModelBase):
    """A model whose answers in one episode are of the actions that the environment lists."""

    def __init__(self, asked: InProcessModel, episode: EpisodeView) -> None:
        self.info = asked.info
        self._asked, self._episode = asked, episode

    async def generate(self, request: Request) -> Completion:
        """See `InProcessModel.generate`; what a memory asks is answered freely.

        An action that was refused is not offered again before another one was carried out, unless
        there is nothing else.
        """
        listed = await self._episode.env.valid_actions() if request.role is Role.AGENT else None
        if listed is None:
            return await self._asked.generate(request)
        refused = _refused(self._episode.trace)
        left = [action for action in listed if action not in refused]
        return await self._asked.generate(request, left or listed)

    def count_tokens(self, text: str) -> int:
        """Tokens of a text by the model's tokenizer."""
        return self._asked.count_tokens(text)


def _refused(trace: Trace | None) -> set[str]:
    """The actions that were refused since the last one that was not: the state is the same."""
    refused: set[str] = set()
    for event in reversed(trace.events if trace is not None else ()):
        if event["type"] == "action":
            if event["valid"]:
                break
            refused.add(event["action"])
    return refused


def prompt_of(tokens: tuple[int, ...], request: Request, answers: Answers | None = None) -> Prompt:
    """What to continue, and how.

    The seed of the draws is made of the request's and the prompt: one seed serves a whole run, and
    its episodes must not all draw the same numbers.
    """
    sampling = request.sampling
    seed = secrets.randbits(62)
    if sampling.seed is not None:
        seed = int(stable_hash([sampling.seed, tokens]), 16) % 2**62
    return Prompt(
        tokens,
        sampling.max_tokens,
        1.0 if sampling.temperature is None else sampling.temperature,
        1.0 if sampling.top_p is None else sampling.top_p,
        seed,
        request.want_tokens,
        answers,
    )
