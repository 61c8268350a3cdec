"""Demonstrations: episodes played by a teacher, or those of a run, as what was asked and answered.

They are written to a file of JSON lines as they are played, one line an episode, so that what was
stopped goes on; each message stands in an episode's line once, however many requests show it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..harness.errors import DataError, UsageError
from ..harness.files import disk_error
from ..harness.records import Episode, stable_hash
from ..harness.store import RunStore
from ..harness.types import ChatMessage, Task
from ..harness.viewer.reconstruct import State, reconstruct
from .recipe import Demonstrations, Recipe
from .rollout import Player
from .teacher import Slip, Teacher, rule_of
from .trajectory import Stage, stages_of

FILE = "demonstrations.jsonl"  # of one source
VERSION = 1  # of the file
_AT_ONCE = 32  # episodes
_NO_MATTER = {"data", "memory_base_url", "first", "episodes", "sources"}  # of the tasks
_Turn = tuple[tuple[ChatMessage, ...], str, Stage]


@dataclass(frozen=True, slots=True)
class Demonstration:
    """What is to be said to a prompt.

    Attributes:
        episode: Names the episode; those of one follow each other.
        messages: The prompt.
        text: The reply, thought and all.
        stage: 1, 2 or 3; see `trajectory.stages_of`.
    """

    episode: str
    messages: tuple[ChatMessage, ...]
    text: str
    stage: Stage

    @property
    def texts(self) -> tuple[str, ...]:
        """All that is said, the reply last."""
        return *(message.content for message in self.messages), self.text


def files(recipe: Recipe, directory: Path) -> list[Path]:
    """The files of a recipe's demonstrations, one for each of several sources."""
    count = len(recipe.sft.sources) if recipe.sft is not None else 0
    names = [f"demonstrations-{n}.jsonl" for n in range(1, count + 1)] if count > 1 else [FILE]
    return [directory / name for name in names]


async def demonstrations_of(recipe: Recipe, directory: Path) -> list[Demonstration]:
    """The demonstrations of a recipe: played, or read where they were played before.

    Those of several sources are mixed evenly: at any point about the same share of each has come.

    Args:
        recipe: Its `sft.demonstrations` says which.
        directory: Of the training, where `files` are.

    Raises:
        UsageError: if a task is also one of the evaluation, or none is left to learn from.
        DataError: for a file of other demonstrations, or a damaged one.
        InfraError: if the infrastructure broke an episode again and again.
    """
    if recipe.sft is None:
        raise UsageError("recipe: sft is missing: it says what the demonstrations are")
    count = len(recipe.sft.sources)
    return list(_unique(_mixed([await play(recipe, directory, n) for n in range(count)])))


def unplayed(recipe: Recipe, directory: Path) -> list[int]:
    """The sources, from 0, whose files are not there yet, or not whole."""
    sources = recipe.sft.sources if recipe.sft is not None else ()
    waiting = []
    for number, (source, path) in enumerate(zip(sources, files(recipe, directory), strict=True)):
        head = _json(_head(recipe.of(source), source))
        content = path.read_bytes() if path.is_file() else b""
        episodes = source.episodes if source.runs is None else 1
        if not content.startswith(head) or content.count(b"\n") <= episodes:
            waiting.append(number)
    return waiting


async def play(recipe: Recipe, directory: Path, number: int) -> list[list[Demonstration]]:
    """The episodes of a source, from 0: played, or read where they were played before.

    It raises as `demonstrations_of` does.
    """
    assert recipe.sft is not None
    source, path = recipe.sft.sources[number], files(recipe, directory)[number]
    lines = await _lines_of(recipe, source, path)
    several = len(recipe.sft.sources) > 1
    episodes = [_read(line, path, f"{number + 1} " if several else "") for line in lines]
    if not any(episodes):
        where = f".{number}" if several else ""
        raise UsageError(
            f"recipe: sft.demonstrations{where}: none of the episodes ended well: choose "
            "another expert, or keep: all"
        )
    return episodes


async def _lines_of(recipe: Recipe, source: Demonstrations, path: Path) -> list[dict[str, Any]]:
    """The lines of a source's file, once it is complete."""
    own, runs_dir = recipe.of(source), path.parent.parent
    kept = _Book(path, _head(own, source))
    if source.runs is None:
        async for lines in _played(recipe, own, source, runs_dir, len(kept.lines)):
            kept.write(lines)
    elif not kept.lines:
        kept.write(list(_of_run(source.runs, source, await _held_out(recipe, runs_dir))))
    return kept.lines


