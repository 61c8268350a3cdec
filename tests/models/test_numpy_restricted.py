"""`actions=restricted`: which actions are asked for and when, what it is called, whole runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from answering import make_answering
from model_requests import ask, changed_copy
from restricted_runs import play, table_of, told
from tokenizers import Tokenizer, decoders, models

from agemem_eval.harness.errors import UsageError
from agemem_eval.harness.ledger import Role
from agemem_eval.harness.models import make_model
from agemem_eval.harness.protocol import parse_text
from agemem_eval.harness.trace import Trace

from .fakes import FakeEnv, view

ACTIONS = ["open drawer 1", "open drawer 10", "look"]


@pytest.fixture(scope="module")
def answering(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_answering(tmp_path_factory.mktemp("models") / "answering")


@pytest.fixture
async def make(answering: Path) -> AsyncIterator[Callable[..., Any]]:
    made: list[Any] = []

    def make_one(folder: Path = answering, actions: str = "restricted") -> Any:
        made.append(make_model(f"numpy:{folder}", {"actions": actions}))
        return made[-1]

    yield make_one
    for model in made:
        await model.close()


class Counting(FakeEnv):
    """Lists its actions, and counts how often it is asked to."""

    asked_for = 0

    async def valid_actions(self) -> list[str] | None:
        self.asked_for += 1
        return self.actions


async def answer(model: Any, **more: Any) -> str | None:
    reply = await model.generate(ask(**{"max_tokens": 60, "temperature": 1.0, **more}))
    return parse_text(reply.text).answer


async def test_every_answer_of_an_episode_is_an_action_listed_then(make: Any) -> None:
    env = Counting(actions=ACTIONS)
    bound = make().bind(view(env))
    given = [await answer(bound, seed=seed) for seed in range(12)]
    assert set(given) <= set(ACTIONS)
    assert len(set(given)) > 1
    assert env.asked_for == 12  # once a request
    env.actions = ["wait"]
    assert await answer(bound, seed=1) == "wait"


async def test_where_no_action_is_listed_a_reply_is_free(make: Any) -> None:
    free = make(actions="free")
    said = await free.generate(ask(temperature=1.0, seed=5))
    for actions in (None, [], [" no reply can hold this "]):
        bound = make().bind(view(Counting(actions=actions)))
        assert (await bound.generate(ask(temperature=1.0, seed=5))).text == said.text
    model = make()
    unlisted = Counting(actions=ACTIONS, listed=False)  # as of questions
    assert model.bind(view(unlisted)) is model
    assert (await model.generate(ask(temperature=1.0, seed=5))).text == said.text


async def test_what_a_memory_asks_is_answered_freely(make: Any) -> None:
    env = Counting(actions=ACTIONS)
    bound = make().bind(view(env))
    request = ask(temperature=1.0, seed=5)
    free = (await make(actions="free").generate(request)).text
    assert (await bound.generate(replace(request, role=Role.MEMORY_WRITE))).text == free
    assert not env.asked_for


async def test_a_refused_action_is_not_offered_again_until_another_was_carried_out(
    make: Any,
) -> None:
    trace = Trace()
    bound = make().bind(replace(view(Counting(actions=ACTIONS)), trace=trace))

    async def offered() -> set[str | None]:
        asked = (answer(bound, seed=seed, temperature=3.0) for seed in range(25))
        return set(await asyncio.gather(*asked))

    assert await offered() == set(ACTIONS)
    trace.emit("action", action="look", valid=True)
    trace.emit("action", action="open drawer 1", valid=False)
    trace.emit("action", action="nonsense", valid=False)
    assert await offered() == {"open drawer 10", "look"}
    trace.emit("action", action="look", valid=False)
    assert await offered() == {"open drawer 10"}
    trace.emit("action", action="open drawer 10", valid=False)
    assert await offered() == set(ACTIONS)  # there is nothing else
    trace.emit("action", action="open drawer 10", valid=True)
    trace.emit("action", action="look", valid=False)
    assert await offered() == {"open drawer 1", "open drawer 10"}


def test_free_and_restricted_are_two_models_by_name_and_identity(make: Any) -> None:
    free, held = make(actions="free"), make()
    assert (free.info.name, held.info.name) == ("numpy:answering", "numpy:answering (restricted)")
    told = dict(held.info.identity)
    assert told.pop("actions") == {"restricted": 1}
    assert told == free.info.identity
    bound = held.bind(view(FakeEnv(actions=ACTIONS)))
    assert bound.info == held.info
    assert bound.count_tokens("open drawer 1") == free.count_tokens("open drawer 1")
    assert free.cacheable
    assert not held.cacheable  # the request alone does not say what is listed


def test_what_cannot_be_restricted_is_refused_in_one_line(
    make: Any, answering: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="actions"):
        make(actions="some")
    with pytest.raises(UsageError, match="restricted needs --transport prompt"):
        make().bind(view(FakeEnv(actions=ACTIONS), native=True))
    words = changed_copy(answering, tmp_path / "words")
    of_words = models.WordPiece({"[UNK]": 0, "a": 1, "##b": 2}, unk_token="[UNK]")
    tokenizer = Tokenizer(of_words)
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.save(str(words / "tokenizer.json"))
    make(words, actions="free")
    with pytest.raises(UsageError, match="needs a byte-level tokenizer") as error:
        make(words)
    assert "\n" not in str(error.value)


def test_games_are_played_by_admissible_actions_alone_and_stand_in_a_row_of_their_own(
    answering: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    free, held = (
        play("numpy", answering, tmp_path, actions, "--temperature", "1.0")
        for actions in ("free", "restricted")
    )
    for episodes, invalid in ((held, 0), (free, 5)):
        assert [episode.invalid_actions for episode, _ in episodes] == [invalid] * 2
        assert [episode.steps for episode, _ in episodes] == [5] * 2
    done = {action for _, events in held for action in told(events, "action", "action")}
    assert len(done) > 3
    rows = json.loads(table_of(tmp_path, capsys))["rows"]
    names = sorted(row["model"] for row in rows)
    assert names == ["numpy:answering", "numpy:answering (restricted)"]
