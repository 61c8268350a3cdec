"""What a comparison is written as: terminal, comment, JUnit, JSON; and the commands."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from compare_bench import cell, frame, side, write_run

from agemem_eval.harness.cli import main
from agemem_eval.harness.compare.junit import junit
from agemem_eval.harness.compare.render import COMMENT_LIMIT, as_json, conclusion, markdown
from agemem_eval.harness.compare.verdict import Outcome, Settings, compare_sides

N = 40
EVIL = "<script>alert(1)</script>|`x`[a](http://b)@team #1\x1b[31m\u202e\x00&amp;--> *b*"


def outcome(*new: object, names: tuple[str, str] = ("none", "none"), **settings: object) -> Outcome:
    """Of one cell a memory each; None leaves the cell out of NEW."""
    base = {"success": np.ones(N), "steps": 4, "quality.stale": 0.1, "tool_calls.Add": 1}
    cells = [cell(f"env{i}", names[0], N) for i in range(len(new))]
    others = [cell(f"env{i}", names[1], N, model=names[1]) for i in range(len(new))]
    return compare_sides(
        side("base", *(frame(c, base) for c in cells)),
        side(
            "new",
            *(
                frame(c, {**base, **values})
                for c, values in zip(others, new, strict=True)
                if values is not None
            ),
        ),
        Settings(**settings),
    )


WORSE = {"success": np.arange(N) % 2, "steps": 6 + np.arange(N) % 3}
SLIGHTLY = {"success": np.where(np.arange(N) < 3, 0, 1)}


def test_junit_is_read_by_another_library_with_the_counts_it_states(tmp_path):
    parser = pytest.importorskip("junitparser")
    path = tmp_path / "junit.xml"
    path.write_bytes(junit(outcome({}, WORSE, SLIGHTLY, None, max_drop=0.02)))
    suites = parser.JUnitXml.fromfile(str(path))
    assert [(s.tests, s.failures, s.skipped) for s in suites] == [
        (2, 0, 0), (2, 1, 0), (2, 0, 1), (1, 1, 0)
    ]  # fmt: skip
    counted = (suites.tests, suites.failures, suites.errors)
    suites.update_statistics()
    assert (suites.tests, suites.failures, suites.errors) == counted == (7, 2, 0)
    failed = [case for suite in suites for case in suite if not case.is_passed]
    assert [case.name for case in failed] == [
        "success", "success", "env3/test, none, scripted (oracle)"
    ]  # fmt: skip
    assert "Holm p <0.001" in failed[0].result[0].text
    assert "cannot tell" in failed[1].result[0].message


def test_junit_has_the_elements_and_attributes_of_the_schema_and_no_others():
    """Of `junit-10.xsd` of Jenkins' xunit-plugin: what each element may and must have."""
    allowed = {
        "testsuites": ({"testsuite"}, {"name", "time", "tests", "failures", "errors"}, set()),
        "testsuite": (
            {"testcase", "system-out", "system-err", "properties"},
            {"name", "tests", "failures", "errors", "skipped", "time", "timestamp", "hostname"},
            {"name", "tests", "failures", "errors"},
        ),
        "testcase": (
            {"failure", "error", "skipped", "system-out", "system-err"},
            {"name", "classname", "time"},
            {"name"},
        ),
        "failure": (set(), {"type", "message"}, set()),
        "skipped": (set(), {"type", "message"}, set()),
        "system-out": (set(), set(), set()),
    }
    root = ElementTree.fromstring(junit(outcome({}, WORSE, SLIGHTLY, None, max_drop=0.02)))
    for element in root.iter():
        children, attributes, needed = allowed[element.tag]
        assert {child.tag for child in element} <= children
        assert needed <= set(element.keys()) <= attributes


def test_power_that_is_required_and_lacking_is_a_failed_case():
    root = ElementTree.fromstring(junit(outcome(SLIGHTLY, max_drop=0.02, require_power=True)))
    assert [case.get("name") for case in root.iter("testcase") if case.find("failure") is not None]


