"""The columns of the two tables that exports and data frames have, and one row of each."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any, Literal

from ..analysis import CellFrame
from ..analysis.frame import PLAIN, numbers_of
from ..records import Episode, EpisodeKey
from ..tools import ToolStatus
from ..trace import Event
from .clean import Clean

SCHEMA_VERSION = 1  # of these tables; rises when a column changes its name or meaning

Kind = Literal["text", "bool", "int", "float", "time"]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, what its values are, and whether one may be missing."""

    name: str
    kind: Kind
    missing: bool = False  # may be; a count that may not is 0 where nothing was counted

    def of(self, row: Mapping[str, Any]) -> Any:
        """The value of a row; None where it is missing.

        Raises:
            ValueError: if there must be one, or it is not of this kind.
        """
        value = row.get(self.name)
        if value is None or (isinstance(value, float) and math.isnan(value)):
            if self.missing:
                return None
            if self.kind in ("int", "float"):
                return 0 if self.kind == "int" else 0.0
            raise ValueError(f"there is no {self.name}")
        return _CASTS[self.kind](value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r:.40} is no text")
    return value


def _int(value: Any) -> int:
    number = int(value)
    if number.bit_length() > 63:
        raise ValueError(f"{number:.3g} is no 64-bit integer")
    return number


def _time(value: Any) -> datetime | None:
    """A moment, or None for a text that tells none."""
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


_CASTS: dict[Kind, Any] = {"text": _text, "bool": bool, "int": _int, "float": float, "time": _time}

# --- episodes ---------------------------------------------------------------------------------

_KEY = tuple(
    Column(f.name, "int" if f.name in ("seed", "repeat", "order_seed") else "text",
           f.name == "order_seed")
    for f in fields(EpisodeKey)
)  # fmt: skip
_FLOATS = ("progress", "reward", "wall_s")
_PLAIN = tuple(
    Column(name, "bool" if name == "success" else "float" if name in _FLOATS else "int",
           name in ("success", "progress", "reward", "memory_entries"))
    for name in PLAIN
)  # fmt: skip
_ABOUT = (
    Column("task_type", "text"),
    Column("status", "text"),
    Column("scored", "bool"),
    Column("loss", "text", missing=True),
    Column("reason", "text"),
    Column("fault", "text", missing=True),
    Column("attempt", "int"),
    Column("order", "int"),
    Column("started_at", "time", missing=True),
)
_FIXED = (
    Column("run", "text"), Column("episode", "text"), Column("protocol", "text"),
    *_KEY, *_ABOUT, *_PLAIN, Column("memory_faults", "int"),
)  # fmt: skip
# Columns that depend on the run, in this order, by how their names begin.
_GROUPS: dict[str, tuple[Kind, bool]] = {
    "labels.": ("text", True),
    "metrics.": ("float", True),
    "quality.": ("float", True),
    "tokens.": ("int", False),
    "tokens_lost.": ("int", False),
    "tool_calls.": ("int", False),
    "tool_failed.": ("int", False),
    "memory_costs.": ("int", False),
    "memory_faults.": ("int", False),
}
_NO_TOOL = "unknown_tool"
_NOT_CARRIED_OUT = {ToolStatus.UNKNOWN_TOOL.value, ToolStatus.CANCELLED.value}


def known_tools(episode: Episode) -> set[str]:
    """The tools that an episode carried out; any other name is only what a model made up."""
    return {
        tool
        for tool, by_status in episode.tool_calls.items()
        if by_status.keys() - _NOT_CARRIED_OUT
    }


def column_of(name: str, tools: frozenset[str]) -> str:
    """The column of a frame's column: what a model made up as a tool shares one.

    Args:
        name: As in `analysis.frame`.
        tools: See `known_tools`.
    """
    group, _, tool = name.partition(".")
    made_up = group in ("tool_calls", "tool_failed") and tool not in tools
    return f"{group}.{_NO_TOOL}" if made_up else name


def episode_row(frame: CellFrame, episode: Episode, tools: frozenset[str], clean: Clean) -> Row:
    """An episode as one flat row.

    Args:
        frame: The cell it belongs to.
        episode: The record.
        tools: See `known_tools`; calls of others are summed as `tool_calls.unknown_tool`.
        clean: Takes out what must not leave.
    """
    row: Row = {
        "run": frame.run,
        "episode": episode.key.id,
        "protocol": frame.protocol.id,
        "scored": episode.scored,
        **{name: getattr(episode.key, name) for name in episode.key.__dataclass_fields__},
        **{c.name: getattr(episode, c.name) for c in _ABOUT if c.name != "scored"},
    }
    for name, value in numbers_and_labels(episode):
        shared = column_of(name, tools)
        own = clean.name(shared)
        row[own] = value if shared == name else value + row.get(own, 0)
    return {k: clean.setting(v) if isinstance(v, str) else v for k, v in row.items()}


