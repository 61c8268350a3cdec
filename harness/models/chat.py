"""The chat-completions wire format: a `Request` as JSON, and the reply as a `Completion`."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from ..ledger import Usage
from ..protocol import make_call
from ..records import stable_hash
from ..tools import Tool, ToolCall
from ..types import ChatMessage, Completion, Request
from . import estimate_usage, tool_schemas
from .http import Json, MalformedReply

_FINISH = {
    "stop": "stop",
    "eos": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
_BROKEN_OFF = ("abort", "error")  # as vLLM and OpenRouter say that the server failed midway
_MOST_TOKENS = 10**9  # usage beyond it is nonsense
_LARGEST = 1e9  # of log-probabilities, without their sign
_CACHED_LENGTH = 4000  # characters; longer messages would fill memory
_NOTHING: Json = {}
_BY_ID = "token_id:"  # how vLLM writes a token by its id


def request_json(
    model: str,
    request: Request,
    *,
    max_tokens_field: str = "max_tokens",
    token_ids: bool = False,
    extra: Json = _NOTHING,
) -> bytes:
    """A request as it is sent; what is None is left to the endpoint.

    A conversation grows by its end, so messages that were sent before are not written anew.

    Args:
        model: The endpoint's name of the model.
        request: What to ask.
        max_tokens_field: `max_tokens`, or `max_completion_tokens` where the former is refused.
        token_ids: Ask for token ids as vLLM takes it; other endpoints may refuse the field.
        extra: Further fields; they replace those that are no messages or tools.
    """
    sampling = request.sampling
    fields: Json = {
        "model": model,
        max_tokens_field: sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed,
    }
    fields = {key: value for key, value in fields.items() if value is not None}
    if request.want_tokens:
        fields["logprobs"] = True
        if token_ids:
            fields["return_token_ids"] = True
    messages = ", ".join(map(_message_json, request.messages))
    tools = f', "tools": {_tools_json(request.tools)}' if request.tools else ""
    return f'{json.dumps({**fields, **extra})[:-1]}, "messages": [{messages}]{tools}}}'.encode()


def _message_json(message: ChatMessage) -> str:
    if len(message.content) > _CACHED_LENGTH:
        return json.dumps(wire_message(message))
    return _short_json(message, tuple(repr(call.arguments) for call in message.tool_calls))


@lru_cache(maxsize=8192)
def _short_json(message: ChatMessage, exactly: tuple[str, ...]) -> str:
    del exactly  # tells arguments apart that are equal in Python alone, as 1 and True are
    return json.dumps(wire_message(message))


@lru_cache(maxsize=64)
def _tools_json(tools: tuple[Tool, ...]) -> str:
    return json.dumps(tool_schemas(tools))


def wire_message(message: ChatMessage) -> Json:
    """A message as it is sent; a result that answers no native call goes as text."""
    if message.role == "tool":
        if message.tool_call_id:
            return {
                "role": "tool",
                "tool_call_id": message.tool_call_id,
                "content": message.content,
            }
        # Endpoints refuse a tool message that answers no native call. As text it comes in the
        # user's turn and in these tags, which is how chat templates themselves render results.
        content = f"<tool_response>\n{message.content}\n</tool_response>"
        return {"role": "user", "content": content}
    wire: Json = {"role": message.role, "content": message.content}
    if message.tool_calls:
        wire["content"] = message.content or None
        wire["tool_calls"] = [_wire_call(call) for call in message.tool_calls]
    return wire


def _wire_call(call: ToolCall) -> Json:
    function = {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)}
    return {"id": call.id, "type": "function", "function": function}


def read_reply(reply: Json, request: Request, count: Callable[[str], int]) -> Completion:
    """Read a chat-completions reply.

    A refusal counts as text where there is no other. Reasoning that the endpoint returns beside
    the text (`reasoning_content`) is not part of the text: it is not shown to later turns, and
    its tokens count as completion tokens, as the endpoint counts them.

    Args:
        reply: The reply's JSON.
        request: What was asked.
        count: Counts tokens where the reply has no credible usage.

    Raises:
        MalformedReply: if there is no message in it, or one that the server did not finish.
    """
    choice = _first_choice(reply)
    finish: Any = choice.get("finish_reason")
    if choice.get("error") or finish in _BROKEN_OFF:
        raise MalformedReply(f"the server broke it off: {choice.get('error') or finish}")
    message = choice.get("message")
    if not isinstance(message, dict):
        raise MalformedReply("the choice has no message")
    text = _text(message.get("content")) or _text(message.get("refusal"))
    calls, malformed = read_calls(message.get("tool_calls"), request)
    logprobs, token_ids = _tokens(choice) if request.want_tokens else (None, None)
    return Completion(
        text,
        _usage(reply.get("usage")) or estimate_usage(request, text, calls, count),
        calls,
        _FINISH.get(finish, "other") if isinstance(finish, str) else "other",  # type: ignore[arg-type]
        malformed,
        token_ids,
        logprobs,
        _ids(reply.get("prompt_token_ids")) if request.want_tokens else None,
    )


def _first_choice(reply: Json) -> Json:
    choices = reply.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise MalformedReply("there are no choices in it")
    return choices[0]


def _text(content: Any) -> str:
    """The text of a message's content: a string, null, or a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = (part.get("text") if isinstance(part, dict) else part for part in content)
        return "".join(text for text in texts if isinstance(text, str))
    return ""


