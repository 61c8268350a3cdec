"""Which cell is held against which, and what refuses to be."""

from __future__ import annotations

from dataclasses import replace

import pytest
from compare_bench import cell, frame, side

from agemem_eval.harness.analysis import CellFrame
from agemem_eval.harness.compare.sides import pair_cells
from agemem_eval.harness.errors import UsageError


def made(env: str = "a", memory: str = "rag", n: int = 5, **more: object) -> CellFrame:
    return frame(cell(env, memory, n, **more), {"success": 1})


def pairs(base: list[CellFrame], new: list[CellFrame], **how: object) -> list[tuple[str, str, str]]:
    found = pair_cells(side("base", *base), side("new", *new), **how)
    return [(p.base.base.env, p.base.base.memory, p.new.base.memory) for p in found.pairs]


def test_cells_of_the_same_environment_and_memory_are_paired_in_any_order():
    base = [made("a", "none"), made("a", "rag"), made("b", "rag")]
    new = [made("b", "rag"), made("a", "rag"), made("a", "none")]
    assert pairs(base, new) == [("a", "none", "none"), ("a", "rag", "rag"), ("b", "rag", "rag")]


def test_two_memories_are_paired_where_each_side_has_one_and_that_is_said():
    found = pair_cells(side("base", made(memory="none")), side("new", made(memory="rag")))
    assert [p.memory for p in found.pairs] == ["none → rag"]
    assert "memory: none in BASE is held against rag in NEW" in found.pairs[0].notes


def test_another_model_is_paired_and_said():
    base, new = side("base", made(model="old")), side("new", made(model="new", model_hash="y"))
    (pair,) = pair_cells(base, new).pairs
    assert pair.model == "old → new"
    assert "model: old in BASE is held against new in NEW" in pair.notes


def test_the_same_name_with_other_options_is_said():
    base, new = side("base", made()), side("new", made(memory_hash="other"))
    assert any("not with the same options" in note for note in pair_cells(base, new).pairs[0].notes)


def test_a_memory_whose_label_depends_on_the_model_is_its_own_counterpart():
    base = [made(memory="agemem-norl", name="agemem"), made(memory="none")]
    new = [made(memory="agemem", name="agemem"), made(memory="none")]
    assert pairs(base, new) == [("a", "agemem-norl", "agemem"), ("a", "none", "none")]


def test_what_is_not_clear_is_refused_with_the_way_to_choose():
    base, new = (
        [made(memory="none"), made(memory="rag")],
        [made(memory="mem0"), made(memory="amem")],
    )
    with pytest.raises(UsageError, match="--base-memory none --new-memory mem0"):
        pairs(base, new)
    chosen = {"base_memory": "rag", "new_memory": "amem"}
    assert pairs(base, new, **chosen) == [("a", "rag", "amem")]
    with pytest.raises(UsageError, match="did you mean 'amem'"):
        pairs(base, new, new_memory="amen")


def test_a_memory_that_new_alone_has_is_no_matter():
    found = pair_cells(
        side("base", made(memory="none")), side("new", made(memory="none"), made(memory="rag"))
    )
    assert (len(found.pairs), len(found.extra), found.missing) == (1, 1, [])


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"split": "train"}, "split: test and train"),
        ({"data_hash": "i"}, "data_hash: h and i"),
        ({"env_version": "2"}, "env_version: 1 and 2"),
        ({"n": 4}, "n_tasks: 5 and 4"),
        ({"protocol_hash": "q"}, "protocol: p and q"),
    ],
)
def test_cells_that_were_not_played_alike_are_refused_and_it_is_said_why(other, says):
    base, new = [made()], [made(**other)]
    with pytest.raises(UsageError, match=f"not played alike.*{says}.*--allow-mixed") as raised:
        pairs(base, new)
    assert "\n" not in str(raised.value)
    found = pair_cells(side("base", *base), side("new", *new), allow_mixed=True)
    assert any(n.startswith("NOT PLAYED ALIKE") and says in n for n in found.pairs[0].notes)


def test_without_a_common_episode_nothing_is_compared_mixed_or_not():
    with pytest.raises(UsageError, match="play NEW with --seed 0"):
        pairs([made()], [made(seed=1)])
    other = made()
    other.cell = replace(other.cell, tasks=tuple(replace(t, id="x") for t in other.cell.tasks[:1]))
    with pytest.raises(UsageError, match="none of the tasks"):
        pairs([made()], [other], allow_mixed=True)
    with pytest.raises(UsageError, match="no environment in common: a and b"):
        pairs([made("a")], [made("b")])


def test_fewer_repeats_are_compared_on_those_in_common_and_said():
    base, new = made(repeats=3), made(repeats=1)
    (pair,) = pair_cells(side("base", base), side("new", new)).pairs
    assert len(pair.both) == 5
    assert any("repeats: 3 in BASE, 1 in NEW" in note for note in pair.notes)