def numbers_and_labels(episode: Episode) -> Iterator[tuple[str, Any]]:
    """The columns of an episode that depend on the run, before `column_of`."""
    yield from numbers_of(episode)
    for label, text in episode.labels.items():
        yield f"labels.{label}", text
    for role, usage in episode.tokens.items():
        yield f"tokens.{role}.estimated_calls", usage.estimated_calls
    for role, usage in episode.tokens_lost.items():
        yield f"tokens_lost.{role}.calls", usage.calls
        yield f"tokens_lost.{role}.prompt", usage.prompt_tokens
        yield f"tokens_lost.{role}.completion", usage.completion_tokens
    for operation, cost in episode.memory_costs.items():
        for name, value in asdict(cost).items():
            yield f"memory_costs.{operation}.{name}", value
    for kind, n in episode.memory_faults.items():
        yield f"memory_faults.{kind}", n


def episode_columns(names: Iterable[str]) -> tuple[Column, ...]:
    """The columns of a table of episodes.

    Args:
        names: All names that its rows have.
    """
    fixed = {column.name for column in _FIXED}
    further = sorted(set(names) - fixed)
    found = list(_FIXED)
    for prefix, (kind, missing) in _GROUPS.items():
        for name in further:
            if name.startswith(prefix):
                of_time = prefix == "memory_costs." and name.endswith(".wall_s")
                found.append(Column(name, "float" if of_time else kind, missing))
    return tuple(found)


# --- turns ------------------------------------------------------------------------------------

TURN_COLUMNS = (
    Column("run", "text"),
    Column("episode", "text"),
    Column("turn", "int"),  # from 1
    Column("step", "int"),  # steps of the environment before it
    Column("prompt_tokens", "int"),
    Column("completion_tokens", "int"),
    Column("context_tokens", "int", missing=True),
    Column("tokens_estimated", "bool"),
    Column("memory_tokens", "int"),  # of the memory's own model calls in this turn
    Column("latency_s", "float", missing=True),
    Column("finish", "text", missing=True),
    Column("completion", "text"),
    Column("malformed", "text", missing=True),  # what of it could not be used
    Column("tool_calls", "int"),
    Column("tools_failed", "int"),
    Column("tools", "text", missing=True),  # JSON: name, arguments, status, content of each
    Column("memory_ops", "text", missing=True),  # JSON: operation -> how many
    Column("forfeit", "bool"),  # the step passed without an action
    Column("action", "text", missing=True),
    Column("valid", "bool", missing=True),
    Column("reward", "float", missing=True),
    Column("progress", "float", missing=True),
    Column("done", "bool", missing=True),
    Column("observation", "text", missing=True),
    Column("answer", "text", missing=True),
)
_ACTION = ("action", "valid", "reward", "progress", "done", "observation", "answer")


def turn_rows(run: str, episode: str, events: Sequence[Event], clean: Clean) -> Iterator[Row]:
    """One row a turn: the model's output and all that came of it until the next one.

    Raises:
        KeyError, TypeError, ValueError: if these are not the events of an episode.
    """
    row: Row | None = None
    for event in events:
        if event["type"] == "completion":
            if row is not None:
                yield _finished(row, clean)
            row = {"run": run, "episode": episode, **_completion(event)}
        elif row is not None:
            _extend(row, event)
    if row is not None:
        yield _finished(row, clean)


def _completion(event: Event) -> Row:
    return {
        "turn": event["turn"],
        "step": event["step"],
        "prompt_tokens": event["prompt_tokens"],
        "completion_tokens": event["completion_tokens"],
        "context_tokens": event.get("context_tokens"),
        "tokens_estimated": bool(event.get("estimated")),
        "latency_s": event.get("latency_s"),
        "finish": event.get("finish"),
        "completion": event["text"],
        "memory_tokens": 0,
        "tools": [],
        "memory_ops": {},
        "forfeit": False,
    }


def _extend(row: Row, event: Event) -> None:
    """Take in what happened after the output of a turn."""
    kind = event["type"]
    if kind == "tool":
        told = ("name", "arguments", "status", "content")
        row["tools"].append({name: event.get(name) for name in told})
    elif kind == "action":
        row.update({name: event.get(name) for name in _ACTION})
    elif kind == "malformed":
        row["malformed"] = event["problem"]
    elif kind == "forfeit":
        row["forfeit"] = True
    elif kind == "memory":
        row["memory_ops"][event["op"]] = row["memory_ops"].get(event["op"], 0) + 1
    elif kind == "model_call" and str(event.get("role")).startswith("memory"):
        row["memory_tokens"] += event["prompt_tokens"] + event["completion_tokens"]


def _finished(row: Row, clean: Clean) -> Row:
    tools = row["tools"]
    row["tool_calls"] = len(tools)
    row["tools_failed"] = sum(tool["status"] != ToolStatus.SUCCESS.value for tool in tools)
    row["tools"] = _json(clean.value(tools)) if tools else None
    row["memory_ops"] = _json(row["memory_ops"]) if row["memory_ops"] else None
    row = {k: clean.text(v) if isinstance(v, str) else v for k, v in row.items()}
    return {column.name: column.of(row) for column in TURN_COLUMNS}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