def _mixed(sources: Sequence[Sequence[list[Demonstration]]]) -> Iterator[list[Demonstration]]:
    """The episodes of all sources, evenly."""
    placed = [
        ((at + 0.5) / len(episodes), number, episode)
        for number, episodes in enumerate(sources)
        for at, episode in enumerate(episodes)
    ]
    placed.sort(key=lambda one: one[:2])
    return (episode for _, _, episode in placed)


def data_hash(recipe: Recipe, directory: Path) -> str | None:
    """A hash of all files of a recipe's demonstrations, byte by byte; None while there are none.

    Raises:
        OSError: if one cannot be read.
    """
    paths = files(recipe, directory)
    if recipe.sft is None or not all(path.is_file() for path in paths):
        return None
    total = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:16]


# --- played -----------------------------------------------------------------------------------


async def _played(
    recipe: Recipe, own: Recipe, source: Demonstrations, runs_dir: Path, done: int
) -> AsyncIterator[list[dict[str, Any]]]:
    """The episodes of a source that are not played yet, a few at a time.

    Args:
        recipe: Whose evaluation none of them may be of.
        own: The recipe as it holds for the source.
        source: How they are played.
        runs_dir: Where the judge's replies are kept.
        done: How many are played.
    """
    if done >= source.episodes:
        return
    teacher = Teacher(source.expert, source.noise, recipe.seed, source.slips)
    player = Player(own, teacher, runs_dir)
    try:
        tasks = await player.tasks(own.tasks.split, own.tasks.first, source.episodes)
        held_out = await _held_out(recipe, runs_dir, own.tasks.played)
        _refuse_shared([task.id for task in tasks], held_out)
        for start in range(done, len(tasks), _AT_ONCE):
            some = tasks[start : start + _AT_ONCE]
            yield await asyncio.gather(*(_episode(player, task, source) for task in some))
    finally:
        await player.close()


async def _episode(player: Player, task: Task, source: Demonstrations) -> dict[str, Any]:
    heard = await player.listen(task, repeat=0)
    turns: list[_Turn] = [
        (messages, completion.text, stage)
        for (messages, completion), stage in zip(heard.turns, heard.stages, strict=True)
        if not isinstance(completion, Slip) and stage in source.stages
    ]
    return _line(task.id, turns if _is_kept(heard.episode, source.keep) else [])


def _is_kept(episode: Episode, keep: str) -> bool:
    """Whether an episode is an example: solved and well-formed, or all of them."""
    return keep == "all" or (bool(episode.success) and not episode.malformed_outputs)


async def _held_out(recipe: Recipe, runs_dir: Path, env: str | None = None) -> set[str]:
    """The tasks of the evaluation, by id; of one environment, or of all."""
    player, ids = Player(recipe, Teacher(""), runs_dir), set[str]()
    try:
        for number, part in enumerate(recipe.parts):
            if env is None or part.tasks.played == env:
                held = part.evaluation
                tasks = await player.tasks(held.split, held.first, held.episodes, number)
                ids |= {task.id for task in tasks}
    finally:
        await player.close()
    return ids


def _refuse_shared(tasks: Iterable[str], held_out: set[str]) -> None:
    """Raise where what is to be learned is also evaluated."""
    if shared := sorted(held_out.intersection(tasks)):
        raise UsageError(
            f"recipe: {len(shared)} tasks of sft.demonstrations are also tasks of evaluation, "
            f"{shared[0]} for one: choose another evaluation.first or fewer demonstrations"
        )


# --- of a run ---------------------------------------------------------------------------------


def _of_run(
    directory: Path, source: Demonstrations, held_out: set[str]
) -> Iterator[dict[str, Any]]:
    """The episodes of a run directory, in the order in which they were recorded.

    Raises:
        DataError: if it holds no run, or one whose calls are no texts.
    """
    store = RunStore.open(directory)
    config = store.config()
    if config.agent.transport != "prompt":
        raise DataError(
            f"the run {directory} calls functions natively: demonstrations need --transport prompt"
        )
    forms = config.options_of("hotpotqa").get("form") == "three-stage"
    for episode in store.records():
        _refuse_shared([episode.key.task], held_out)
        if episode.scored and _is_kept(episode, source.keep):
            staged = episode.key.env == "three-stage" or (episode.key.env == "hotpotqa" and forms)
            events = list(store.read_trace(episode.key.id))
            turns = _turns(events, staged=staged)
            yield _line(episode.key.id, [turn for turn in turns if turn[2] in source.stages])


