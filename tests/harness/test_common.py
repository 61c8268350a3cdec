"""What environments share: reading actions, options, and places of data."""

from __future__ import annotations

from pathlib import Path

import pytest

from agemem_eval.envs.common import MAX_ACTION, data_path, flag, readable
from agemem_eval.harness.errors import DataError, UsageError


@pytest.mark.parametrize(
    ("action", "read"),
    [
        ("go north", "go north"),
        ("  go \t north\n", "go north"),
        ("go\r\nnorth\r\n", "go north"),
        ("go\rnorth", "go north"),
        ("é “x” 道", "é “x” 道"),
        ("x" * MAX_ACTION, "x" * MAX_ACTION),
        ("x" * (MAX_ACTION + 1), None),
        ("", None),
        (" \r\n\t ", None),
        *[(f"go{code}north", None) for code in "\0\x07\x08\x0b\x0c\x1b\x1f\x7f\x85\x9f\ud800"],
    ],
)
def test_an_action_is_readable_with_its_blanks_folded_or_not_at_all(
    action: str, read: str | None
) -> None:
    assert readable(action) == read


def test_a_longer_action_is_readable_where_it_may_be_longer() -> None:
    assert readable("x" * 2000, 2000) is not None
    assert readable("x" * 2001, 2000) is None


def test_a_flag_is_true_or_false() -> None:
    assert flag("short", "true")
    assert not flag("short", "false")
    with pytest.raises(UsageError, match="value of short: 'True'"):
        flag("short", "True")


def test_a_place_may_be_in_the_home_of_somebody_who_exists() -> None:
    assert data_path("~/x") == Path.home() / "x"
    assert data_path("a/~b") == Path("a/~b")
    with pytest.raises(DataError, match="~nobody-of-that-name/x: there is no such home folder"):
        data_path("~nobody-of-that-name/x")
