"""`openai:NAME`: any endpoint that speaks the OpenAI chat-completions protocol."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic import Json as JsonText

from ..errors import DataError, UsageError, unknown_name
from ..records import stable_hash
from ..tokens import ESTIMATOR, read_tokenizer
from ..types import Completion, ModelInfo, Request
from . import ModelBase
from .chat import read_reply, request_json
from .http import HttpLimits, Json, JsonClient
from .http.endpoint import read_key
from .http.gate import GateLimits
from .weights import file_hash

DEFAULT_URL = "https://api.openai.com/v1"
_OURS = frozenset({"model", "messages", "tools", "stream", "n"})  # not for extra_body to change

M = TypeVar("M", bound=BaseModel)
Training = Literal["none", "agemem"]
_LARGEST_CARD = 2**20  # bytes
_NO_CARD: tuple[Training, str] = ("none", "")


class _Decoding(BaseModel):
    """Options that change what is asked for; all part of the identity."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int | None = None
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    extra_body: JsonText[dict[str, Any]] = Field(default_factory=dict)
    token_ids: bool = False

    @field_validator("extra_body")
    @classmethod
    def _leaves_ours(cls, value: Json) -> Json:
        if taken := sorted(_OURS & value.keys()):
            raise ValueError(f"{taken[0]!r} is not for it to set")
        return value


