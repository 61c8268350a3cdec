"""Spans of a run: one an episode, below it one a model call, tool call and environment step.

Names follow the OpenTelemetry semantic conventions for generative AI, release v0.1.0 of
`open-telemetry/semantic-conventions-genai` (the successor of their v1.41, which has the same names
for what is used here). What is this project's own is called `agemem.*`. Texts of messages, tools
and observations are left out unless they are asked for.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from ..config import Execution, RunConfig
from ..ledger import Role
from ..records import Episode, EpisodeKey
from ..trace import Event
from ..watch import Planned, Watcher
from .spans import Instant, Sink, Span, Value
from .text import Cleaner

_MOST_EVENTS = 1000  # of one span
_LONGEST_NAME, _LONGEST_TEXT = 100, 4096  # characters of an attribute
_MEMORY_OPERATIONS = {
    "add": "create_memory",
    "update": "update_memory",
    "delete": "delete_memory",
    "retrieve": "search_memory",
}
# Trace events without a duration become events of the episode's span, with these of their fields.
_INSTANTS = {
    "memory": ("op", "changed"),
    "memory_fault": ("op",),
    "malformed": (),
    "forfeit": ("reason",),
    "judge": ("op", "score", "cached"),
    "judge_fault": ("op",),
}


@dataclass(slots=True)
class _Open:
    """An episode that is being played."""

    root: Span
    shared: dict[str, Value]  # attributes that its children have too
    asked: list[list[Any]] = field(default_factory=list)  # the last completion's tool calls


class Tracer(Watcher):
    """Makes spans of what happens in a run.

    A span ends when its event comes and began its latency before, by the wall clock. Ids are
    random: a trace is one try of an episode, found by `agemem.episode.id` and `agemem.attempt`.

    Args:
        sink: Where spans go.
        execution: Says where models are served.
        config: Of the run; None: what requests asked for is not told.
        clean: Takes secrets out of texts.
        content: Whether texts that models, tools and environments wrote are told.
        clock: Unix time in nanoseconds.
    """

    def __init__(
        self,
        sink: Sink,
        execution: Execution,
        config: RunConfig | None = None,
        clean: Cleaner | None = None,
        *,
        content: bool = False,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._sink, self._config, self._content = sink, config, content
        self._clean, self._clock = clean or Cleaner(), clock
        self._open: dict[str, _Open] = {}
        self._servers = _servers(execution)
        self._run = ""

    def planned(self, plan: Planned) -> None:
        """See `Watcher`."""
        self._run = plan.run
        self._sink.open(plan)

    def begins(self, key: EpisodeKey, attempt: int) -> None:
        """See `Watcher`."""
        now = self._clock()
        shared: dict[str, Value] = {
            "gen_ai.conversation.id": key.id,
            "agemem.env": key.env,
            "agemem.split": key.split,
            "agemem.task": self._text(key.task, _LONGEST_NAME),
            "agemem.memory": key.memory,
        }
        attributes: dict[str, Value] = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": key.memory,
            **_model(key.model),
            **shared,
            "agemem.run": self._run,
            "agemem.episode.id": key.id,
            "agemem.attempt": attempt,
            "agemem.seed": key.seed,
            "agemem.repeat": key.repeat,
        }
        trace_id, name = secrets.token_hex(16), f"invoke_agent {key.memory}"
        root = Span(name, "internal", trace_id, _span_id(), None, now, now, attributes)
        self._open[key.id] = _Open(root, shared)

    def event(self, key: EpisodeKey, event: Event) -> None:
        """See `Watcher`."""
        episode = self._open.get(key.id)
        if episode is None:
            return
        match event["type"]:
            case "completion" | "model_call" | "call_failed":
                self._called_model(episode, key, event)
            case "tool":
                self._called_tool(episode, event)
            case "action":
                self._acted(episode, key, event)
            case kind if kind in _INSTANTS:
                self._happened(episode, event)

    def ends(self, episode: Episode) -> None:
        """See `Watcher`."""
        known = self._open.pop(episode.key.id, None)
        if known is None:
            return
        attributes = known.root.attributes
        values: dict[str, Value | None] = {
            "agemem.status": episode.status,
            "agemem.success": episode.success,
            "agemem.progress": episode.progress,
            "agemem.reward": episode.reward,
            "agemem.steps": episode.steps,
            "agemem.turns": episode.turns,
            "agemem.reason": self._text(episode.reason),
        }
        for role, usage in episode.tokens.items():
            values[f"agemem.tokens.{role}.prompt"] = usage.prompt_tokens
            values[f"agemem.tokens.{role}.completion"] = usage.completion_tokens
        attributes.update({name: v for name, v in values.items() if v is not None})
        error = None
        if episode.status in ("infra_error", "agent_error"):
            attributes["error.type"] = episode.fault or episode.status
            error = self._text(episode.reason)
        self._finish(known.root, error)

    def close(self) -> None:
        """End what is open, and send what is left."""
        for episode in self._open.values():
            episode.root.attributes["error.type"] = "cancelled"
            self._finish(episode.root, "the run was stopped")
        self._open.clear()
        self._sink.close()

    # --- children ---------------------------------------------------------------------------

    def _called_model(self, episode: _Open, key: EpisodeKey, event: Event) -> None:
        role = event.get("role", Role.AGENT.value)
        model = _model(event.get("model", key.model))  # a completion is of the agent's
        attributes: dict[str, Value] = {
            "gen_ai.operation.name": "chat",
            **model,
            **self._asked(role, key),
            **self._servers.get(role, {}),
            "agemem.role": role,
        }
        error = None
        if event["type"] == "call_failed":
            attributes["error.type"] = event["kind"]
            error = self._text(event["problem"])
        else:
            attributes["gen_ai.usage.input_tokens"] = event["prompt_tokens"]
            attributes["gen_ai.usage.output_tokens"] = event["completion_tokens"]
            attributes["agemem.tokens.estimated"] = bool(event.get("estimated"))
            if "finish" in event:
                attributes["gen_ai.response.finish_reasons"] = [event["finish"]]
            if self._content:
                attributes["gen_ai.output.messages"] = self._message(event)
        if event["type"] == "completion":
            episode.asked = list(event.get("tool_calls", ()))
        name = f"chat {model['gen_ai.request.model']}"
        self._child(episode, event, name, "client", attributes, error)

    def _called_tool(self, episode: _Open, event: Event) -> None:
        name = self._text(event["name"], _LONGEST_NAME)
        known = event["status"] != "unknown_tool"  # what a model makes up is no name of a span
        attributes: dict[str, Value] = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": name,
            "gen_ai.tool.type": "function",
            "agemem.tool.status": event["status"],
        }
        for call in episode.asked:
            if call[1] == event["arguments"]:
                episode.asked.remove(call)
                if call[2]:
                    attributes["gen_ai.tool.call.id"] = self._text(str(call[2]), _LONGEST_NAME)
                break
        error = None
        if event["status"] != "success":
            attributes["error.type"] = error = event["status"]
        if self._content:
            attributes["gen_ai.tool.call.arguments"] = self._json(event["arguments"])
            attributes["gen_ai.tool.call.result"] = self._text(event["content"])
        title = f"execute_tool {name}" if known else "execute_tool"
        self._child(episode, event, title, "internal", attributes, error)

    def _acted(self, episode: _Open, key: EpisodeKey, event: Event) -> None:
        attributes: dict[str, Value] = {
            f"agemem.action.{name}": event[name]
            for name in ("valid", "reward", "progress", "done")
            if event.get(name) is not None
        }
        if self._content:
            attributes["agemem.action.text"] = self._text(event["action"])
            attributes["agemem.action.observation"] = self._text(event["observation"])
        self._child(episode, event, f"step {key.env}", "internal", attributes, None)

    def _happened(self, episode: _Open, event: Event) -> None:
        kind = event["type"]
        attributes: dict[str, Value] = {"agemem.step": event["step"], "agemem.turn": event["turn"]}
        for name in _INSTANTS[kind]:
            if isinstance(event.get(name), str | bool | int | float):
                attributes[f"agemem.{kind}.{name}"] = event[name]
        if kind == "memory":
            attributes["gen_ai.memory.record.count"] = len(event.get("ids") or ())
            if operation := _MEMORY_OPERATIONS.get(event["op"]):
                attributes["gen_ai.operation.name"] = operation
        root = episode.root
        if len(root.events) < _MOST_EVENTS:
            root.events.append(Instant(kind, self._clock(), attributes))
        else:
            root.dropped_events += 1

    def _child(
        self,
        episode: _Open,
        event: Event,
        name: str,
        kind: Literal["internal", "client"],
        attributes: dict[str, Value],
        error: str | None,
    ) -> None:
        end = self._clock()
        start = max(episode.root.start_ns, end - int(1e9 * event.get("latency_s", 0.0)))
        shared = {**attributes, **episode.shared}
        shared |= {"agemem.step": event["step"], "agemem.turn": event["turn"]}
        root = episode.root
        span = Span(name, kind, root.trace_id, _span_id(), root.span_id, start, end, shared, error)
        self._sink.put(span)

    def _finish(self, root: Span, error: str | None) -> None:
        root.end_ns, root.error = max(root.start_ns, self._clock()), error
        self._sink.put(root)

    # --- what is told -----------------------------------------------------------------------

    def _asked(self, role: str, key: EpisodeKey) -> dict[str, Value]:
        """How the agent's completions are drawn."""
        if role != Role.AGENT.value or self._config is None:
            return {}
        agent = self._config.agent
        values = {
            "gen_ai.request.max_tokens": agent.max_tokens,
            "gen_ai.request.temperature": agent.temperature,
            "gen_ai.request.top_p": agent.top_p,
            "gen_ai.request.seed": key.sampling_seed,
        }
        return {name: value for name, value in values.items() if value is not None}

    def _message(self, event: Event) -> str:
        parts: list[dict[str, Any]] = [{"type": "text", "content": self._text(event["text"])}]
        for name, arguments, id_ in event.get("tool_calls", ()):
            call = {"name": name, "arguments": arguments, "id": id_}
            parts.append({"type": "tool_call", **self._clean.value(call, _LONGEST_TEXT)})
        message = {"role": "assistant", "parts": parts}
        if "finish" in event:
            message["finish_reason"] = event["finish"]
        return json.dumps([message], ensure_ascii=False)

    def _json(self, value: Any) -> str:
        return json.dumps(self._clean.value(value, _LONGEST_TEXT), ensure_ascii=False)

    def _text(self, text: str, limit: int = _LONGEST_TEXT) -> str:
        return self._clean.line(text, limit)


def _model(shown: str) -> dict[str, Value]:
    """Provider and model of a name as tables show it: `openai:gpt-4o-mini`, `scripted (oracle)`."""
    provider, _, name = shown.partition(":")
    return {"gen_ai.provider.name": provider.split(" ")[0], "gen_ai.request.model": name or shown}


def _servers(execution: Execution) -> dict[str, dict[str, Value]]:
    """Host and port of the models, by role; nothing else of an address, which may hold a secret."""
    agent = execution.base_url
    memory = execution.memory_base_url or agent
    urls = {
        Role.AGENT: agent,
        Role.MEMORY_READ: memory,
        Role.MEMORY_WRITE: memory,
        Role.JUDGE: execution.judge_base_url or agent,
    }
    found: dict[str, dict[str, Value]] = {}
    for role, url in urls.items():
        with contextlib.suppress(ValueError):  # it is no address: the model says so in one line
            parts = urlsplit(url or "")
            if parts.hostname:
                port = parts.port or (443 if parts.scheme == "https" else 80)
                found[role.value] = {"server.address": parts.hostname, "server.port": port}
    return found


def _span_id() -> str:
    return secrets.token_hex(8)
