"""`replay:RUN`: gives again what the model of a finished run answered, call by call.

For looking into a run with other metrics, and for tests of the harness: with the same protocol
and memory the same results come out. Where they do not, the replay has diverged, and says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import ModelError, UsageError
from ..ledger import Role, Usage
from ..records import EpisodeKey
from ..store import RunStore
from ..tools import ToolCall
from ..trace import Event
from ..types import Completion, EpisodeView, Model, ModelInfo, Request
from . import ModelBase

HEURISTIC = "heuristic"
_UNTRAINED = ("agemem-norl", "agemem-norl-rag")  # labels of cells that an untrained model played
_Place = tuple[str, str, str, int, int, int | None]


class ReplayModel(ModelBase):
    """The recorded completions of a run, found by environment, split, task, seed and repeat.

    Usage is replayed as it was recorded. Tokens of the context are estimated, whatever counted
    them then.

    Args:
        name: A run's directory, or its name below `runs_dir`.
        runs_dir: Where runs are kept.

    Raises:
        UsageError: if there is no such run, or it was a replay itself.
        DataError: if the run cannot be read.
    """

    def __init__(self, name: str, *, runs_dir: str = "runs") -> None:
        if not name:
            raise UsageError("the model 'replay' needs a run: replay:NAME or replay:DIRECTORY")
        given = Path(name)
        directory = given if (given / "config.json").exists() else Path(runs_dir) / name
        self._store = RunStore.open(directory)
        config = self._store.config()
        if config.model_name == "replay":
            raise UsageError(f"the run {name!r} is a replay itself: use --model {config.model}")
        episodes = [episode for episode in self._store.episodes().values() if episode.scored]
        self._keys: dict[_Place, list[EpisodeKey]] = {}
        for episode in episodes:
            self._keys.setdefault(_place(episode.key), []).append(episode.key)
        untrained = [e.key.model for e in episodes if e.key.memory in _UNTRAINED]
        played = [e.key.model for e in episodes if e.key.memory not in _UNTRAINED] or untrained
        self._before = untrained[0] if untrained and untrained[0] != played[0] else None
        writers = {episode.labels.get("memory_model", HEURISTIC) for episode in episodes}
        trained = any(episode.key.memory == "agemem" for episode in episodes)
        self.info = ModelInfo(
            f"replay of {played[0] if played else config.model}",
            training="agemem" if trained else "none",  # as the recorded results were labelled
            oracle=config.model_name == "scripted",
            writes=any(not writer.startswith(HEURISTIC) for writer in writers),
            identity={"provider": "replay", "run": config.hash},
        )

    def untrained(self) -> Model | None:
        """The recordings of the untrained model, where another one played the run's other cells."""
        if self._before is None:
            return None
        other = copy(self)
        other.info = replace(self.info, name=f"replay of {self._before}", training="none")
        other._before = None
        return other

    def bind(self, episode: EpisodeView) -> Model:
        """The recording of one episode."""
        keys = self._keys.get(_place(episode.key), [])
        return _Recording(self.info, self._store, keys, episode.key)


def _place(key: EpisodeKey) -> _Place:
    return key.env, key.split, key.task, key.seed, key.repeat, key.order_seed


@dataclass(frozen=True, slots=True)
class _Call:
    """One recorded model call."""

    role: str
    completion: Completion
    prompt_end: str | None  # the last message of the agent's prompt; None: not recorded


class _Recording(ModelBase):
    """The calls of one episode, in order."""

    def __init__(
        self, info: ModelInfo, store: RunStore, keys: list[EpisodeKey], key: EpisodeKey
    ) -> None:
        self.info = info
        self._store = store
        self._keys, self._memory = keys, key.memory
        self._what = f"task {key.task}, seed {key.seed}, repeat {key.repeat}"
        self._calls: Iterator[_Call] | None = None
        self._turn = 0  # calls replayed

    async def generate(self, request: Request) -> Completion:
        """The next recorded completion.

        Raises:
            ModelError: if there is no recording, or none that fits this request.
        """
        if self._calls is None:
            # A judge judges anew, and what rules wrote for the memory they write again.
            others = {Role.JUDGE} if self.info.writes else set(Role) - {Role.AGENT}
            calls = [c for c in _calls(self._find(request)) if c.role not in others]
            self._calls = iter(calls)
        call = next(self._calls, None)
        self._turn += 1
        if call is None:
            raise self._diverged("the recording ended before")
        if call.role != request.role:
            raise self._diverged(f"a {request.role} call is asked for, {call.role} came then")
        if call.prompt_end is not None and call.prompt_end != request.messages[-1].content:
            raise self._diverged("the prompt ends with another message than then")
        return call.completion

    def _find(self, request: Request) -> list[Event]:
        """The events of the recorded episode; of several (one a memory) the one that began so."""
        same = [key for key in self._keys if key.memory == self._memory]
        traces = [list(self._store.read_trace(key.id)) for key in same or self._keys]
        if len(traces) > 1:
            first = request.messages[0].content
            traces = [events for events in traces if _first_message(events) == first]
        if len(traces) == 1:
            return traces[0]
        memories = ", ".join(sorted({key.memory for key in self._keys})) or "none"
        raise ModelError(
            f"{self._store.directory} holds {len(traces)} recordings of {self._what} that begin "
            f"with this prompt, not one; recorded memories: {memories}"
        )

    def _diverged(self, why: str) -> ModelError:
        return ModelError(
            f"replay diverged at call {self._turn} of {self._what}: {why}; replay with the "
            f"protocol and memory of {self._store.directory}"
        )


def _calls(events: list[Event]) -> Iterator[_Call]:
    """The model calls of a trace, in order."""
    added: dict[str, str] = {}  # id -> text of the messages in the context, as they came
    for event in events:
        # A summary takes the place of earlier messages; every other message is appended.
        if event["type"] == "message" and event["kind"] != "summary":
            added[event["id"]] = event["text"]
        elif event["type"] == "remove":
            for id_ in event["ids"]:
                added.pop(id_, None)
        elif event["type"] == "completion":
            end = added[next(reversed(added))] if added else None
            yield _Call(Role.AGENT.value, _completion(event), end)
        elif event["type"] == "model_call":
            yield _Call(event["role"], _completion(event), None)


def _first_message(events: list[Event]) -> str | None:
    return next((str(event["text"]) for event in events if event["type"] == "message"), None)


def _completion(event: Event) -> Completion:
    usage = Usage(
        event["prompt_tokens"], event["completion_tokens"], bool(event.get("estimated", False))
    )
    calls = tuple(ToolCall(name, args, id_) for name, args, id_ in event.get("tool_calls", ()))
    malformed = tuple(event.get("malformed", ()))
    return Completion(event["text"], usage, calls, event.get("finish", "stop"), malformed)
