"""Checkpoints: written whole or not at all, pruned with care, refused where they are another's."""

from __future__ import annotations

import errno
import json

import pytest
import train_runs

from agemem_eval.harness.errors import ConfigMismatchError, DataError, UsageError
from agemem_eval.policies.checkpoints import (
    STATE,
    Checkpoints,
    State,
    check_header,
    disk,
    whole_folder,
    write_header,
)


def put(folder):
    (folder / "model.safetensors").write_bytes(b"weights")


def names(checkpoints):
    return [path.name for _, _, path in checkpoints.steps()]


def test_the_newest_checkpoint_is_the_last_step_of_the_last_phase(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=5)
    assert checkpoints.newest() is None
    for state in (State("sft", 900), State("grpo", 9), State("grpo", 10, {"metrics.jsonl": 7})):
        checkpoints.write(state, put)
    state, path = checkpoints.newest()
    assert (state.phase, state.step, state.logs) == ("grpo", 10, {"metrics.jsonl": 7})
    assert (path / "model.safetensors").read_bytes() == b"weights"


def test_the_state_comes_back_as_it_was(tmp_path):
    given = State("grpo", 3, {"sft.jsonl": 1}, (2, -0.5), {"silent": 1}, 12345)
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.write(given, put)
    assert checkpoints.newest()[0] == given


def test_the_newest_the_best_and_the_last_good_one_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in range(1, 9):
        checkpoints.write(State("grpo", step), put)
    checkpoints.prune(State("grpo", 8, best=(2, 0.7)), last_good=4)
    assert names(checkpoints) == ["step-000002", "step-000004", "step-000007", "step-000008"]
    assert sorted(p.name for p in checkpoints.folder.iterdir()) == names(checkpoints)


