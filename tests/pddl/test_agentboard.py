"""AgentBoard's problems, in small files of the same layout."""

from __future__ import annotations

import json
import os
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from agemem_eval.envs.pddl import agentboard
from agemem_eval.envs.pddl.env import PddlEnvironment
from agemem_eval.harness.datasets import dataset
from agemem_eval.harness.download import get
from agemem_eval.harness.errors import DataError
from agemem_eval.harness.types import Task

from .problems import DIFFICULTY, MAKERS, gripper

INNER = "agentboard/environment/pddl_env/pddlgym/pddl"


def label(game: str, index: int, hard: str) -> str:
    """A record of AgentBoard's labels that names its problem."""
    return json.dumps({"game_name": game, "problem_index": index, "difficulty": hard})


def write(folder: Path) -> Path:
    for game, (make, name, count) in MAKERS.items():
        (folder / game).mkdir(parents=True)
        for number in range(count, 0, -1):  # as a folder may list them
            (folder / game / f"{name.format(number)}.pddl").write_text(make(number))
    return folder


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder laid out like a copy of AgentBoard, with labels."""
    write(tmp_path / INNER)
    labels = tmp_path / "data" / "pddl" / "test.jsonl"
    labels.parent.mkdir(parents=True)
    records = [{"id": n, "goal": "…", "subgoals": [], "difficulty": d}
               for n, d in enumerate(DIFFICULTY)]  # fmt: skip
    labels.write_text("\n".join(map(json.dumps, records)) + "\n\n")
    return tmp_path


def tasks(folder: Path, allow_short: str = "false") -> list[Task]:
    return list(PddlEnvironment(data=str(folder), allow_short=allow_short).tasks("agentboard"))


# --- the split ----------------------------------------------------------------------------------


def test_a_copy_of_agentboard_has_sixty_tasks_and_both_experts_win_them(copy: Path) -> None:
    environment = PddlEnvironment(data=str(copy))
    found = environment.tasks("agentboard")
    assert len(found) == 60 == len({task.id for task in found})
    games = Counter(task.id.split("/")[1] for task in found)
    assert games == agentboard.SIZES
    assert {task.id.split("/")[1] for task in found[:6]} == set(agentboard.SIZES)
    for game in agentboard.SIZES:
        own = [task.id for task in found if f"/{game}/" in task.id]
        assert own == sorted(own)
    for task in found[::4]:
        for expert in environment.spec.experts:
            environment.reset(task, 0)
            results = []
            while len(results) < task.max_steps and not (results and results[-1].terminated):
                results.append(environment.step(environment.expert_action(expert) or ""))
            assert results[-1].success
            assert len(results) == task.oracle_steps


def test_the_known_length_of_large_gripper_problems_makes_their_cap(copy: Path) -> None:
    by_id = {task.id: task for task in tasks(copy)}
    # 12 balls in pairs: 6 trips there, 5 back, 24 picks and drops, by closed form.
    task = by_id["agentboard/gripper/prob11"]
    assert task.oracle_steps == 6 + 5 + 24
    assert task.max_steps == 70


def test_labels_are_in_the_order_of_the_games_and_of_file_names(copy: Path) -> None:
    by_id = {task.id.removeprefix("agentboard/"): task.type for task in tasks(copy)}
    assert by_id["gripper/prob01"] == "gripper-easy"
    assert by_id["gripper/prob02"] == "gripper-hard"
    # By name: problem1, problem10, problem2, ….
    for name, place in (("problem1", 20), ("problem10", 21), ("problem2", 22)):
        assert by_id[f"blocksworld/{name}"] == f"blocksworld-{DIFFICULTY[place]}"
    assert by_id["barman/p01"] == f"barman-{DIFFICULTY[30]}"
    assert by_id["tyreworld/p10"] == f"tyreworld-{DIFFICULTY[59]}"


def test_labels_follow_the_order_of_the_files_whatever_their_names(copy: Path) -> None:
    folder = copy / INNER / "gripper"
    (folder / "prob02.pddl").rename(folder / "prob01-x.pddl")  # before prob01.pddl: "-" < "."
    by_id = {task.id.removeprefix("agentboard/"): task.type for task in tasks(copy)}
    assert by_id["gripper/prob01-x"] == f"gripper-{DIFFICULTY[0]}" == "gripper-easy"
    assert by_id["gripper/prob01"] == f"gripper-{DIFFICULTY[1]}" == "gripper-hard"


def test_labels_may_name_their_problem(copy: Path) -> None:
    labels = copy / "data" / "pddl" / "test.jsonl"
    labels.write_text(
        '{"game_name": "blockworld", "problem_index": 1, "difficulty": "hard"}\n'
        '{"additional_info": {"game_name": "gripper", "problem_index": 0}, "difficulty": "easy"}\n'
    )
    types = {task.id: task.type for task in tasks(copy)}
    assert types["agentboard/blocksworld/problem10"] == "blocksworld-hard"
    assert types["agentboard/gripper/prob01"] == "gripper-easy"
    assert types["agentboard/barman/p01"] == "barman"


def test_labels_that_name_problems_say_nothing_of_a_game_that_is_not_complete(copy: Path) -> None:
    labels = copy / "data" / "pddl" / "test.jsonl"
    records = [{"game_name": game, "problem_index": 9, "difficulty": "hard"}
               for game in ("gripper", "barman")]  # fmt: skip
    labels.write_text("\n".join(map(json.dumps, records)))
    (copy / INNER / "gripper" / "prob07.pddl").unlink()
    types = {task.id: task.type for task in tasks(copy, "true")}
    assert types["agentboard/barman/p10"] == "barman-hard"
    assert {kind for name, kind in types.items() if "/gripper/" in name} == {"gripper"}


def test_the_folder_of_the_games_will_do_and_labels_are_not_needed(copy: Path) -> None:
    inner = tasks(copy / INNER)
    assert [task.id for task in inner] == [task.id for task in tasks(copy)]
    assert {task.type for task in inner} == set(agentboard.SIZES)
    hashes = {PddlEnvironment(data=str(f)).data_hash("agentboard") for f in (copy, copy / INNER)}
    assert len(hashes) == 2  # types are part of what is reported


def test_the_hash_follows_what_a_file_says_and_not_how(copy: Path) -> None:
    before = PddlEnvironment(data=str(copy)).data_hash("agentboard")
    file = copy / INNER / "barman" / "p01.pddl"
    file.write_text(file.read_text().replace("\n", "  \n") + "; a comment\n")
    assert PddlEnvironment(data=str(copy)).data_hash("agentboard") == before
    file.write_text(file.read_text().replace("(clean shot3)", ""))
    assert PddlEnvironment(data=str(copy)).data_hash("agentboard") != before


def test_another_instance_can_play_a_task(copy: Path) -> None:
    first, other = (PddlEnvironment(data=str(copy)) for _ in range(2))
    task = first.tasks("agentboard")[7]
    assert other.reset(task, 3) == first.reset(task, 0)


def test_what_data_get_brings_is_found_without_a_flag(
    copy: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = dataset("agentboard-pddl")
    fetched, root = tmp_path_factory.mktemp("fetched"), tmp_path_factory.mktemp("root")
    with zipfile.ZipFile(fetched / about.files[0].name, "w") as archive:
        for file in [*(copy / INNER).rglob("*.pddl"), *(copy / "data").rglob("*.jsonl")]:
            archive.write(file, f"AgentBoard-revision/{file.relative_to(copy).as_posix()}")
    (fetched / "test.jsonl").write_bytes((copy / "data/pddl/test.jsonl").read_bytes())
    monkeypatch.setenv("AGEMEM_DATA", str(root))
    get(about, root, source=fetched)
    assert not (root / about.name / "data").exists(), "only what is needed is unpacked"
    assert list(PddlEnvironment().tasks("agentboard")) == tasks(copy)


# --- what is wrong with data --------------------------------------------------------------------


def test_missing_data_say_what_to_pass(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"needs AgentBoard's problems: agemem-eval data get.*--data"
    ):
        PddlEnvironment().tasks("agentboard")
    with pytest.raises(DataError, match=r"nowhere: no such folder; .* or pass as --data"):
        tasks(tmp_path / "nowhere")
    with pytest.raises(DataError, match="found 0 of AgentBoard's 60 problems"):
        tasks(tmp_path)
    with pytest.raises(DataError, match="found 0 of"):
        tasks(tmp_path, "true")


def test_a_short_split_is_refused_unless_allowed(copy: Path) -> None:
    (copy / INNER / "gripper" / "prob07.pddl").unlink()
    with pytest.raises(DataError, match=r"found 59 .*\(gripper 19 of 20, .*--allow-short"):
        tasks(copy)
    short = tasks(copy, "true")
    assert len(short) == 59
    assert {task.type for task in short} == set(agentboard.SIZES)  # whose labels is not certain


def test_too_many_problems_are_refused(copy: Path) -> None:
    (copy / INNER / "gripper" / "prob21.pddl").write_text(gripper(1))
    for allow in ("false", "true"):
        with pytest.raises(DataError, match=r"gripper 21 of 20.*remove what is too much"):
            tasks(copy, allow)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("(define", "(defin", "does not begin with"),
        ("(:goal", "(:gaol", ":goal missing"),
        (")))", "", "ends before its parentheses are closed"),
        ("(at-robby rooma)", "(at-robby rooma) (at-ease)", r"':init': the domain has no fact"),
        ("(ball ball2)", "", "nothing says of what type 'ball2' is"),
        ("(ball ball2)", "(room ball2) (ball ball2)", "'ball2' is a room and a ball"),
        ("(ball ball2)", "(ball ball2) (ball ball9)", "':init': 'ball9' is not declared"),
        ("(ball ball2)", "(ball ball2) (not (room ball9))", r"wrongly: \(not \(room ball9\)\)"),
        ("(ball ball2)", "(ball ball2) (not (ball ball2))", r"wrongly: \(not \(ball ball2\)\)"),
        ("(ball ball2)", "(ball ball2) (not (at-ease))", r"':init': .* no fact \(at-ease\)"),
        ("(ball ball2)", "(ball ball2) (not (at ball9 rooma))", "'ball9' is not declared"),
        ("(ball ball2)", "(ball ball2) (not (at ball2 rooma))",
         r"':init' says \(at ball2 rooma\) and its opposite"),
        ("(at-robby rooma)", "", r"no actions can bring about \(at ball1 roomb\)"),
        ("(at ball1 rooma) (at ball2 rooma)", "(at ball1 roomb) (at ball2 roomb)",
         "the goal holds at the start"),
        ("left right", "left right ü", "outside ASCII"),
    ],
)  # fmt: skip
def test_a_broken_problem_is_named_with_what_is_wrong(
    copy: Path, old: str, new: str, message: str
) -> None:
    file = copy / INNER / "gripper" / "prob01.pddl"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(DataError, match=rf"gripper/prob01\.pddl: .*{message}"):
        tasks(copy)


def test_a_goal_that_only_as_a_whole_is_impossible_is_played_without_a_claim(copy: Path) -> None:
    file = copy / INNER / "blockworld" / "problem1.pddl"
    text = file.read_text()
    file.write_text(text.replace("(and (on b1 b2)", "(and (on b1 b2) (on b2 b1)"))
    assert file.read_text() != text
    task = next(task for task in tasks(copy) if task.id == "agentboard/blocksworld/problem1")
    assert (task.max_steps, task.oracle_steps) == (30, None)
    environment = PddlEnvironment(data=str(copy))
    environment.reset(task, 0)
    assert environment.expert_action() is None
    assert environment.step("look").valid


def test_huge_and_binary_files_are_refused(copy: Path) -> None:
    file = copy / INNER / "gripper" / "prob01.pddl"
    with file.open("wb") as stream:
        stream.truncate(agentboard.MAX_BYTES + 1)
    with pytest.raises(DataError, match=r"prob01\.pddl: more than 1048576 bytes"):
        tasks(copy)
    file.write_bytes(b"\xff\xfe(define")
    with pytest.raises(DataError, match=r"prob01\.pddl: not text in UTF-8 \(byte 0\)"):
        tasks(copy)


def test_a_problem_with_too_many_objects_is_refused(copy: Path) -> None:
    file = copy / INNER / "gripper" / "prob01.pddl"
    file.write_text(gripper(600))
    with pytest.raises(DataError, match="more than 500 objects"):
        tasks(copy)


def test_a_link_out_of_the_folder_is_refused(copy: Path, tmp_path_factory) -> None:
    outside = tmp_path_factory.mktemp("outside") / "x.pddl"
    outside.write_text(gripper(1))
    file = copy / INNER / "gripper" / "prob01.pddl"
    file.unlink()
    file.symlink_to(outside)
    with pytest.raises(DataError, match="leads out of the data folder"):
        tasks(copy)


def as_a_link_to_itself(file: Path) -> None:
    file.symlink_to(file)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (as_a_link_to_itself, "cannot be found: .*"),
        (os.mkfifo, "not a plain file"),
        (os.mkdir, "not a plain file"),
    ],
)
@pytest.mark.parametrize("name", [f"{INNER}/gripper/prob01.pddl", "data/pddl/test.jsonl"])
def test_what_is_no_file_is_refused_and_not_waited_for(
    copy: Path, make: Callable[[Path], None], message: str, name: str
) -> None:
    (copy / name).unlink()
    make(copy / name)
    with pytest.raises(DataError, match=rf"^{copy / name}: {message}$"):
        tasks(copy)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "record 2 is not JSON"),
        ("[1]", "record 2 is not an object"),
        ('{"difficulty": 3}', "record 2 has no 'difficulty'"),
        ('{"difficulty": "so hard"}', "record 2 has no 'difficulty'"),
        ('{"difficulty": "easy", "game_name": ["x"], "problem_index": {}}', "record 2"),
    ],
)
def test_broken_labels_are_named_with_their_record(copy: Path, line: str, message: str) -> None:
    labels = copy / "data" / "pddl" / "test.jsonl"
    labels.write_text(f'{{"difficulty": "easy"}}\n{line}\n')
    with pytest.raises(DataError, match=rf"test\.jsonl: {message}"):
        tasks(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[1:], "record 59 is the last of 59 that name no problem, not of 60"),
        (lambda _: [""], "holds no record"),
        (lambda lines: lines[:30], "record 30 is the last of 30"),
        (lambda lines: lines + lines[:5], "record 65 is the last of 65"),
        (lambda lines: ["", *lines[1:]], "record 60 is the last of 59"),
        (
            lambda lines: [label("gripper", 0, "easy"), *lines[1:]],
            "record 2 names no problem, but other records do",
        ),
        (lambda _: [label("chess", 0, "easy")], r"record 1: .* no problem \('chess', 0\)"),
        (lambda _: [label("gripper", 99, "easy")], r"record 1: .* no problem \('gripper', 99\)"),
        (lambda _: [label("gripper", -1, "easy")], r"record 1: .* no problem \('gripper', -1\)"),
        (
            lambda _: [label("blockworld", 10, "easy")],
            r"record 1: .* no problem \('blocksworld', 10\)",
        ),
        (
            lambda _: [label("barman", 3, "easy"), "", label("barman", 3, "hard")],
            r"record 3: the problem \('barman', 3\) comes twice",
        ),
        (
            lambda _: [label("blockworld", 3, "easy"), label("blocksworld", 3, "easy")],
            r"record 2: the problem \('blocksworld', 3\) comes twice",
        ),
    ],
)
def test_labels_that_are_not_of_these_problems_are_refused(
    copy: Path, change: Callable[[list[str]], list[str]], message: str
) -> None:
    labels = copy / "data" / "pddl" / "test.jsonl"
    labels.write_text("\n".join(change(labels.read_text().splitlines()[:60])) + "\n")
    with pytest.raises(DataError, match=rf"test\.jsonl: {message}"):
        tasks(copy)


@pytest.mark.parametrize("name", ["../x", "gripper/prob99", "/etc/passwd", "", "gripper"])
def test_a_task_can_name_only_a_problem_of_the_split(copy: Path, name: str) -> None:
    environment = PddlEnvironment(data=str(copy))
    task = Task(id="x", split="agentboard", data={"problem": name})
    with pytest.raises(DataError, match="AgentBoard has no problem"):
        environment.reset(task, 0)
