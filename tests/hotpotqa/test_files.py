"""Questions in files: the forms they have, and what is said of broken ones."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agemem_eval.envs.hotpotqa import files
from agemem_eval.envs.hotpotqa.env import HotpotqaEnvironment
from agemem_eval.harness.errors import DataError, MissingExtraError, UsageError
from agemem_eval.harness.types import Task

sys.path.insert(0, str(Path(__file__).resolve().parent))
from support_data import columns, record, write


@pytest.fixture(autouse=True)
def _no_data_sets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AGEMEM_DATA", str(tmp_path / "nothing"))


@pytest.fixture
def sample(data_dir: Path) -> Path:
    return data_dir / "hotpotqa" / "hotpot_sample.json"


def listed(path: Path, split: str = "file", **options: str) -> tuple[list[Task], str]:
    environment = HotpotqaEnvironment(data=str(path), **options)
    return list(environment.tasks(split)), environment.data_hash(split)


# --- forms of the data --------------------------------------------------------------------------


def test_the_real_questions_are_the_same_in_every_form(sample: Path, tmp_path: Path) -> None:
    official = json.loads(sample.read_text(encoding="utf-8"))
    tasks, content = listed(sample)
    assert [task.id for task in tasks] == [r["_id"] for r in official]
    others = (
        write(tmp_path / "a.json", [columns(r) for r in official]),
        write(tmp_path / "b.jsonl", official, lines=True),
        write(tmp_path / "c.jsonl", [columns(r) for r in official], lines=True),
        write(tmp_path / "d.json", official, indent=1, ensure_ascii=False),
    )
    first = HotpotqaEnvironment(data=str(sample))
    for path in others:
        again, same = listed(path)
        assert same == content
        assert [(t.id, t.type) for t in again] == [(t.id, t.type) for t in tasks]
        environment = HotpotqaEnvironment(data=str(path))
        for one, other in zip(tasks[::50], again[::50], strict=True):
            assert environment.reset(other, 0) == first.reset(one, 0)


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64, 1 << 20])
def test_a_record_may_lie_across_any_two_reads(tmp_path: Path, monkeypatch, chunk: int) -> None:
    monkeypatch.setattr(files, "_CHUNK", chunk)
    records = [record(n) for n in range(4)]
    for name, options in (("a", {}), ("b", {"lines": True}), ("c", {"ensure_ascii": False})):
        source = files.open_source(str(write(tmp_path / f"{name}.json", records, **options)), "dev")
        found = list(source.questions())
        assert [question.record() for question, _ in found] == records
        assert [source.read(place) for _, place in found] == [question for question, _ in found]


def test_the_hash_follows_the_content_and_the_order(tmp_path: Path) -> None:
    records = [record(n) for n in range(3)]
    changed = [*records[:2], record(2, level="easy")]
    variants = (records, records[::-1], records[:2], changed)
    assert len({listed(write(tmp_path / "a.json", v))[1] for v in variants}) == 4


def test_a_fact_outside_its_paragraph_is_kept_and_cannot_be_cited_by_reading(tmp_path) -> None:
    facts = [["Lamp", 0], ["Odo", 9]]
    path = write(tmp_path / "a.json", [record(0, supporting_facts=facts)])
    environment = HotpotqaEnvironment(data=str(path))
    (task,) = environment.tasks("file")
    environment.reset(task, 0)
    shown = environment.step("finish[x] facts[Lamp # 0 | Odo # 0 | Odo # 1]").metrics
    assert (shown["sp_recall"], shown["sp_em"]) == (0.5, 0.0)
    environment.reset(task, 0)
    while (action := environment.expert_action()) is not None:  # the oracle cites the label
        result = environment.step(action)
    assert result.metrics["sp_em"] == result.metrics["em"] == 1.0


def test_a_folder_holds_the_official_files(tmp_path: Path) -> None:
    write(tmp_path / "hotpot_dev_distractor_v1.json", [record(0)])
    write(tmp_path / "hotpot_train_v1.1.json", [record(1), record(2)])
    assert len(listed(tmp_path, "dev", allow_short="true")[0]) == 1
    assert len(listed(tmp_path, "train", allow_short="true")[0]) == 2
    with pytest.raises(DataError, match="holds 2 data files; name the one"):
        listed(tmp_path, "file")


def test_an_official_split_has_its_number_of_questions(tmp_path: Path, monkeypatch) -> None:
    path = write(tmp_path / "hotpot_dev_distractor_v1.json", [record(n) for n in range(3)])
    with pytest.raises(DataError, match=r"found 3 of the 7405 questions of dev; .*--allow-short"):
        listed(path, "dev")
    monkeypatch.setattr(files, "SIZES", {"dev": 2, "train": 3})
    assert len(listed(path, "train")[0]) == 3
    with pytest.raises(DataError, match="found 3 of the 2 questions"):
        listed(path, "dev", allow_short="true")
    for split in ("file", "dev"):  # nothing is never a short split
        with pytest.raises(DataError, match="found 0"):
            listed(write(tmp_path / "none.json", []), split, allow_short="true")


def test_the_data_set_that_was_got_needs_no_naming(tmp_path: Path) -> None:
    folder = tmp_path / "nothing" / "hotpotqa-dev"
    folder.mkdir(parents=True)
    write(folder / "hotpot_dev_distractor_v1.json", [record(0)])
    (folder / "manifest.json").write_text("{}")
    environment = HotpotqaEnvironment(allow_short="true")
    assert [task.id for task in environment.tasks("dev")] == ["id0"]
    with pytest.raises(DataError, match="data get hotpotqa-train"):
        environment.tasks("train")


def test_data_that_are_not_there_say_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"dev needs .*data get hotpotqa-dev, or pass .*--data"):
        HotpotqaEnvironment().tasks("dev")
    with pytest.raises(DataError, match=r"file needs .*pass a file of questions as --data"):
        HotpotqaEnvironment().tasks("file")
    with pytest.raises(DataError, match="nowhere: no such file or folder"):
        listed(tmp_path / "nowhere")
    with pytest.raises(DataError, match="holds none of hotpot_dev"):
        listed(tmp_path, "dev")
    with pytest.raises(DataError, match="holds 0 data files"):
        listed(tmp_path)
    with pytest.raises(UsageError, match="split of hotpotqa: 'deb'; did you mean 'dev'"):
        listed(tmp_path, "deb")


def test_folders_of_the_library_datasets_need_the_extra(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(files, "find_spec", lambda name: None)
    (tmp_path / "state.json").write_text("{}")
    (tmp_path / "dataset_info.json").write_text("{}")
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    for path in (tmp_path, tmp_path / "x.parquet"):
        with pytest.raises(MissingExtraError, match=r"pip install 'agemem-eval\[datasets\]'"):
            listed(path)


def test_what_has_no_width_or_no_text_is_shown_in_lines_all_the_same(tmp_path: Path) -> None:
    context = [["La\x07mp\x85", ["One.\x0b\r\nStill \x00one.", " ", "Two."]]]
    path = write(tmp_path / "a.json", [record(0, context=context)])
    lines = ["One. Still one.", "(blank)", "Two."]
    environment = HotpotqaEnvironment(data=str(path))
    (task,) = environment.tasks("file")
    environment.reset(task, 0)
    shown = environment.step("search[la mp]").observation
    assert shown.split("\n") == ["La mp", *(f"[{at}] {line}" for at, line in enumerate(lines))]
    told = HotpotqaEnvironment(data=str(path), form="three-stage").reset(task, 0).text
    assert told.split("\n")[2:] == [told.split("\n")[2], *lines]
    assert "“La mp”:" in told
    result = environment.step("finish[x] facts[La mp # 2]")
    assert result.metrics["sp_prec"] == 0.0


# --- broken data --------------------------------------------------------------------------------

BROKEN: list[tuple[Any, str]] = [
    ([], "an object is expected"),
    ({}, "'id' should be a text, there is nothing"),
    (record(_id=7), "'_id' should be a text, there is a number"),
    (record(answer=None), "'answer' should be a text, there is null"),
    (record(answer=" "), "'answer' is empty"),
    (record(question=["x"]), "'question' should be a text, there is a list"),
    (record(type=3), "'type' should be a text, there is a number"),
    (record(context=[]), "'context' holds no paragraph"),
    (record(context="x"), "'context' should be a list of pairs, there is a text"),
    (record(context=[["x"]]), "'context' should hold pairs"),
    (record(context=[["x", "y"]]), "the sentences of 'x' should be a list of texts"),
    (record(context=[["x", [1]]]), "the sentences of 'x' should be a list of texts"),
    (record(context=[[None, ["y"]]]), "a title in 'context' should be a text, there is null"),
    (record(context={"title": ["x"]}), "'context' should have the columns 'title' and 'sentences'"),
    (record(context={"title": ["x"], "sentences": []}), "the columns of 'context' differ"),
    (record(supporting_facts=[["x", "0"]]), "sentence number in 'supporting_facts' should be"),
    (record(supporting_facts=[["x", True]]), "sentence number in 'supporting_facts' should be"),
    (record(supporting_facts=[[1, 0]]), "a title in 'supporting_facts' should be a text"),
    (record(supporting_facts={"title": [], "sent_id": [1]}), "columns of 'supporting_facts' diff"),
    (record(supporting_facts=[["Lamp", -1]]), "sentence number in 'supporting_facts' is -1; they"),
    (record(answer="a\x00b"), "'answer' cannot be given: it has control codes"),
    (record(answer="x" * 1001), "'answer' cannot be given: .* more than 1000 characters"),
    (record(context=[["x", ["y"]], ["z", ["y" * 15_000]]]), "paragraph 2 has more than 15000 char"),
    (record(context=[["x" * 15_000, ["y"]]]), "paragraph 1 has more than 15000 characters"),
    (record(answer="\ud800"), "half a surrogate pair"),
    (record(0), "the id 'id0' has been used before"),
]


@pytest.mark.parametrize(("broken", "what"), BROKEN)
@pytest.mark.parametrize("lines", [False, True])
def test_a_broken_record_is_named(tmp_path: Path, broken: Any, what: str, lines: bool) -> None:
    path = write(tmp_path / "some.json", [record(0), broken, record(2)], lines=lines)
    with pytest.raises(DataError, match=rf"some\.json: record 2: .*{what}") as caught:
        listed(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (b"", "found 0 questions"),
        (b" \n", "found 0 questions"),
        (b"[", "record 1: cut short"),
        (b"hello", "record 1: an object is expected"),
        (b'"a"', "record 1: an object is expected"),
        (b"[1]", "record 1: an object is expected"),
        (b"%s,", "record 2: an object is expected, there is ','"),
        (b"[%s", "record 2: cut short"),
        (b"[%s,]", "record 2: cut short"),
        (b"[%s] x", "record 2: text after the end"),
        (b"%s]", "record 2: text after the end"),
        (b"[%s %s]", "record 2: no comma"),
        (b'[%s, {"_id": NaN}]', "record 2: NaN is not JSON"),
        (b"[%s, " + b'{"a":' * 100_000, "record 2: not JSON: nested too deeply"),
        (b"[%s, \xff]", "record 2: not UTF-8"),
        (b'[%s, {"a": "\xff"}, %s]', "record 2: not UTF-8"),
        (b"[%s\xff, %s]", "record 2: not UTF-8"),
        (b"[%s, %s", "record 2: the id 'id0' has been used"),
        (
            b'[%s, {"a": 1 "b": 2}, %s]',
            r"record 2: not JSON: expecting ',' delimiter \(at its character 9\)",
        ),
        (b"[%s, {'a': 1}, %s]", r"record 2: not JSON: expecting property name .* character 2\)"),
        (b'[%s, {"a": "x\ny"}, %s]', r"record 2: not JSON: invalid control character"),
        (b'[%s, {"a": tr', "record 2: cut short"),
        (b'[%s, {"a": "\\u12', "record 2: cut short"),
        (b"\x00\x01\x02", "record 1: an object is expected"),
    ],
)
def test_a_file_that_is_not_json_names_the_record(tmp_path: Path, text: bytes, what: str) -> None:
    path = tmp_path / "some.json"
    path.write_bytes(text.replace(b"%s", json.dumps(record(0)).encode()))
    with pytest.raises(DataError, match=rf"some\.json: ({what})"):
        listed(path)


@pytest.mark.parametrize("chunk", [1, 5, 700, 1 << 20])
@pytest.mark.parametrize("at", [0, 1, 7, 39])
def test_a_byte_that_is_not_utf_8_names_its_own_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, at: int
) -> None:
    monkeypatch.setattr(files, "_CHUNK", chunk)
    texts = [json.dumps(record(n)).encode() for n in range(40)]
    texts[at] = texts[at].replace(b"lighthouse", b"light\xe9house")
    path = tmp_path / "some.jsonl"
    path.write_bytes(b"\n".join(texts))
    with pytest.raises(DataError, match=rf"some\.jsonl: record {at + 1}: not UTF-8"):
        listed(path)


def test_broken_json_in_a_long_file_is_explained_where_it_is(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(files, "MAX_RECORD", 5000)
    texts = [json.dumps(record(n)) for n in range(40)]
    texts[3] = texts[3].replace('"answer":', '"answer"')
    path = tmp_path / "some.json"
    path.write_text(f"[{', '.join(texts)}]")
    with pytest.raises(DataError, match="record 4: not JSON: expecting ':' delimiter"):
        listed(path)


@pytest.mark.parametrize("split", ["file", "dev"])
def test_the_home_of_nobody_is_no_place_for_data(split: str) -> None:
    with pytest.raises(DataError, match="~nobody-of-that-name/x: there is no such home folder"):
        HotpotqaEnvironment(data="~nobody-of-that-name/x").tasks(split)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_file_cut_short_anywhere_is_refused(tmp_path_factory, data: st.DataObject) -> None:
    text = json.dumps([record(n) for n in range(3)]).encode()
    path = tmp_path_factory.mktemp("cut") / "some.json"
    path.write_bytes(text[: data.draw(st.integers(1, len(text) - 1))])
    with pytest.raises(DataError, match=r"some\.json: record [1-4]: cut short"):
        listed(path)


def test_a_record_without_end_is_given_up(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(files, "MAX_RECORD", 5000)
    monkeypatch.setattr(files, "_CHUNK", 1000)
    path = write(tmp_path / "some.json", [record(0), record(1, answer="x" * 100_000), record(2)])
    with pytest.raises(DataError, match="record 2: not JSON, or more than 5000 characters"):
        listed(path)


@pytest.mark.parametrize(
    "place",
    [{}, {"offset": 0}, {"offset": -1, "bytes": 9}, {"offset": "0", "bytes": 9},
     {"offset": 0, "bytes": 1 << 40}, {"offset": True, "bytes": 9}],
)  # fmt: skip
def test_a_task_without_its_place_is_refused(tmp_path: Path, place: dict[str, Any]) -> None:
    environment = HotpotqaEnvironment(data=str(write(tmp_path / "a.json", [record(0)])))
    with pytest.raises(DataError, match="'offset' and 'bytes'"):
        environment.reset(Task(id="id0", split="file", data=place), 0)


def test_a_file_that_changed_since_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", [record(0), record(1)])
    environment = HotpotqaEnvironment(data=str(path))
    tasks = environment.tasks("file")
    write(path, [record(2), record(1)])
    with pytest.raises(DataError, match="holds id2 where id0 was: the file has changed"):
        environment.reset(tasks[0], 0)
    write(path, [record(0, answer="longer than before")])
    with pytest.raises(DataError, match=r"a\.json: no question at byte"):
        environment.reset(tasks[1], 0)
    path.unlink()
    with pytest.raises(DataError, match=r"a\.json: cannot be read|no such file"):
        environment.reset(tasks[1], 0)