def test_checkpoints_of_fine_tuning_go_once_there_are_later_ones(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.write(State("sft", 5), put)
    checkpoints.prune(State("sft", 5))
    assert names(checkpoints) == ["sft-update-000005"]
    checkpoints.write(State("grpo", 1), put)
    checkpoints.prune(State("grpo", 1))
    assert names(checkpoints) == ["step-000001"]


def test_a_checkpoint_that_fails_leaves_nothing_and_the_one_before_stays(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    checkpoints.write(State("grpo", 1), put)

    def fails(folder):
        put(folder)
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DataError, match="the disk is full"):
        checkpoints.write(State("grpo", 2), fails)
    assert [p.name for p in checkpoints.folder.iterdir()] == ["step-000001"]


def test_a_full_disk_that_safetensors_tells_of_is_the_same_line():
    with pytest.raises(DataError, match="the disk is full"), disk("it"):
        raise RuntimeError("Error while serializing: I/O error: File too large (os error 27)")
    with pytest.raises(RuntimeError, match="something else"), disk("it"):
        raise RuntimeError("something else")


def test_what_a_killed_process_left_half_done_is_removed(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    checkpoints.write(State("grpo", 1), put)
    for name in (".new-step-000002", ".old-step-000000"):
        (checkpoints.folder / name).mkdir()
        put(checkpoints.folder / name)
    assert checkpoints.newest()[0].step == 1
    checkpoints.clean()
    assert [p.name for p in checkpoints.folder.iterdir()] == ["step-000001"]


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    target = tmp_path / "final"
    for content in (b"one", b"two"):
        with whole_folder(target, "it") as folder:
            assert not (folder / "a").exists()
            (folder / "a").write_bytes(content)
    assert (target / "a").read_bytes() == b"two"
    assert [p.name for p in tmp_path.iterdir()] == ["final"]


@pytest.mark.parametrize("content", ["{", "[]", '{"phase": "rest", "step": 1}', "{}"])
def test_a_damaged_state_is_told_in_one_line_with_what_to_do(tmp_path, content):
    checkpoints = Checkpoints(tmp_path, keep=2)
    path = checkpoints.write(State("grpo", 1), put)
    (path / STATE).write_text(content)
    with pytest.raises(DataError, match=r"state\.json"):
        checkpoints.newest()


def held(directory, steps=4, done=None, checkpoints=()):
    """A training that has kept something: checkpoints of GRPO, and where it is done, a model."""
    write_header(directory, train_runs.recipe(grpo__steps=steps), "abc")
    (directory / "sft").mkdir()
    for step in checkpoints:
        Checkpoints(directory, keep=9).write(State("grpo", step), put)
    if done is not None:
        (directory / "final").mkdir()
        (directory / "final" / "card.json").write_text(json.dumps({"step": done}))


def test_the_directory_of_another_recipe_is_refused_with_what_differs(tmp_path):
    held(tmp_path, checkpoints=(1,))
    assert check_header(tmp_path, train_runs.recipe(), "abc")
    with pytest.raises(ConfigMismatchError, match=r"recipe.grpo.beta: 0.1 in the run, 0.5 now"):
        check_header(tmp_path, train_runs.recipe(grpo__beta=0.5), "abc")
    with pytest.raises(ConfigMismatchError, match="data_hash"):
        check_header(tmp_path, train_runs.recipe(), "abd")


def test_what_a_start_left_that_learned_nothing_keeps_no_other_recipe_out(tmp_path):
    write_header(tmp_path, train_runs.recipe(), "abc")
    (tmp_path / "metrics.jsonl").touch()
    (tmp_path / "base").mkdir()
    assert check_header(tmp_path, train_runs.recipe(), "abc")
    assert not check_header(tmp_path, train_runs.recipe(sft__epochs=5), "abc")


def test_before_its_first_checkpoint_grpo_may_change_and_fine_tuning_may_not(tmp_path):
    held(tmp_path)
    assert check_header(tmp_path, train_runs.recipe(grpo__batch_tokens=512), "abc")
    assert check_header(tmp_path, train_runs.recipe(grpo=None), "abc")
    with pytest.raises(ConfigMismatchError, match=r"sft\.epochs: 2.* in the run, 5"):
        check_header(tmp_path, train_runs.recipe(sft__epochs=5), "abc")


def test_a_training_goes_on_with_more_steps_and_not_with_fewer_than_it_has_made(tmp_path):
    held(tmp_path, 4, done=4, checkpoints=(2, 4))
    for steps in (4, 9):
        assert check_header(tmp_path, train_runs.recipe(grpo__steps=steps), "abc")
    with pytest.raises(UsageError, match=r"has made 4 steps: set grpo\.steps to as many or more"):
        check_header(tmp_path, train_runs.recipe(grpo__steps=3), "abc")


def test_a_training_under_way_may_be_made_shorter(tmp_path):
    held(tmp_path, 9, checkpoints=(2, 4))
    assert check_header(tmp_path, train_runs.recipe(grpo__steps=4), "abc")
    with pytest.raises(UsageError, match="has made 4 steps"):
        check_header(tmp_path, train_runs.recipe(grpo__steps=3), "abc")


def test_more_steps_without_a_checkpoint_to_go_on_from_are_refused(tmp_path):
    held(tmp_path, 4, done=4, checkpoints=(2,))
    assert check_header(tmp_path, train_runs.recipe(grpo__steps=4), "abc")
    with pytest.raises(UsageError, match="the checkpoint is gone from which more would go on"):
        check_header(tmp_path, train_runs.recipe(grpo__steps=5), "abc")


def test_a_damaged_card_of_a_finished_training_is_told_in_one_line(tmp_path):
    held(tmp_path, 4, done="many", checkpoints=(4,))
    with pytest.raises(DataError, match=r"card\.json is not the card of a checkpoint"):
        check_header(tmp_path, train_runs.recipe(grpo__steps=5), "abc")


def test_what_changes_no_number_may_change_between_two_parts(tmp_path):
    write_header(tmp_path, train_runs.recipe(), "abc")
    other = train_runs.recipe(checkpoints__every=7, sampler__concurrency=3, model__threads=2)
    assert check_header(tmp_path, other, "abc")


def test_a_directory_that_holds_something_else_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(DataError, match=r"holds no training, but config\.json"):
        check_header(tmp_path, train_runs.recipe(), "abc")


def test_nothing_of_a_checkpoint_is_pickled(tmp_path):
    path = Checkpoints(tmp_path, keep=1).write(State("grpo", 1), put)
    assert json.loads((path / STATE).read_text())["step"] == 1
    assert {p.suffix for p in path.iterdir()} <= {".json", ".safetensors"}
