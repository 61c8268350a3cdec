"""A model that keeps what it answered in an episode, token by token: what training learns from."""

from __future__ import annotations

from dataclasses import replace

from ..errors import ModelError
from ..types import ChatMessage, Completion, EpisodeView, Model, Request
from . import ModelBase


class _Keeping(ModelBase):
    """What passes an episode's requests on shares: what answers, and its tokens."""

    def __init__(self, inner: Model) -> None:
        self.info = inner.info
        self._inner = inner

    def count_tokens(self, text: str) -> int:
        """See `Model.count_tokens`."""
        return self._inner.count_tokens(text)

    def bind(self, episode: EpisodeView) -> Model:
        """Binds what answers, and goes on keeping."""
        self._inner = self._inner.bind(episode)
        return self


class Recording(_Keeping):
    """Passes an episode's requests on, asks for tokens, and keeps the completions in order.

    Args:
        inner: What answers; its completions must hold `token_ids` and `prompt_ids`.
    """

    def __init__(self, inner: Model) -> None:
        super().__init__(inner)
        self.completions: list[Completion] = []

    async def generate(self, request: Request) -> Completion:
        """See `Model.generate`.

        Raises:
            ModelError: also where the completion tells no token ids.
        """
        completion = await self._inner.generate(replace(request, want_tokens=True))
        if completion.token_ids is None or completion.prompt_ids is None:
            raise ModelError(
                f"{self.info.name} tells no token ids, which training needs: use hf:PATH or "
                "vllm:MODEL",
                "refused",
            )
        self.completions.append(completion)
        return completion


class Listening(_Keeping):
    """Passes an episode's requests on, and keeps each with its completion, as text.

    Args:
        inner: What answers; unlike `Recording` it need not have tokens.
    """

    def __init__(self, inner: Model) -> None:
        super().__init__(inner)
        self.turns: list[tuple[tuple[ChatMessage, ...], Completion]] = []

    async def generate(self, request: Request) -> Completion:
        """See `Model.generate`."""
        completion = await self._inner.generate(request)
        self.turns.append((tuple(request.messages), completion))
        return completion
