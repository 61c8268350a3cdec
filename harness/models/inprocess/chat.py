"""Between messages and tokens: a tokenizer, its chat template, and calls written as text."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from ...errors import DataError, UsageError
from ...ledger import Usage
from ...records import stable_hash
from ...tools import ToolCall
from ...types import ChatMessage, Completion, Request
from .. import tool_schemas
from ..chat import read_calls, wire_message
from .answers import Spelling
from .decoding import Generated

TODAY = datetime(2025, 1, 1)  # what a template that writes the date is told: always the same
_DATE = re.compile(r"""strftime_now\(\s*(["'])((?:(?!\1).)*)\1\s*\)""")
_LARGEST = 2**20  # bytes of a template
# A call as Hermes and Qwen write it: https://huggingface.co/NousResearch/Hermes-2-Pro-Llama-3-8B
_CALL = re.compile(r"<tool_call>(.*?)(?:</tool_call>|\Z)", re.DOTALL)
_THOUGHT = re.compile(r"\A(.*</think>)", re.DOTALL)
_SPELT = "<answer>a \u00f6l 1: \u2713</answer>"  # to see that a tokenizer's tokens are bytes
_PROBE = {
    "type": "function",
    "function": {"name": "probe_of_tools", "description": "?", "parameters": {}},
}


class Tokenizer(Protocol):
    """What is used of a tokenizer, as transformers names it."""

    chat_template: Any  # None where there is none

    @property
    def added_tokens_decoder(self) -> Mapping[int, Any]:
        """Tokens beside the vocabulary's own, by id."""

    def get_vocab(self) -> dict[str, int]:
        """The tokens as the vocabulary writes them, with their ids."""

    def get_chat_template(self, chat_template: str | None, tools: list[Any] | None) -> str:
        """The template that is given, else its own; it may have another one for tools."""

    def apply_chat_template(
        self,
        conversation: list[dict[str, Any]],
        *,
        tools: list[Any] | None,
        chat_template: str,
        add_generation_prompt: bool,
        tokenize: bool,
        return_dict: bool,
        **arguments: Any,
    ) -> Any:
        """The prompt as text, or as token ids where `tokenize`."""

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """A text as token ids."""

    def decode(
        self, ids: Sequence[int], *, skip_special_tokens: bool, clean_up_tokenization_spaces: bool
    ) -> str:
        """Token ids as text."""


class Chat:
    """Messages as a model's tokens, and its tokens as a completion. Not for several threads.

    Args:
        tokenizer: Of transformers, or one that is used as they are.
        template: A chat template (Jinja) instead of the tokenizer's own.
        arguments: Further variables of the template.
        where: The model, for errors.

    Raises:
        UsageError: where there is no template.
        DataError: for a template that cannot be read.
    """

    def __init__(
        self, tokenizer: Tokenizer, template: Path | None, arguments: dict[str, Any], where: str
    ) -> None:
        self._tokenizer, self._where = tokenizer, where
        self._given = read_template(template) if template is not None else None
        if self._given is None and not tokenizer.chat_template:
            raise UsageError(
                f"the tokenizer of {where} has no chat template: name one with "
                "-o chat_template=FILE (Jinja)"
            )
        self._arguments = arguments
        self.identity = stable_hash([self._given or tokenizer.chat_template, arguments])
        self.count_tokens = lru_cache(maxsize=8192)(self._count)

    def _count(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=False))

    def knows_tools(self) -> bool:
        """Whether the template shows tools to the model."""
        user = [ChatMessage("user", "?")]
        return "probe_of_tools" in str(self._render(user, [_PROBE], tokenize=False))

    def encode(self, request: Request) -> tuple[int, ...]:
        """The prompt of a request.

        Raises:
            UsageError: if the template refuses the messages, or makes nothing of them.
        """
        tools = tool_schemas(request.tools) if request.tools else None
        if tokens := tuple(self._render(request.messages, tools, tokenize=True)):
            return tokens
        raise UsageError(
            f"the chat template of {self._where} gives an empty prompt; name another with "
            "-o chat_template=FILE"
        )

    def text(self, request: Request) -> str:
        """The prompt of a request before it is tokens.

        Raises:
            UsageError: if the template refuses the messages.
        """
        tools = tool_schemas(request.tools) if request.tools else None
        return str(self._render(request.messages, tools, tokenize=False))

    def _render(self, messages: Any, tools: list[Any] | None, *, tokenize: bool) -> Any:
        try:
            return self._tokenizer.apply_chat_template(
                [_message(message) for message in messages],
                tools=tools,
                chat_template=_dated(self._tokenizer.get_chat_template(self._given, tools)),
                add_generation_prompt=True,
                tokenize=tokenize,
                return_dict=False,
                **self._arguments,
            )
        except Exception as error:  # a template is a program that may raise anything
            text = " ".join(str(error).split())[:300]
            raise UsageError(
                f"the chat template of {self._where} refuses the messages: {text}; name another "
                "with -o chat_template=FILE"
            ) from error

    def spelling(self, silent: Collection[int]) -> Spelling:
        """What each token adds to a reply's text.

        Args:
            silent: Tokens that are not part of it: those that end a reply.

        Raises:
            UsageError: if the tokenizer is not one of bytes.
        """
        tokenizer = self._tokenizer
        vocabulary = tokenizer.get_vocab()
        pieces = [b""] * (max(vocabulary.values(), default=-1) + 1)
        for token, id_ in vocabulary.items():
            pieces[id_] = _bytes_of(token)
        for id_ in tokenizer.added_tokens_decoder:  # a special one leaves no trace
            pieces[id_] = self._decode([id_]).encode()
        ids = tokenizer.encode(_SPELT, add_special_tokens=False)
        spelt = b"".join(pieces[id_] for id_ in ids).decode(errors="replace")
        for id_ in silent:
            pieces[id_] = b""
        try:
            if not ids or spelt != self._decode(ids):
                raise ValueError("its tokens are not bytes")
            return Spelling(pieces)
        except ValueError as error:
            raise UsageError(
                f"actions=restricted needs a byte-level tokenizer; that of {self._where} is none: "
                f"{error}"
            ) from error

    def _decode(self, ids: Sequence[int]) -> str:
        """The text of tokens, as a reply is read: without special ones."""
        return self._tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )

    def read(self, request: Request, prompt: tuple[int, ...], reply: Generated) -> Completion:
        """What a reply says."""
        said = reply.tokens[:-1] if reply.finish == "stop" else reply.tokens
        text = self._decode(said)
        calls: tuple[ToolCall, ...] = ()
        malformed: tuple[str, ...] = ()
        if request.tools:
            text, calls, malformed = _calls(text, request)
        tokens = reply.tokens if request.want_tokens else None
        return Completion(
            text,
            Usage(len(prompt), len(reply.tokens)),
            calls,
            "tool_calls" if calls and reply.finish == "stop" else reply.finish,
            malformed,
            tokens,
            reply.logprobs,
            prompt if request.want_tokens else None,
        )


