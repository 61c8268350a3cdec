"""`hf:NAME`: a causal language model of transformers, in this process.

The heavy libraries are imported when one is made (extra `hf`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from ...errors import MissingExtraError, UsageError
from ...types import ModelInfo
from ..inprocess.chat import Chat
from ..inprocess.files import card_of, identity, shown
from ..inprocess.live import BatchOptions, FolderModel
from ..openai import checked_options

_RULE = 1  # how tokens are drawn; raised whenever the same seed gives another text


class _Options(BatchOptions):
    revision: str | None = None
    lora: Path | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    threads: int | None = Field(None, ge=1, le=1024)


class HfModel(FolderModel):
    """A model in this process, asked by many episodes at once.

    The identity is the content of its files (config, weights, tokenizer, template, adapter), the
    type its weights are computed in, and how tokens are drawn. The path, the device and the sizes
    of batches are not part of it; they change the last bits of sums, and so, seldom, a token.

    Args:
        name: A folder with config, safetensors and tokenizer, or a name of the Hugging Face hub.
        revision: Of the hub: a branch, tag or commit.
        lora: A folder with a LoRA adapter as peft saves it, as safetensors.
        dtype: `float32`, `bfloat16`, `float16`; `auto` is float32 on a CPU, bfloat16 elsewhere.
        device: `cpu`, `cuda`, `mps`; `auto` is the best there is.
        max_batch: Requests decoded at once.
        max_wait_ms: How long a request waits for others, while others are decoded.
        max_tokens_in_flight: Tokens that the cache holds, prompts and continuations; without it
            4 GiB of them, or half of what a GPU has free.
        prefill_tokens: Tokens of prompts computed at once.
        prefix_reuse: Whether a prompt that begins as another takes over what is computed of it.
        threads: Cores that a forward on the CPU is spread over, in this whole process; without it
            as torch has it. Fewer are faster where cores are busy, or a model is small.
        chat_template: A file with a chat template (Jinja) instead of the tokenizer's own.
        chat_template_kwargs: A JSON object of further variables of the template.
        card: A JSON file that says what the weights are: `{"training": "agemem" | "none"}`;
            without it `card.json` of the adapter, or of the weights where there is none.
        actions: `free`, or `restricted` to those that the environment lists, where it does.

    Raises:
        UsageError: for an option's bad value, a name that is not found, no chat template.
        DataError: for files that are missing, damaged or pickled.
        MissingExtraError: without torch and transformers, or peft where `lora` is given.
    """

    execution_options = (
        "device", "max_batch", "max_wait_ms", "max_tokens_in_flight", "prefill_tokens",
        "prefix_reuse", "threads",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        *,
        revision: str | None = None,
        lora: str = "",
        dtype: str = "auto",
        device: str = "auto",
        max_batch: str | int = 32,
        max_wait_ms: str | float = 10.0,
        max_tokens_in_flight: str | int | None = None,
        prefill_tokens: str | int = 2048,
        prefix_reuse: str | bool = True,
        threads: str | int | None = None,
        chat_template: str = "",
        chat_template_kwargs: str = "{}",
        card: str = "",
        actions: str = "free",
    ) -> None:
        if not name:
            raise UsageError("the model 'hf' needs a folder or a name of the hub: hf:PATH")
        options = checked_options(
            _Options,
            revision=revision,
            lora=lora or None,
            dtype=dtype,
            device=device,
            max_batch=max_batch,
            max_wait_ms=max_wait_ms,
            max_tokens_in_flight=max_tokens_in_flight,
            prefill_tokens=prefill_tokens,
            prefix_reuse=prefix_reuse,
            threads=threads,
            chat_template=chat_template or None,
            chat_template_kwargs=chat_template_kwargs,
            card=card or None,
            actions=actions,
        )
        self._load(name, options)

    def _load(self, name: str, options: _Options) -> None:
        try:
            from . import live as hf_live
            from . import weights as hf_weights
        except ImportError as error:
            raise MissingExtraError("transformers with torch", "hf") from error
        folder = hf_weights.find(name, options.revision)
        lora = options.lora.expanduser() if options.lora is not None else None
        files = identity(folder, lora)
        training, said = card_of(options.card, lora or folder)
        loaded = hf_weights.load(folder, lora, options.dtype, options.device, options.threads)
        arguments = options.chat_template_kwargs
        chat = Chat(loaded.tokenizer, options.chat_template, arguments, name)
        info = ModelInfo(
            options.label(shown("hf", name, lora)),
            training=training,
            identity={
                "provider": "hf",
                **files,
                "template": chat.identity,
                "dtype": loaded.dtype,
                "decoding": {"rule": _RULE, "stop": list(loaded.stop)},
                "card": said,
                **options.limits(),
            },
        )
        asked = hf_live.LiveModel(
            loaded,
            info,
            chat,
            max_batch=options.max_batch,
            max_wait_ms=options.max_wait_ms,
            max_tokens_in_flight=options.max_tokens_in_flight,
            prefill_tokens=options.prefill_tokens,
            prefix_reuse=options.prefix_reuse,
        )
        self._take(asked, options)
