"""An episode as a sample of Inspect AI; imported where the extra `inspect` is there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ..analysis import CellFrame
from ..errors import MissingExtraError
from ..ledger import RoleUsage
from ..records import Episode
from ..tools import ToolStatus
from ..trace import Event
from .source import Source
from .summary import moment
from .transcript import Said, Transcript, calls_by_turn

try:
    from inspect_ai import event as ie
    from inspect_ai import model as im
    from inspect_ai.dataset import Sample
    from inspect_ai.log import EvalError, EvalSample, EvalSampleLimit
    from inspect_ai.scorer import CORRECT, INCORRECT, Score
    from inspect_ai.tool import ToolCall, ToolCallError
except ModuleNotFoundError as error:
    raise MissingExtraError("Inspect AI", "inspect") from error

_STOPS = {"length": "max_tokens", "other": "unknown"}  # the others have the same names
_TOOL_ERRORS = {
    ToolStatus.VALIDATION_ERROR.value: "parsing",
    ToolStatus.CANCELLED.value: "cancelled",
}
_SHOWN = {"type", "step", "turn", "latency_s"}  # told otherwise than as data


def usage_of(usage: RoleUsage) -> Any:
    """Token sums as Inspect has them."""
    total = usage.prompt_tokens + usage.completion_tokens
    return im.ModelUsage(
        input_tokens=usage.prompt_tokens, output_tokens=usage.completion_tokens, total_tokens=total
    )


def add_usages(into: dict[str, Any], more: dict[str, Any]) -> None:
    """Add the sums of one table to another."""
    for name, usage in more.items():
        into[name] = into.get(name, im.ModelUsage()) + usage


def usages(source: Source, episode: Episode) -> tuple[dict[str, Any], dict[str, Any]]:
    """Usage by model and by role; the embedder, which is no model of that kind, by role alone."""
    by_model: dict[str, Any] = {}
    labels, agent = episode.labels, episode.key.model
    named = {"agent": agent, "judge": labels.get("judge", "judge")}
    for role, sums in episode.tokens.items():
        if role != "embedding":
            model = source.clean.setting(named.get(role, labels.get("memory_model", agent)))
            add_usages(by_model, {model: usage_of(sums)})
    return by_model, {role: usage_of(sums) for role, sums in episode.tokens.items()}


def scores_of(episode: Episode) -> dict[str, Any]:
    """What was scored, by the names of columns; what was not is not there."""
    found: dict[str, Any] = {}
    if episode.success is not None:
        found["success"] = CORRECT if episode.success else INCORRECT
    found |= {n: getattr(episode, n) for n in ("progress", "reward")}
    for group, scores in (("metrics", episode.metrics), ("quality", episode.quality)):
        found |= {f"{group}.{name}": value for name, value in scores.items()}
    return {name: value for name, value in found.items() if value is not None}


@dataclass(slots=True)
class _Telling:
    """Turns the events of one episode into Inspect's."""

    source: Source
    episode: Episode
    events: list[Event]
    transcript: Transcript = field(default_factory=Transcript)
    told: list[Any] = field(default_factory=list)
    clock: float = 0.0  # seconds since the episode began, by what is known to have taken time
    answer: str | None = None
    target: str = ""
    chat: dict[int, Any] = field(default_factory=dict)  # by identity of what was said

    @property
    def began(self) -> datetime:
        return moment(self.episode.started_at)

    def stamp(self) -> dict[str, Any]:
        """What every event has: an id of its own, its time."""
        return {
            "uuid": f"{self.episode.key.id}-{len(self.told)}",
            "timestamp": self.began + timedelta(seconds=self.clock),
            "working_start": self.clock,
        }

    def run(self) -> None:
        """Tell all events."""
        calls = calls_by_turn(self.events)
        spoken: dict[int, str] = {}  # turn -> the message that its output became
        for event in self.events:
            if event["type"] == "message" and event["kind"] == "assistant":
                spoken.setdefault(event["turn"], event["id"])
        for event in self.events:
            kind, turn = event["type"], event["turn"]
            if kind in ("message", "rewrite", "remove"):
                self.transcript.add(event)
            if kind == "completion":
                self._model(event, calls.get(turn, []), spoken.get(turn, f"t{turn}"))
            elif kind == "model_call":
                self._other_model(event)
            elif kind == "tool":
                self._tool(event, calls[turn].index(event))
            elif kind not in ("message", "rewrite"):
                self._info(event)
            if kind == "action" and event.get("answer") is not None:
                self.answer = self.source.clean.text(str(event["answer"]))
            if kind == "quality" and isinstance(event.get("gold"), str):
                self.target = self.source.clean.text(event["gold"])
        for said in self.transcript.history:  # also those that no call saw
            self.message(said)
        self.stamp()  # of what ends the sample: times add up to one

    def message(self, said: Said) -> Any:
        """A message of the context."""
        if id(said) in self.chat:
            return self.chat[id(said)]
        common: dict[str, Any] = {
            "id": said.id,
            "content": self.source.clean.text(said.text),
            "metadata": {"kind": said.kind},
        }
        if said.role == "assistant":
            calls = self._calls_of(said.turn) if said.kind == "assistant" else None
            made: Any = im.ChatMessageAssistant(**common, tool_calls=calls, source="generate")
        elif said.role == "tool":
            made = im.ChatMessageTool(**common, tool_call_id=f"{said.turn}-{said.call}")
        elif said.role == "system":
            made = im.ChatMessageSystem(**common)
        else:
            made = im.ChatMessageUser(**common)
        self.chat[id(said)] = made
        return made

    def _calls_of(self, turn: int) -> list[Any] | None:
        made = [e for e in self.events if e["type"] == "tool" and e["turn"] == turn]
        return [self._call(event, i) for i, event in enumerate(made)] or None

    def _call(self, event: Event, index: int) -> Any:
        arguments = self.source.clean.value(event["arguments"])
        if not isinstance(arguments, dict):
            arguments = {"arguments": arguments}
        name = self.source.clean.text(event["name"])
        return ToolCall(id=f"{event['turn']}-{index}", function=name, arguments=arguments)

    def _model(self, event: Event, calls: list[Event], id_: str) -> None:
        output = im.ChatMessageAssistant(
            id=id_,
            content=self.source.clean.text(event["text"]),
            tool_calls=[self._call(call, i) for i, call in enumerate(calls)] or None,
            source="generate",
        )
        inputs = [self.message(said) for said in self.transcript.context]
        self._answered(event, self.episode.key.model, inputs, output, "agent")

    def _other_model(self, event: Event) -> None:
        """A call of the memory's model or the judge's; what it was asked is not in the trace."""
        text = self.source.clean.text(event["text"])
        output = im.ChatMessageAssistant(id=f"c{len(self.told)}", content=text, source="generate")
        self._answered(event, event["model"], [], output, event["role"])

    def _answered(
        self, event: Event, model: str, inputs: list[Any], output: Any, role: str
    ) -> None:
        stop = event.get("finish", "stop")
        took = float(event.get("latency_s") or 0.0)
        usage = RoleUsage(1, event["prompt_tokens"], event["completion_tokens"])
        name = self.source.clean.setting(model)
        choice = im.ChatCompletionChoice(message=output, stop_reason=_STOPS.get(stop, stop))
        made = im.ModelOutput(model=name, choices=[choice], usage=usage_of(usage), time=took)
        stamp = self.stamp()
        self.clock += took
        self.told.append(
            ie.ModelEvent(
                **stamp, model=name, role=role, input=inputs, tools=[], tool_choice="auto",
                config=im.GenerateConfig(), output=made, working_time=took,
                completed=self.began + timedelta(seconds=self.clock),
            )
        )  # fmt: skip

    def _tool(self, event: Event, index: int) -> None:
        call, status = self._call(event, index), event["status"]
        content = self.source.clean.text(event["content"])
        failed = None
        if status != ToolStatus.SUCCESS.value:
            failed = ToolCallError(_TOOL_ERRORS.get(status, "unknown"), f"{status}: {content}")
        stamp, took = self.stamp(), float(event.get("latency_s") or 0.0)
        self.clock += took
        self.told.append(
            ie.ToolEvent(
                **stamp, id=call.id, function=call.function, arguments=call.arguments,
                result=content, error=failed, working_time=took,
                completed=self.began + timedelta(seconds=self.clock),
            )
        )  # fmt: skip

    def _info(self, event: Event) -> None:
        data = {k: v for k, v in event.items() if k not in _SHOWN and v is not None}
        kind = event["type"]
        source = f"memory: {data.pop('op', '')}" if kind == "memory" else kind
        stamp = self.stamp()
        self.clock += float(event.get("latency_s") or 0.0)
        self.told.append(ie.InfoEvent(**stamp, source=source, data=self.source.clean.value(data)))


