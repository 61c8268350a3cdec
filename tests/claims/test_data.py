"""The file of episodes: read as it was written, and refused where it was changed."""

from __future__ import annotations

import gzip
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from claims_data import cell

from agemem_eval.harness.claims.episodes import CELLS, EPISODES, read_data, write_data
from agemem_eval.harness.claims.experiment import CellId, Experiment
from agemem_eval.harness.errors import DataError

ONE = CellId("one", "rl", 0)
RL = {"memory": "agemem", "model": "trained", "spec": "scripted:reader"}


@pytest.fixture
def six(experiment, definition: dict[str, Any]) -> Experiment:
    """The experiment of that data: six episodes a cell."""
    definition["tasks"]["one"]["episodes"] = 6
    return experiment()


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A folder with the data of one cell."""
    data = cell("one", "rl", [1, 0, math.nan, 0.123457, 12345.6], planned=6, **RL)
    data[ONE].columns["metrics.f1"] = np.array([0.5, math.nan, 0, 1, 1e-7])
    write_data(data, tmp_path)
    return tmp_path


def test_what_was_written_is_read_and_no_score_is_no_0(kept: Path, six: Experiment) -> None:
    (found,) = read_data(kept, six).values()
    np.testing.assert_array_equal(found.values("success"), [1, 0, math.nan, 0.123457, 12345.6])
    np.testing.assert_array_equal(found.values("metrics.f1"), [0.5, math.nan, 0, 1, 1e-7])
    assert np.isnan(found.values("quality.mq")).all()
    assert (found.about.planned, found.about.scored, found.about.oracle) == (6, 5, False)
    assert found.about.problem == "one/rl/0: 5 of 6 episodes scored"
    assert list(read_data(kept, six)) == [ONE], "what was not measured is not there"


def test_the_same_data_give_the_same_bytes(kept: Path, tmp_path: Path, six: Experiment) -> None:
    again = tmp_path / "again"
    write_data(read_data(kept, six), again)
    for name in (EPISODES, CELLS):
        assert (again / name).read_bytes() == (kept / name).read_bytes()


def cut(folder: Path) -> None:
    (folder / EPISODES).write_bytes((folder / EPISODES).read_bytes()[:-20])


def flipped(folder: Path) -> None:
    content = bytearray((folder / EPISODES).read_bytes())
    content[12] ^= 0xFF
    (folder / EPISODES).write_bytes(bytes(content))


def line_lost(folder: Path) -> None:
    lines = gzip.decompress((folder / EPISODES).read_bytes()).splitlines(keepends=True)
    (folder / EPISODES).write_bytes(gzip.compress(b"".join(lines[:-1])))


def no_number(folder: Path) -> None:
    text = (folder / CELLS).read_text().replace("\t6\t5\t", "\tsix\t5\t")
    (folder / CELLS).write_text(text)


@pytest.mark.parametrize(
    "damage",
    [cut, flipped, line_lost, no_number, lambda folder: (folder / CELLS).unlink(),
     lambda folder: (folder / CELLS).write_bytes(b""),
     lambda folder: (folder / EPISODES).write_bytes(b"no gzip")],
)  # fmt: skip
def test_data_that_were_damaged_are_refused_in_a_line(damage, kept: Path, six: Experiment) -> None:
    damage(kept)
    with pytest.raises(DataError, match="cannot read the data of") as refused:
        read_data(kept, six)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d["players"]["rl"].update(memory="rag"), "memory agemem, .* says rag"),
        (lambda d: d["players"]["rl"].update(model="base"), "model trained, .* says base"),
        (
            lambda d: d["models"]["trained"].update(specs=["random"]),
            "spec scripted:reader, .*random",
        ),
        (lambda d: d["tasks"]["one"].update(episodes=5), "planned 6, .* says 5"),
        (lambda d: d["tasks"]["one"].update(env="alfworld"), "env hotpotqa, .* says alfworld"),
    ],
)
def test_episodes_of_something_else_than_the_definition_now_says_are_refused(
    change, said: str, kept: Path, experiment, definition: dict[str, Any]
) -> None:
    definition["tasks"]["one"]["episodes"] = 6
    read_data(kept, experiment())
    change(definition)
    with pytest.raises(DataError, match=said) as refused:
        read_data(kept, experiment())
    assert "\n" not in str(refused.value)


def test_tokens_of_a_call_are_known_only_where_there_was_one() -> None:
    (found,) = cell("one", "rl", [0.0, 0.0]).values()
    found.columns["tokens.agent.prompt"] = np.array([300.0, 0.0])
    found.columns["tokens.agent.calls"] = np.array([2.0, 0.0])
    np.testing.assert_array_equal(found.values("prompt_a_call"), [150, math.nan])
