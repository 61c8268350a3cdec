"""Episodes for training engines, without any of them."""

from __future__ import annotations

import asyncio
import json

import pytest
from engine_fakes import SPLIT, TASK, write_recipe

from agemem_eval.harness.errors import DataError, UsageError
from agemem_eval.harness.ledger import Usage
from agemem_eval.harness.models import ModelBase
from agemem_eval.harness.types import Completion, ModelInfo
from agemem_eval.policies.engines.__main__ import main
from agemem_eval.policies.engines.episodes import Episodes, check_lengths
from agemem_eval.policies.recipe import read_recipe


class Says(ModelBase):
    """Answers one thing, always, in one token."""

    info = ModelInfo("says")

    def __init__(self, token: int) -> None:
        self.token = token

    async def generate(self, request):
        await asyncio.sleep(0)
        text = f"<answer>{self.token}</answer>"
        return Completion(
            text, Usage(1, 1), token_ids=(self.token,), logprobs=(-0.1,), prompt_ids=(1,)
        )


@pytest.fixture
def recipe(tmp_path):
    return write_recipe(tmp_path, tmp_path / "model")


def test_tasks_are_written_as_both_engines_read_them(recipe, tmp_path, capsys):
    assert main([str(recipe), str(tmp_path / "tasks.jsonl")]) == 0
    assert "3 tasks" in capsys.readouterr().out
    rows = [json.loads(line) for line in (tmp_path / "tasks.jsonl").read_text().splitlines()]
    assert len({row["task"] for row in rows}) == 3
    for index, row in enumerate(rows):
        named = {"recipe": str(recipe), "split": SPLIT, "task": row["task"]}
        assert named.items() <= row.items()
        assert row["extra_info"] == {"index": index, **named}
        assert row["agent_name"] == "agemem"
        assert [message["role"] for message in row["prompt"]] == ["user"]
    assert rows[0]["task"] == TASK


def test_a_recipe_that_is_not_there_is_one_line(tmp_path, capsys):
    assert main([str(tmp_path / "none.yaml"), str(tmp_path / "tasks.jsonl")]) == DataError.exit_code
    assert len(capsys.readouterr().err.splitlines()) == 1


async def test_episodes_played_at_once_are_each_played_by_their_own_model(recipe):
    episodes = Episodes.of(str(recipe), "engine")
    assert Episodes.of(str(recipe), "engine") is episodes
    played = await asyncio.gather(
        *(episodes.play(Says(token), SPLIT, TASK, repeat=0, temperature=1.0) for token in (5, 6, 7))
    )
    for token, trajectory in zip((5, 6, 7), played, strict=True):
        assert {step.completion_ids for step in trajectory.steps} == {(token,)}
        assert trajectory.episode.key.model == "engine:policy"
    with pytest.raises(UsageError, match="no task 'none'"):
        await episodes.play(Says(1), SPLIT, "none", repeat=0, temperature=1.0)
    await episodes.close()


def test_limits_of_an_engine_that_suffice_or_are_not_set_are_taken(recipe):
    read = read_recipe(recipe)
    for prompt, reply in ((8000, 8), (None, None)):
        check_lengths(read, prompt=prompt, reply=reply, engine="a, b")
    with pytest.raises(UsageError, match=r"a is 7999, less than agent\.context_tokens 8000"):
        check_lengths(read, prompt=7999, reply=8, engine="a, b")
