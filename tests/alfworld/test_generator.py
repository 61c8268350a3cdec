"""Generated games: always the same, of official scale, winnable, test and training apart."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from statistics import mean

import pytest

from agemem_eval.envs.alfworld.engine import Engine
from agemem_eval.envs.alfworld.game import Game
from agemem_eval.envs.alfworld.generator import (
    SIZES,
    TASK_ROOMS,
    TASK_TYPES,
    GeneratedGame,
    generate,
    setting,
    split_hash,
    task_id,
)
from agemem_eval.envs.alfworld.problem import parse_problem
from agemem_eval.envs.alfworld.scenes import OBJECTS
from agemem_eval.harness.errors import UsageError

FACT = re.compile(r"\((\w+) ([^()]+)\)")


def play(game: GeneratedGame) -> Engine:
    return Engine(Game(parse_problem(game.problem, game.id), game.task))


@pytest.fixture(scope="module")
def games() -> list[GeneratedGame]:
    return [generate("generated", index) for index in range(SIZES["generated"])]


# Results with these hashes are published: a change of any game needs a new VERSION and new hashes.
@pytest.mark.parametrize(
    ("split", "expected"),
    [("generated", "6e1b13392643a4a7"), ("generated-train", "60774d4c7cc6c0f3")],
)
def test_games_never_change(split: str, expected: str) -> None:
    assert split_hash(split) == expected


def test_games_do_not_depend_on_the_process() -> None:
    code = (
        "from agemem_eval.envs.alfworld.generator import generate\n"
        "print([generate('generated-train', index) for index in (1999, 3, 77)])"
    )
    shown = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert shown == {f"{[generate('generated-train', index) for index in (1999, 3, 77)]}\n"}


def test_walkthroughs_win_at_their_last_command(games: list[GeneratedGame]) -> None:
    for game in games:
        engine = play(game)
        for command in game.walkthrough:
            assert not engine.won, game.id
            engine.step(command)
            assert engine.valid, (game.id, command)
        assert engine.won, game.id


def test_scenes_have_official_scale(games: list[GeneratedGame]) -> None:
    problems = [parse_problem(game.problem, game.id) for game in games]
    receptacles = [len(problem.objects["receptacle"]) for problem in problems]
    objects = [len(problem.objects["object"]) for problem in problems]
    assert 7 <= min(receptacles) <= max(receptacles) <= 54
    assert 20 <= mean(receptacles) <= 26
    assert 32 <= mean(objects) <= 42


@pytest.mark.parametrize("n", [24, 60, 200])
def test_the_first_games_are_a_balanced_sample(n: int) -> None:
    types = Counter(setting(index)[0] for index in range(n))
    assert set(types) == set(TASK_TYPES)
    assert max(types.values()) - min(types.values()) <= 1
    for task_type, rooms in TASK_ROOMS.items():
        seen = Counter(room for t, room in map(setting, range(n)) if t == task_type)
        assert set(seen) == set(rooms)
        assert max(seen.values()) - min(seen.values()) <= 1


def test_ids_name_split_type_and_position(games: list[GeneratedGame]) -> None:
    assert [game.id for game in games] == [task_id("generated", i) for i in range(len(games))]
    assert games[3].id == "generated/pick_heat_then_place_in_recep/0003"
    assert games[3].type == "pick_heat_then_place_in_recep"


def inventory(game: GeneratedGame) -> tuple[tuple[str, int], ...]:
    kinds = [kind for name, kind in FACT.findall(game.problem) if name == "receptacleType"]
    counted = Counter(kind.split()[1] for kind in kinds if not kind.startswith("?"))
    return tuple(sorted(counted.items()))


def test_no_scene_is_both_for_testing_and_for_training(games: list[GeneratedGame]) -> None:
    testing = {inventory(game) for game in games}
    training = {
        inventory(generate("generated-train", index))
        for index in range(0, SIZES["generated-train"], 5)
    }
    assert len(testing) > 30
    assert len(training) > 300
    assert not testing & training


def test_nothing_to_be_moved_as_it_is_starts_in_its_place(games: list[GeneratedGame]) -> None:
    for game in games:
        if game.type in ("pick_and_place_simple", "pick_two_obj_and_place"):
            *_, thing, place = re.findall(r"\(objectType \?o\d? (\w+)Type\)|\(receptacleType \?r "
                                          r"(\w+)Type\)", game.problem)  # fmt: skip
            facts = [args.split() for name, args in FACT.findall(game.problem)
                     if name == "inReceptacle"]  # fmt: skip
            for inner, outer in facts:
                assert (inner.split("_bar_")[0], outer.split("_bar_")[0]) != (thing[0], place[1])


def test_facts_of_the_domain_agree_with_the_official_games(alfworld_data: Path) -> None:
    traits: dict[str, set[str]] = {}
    holders: dict[str, set[str]] = {}
    for file in sorted(alfworld_data.glob("json_2.1.1/valid_seen/*/*/game.tw-pddl")):
        text = json.loads(file.read_text())["pddl_problem"]
        for name, args in FACT.findall(text.partition("(:goal")[0]):
            first, *rest = args.split()
            if name == "canContain":
                kind, holder = rest[0].removesuffix("Type"), first.removesuffix("Type")
                holders.setdefault(kind, set()).add(holder)
            elif not rest:
                traits.setdefault(first.split("_bar_")[0], set()).add(name)
    for kind, spec in OBJECTS.items():
        official = {"receptacle" if t == "isReceptacleObject" else t for t in traits.get(kind, ())}
        assert set(spec.traits) == official - {"isCool"}, kind
        assert set(spec.allowed) == holders.get(kind, set()), kind


def test_unknown_splits_and_positions_are_refused() -> None:
    with pytest.raises(UsageError, match="did you mean 'generated-train'"):
        generate("generated-trian", 0)
    with pytest.raises(UsageError, match="0 to 199, not 200"):
        generate("generated", 200)
    with pytest.raises(UsageError, match="not -1"):
        generate("generated", -1)