def test_names_from_records_are_text_in_every_format():
    found = outcome({}, WORSE, names=(EVIL, EVIL))
    ElementTree.fromstring(junit(found))
    text = markdown(found)
    body = text.split("\n", 1)[1]
    assert "<script" not in text
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u202e]", text)
    assert not re.search(r"(?<!\\)(?:[`*]|\](?=[(\[:]))", body)
    assert "@team" not in body
    assert "#1" not in body
    assert "http://" not in body
    rows = [line for line in body.splitlines() if line.startswith("| env")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {12}
    json.dumps(as_json(found), allow_nan=False)


def test_the_comment_begins_with_a_marker_that_stays_the_same():
    first, *_ = markdown(outcome(WORSE)).splitlines()
    assert first == "<!-- agemem-eval compare base -->"
    assert markdown(outcome({})).splitlines()[0] == first
    odd = outcome({})
    named = Outcome(side("a--> <b>\n", *odd.base.frames), odd.new, odd.settings, odd.cells, [], [])
    assert markdown(named).splitlines()[0] == "<!-- agemem-eval compare a-b -->"


def test_the_comment_says_what_decides_and_folds_what_else_changed():
    text = markdown(outcome(WORSE, {}))
    table = [line for line in text.splitlines() if line.startswith("| env")]
    assert ["regression" in line for line in table] == [True, False]
    folded = text.partition("<details>")[2]
    assert "| steps | 4.0 | 7.0 | +74.4% |" in folded or "| steps |" in folded
    assert "success" not in folded


def test_a_comment_fits_however_much_there_is_to_say():
    many = {f"metrics.long_name_of_a_score_{i:03}": np.arange(N) % 2 for i in range(300)}
    base = {"success": np.ones(N), **dict.fromkeys(many, 1.0)}
    cells = [cell(f"env{i}", n_tasks=N) for i in range(4)]
    text = markdown(
        compare_sides(
            side("base", *(frame(c, base) for c in cells)),
            side("new", *(frame(c, {**base, **many}) for c in cells)),
            Settings(),
        )
    )
    assert len(text) < COMMENT_LIMIT + 1_000
    assert text.count("<details>") == text.count("</details>") < 4
    assert "More changed than fits here" in text


def test_the_conclusion_names_what_regressed_what_is_lost_and_what_cannot_be_told():
    said = conclusion(outcome(WORSE, SLIGHTLY, None, max_drop=0.02))
    assert "REGRESSION in success (env0/test" in said
    assert "LOST COVERAGE: NEW has no env2/test with none" in said
    assert "CANNOT TELL: success (env1/test" in said
    assert "no regression found" in conclusion(outcome({}))


# --- the commands -----------------------------------------------------------------------------


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs `good` and `bad` below `runs` of the present folder."""
    monkeypatch.chdir(tmp_path)
    of = cell(n_tasks=12)
    write_run(tmp_path / "runs" / "good", [(of, [{"success": True}] * 12)])
    write_run(
        tmp_path / "runs" / "bad", [(of, [{"success": i < 3, "steps": 9} for i in range(12)])]
    )
    return tmp_path / "runs"


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(list(arguments))
    return int(exit_.value.code or 0)


def test_compare_exits_with_0_1_and_2_as_it_comes_out(runs, capsys):
    assert call("compare", "good", "good") == 0
    assert call("compare", "good", "bad") == 1
    assert "REGRESSION in success" in capsys.readouterr().out
    assert call("compare", "bad", "good") == 0
    assert call("compare", "good", "bad", "--max-drop", "0.8") == 0
    assert call("compare", "good", "bda") == 2
    error = capsys.readouterr().err
    assert error == "agemem-eval: error: unknown run or baseline 'bda'; did you mean 'bad'?\n"
    assert call("compare", "good", "bad", "--metric", "sucess") == 2
    assert call("compare", "good", "bad", "--metric", "success=0.8,steps=90%") == 0
    assert call("compare", "good", "bad", "--metric", "success=0.8", "--metric", "steps=50%") == 1


def test_compare_writes_all_its_files_and_prints_one_json_object(runs, tmp_path, capsys):
    given = ("--junit", "out/j.xml", "--markdown", "out/c.md", "--json")
    assert call("compare", "good", "bad", *given) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["regressed"], found["exit_code"], found["lost_coverage"]) == (True, 1, False)
    success = found["cells"][0]["metrics"][0]
    assert (success["metric"], success["verdict"]) == ("success", "regression")
    assert success["comparison"]["n_pairs"] == 12
    ElementTree.parse(tmp_path / "out" / "j.xml")
    assert (tmp_path / "out" / "c.md").read_text().startswith("<!-- agemem-eval")


def test_a_run_is_pinned_and_later_runs_are_held_against_it(runs, tmp_path, capsys):
    assert call("pin", "good", "--name", "main") == 0
    assert (tmp_path / "results/baselines/main.json").is_file()
    assert call("compare", "main", "bad") == 1
    assert call("compare", "main", "good") == 0
    assert call("compare", "results/baselines/main.json", "good") == 0
    assert call("pin", "bad", "--name", "main") == 2
    assert "--force" in capsys.readouterr().err
    assert call("pin", "bad", "--name", "main", "--force") == 0
    assert call("compare", "main", "bad") == 0


def test_a_file_that_cannot_be_written_is_one_line(runs, capsys):
    assert call("compare", "good", "bad", "--junit", "runs/good/config.json/x.xml") == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