def _byte_letters() -> dict[str, int]:
    """Which letter a byte-level vocabulary writes for each byte.

    As GPT-2's encoder has it (https://github.com/openai/gpt-2): bytes that print stand for
    themselves, the others in their order for the letters from U+0100 on.
    """
    prints = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in prints]
    return {chr(byte): byte for byte in prints} | {
        chr(256 + place): byte for place, byte in enumerate(others)
    }


_LETTERS = _byte_letters()


def _bytes_of(token: str) -> bytes:
    """What a token of a byte-level vocabulary spells; a text that is none stands for itself."""
    if all(letter in _LETTERS for letter in token):
        return bytes(_LETTERS[letter] for letter in token)
    return token.encode()


def _message(message: ChatMessage) -> dict[str, Any]:
    """A message as templates read it: arguments are objects there, not their JSON."""
    wire = wire_message(message)
    wire["content"] = wire["content"] or ""
    for call, made in zip(wire.get("tool_calls", ()), message.tool_calls, strict=False):
        call["function"]["arguments"] = made.arguments
    return wire


def _calls(text: str, request: Request) -> tuple[str, tuple[ToolCall, ...], tuple[str, ...]]:
    """The text without its calls, the calls, and a line for each that cannot be read."""
    thought = _THOUGHT.match(text)
    start = thought.end() if thought else 0  # a thought may speak of calls
    items: list[Any] = []
    problems: list[str] = []
    for found in _CALL.finditer(text, start):
        try:
            value = json.loads(found[1])
        except (ValueError, RecursionError) as error:
            problems.append(f"<tool_call> holds no JSON ({error})")
            continue
        for item in value if isinstance(value, list) else [value]:
            known = isinstance(item, dict) and "function" not in item
            items.append({"function": item} if known else item)
    calls, malformed = read_calls(items, request)
    rest = text[:start] + _CALL.sub("", text[start:])
    return rest.strip(), calls, (*malformed, *problems)


def _dated(template: str) -> str:
    """A template with the dates it would write in place: they must not change from day to day."""
    return _DATE.sub(lambda found: json.dumps(TODAY.strftime(found[2])), template)


def read_template(template: Path) -> str:
    """A chat template's text.

    Raises:
        DataError: if it cannot be read.
    """
    try:
        if template.stat().st_size > _LARGEST:
            raise DataError(f"the chat template {template} is larger than {_LARGEST} bytes")
        return template.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the chat template {template}: {error}") from error