def sample_of(source: Source, frame: CellFrame, episode: Episode, row: dict[str, Any]) -> Any:
    """One episode as a sample; `epoch` counts its repeats and orders.

    Args:
        source: The run.
        frame: The cell.
        episode: The record.
        row: The episode as a row of the table, which is kept as metadata.
    """
    telling = _tell(source, episode)
    key, failed = episode.key, not episode.scored
    began = moment(episode.started_at)
    history = [telling.message(said) for said in telling.transcript.history]
    first = [m for m, s in zip(history, telling.transcript.history, strict=True) if s.turn == 0]
    task = source.clean.setting(key.task)
    values = {} if failed else scores_of(episode)
    made = {name: Score(value=value, answer=telling.answer) for name, value in values.items()}
    outputs = [event.output for event in telling.told if event.event == "model"]
    by_model, by_role = usages(source, episode)
    problem = EvalError(message=row["reason"], traceback="", traceback_ansi="") if failed else None
    return EvalSample(
        id=task,
        epoch=epoch_of(frame, episode),
        input=first or task,
        target=telling.target,
        messages=history,
        output=outputs[-1] if outputs else im.ModelOutput(),
        scores=made,
        metadata={name: _plain(value) for name, value in row.items() if value is not None},
        events=list(_framed(telling, task, first, made, problem)),
        model_usage=by_model,
        role_usage=by_role,
        started_at=began.isoformat(),
        completed_at=(began + timedelta(seconds=episode.wall_s)).isoformat(),
        total_time=episode.wall_s,
        working_time=min(telling.clock, episode.wall_s),
        uuid=key.id,
        error=problem,
        limit=_limit(episode),
        turn_count=episode.turns,
    )


