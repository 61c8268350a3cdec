"""Demonstrations are played once, kept as they were, and never of what is evaluated."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from agemem_eval.harness.config import Execution, RunConfig
from agemem_eval.harness.errors import DataError, UsageError
from agemem_eval.harness.runner import run
from agemem_eval.policies import demonstrations
from agemem_eval.policies.demonstrations import (
    FILE,
    Demonstration,
    data_hash,
    demonstrations_of,
    files,
)
from agemem_eval.policies.preflight import make_plan_of
from agemem_eval.policies.recipe import Recipe, make_recipe

STAGED = {"form": "three-stage", "exposure": "each", "distractors": "1", "paragraphs": "2"}


def recipe(evaluation: int = 4000, **wanted: Any) -> Recipe:
    return make_recipe({
        "name": "shown",
        "model": {"fresh": {"positions": 8192}},
        "sft": {"demonstrations": {"episodes": 4, **wanted}},
        "agent": {"shots": 0, "context_tokens": 4096, "max_tokens": 256},
        "tasks": {"options": {"hotpotqa": STAGED}},
        "evaluation": {"first": evaluation, "episodes": 2},
    })  # fmt: skip


def shown(directory: Path, **wanted: Any) -> list[Demonstration]:
    return asyncio.run(demonstrations_of(recipe(**wanted), directory))


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Demonstration]]:
    directory = tmp_path_factory.mktemp("played")
    return directory, shown(directory)


def test_an_episode_is_shown_turn_by_turn(played: tuple[Path, list[Demonstration]]) -> None:
    first = [one for one in played[1] if one.episode == played[1][0].episode]
    assert [one.stage for one in first] == sorted(one.stage for one in first)
    assert {one.stage for one in first} == {1, 2, 3}
    for one, later in pairwise(first):
        assert one.messages[0].role == "system"
        assert one.messages[-1].role in ("user", "tool")
        if later.stage == one.stage:
            assert one.text in [m.content for m in later.messages if m.role == "assistant"]
    assert first[-1].texts[-1].endswith("</answer>")


def test_what_is_written_is_read_and_nothing_is_played_again(
    played: tuple[Path, list[Demonstration]], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, whole = played
    monkeypatch.setattr(demonstrations, "Player", None)  # nothing could be played
    assert shown(directory) == whole


def test_their_hash_is_of_every_byte_and_of_the_order_of_the_files(
    played: tuple[Path, list[Demonstration]], tmp_path: Path
) -> None:
    one = recipe()
    found = data_hash(one, played[0])
    assert found == data_hash(one, played[0])
    assert data_hash(one, tmp_path) is None
    (tmp_path / FILE).write_bytes((played[0] / FILE).read_bytes()[:-1])
    assert data_hash(one, tmp_path) not in (found, None)
    two = make_recipe(one.model_dump() | {"sft": {"demonstrations": [{"episodes": 1}] * 2}})
    assert data_hash(recipe().model_copy(update={"sft": None}), tmp_path) is None
    hashes = set()
    for order in ("12", "21"):
        for number, place in enumerate(order, 1):
            (tmp_path / f"demonstrations-{place}.jsonl").write_text(f"{number}\n")
        hashes.add(data_hash(two, tmp_path))
    assert len(hashes - {None}) == 2


def test_what_was_stopped_goes_on_behind_a_line_that_was_cut(
    played: tuple[Path, list[Demonstration]], tmp_path: Path
) -> None:
    directory, whole = played
    content = (directory / FILE).read_bytes()
    lines = content.splitlines(keepends=True)
    (tmp_path / FILE).write_bytes(b"".join(lines[:3]) + lines[3][:50])
    assert shown(tmp_path) == whole
    assert (tmp_path / FILE).read_bytes() == content


def test_only_good_episodes_are_kept_unless_all_are_wanted(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="none of the episodes ended well"):
        shown(tmp_path / "good", noise=1.0)
    assert len({one.episode for one in shown(tmp_path / "all", noise=1.0, keep="all")}) == 4


def test_of_some_stages_only_the_turns_are_shown(
    played: tuple[Path, list[Demonstration]], tmp_path: Path
) -> None:
    last = shown(tmp_path, stages=[3])
    assert last == [one for one in played[1] if one.stage == 3]
    told = [m.content for m in last[0].messages if m.role != "system"]
    assert not any("Add_memory" in text for text in told)  # the context began anew before it
    with pytest.raises(UsageError, match=r"sft\.demonstrations"):
        recipe(stages=[4])


def test_tasks_that_are_evaluated_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"1 tasks .* are also tasks of evaluation"):
        shown(tmp_path, evaluation=3)


def test_a_file_of_other_demonstrations_is_refused(
    played: tuple[Path, list[Demonstration]],
) -> None:
    with pytest.raises(DataError, match="other demonstrations"):
        shown(played[0], noise=0.5)


def test_a_damaged_file_is_refused_in_one_line(
    played: tuple[Path, list[Demonstration]], tmp_path: Path
) -> None:
    head = (played[0] / FILE).read_bytes().splitlines(keepends=True)[0]
    for line in (b"{\n", json.dumps({"episode": "x", "messages": [], "turns": [[[7], "", 1]]})):
        body = line if isinstance(line, bytes) else line.encode() + b"\n"
        (tmp_path / FILE).write_bytes(head + body * 4)
        with pytest.raises(DataError, match="is damaged") as refused:
            shown(tmp_path)
        assert "\n" not in str(refused.value)


def test_the_turns_of_a_run_are_what_its_model_was_asked(tmp_path: Path) -> None:
    agent = recipe().agent
    config = RunConfig(
        envs=("hotpotqa",), memories=("agemem",), model="scripted", split="generated-train",
        episodes=2, agent=agent, options={"hotpotqa": STAGED},
    )  # fmt: skip
    asyncio.run(run(config, Execution(runs_dir=tmp_path, name="r", workers=0)))
    found = shown(tmp_path / "shown", runs=str(tmp_path / "r"))
    assert {one.stage for one in found} == {1, 2, 3}
    assert all(one.messages[0].role == "system" for one in found)
    assert any("<tool_call>" in one.text for one in found)
    with pytest.raises(UsageError, match="also tasks of evaluation"):
        shown(tmp_path / "again", runs=str(tmp_path / "r"), evaluation=1)


ALFWORLD = {"env": "alfworld", "expert": "explorer", "episodes": 3, "agent": {"max_steps": 40}}


def mixed(*sources: dict[str, Any], evaluation: int = 4000, **tasks: Any) -> Recipe:
    return make_recipe({
        "name": "mixed",
        "model": {"fresh": {"positions": 8192}},
        "sft": {"demonstrations": list(sources)},
        "agent": {"shots": 0, "context_tokens": 4096, "max_tokens": 256},
        "tasks": tasks or {"options": {"hotpotqa": STAGED}, "episodes": 8},
        "evaluation": {"first": evaluation, "episodes": 2},
        "reward": {"task_score": "success"},
    })  # fmt: skip


def test_several_sources_have_a_file_each_and_are_mixed(tmp_path: Path) -> None:
    recipe_ = mixed({"episodes": 2}, ALFWORLD)
    found = asyncio.run(demonstrations_of(recipe_, tmp_path))
    order = list(dict.fromkeys(one.episode.partition(" ")[0] for one in found))
    episodes = list(dict.fromkeys(one.episode for one in found))
    assert order == ["2", "1"]
    assert [name[0] for name in episodes] == ["2", "1", "2", "1", "2"]
    assert {one.stage for one in found if one.episode.startswith("2")} == {3}
    assert [path.is_file() for path in files(recipe_, tmp_path)] == [True, True]
    assert not (tmp_path / FILE).exists()
    files(recipe_, tmp_path)[1].write_bytes(b"")
    assert asyncio.run(demonstrations_of(recipe_, tmp_path)) == found


def test_a_lone_source_in_a_list_is_as_one_without(
    played: tuple[Path, list[Demonstration]], tmp_path: Path
) -> None:
    assert asyncio.run(demonstrations_of(mixed({"episodes": 4}), tmp_path)) == played[1]


def test_no_source_may_show_what_is_evaluated_in_stages_or_not(tmp_path: Path) -> None:
    staged = {
        "env": "three-stage", "options": {"three-stage": {"env": "alfworld"}},
        "first": 100, "episodes": 5,
    }  # fmt: skip
    clash = mixed(
        {"episodes": 1}, {"env": "hotpotqa", "expert": "reader", "episodes": 1}, evaluation=0
    )
    with pytest.raises(UsageError, match=r"1 tasks of sft\.demonstrations"):
        asyncio.run(demonstrations_of(clash, tmp_path / "a"))
    clash = mixed(ALFWORLD, evaluation=1, **staged)
    with pytest.raises(UsageError, match=r"2 tasks of sft\.demonstrations"):
        asyncio.run(demonstrations_of(clash, tmp_path / "b"))
    with pytest.raises(UsageError, match=r"2 tasks of sft\.demonstrations are also"):
        asyncio.run(make_plan_of(clash, tmp_path / "c"))


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (ALFWORLD | {"expert": "reader"}, r"sft\.demonstrations\.1\.expert: of alfworld.*'reader'"),
        (ALFWORLD | {"first": 10**6}, r"sft\.demonstrations\.1\.first 1000000"),
        (ALFWORLD | {"options": {"alfworld": {"engin": "x"}}}, r"engin"),
        (ALFWORLD | {"memory": "rug"}, r"did you mean 'rag'"),
    ],
)
def test_what_a_source_cannot_have_is_told_before_anything_is_played(
    source: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=problem):
        asyncio.run(make_plan_of(mixed({"episodes": 1}, source), tmp_path))


def test_keys_of_sources_that_are_left_out_change_no_hash() -> None:
    assert mixed({"episodes": 2}).hash == mixed({"episodes": 2, "env": None}).hash
    assert mixed({"episodes": 2}).hash != mixed({"episodes": 2}, {"episodes": 2}).hash
    with pytest.raises(UsageError, match=r"unknown recipe key 'sft\.demonstrations\.0\.agent\.x'"):
        mixed({"agent": {"x": 1}})
    with pytest.raises(UsageError, match=r"context_tokens 9000 .* exceed the model's"):
        mixed({"agent": {"context_tokens": 9000}})


def test_a_mistake_on_purpose_is_in_the_context_and_no_demonstration(tmp_path: Path) -> None:
    slipping = mixed({"episodes": 1}, ALFWORLD | {"slips": 0.5, "keep": "all"})
    found = asyncio.run(demonstrations_of(slipping, tmp_path))
    shown_ = [one for one in found if one.episode.startswith("2")]
    said = {one.text for one in shown_}
    context = {m.content for one in shown_ for m in one.messages if m.role == "assistant"}
    assert context - said, "mistakes are seen"
    assert context & said, "and not everything is one"
    assert mixed(ALFWORLD | {"slips": 0.0}).hash == mixed(ALFWORLD).hash != slipping.hash
    assert mixed(ALFWORLD | {"memory": None}).hash == mixed(ALFWORLD).hash
    assert mixed(ALFWORLD | {"memory": "rag"}).hash != mixed(ALFWORLD).hash
