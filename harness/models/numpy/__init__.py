"""`numpy:FOLDER`: a small Llama or Qwen2 checkpoint, computed by numpy, in this process.

Needs neither torch nor transformers.
"""

from __future__ import annotations

from pathlib import Path

from ...errors import DataError, UsageError
from ...types import ModelInfo
from ..inprocess.chat import Chat
from ..inprocess.files import card_of, identity, shown
from ..inprocess.live import BatchOptions, FolderModel
from ..openai import checked_options
from .live import LiveModel
from .network import load_network
from .tokenizer import FileTokenizer, stop_ids

_RULE = 1  # how tokens are drawn; raised whenever the same seed gives another text


class NumpyModel(FolderModel):
    """A checkpoint as transformers saves it, computed by numpy in float32.

    The identity is the content of its files (config, weights, tokenizer, template) and how tokens
    are drawn. Its logits are those of `hf:` to 1e-4, so greedy replies differ seldom; the same
    seed draws other tokens.

    Args:
        name: A folder with `config.json`, safetensors and `tokenizer.json`.
        max_batch: Requests decoded at once.
        max_wait_ms: How long a request waits for others, while others are decoded.
        max_tokens_in_flight: Tokens that the cache holds, prompts and continuations; without it
            2 GiB of them.
        prefill_tokens: Tokens of prompts computed at once.
        prefix_reuse: Whether a prompt that begins as another takes over what is computed of it.
        chat_template: A file with a chat template (Jinja) instead of the tokenizer's own.
        chat_template_kwargs: A JSON object of further variables of the template.
        card: A JSON file that says what the weights are: `{"training": "agemem" | "none"}`;
            without it `card.json` of the folder.
        actions: `free`, or `restricted` to those that the environment lists, where it does.

    Raises:
        UsageError: for an option's bad value, a folder that is not there, no chat template.
        DataError: for files that are missing, damaged or pickled, and networks of other kinds.
    """

    execution_options = (
        "max_batch", "max_wait_ms", "max_tokens_in_flight", "prefill_tokens", "prefix_reuse",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        *,
        max_batch: str | int = 32,
        max_wait_ms: str | float = 10.0,
        max_tokens_in_flight: str | int | None = None,
        prefill_tokens: str | int = 2048,
        prefix_reuse: str | bool = True,
        chat_template: str = "",
        chat_template_kwargs: str = "{}",
        card: str = "",
        actions: str = "free",
    ) -> None:
        folder = Path(name).expanduser()
        if not name or not folder.is_dir():
            said = f"there is no folder {folder}" if name else "the model 'numpy' needs a folder"
            raise UsageError(f"{said}: numpy:FOLDER, with config.json, weights and tokenizer.json")
        options = checked_options(
            BatchOptions,
            max_batch=max_batch,
            max_wait_ms=max_wait_ms,
            max_tokens_in_flight=max_tokens_in_flight,
            prefill_tokens=prefill_tokens,
            prefix_reuse=prefix_reuse,
            chat_template=chat_template or None,
            chat_template_kwargs=chat_template_kwargs,
            card=card or None,
            actions=actions,
        )
        self._load(folder, name, options)

    def _load(self, folder: Path, name: str, options: BatchOptions) -> None:
        files = identity(folder, None)
        training, said = card_of(options.card, folder)
        network = load_network(folder)
        tokenizer = FileTokenizer(folder)
        if tokenizer.size > network.sizes.vocabulary:
            raise DataError(
                f"{folder}: its tokenizer has {tokenizer.size} tokens, its network knows "
                f"{network.sizes.vocabulary}"
            )
        stop = stop_ids(folder, tokenizer)
        chat = Chat(tokenizer, options.chat_template, options.chat_template_kwargs, name)
        info = ModelInfo(
            options.label(shown("numpy", name, None)),
            training=training,
            identity={
                "provider": "numpy",
                **files,
                "template": chat.identity,
                "decoding": {"rule": _RULE, "stop": list(stop)},
                "card": said,
                **options.limits(),
            },
        )
        asked = LiveModel(
            network,
            stop,
            info,
            chat,
            max_batch=options.max_batch,
            max_wait_ms=options.max_wait_ms,
            max_tokens_in_flight=options.max_tokens_in_flight,
            prefill_tokens=options.prefill_tokens,
            prefix_reuse=options.prefix_reuse,
        )
        self._take(asked, options)