def read_calls(value: Any, request: Request) -> tuple[tuple[ToolCall, ...], tuple[str, ...]]:
    """Native tool calls, and one line for each that cannot be read."""
    if value is None:
        return (), ()
    if not isinstance(value, list):
        return (), ("the tool calls are not a list",)
    # Ids must be unique in a conversation; some endpoints number each reply from 0 or send none.
    used = {call.id for message in request.messages for call in message.tool_calls}
    calls: list[ToolCall] = []
    malformed: list[str] = []
    for index, item in enumerate(value):
        function = item.get("function") if isinstance(item, dict) else None
        if not isinstance(function, dict):
            malformed.append("a tool call holds no function")
            continue
        call_id = item.get("id")
        if not isinstance(call_id, str) or not call_id or call_id in used:
            call_id = f"call_{stable_hash([sorted(used), index], 12)}"
        call = make_call(function.get("name"), function.get("arguments"), call_id)
        if isinstance(call, str):
            malformed.append(call)
        else:
            used.add(call_id)
            calls.append(call)
    return tuple(calls), tuple(malformed)


def _usage(value: Any) -> Usage | None:
    """The reported usage, or None where it is missing or cannot be true."""
    if not isinstance(value, dict):
        return None
    prompt, completion = value.get("prompt_tokens"), value.get("completion_tokens")
    if type(prompt) is not int or type(completion) is not int:  # bool is an int, too
        return None
    if not (0 < prompt <= _MOST_TOKENS and 0 <= completion <= _MOST_TOKENS):
        return None
    return Usage(prompt, completion)


def _tokens(choice: Json) -> tuple[tuple[float, ...] | None, tuple[int, ...] | None]:
    """Log-probabilities and token ids of the completion; None for what is not given."""
    logprobs = choice.get("logprobs")
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    content = content if isinstance(content, list) else []
    items = [item for item in content if isinstance(item, dict)]
    values: list[Any] = [item.get("logprob") for item in items]
    numbers = tuple(float(value) for value in values if _is_number(value))
    if not numbers or len(numbers) != len(content):
        return None, None
    ids = choice.get("token_ids")
    if not isinstance(ids, list):
        names = [str(item.get("token", "")) for item in items]
        ids = [int(name.removeprefix(_BY_ID)) for name in names if _is_token_id(name)]
    if len(ids) != len(numbers) or not all(type(token) is int for token in ids):
        return numbers, None
    return numbers, tuple(ids)


def _ids(value: Any) -> tuple[int, ...] | None:
    """The prompt's token ids as vLLM gives them beside the choices (`return_token_ids`)."""
    whole = isinstance(value, list) and bool(value) and all(type(id_) is int for id_ in value)
    return tuple(value) if whole else None


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < _LARGEST  # never so of what is not finite


def _is_token_id(name: str) -> bool:
    number = name.removeprefix(_BY_ID)
    return name.startswith(_BY_ID) and len(number) < 19 and number.isdecimal()