def _tell(source: Source, episode: Episode) -> _Telling:
    """The episode told; without events where its trace cannot be read or understood."""
    telling = _Telling(source, episode, source.events(episode.key.id))
    try:
        telling.run()
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        source.unread[episode.key.id] = f"its trace holds what is no event: {error!r:.80}"
        telling = _Telling(source, episode, [])
    return telling


def _framed(
    telling: _Telling, task: str, first: list[Any], scores: dict[str, Any], problem: Any
) -> Iterator[Any]:
    """The events with what an Inspect log begins and ends with."""
    stamp = {**telling.stamp(), "timestamp": telling.began, "working_start": 0.0}
    sample = Sample(id=task, input=first or task, target=telling.target)
    yield ie.SampleInitEvent(**{**stamp, "uuid": f"{stamp['uuid']}-init"}, sample=sample, state={})
    yield from telling.told
    end = telling.stamp()
    if problem is not None:
        yield ie.ErrorEvent(**end, error=problem)
    elif "success" in scores:
        yield ie.ScoreEvent(**end, score=scores["success"], scorer="success")


def _limit(episode: Episode) -> Any:
    if episode.status != "limit":
        return None
    kind = "context" if episode.reason == "context_overflow" else "custom"
    return EvalSampleLimit(type=kind, limit=episode.steps, reason=episode.reason)


def epoch_of(frame: CellFrame, episode: Episode) -> int:
    """Which playing of its task it is, from 1."""
    orders = frame.cell.order_seeds or (None,)
    place = orders.index(episode.key.order_seed) if episode.key.order_seed in orders else 0
    return episode.key.repeat * len(orders) + place + 1


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
