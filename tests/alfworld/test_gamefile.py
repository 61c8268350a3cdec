"""Game files: read as data, and whatever is not one is named and refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agemem_eval.envs.alfworld.engine import Engine
from agemem_eval.envs.alfworld.gamefile import MAX_BYTES, GameText, load_game, read_game, with_task
from agemem_eval.harness.errors import DataError

KITCHEN = (Path(__file__).parent / "golden" / "kitchen.pddl").read_text(encoding="utf-8")
DOCUMENT = {
    "pddl_domain": "(define (domain alfred))",
    "grammar": '{"task": [{"rhs": "Your task is to: put a mug in desk."}]}',
    "pddl_problem": KITCHEN,
    "solvable": True,
    "walkthrough": ["look"],
}


def write(path: Path, document: object) -> Path:
    file = path / "game.tw-pddl"
    file.write_text(document if isinstance(document, str) else json.dumps(document), "utf-8")
    return file


@pytest.fixture
def official(alfworld_data: Path) -> Path:
    return min((alfworld_data / "json_2.1.1" / "valid_seen").glob("*/*/game.tw-pddl"))


def test_an_official_game(official: Path) -> None:
    game = load_game(official)
    assert game.task == "look at alarmclock under the desklamp."
    assert game.walkthrough == (
        "go to desk 1", "use desklamp 1", "take alarmclock 2 from desk 1"
    )  # fmt: skip
    assert game.source == str(official)
    engine = Engine(game)
    for command in game.walkthrough:
        engine.step(command)
    assert engine.won


def test_any_change_of_domain_or_grammar_is_refused(official: Path, tmp_path: Path) -> None:
    document = json.loads(official.read_text("utf-8"))
    for key in ("pddl_domain", "grammar"):
        changed = {**document, key: document[key] + " "}
        file = write(tmp_path, changed)
        with pytest.raises(DataError, match="not a known one of ALFWorld"):
            load_game(file)
        assert load_game(file, ignore_grammar=True).task == load_game(official).task
    other_task = with_task(document["grammar"], "put a mug in desk.")
    file = write(tmp_path, {**document, "grammar": other_task})
    assert load_game(file).task == "put a mug in desk."


def test_an_unknown_grammar_is_played_by_alfworlds_own_if_asked(tmp_path: Path) -> None:
    file = write(tmp_path, DOCUMENT)
    with pytest.raises(DataError, match=r"game\.tw-pddl: its domain .* ignore_grammar=True"):
        read_game(file)
    game = read_game(file, ignore_grammar=True)
    assert (game.domain, game.grammar) == (None, None)
    assert (game.task, game.walkthrough) == ("put a mug in desk.", ("look",))
    assert Engine(game.compile()).step("look").startswith("You are in the middle of a room.")


def test_an_evil_grammar_is_not_run(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    evil = f"{{open({str(trap)!r}, 'w')}}"
    for grammar in (
        DOCUMENT["grammar"] + evil,  # type: ignore[operator]
        f'"rhs": "Your task is to: {evil}"',
        '"rhs": "Your task is to: win #intro#"',
    ):
        file = write(tmp_path, {**DOCUMENT, "grammar": grammar})
        with pytest.raises(DataError):
            load_game(file)
    with pytest.raises(DataError, match="plain text"):
        load_game(write(tmp_path, {**DOCUMENT, "grammar": grammar}), ignore_grammar=True)
    assert not trap.exists()


@pytest.mark.parametrize(
    "task", ["", " x", "x\n", "a {b}", "a [b]", "#a#", 'a "b"', "a\\n", "x" * 501]
)
def test_a_task_is_plain_text(task: str) -> None:
    with pytest.raises(DataError, match="here: the task text"):
        GameText("here", KITCHEN, task).compile()


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("", "no valid JSON"),
        (json.dumps(DOCUMENT)[:-40], "no valid JSON"),
        ("[" * 100_000, "no valid JSON"),
        ([1, 2], "a list instead of an object"),
        ("null", "missing instead of an object"),
        ({}, "'pddl_domain' is missing"),
        ({"pddl_domain": "x", "grammar": "x"}, "'pddl_problem' is missing"),
        ({**DOCUMENT, "grammar": 3}, "'grammar' is a int, not text"),
        ({**DOCUMENT, "pddl_problem": ["x"]}, "'pddl_problem' is a list, not text"),
        ({**DOCUMENT, "walkthrough": "look"}, "'walkthrough' is not a list"),
        ({**DOCUMENT, "walkthrough": [1]}, "'walkthrough' is not a list"),
        ({**DOCUMENT, "solvable": "yes"}, "'solvable' is a str"),
        ({**DOCUMENT, "grammar": "no task"}, "0 tasks instead of one"),
        ({**DOCUMENT, "grammar": 2 * DOCUMENT["grammar"]}, "2 tasks instead of one"),  # type: ignore[operator]
        ({**DOCUMENT, "pddl_problem": "(define"}, "parentheses are closed"),
    ],
)
def test_a_bad_file_is_named(document: Any, message: str, tmp_path: Path) -> None:
    file = write(tmp_path, document)
    with pytest.raises(DataError, match=message) as caught:
        load_game(file, ignore_grammar=True)
    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "game.tw-pddl"
    with file.open("wb") as zeros:
        zeros.truncate(100 * 2**20)
    with pytest.raises(DataError, match=f"104857600 bytes, more than {MAX_BYTES}"):
        load_game(file)


def test_not_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "none", tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(DataError, match="no such game file"):
            load_game(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_random_bytes_are_refused(tmp_path: Path, raw: bytes) -> None:
    file = tmp_path / "game.tw-pddl"
    file.write_bytes(raw)
    with pytest.raises(DataError, match=r"game\.tw-pddl: "):
        load_game(file)