class OpenAIModel(ModelBase):
    """A model behind an OpenAI-compatible endpoint.

    The key is read from the environment and never stored. An explicit `base_url` may do without
    one; the default address needs it. Tokens of tries that failed are not known here, so the
    ledger holds those of the replies that arrived.

    The identity is what is asked for: the model's name, the decoding options, the card and how
    tokens are counted. The address is not part of it: the same weights served elsewhere are the
    same model, which the user vouches for by using one name.

    Args:
        name: The endpoint's name of the model.
        base_url: Up to where `/chat/completions` begins.
        api_key_env: The environment variable that holds the key.
        timeout_s: Of one try, in seconds; `connect_timeout_s` for its connection alone.
        connect_timeout_s: See `timeout_s`.
        max_retries: Further tries after one that failed and may pass.
        backoff_s: Seconds before the first retry; doubles from there, with jitter.
        max_wait_s: The longest wait between two tries, also when the endpoint asks for more.
        max_reply_mb: A larger reply is an error.
        max_in_flight: The most calls at once; below it, the endpoint's replies decide. It and the
            next two hold for all models of a run at the same address with the same key together.
        rpm: The most requests a minute.
        tpm: The most tokens a minute: prompts as estimated until their usage is known.
        seed: Sent where a request has none of its own.
        max_tokens_field: `max_completion_tokens` for endpoints that refuse `max_tokens`.
        extra_body: A JSON object of further fields of each request.
        token_ids: `true` asks vLLM for token ids where training wants them.
        tokenizer: A `tokenizer.json` to count with instead of the estimate.
        card: A JSON file that says what the weights are: `{"training": "agemem" | "none"}`.

    Raises:
        UsageError: for an option's bad value, or a missing key at the default address.
        DataError: for an unreadable card or tokenizer.
    """

    cacheable = True
    # How it is reached, not what it answers: no part of a run's identity.
    execution_options = (
        "api_key_env", "timeout_s", "connect_timeout_s", "max_retries", "backoff_s", "max_wait_s",
        "max_reply_mb", "max_in_flight", "rpm", "tpm",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        *,
        base_url: str = DEFAULT_URL,
        api_key_env: str = "OPENAI_API_KEY",
        timeout_s: str | float = 120.0,
        connect_timeout_s: str | float = 10.0,
        max_retries: str | int = 5,
        backoff_s: str | float = 0.5,
        max_wait_s: str | float = 60.0,
        max_reply_mb: str | float = 32.0,
        max_in_flight: str | int | None = None,
        rpm: str | float | None = None,
        tpm: str | float | None = None,
        seed: str | int | None = None,
        max_tokens_field: str = "max_tokens",
        extra_body: str = "{}",
        token_ids: str | bool = False,
        tokenizer: str = "",
        card: str = "",
    ) -> None:
        if not name:
            raise UsageError("the model 'openai' needs a name: openai:NAME")
        limits = checked_options(
            HttpLimits,
            timeout_s=timeout_s,
            connect_timeout_s=connect_timeout_s,
            max_retries=max_retries,
            backoff_s=backoff_s,
            max_wait_s=max_wait_s,
            max_reply_mb=max_reply_mb,
        )
        self._decoding = checked_options(
            _Decoding,
            seed=seed,
            max_tokens_field=max_tokens_field,
            extra_body=extra_body,
            token_ids=token_ids,
        )
        bounds = checked_options(GateLimits, max_in_flight=max_in_flight, rpm=rpm, tpm=tpm)
        self._client = _client(base_url, api_key_env, limits, bounds)
        self._name = name
        self._tokenizer = read_tokenizer(Path(tokenizer)) if tokenizer else None
        self._count = lru_cache(maxsize=8192)(self._count_anew)
        training, revision = read_card(Path(card)) if card else _NO_CARD
        self.info = ModelInfo(
            f"openai:{name}",
            training=training,
            identity={
                "provider": "openai",
                "model": name,
                "decoding": self._decoding.model_dump(mode="json"),
                "tokens": file_hash(Path(tokenizer)) if tokenizer else ESTIMATOR,
                "card": revision,
            },
        )

    async def generate(self, request: Request) -> Completion:
        """Ask the endpoint.

        Raises:
            ModelError: when it failed for good.
        """
        decoding = self._decoding
        if request.sampling.seed is None and decoding.seed is not None:
            request = replace(request, sampling=replace(request.sampling, seed=decoding.seed))
        payload = request_json(
            self._name,
            request,
            max_tokens_field=decoding.max_tokens_field,
            token_ids=decoding.token_ids,
            extra=decoding.extra_body,
        )
        return await self._client.post(
            "/chat/completions",
            payload,
            lambda reply: read_reply(reply, request, self.count_tokens),
        )

    def count_tokens(self, text: str) -> int:
        """Tokens by the given tokenizer, or estimated."""
        return self._count(text) if self._tokenizer is not None else super().count_tokens(text)

    def _count_anew(self, text: str) -> int:
        assert self._tokenizer is not None
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def checked_options(model: type[M], **values: Any) -> M:
    """Options as their types, from the strings of the command line."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"option {where}: {first['msg']} (given: {first['input']!r})") from error


def _client(base_url: str, key_variable: str, limits: HttpLimits, bounds: GateLimits) -> JsonClient:
    if not key_variable.isidentifier():  # not shown: it may be a key, given by mistake
        raise UsageError("option api_key_env takes the name of an environment variable")
    client = JsonClient(base_url, key_variable, limits, bounds)
    if not read_key(key_variable) and client.base_url == DEFAULT_URL:
        raise UsageError(
            f"{DEFAULT_URL} needs a key: set ${key_variable}, or name another endpoint with "
            "--base-url"
        )
    return client


def read_card(path: Path) -> tuple[Training, str]:
    """What a card says of the weights' training, and a hash of all it says."""
    try:
        if path.stat().st_size > _LARGEST_CARD:
            raise DataError(f"the model card {path} is larger than {_LARGEST_CARD} bytes")
        card: Json = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot read the model card {path}: {error}") from error
    if not isinstance(card, dict) or "training" not in card:
        raise DataError(f'the model card {path} must be {{"training": "agemem" or "none", …}}')
    training = card["training"]
    if training not in ("agemem", "none"):
        raise unknown_name(f"training in the model card {path}:", str(training), ["agemem", "none"])
    return training, stable_hash(card)
