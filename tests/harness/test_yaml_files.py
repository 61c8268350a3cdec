"""YAML files: plain values, no key twice, and nothing that grows without end."""

from __future__ import annotations

import pytest

from agemem_eval.harness.errors import DataError
from agemem_eval.harness.yaml_files import LARGEST, parse_yaml, read_yaml


def multiplied(levels: int) -> str:
    """A list of lists, each of ten times the one before."""
    lines = ["- &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for level in range(1, levels):
        lines.append(f"- &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]")
    return "\n".join(lines)


def test_values_and_anchors_are_read_as_yaml_has_them() -> None:
    text = "base: &b {x: 1, y: [true, null]}\nmore: {<<: *b, x: 2}\nsame: *b"
    base = {"x": 1, "y": [True, None]}
    assert parse_yaml(text) == {"base": base, "more": {"x": 2, "y": [True, None]}, "same": base}
    assert parse_yaml("") is None


@pytest.mark.parametrize(("text", "said"), [
    ("seed: 1\nmodel: {}\nseed: 2", "line 3: the key 'seed' stands twice"),
    ("a: {b: 1, 'b': 2}", "the key 'b' stands twice"),
    ("a: {b: {c: 1, c: 1}}", "the key 'c' stands twice"),
    (multiplied(9), "more than 100000 values"),
    ("a: &a [*a]", "or itself"),
    ("[" * 100_000, "nested too deeply"),
    ("a: !!python/object/apply:os.getcwd []", "python/object"),
    ("a: 2020-13-41", "month"),
    ("a: " + "9" * 5000, "digits"),
    ("a: [1", "flow sequence"),
    ("a: 1\n---\na: 2", "single document"),
])  # fmt: skip
def test_what_would_pass_silently_or_never_end_is_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        parse_yaml(text)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_too_large_no_text_or_not_there_is_refused(tmp_path) -> None:
    path = tmp_path / "a.yaml"
    with pytest.raises(DataError, match=r"cannot read the thing .*No such file"):
        read_yaml(path, "the thing")
    path.write_bytes(b"#" * (LARGEST + 1))
    with pytest.raises(DataError, match=r"the thing .* is larger than"):
        read_yaml(path, "the thing")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="cannot read the thing"):
        read_yaml(path, "the thing")
