"""Tables of an experiment."""

from __future__ import annotations

from dataclasses import replace

from claims_data import cell

from agemem_eval.harness.claims.tables import SCORES, bounds, of_table, told
from agemem_eval.harness.stats import rate


def test_a_groups_score_is_that_of_its_types_alone(experiment, definition) -> None:
    definition["tasks"]["one"]["groups"] = {"small": ["a", "b"], "strange": ["d"]}
    data = cell("one", "rl", [1, 0, 1, 1, 0, 0]) | cell("two", "rl", [1.0])
    (own,) = (of for id_, of in data.items() if id_.task == "one")
    own.types = ["a", "b", "c", "a", "c", "c"]
    _, grid, *_ = of_table(experiment(), data, "main")
    assert grid.names == ("player", "model", "one, small", "one, strange")
    assert grid.rows[2] == ("rl", "trained", told(rate([1, 0, 1]), SCORES), "–")
    assert [row[2:] for row in grid.rows[:2]] == [("–", "–")] * 2
    assert grid.notes[0] == "one, small: 3 episodes a cell; types a, b"


def test_without_groups_there_is_no_such_table(experiment) -> None:
    titles = [grid.title for grid in of_table(experiment(), cell("one", "rl", [1.0]), "main")]
    assert titles == ["Both: score, percent"]


def test_the_interval_of_a_count_ends_at_0() -> None:
    found = replace(rate([1, 0, 0]), low=-0.2, high=1.4)
    assert bounds(found, bounded=False) == (0.0, 1.4)
    assert bounds(found, bounded=True) == (0.0, 1.0)