def _turns(events: list[dict[str, Any]], *, staged: bool) -> list[_Turn]:
    """What was asked and answered, as the trace tells."""
    stages, turns, state = stages_of(events, staged=staged), list[_Turn](), State()
    for turn in reconstruct(events, {})[0]:
        for change in turn.before:
            state.apply(change)
        if turn.call is not None:
            messages = tuple(ChatMessage(m["role"], m["text"]) for m in state.context)
            turns.append((messages, str(turn.call["text"]), stages[len(turns)]))
        for change in turn.after:
            state.apply(change)
    return turns


# --- the file ---------------------------------------------------------------------------------


class _Book:
    """The file: a line that says what it is, then one for each episode.

    Raises:
        DataError: if it holds other demonstrations, or cannot be read.
    """

    def __init__(self, path: Path, head: dict[str, Any]) -> None:
        self._path = path
        self.lines: list[dict[str, Any]] = []
        try:
            if path.is_file() and (whole := _whole_lines(path)):
                if whole[0] != head:
                    raise DataError(
                        f"{path} holds other demonstrations than the recipe's: remove it, or "
                        "train in another directory"
                    )
                self.lines = whole[1:]
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_json(head))
        except OSError as error:
            raise disk_error(str(path), error) from error

    def write(self, lines: list[dict[str, Any]]) -> None:
        """Append episodes."""
        try:
            with self._path.open("ab") as file:
                file.write(b"".join(map(_json, lines)))
        except OSError as error:
            raise disk_error(str(self._path), error) from error
        self.lines += lines


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a file; one that was cut when writing it was stopped is taken off."""
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    if end < len(content):
        with path.open("r+b") as file:
            file.truncate(end)
    try:
        return [json.loads(line) for line in content[:end].splitlines()]
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is damaged ({error}): remove it, and it is made anew") from error


def _head(own: Recipe, source: Demonstrations) -> dict[str, Any]:
    """The first line: what decides the demonstrations of a source; not how many there are to be.

    Args:
        own: The recipe as it holds for the source.
        source: How they are played.
    """
    said = source.model_dump(mode="json", exclude={"episodes", "env", "options", "split", "agent"})
    for key in (
        "memory",
        "slips",
        "stages",
    ):  # a key that was left out makes no other demonstrations
        if getattr(source, key) == Demonstrations.model_fields[key].default:
            del said[key]
    tasks = own.tasks.model_dump(mode="json", exclude=_NO_MATTER)
    agent = own.agent.model_dump(mode="json")
    said |= {"first": own.tasks.first}
    rule = rule_of(own.tasks.played, source.expert)
    identity = stable_hash([said, tasks, agent, own.seed, rule])
    return {"demonstrations": VERSION, "identity": identity}


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"


def _line(episode: str, turns: Sequence[_Turn]) -> dict[str, Any]:
    """An episode as a JSON value; without turns where it is no example."""
    places: dict[tuple[str, str], int] = {}
    said = []
    for messages, text, stage in turns:
        shown = [places.setdefault((m.role, m.content), len(places)) for m in messages]
        said.append([shown, text, stage])
    return {"episode": episode, "messages": [list(message) for message in places], "turns": said}


def _read(line: dict[str, Any], path: Path, prefix: str) -> list[Demonstration]:
    """The demonstrations of an episode's line; what stands before its name tells the source."""
    try:
        messages = [ChatMessage(role, content) for role, content in line["messages"]]
        return [
            Demonstration(prefix + line["episode"], tuple(messages[i] for i in shown), text, stage)
            for shown, text, stage in line["turns"]
        ]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(f"{path} is damaged ({error!r}): remove it, and it is made anew") from error


def _unique(episodes: Iterable[list[Demonstration]]) -> Iterator[Demonstration]:
    """Each demonstration once: the same reply to the same prompt teaches nothing new."""
    seen: set[tuple[tuple[ChatMessage, ...], str]] = set()
    for episode in episodes:
        for one in episode:
            if (key := (one.messages, one.text)) not in seen:
                seen.add(key)
                yield one
