"""`log.jsonl`: what is in it, what must never be, and what a broken disk does to a run."""

from __future__ import annotations

import json
import logging
import unicodedata
import warnings
from pathlib import Path
from typing import Any

import pytest
from agemem_fakes.episodes import episode
from hypothesis import given
from hypothesis import strategies as st

from agemem_eval.harness.observe.logs import LogFile
from agemem_eval.harness.observe.text import Cleaner, escape

from .feed import Clock, plan

SECRET = "sk-planted-0123456789abcdef"
log = logging.getLogger("agemem_eval.test")


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def log_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]):
    monkeypatch.setenv("SOME_API_KEY", SECRET)
    monkeypatch.setenv("SHORT_TOKEN", "true")
    file = LogFile("debug", say=said.append)
    yield file
    file.close()


def lines(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / "log.jsonl").read_text().splitlines()]


def test_a_record_is_a_line_with_its_event_and_fields(log_file: LogFile, tmp_path: Path) -> None:
    log_file.planned(plan(tmp_path, planned=3))
    log.info("try %d of %d", 2, 5, extra={"fields": {"event": "retry", "wait_s": 0.5, "a": [1]}})
    first, line = lines(tmp_path)
    assert (first["event"], first["fields"]["planned"]) == ("planned", 3)
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "agemem_eval.test",
        "event": "retry",
        "message": "try 2 of 5",
        "fields": {"wait_s": 0.5, "a": [1]},
    }


def test_episodes_and_failed_tries_are_logged(log_file: LogFile, tmp_path: Path) -> None:
    log_file.planned(plan(tmp_path))
    log_file.ends(episode(status="infra_error", fault="timeout", reason="it took too long"))
    log_file.ends(episode())
    log_file.committed(episode())
    _, failed, done = lines(tmp_path)
    assert (failed["event"], failed["fields"]["fault"]) == ("attempt_failed", "timeout")
    assert (done["event"], done["fields"]["success"]) == ("episode", True)
    assert done["fields"]["tokens"] == 660


def test_what_is_logged_before_the_folder_is_known_is_kept(
    log_file: LogFile, tmp_path: Path
) -> None:
    log.warning("early")
    log_file.planned(plan(tmp_path))
    assert lines(tmp_path)[0]["message"] == "early"


def test_levels_hold_for_this_project_and_others_speak_from_warning_on(
    tmp_path: Path, said: list[str]
) -> None:
    file = LogFile("info", say=said.append)
    file.planned(plan(tmp_path))
    for name in ("agemem_eval.x", "aiohttp.client"):
        for level in (logging.DEBUG, logging.INFO, logging.WARNING):
            logging.getLogger(name).log(level, "%s %d", name, level)
    file.close()
    messages = [line["message"] for line in lines(tmp_path)[1:]]
    assert messages == ["agemem_eval.x 20", "agemem_eval.x 30", "aiohttp.client 30"]


def test_a_warning_is_one_line_on_the_terminal_and_not_again_at_once(
    log_file: LogFile, tmp_path: Path, said: list[str]
) -> None:
    log_file.planned(plan(tmp_path))
    for n in range(100):
        log.warning("slow\ndown %d", n, extra={"fields": {"event": "slow"}})
    log.info("nobody needs to see this")
    assert said == ["agemem-eval: warning: slow down 0"]
    assert sum(line["event"] == "slow" for line in lines(tmp_path)) == 100


def test_a_warning_that_comes_again_and_again_is_shown_ever_more_seldom(said: list[str]) -> None:
    clock = Clock()
    file = LogFile(say=said.append, clock=clock)
    for second in range(3600):
        clock.now = 1000.0 + second
        log.warning("backed off at %d", second, extra={"fields": {"event": "limit"}})
    file.close()
    assert said[1] == "agemem-eval: warning: backed off at 5 (4 more like it before)"
    assert len(said) < 15


def test_quiet_shows_errors_alone(tmp_path: Path, said: list[str]) -> None:
    file = LogFile(quiet=True, say=said.append)
    log.warning("a warning")
    log.error("an error")
    file.close()
    assert said == ["agemem-eval: error: an error"]


def test_a_planted_secret_is_nowhere(log_file: LogFile, tmp_path: Path, said: list[str]) -> None:
    log_file.planned(plan(tmp_path))
    deep = {"list": [{"a": f"Bearer {SECRET}"}], SECRET: 1, "object": ValueError(SECRET)}
    log.warning("key %s", SECRET, extra={"fields": {"event": SECRET, **deep}})
    log.error(f"in the middle:{SECRET}!" + "x" * 10_000)
    log.error("x" * 8180 + SECRET)  # where a clipped text would end
    logging.getLogger(f"aiohttp.{SECRET}").error("of another")
    try:
        try:
            raise RuntimeError(f"with {SECRET}")
        except RuntimeError as error:
            raise ValueError("outer") from error
    except ValueError:
        log.exception("failed")
    log_file.committed(episode(status="infra_error", reason=f"401: wrong key {SECRET}"))
    text = (tmp_path / "log.jsonl").read_text()
    assert SECRET[:12] not in text + "".join(said)
    assert text.count("***") >= 8
    assert "RuntimeError: with ***" in text


def test_headers_for_the_collector_are_secrets_too() -> None:
    environment = {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20abcdefgh123,x=short"}
    cleaner = Cleaner(environment=environment)
    assert cleaner.secretless("Bearer abcdefgh123, abcdefgh123, short") == "***, ***, short"


def test_a_variable_that_holds_no_text_is_no_secret_and_no_crash() -> None:
    cleaner = Cleaner(environment={"BAD_KEY": "\udcff-and-more-bytes", "A_KEY": "correct-horse"})
    assert cleaner.secretless("correct-horse") == "***"


def test_a_secret_in_another_writing_is_found_too() -> None:
    cleaner = Cleaner(environment={"A_KEY": "a/b+correct horse"})
    assert cleaner.secretless("?key=a%2Fb%2Bcorrect+horse&x") == "?key=***&x"


def test_a_variable_that_a_user_names_is_a_secret() -> None:
    cleaner = Cleaner(["MINE"], {"MINE": "correct-horse", "HOME": "/home/somebody"})
    assert cleaner.secretless("correct-horse /home/somebody") == "*** /home/somebody"


def test_control_characters_reach_no_terminal(
    log_file: LogFile, tmp_path: Path, said: list[str]
) -> None:
    log_file.planned(plan(tmp_path))
    evil = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp.exe\r\nagemem-eval: error: forged"
    log.warning(evil, extra={"fields": {"text": evil}})
    try:
        raise ValueError(evil)
    except ValueError:
        log.exception("failed")
    *_, plain, failed = lines(tmp_path)
    for text in (*said, plain["message"], plain["fields"]["text"]):
        assert not any(unicodedata.category(c) in ("Cc", "Cf") for c in text), text
    assert "\\x1b[2J" in failed["exception"]
    assert all(c == "\n" or unicodedata.category(c) != "Cc" for c in failed["exception"])


@given(st.text(st.characters(), max_size=50))
def test_escaping_leaves_one_printable_line_and_loses_no_ordinary_text(text: str) -> None:
    escaped = escape(text)
    assert len(escaped.splitlines()) <= 1
    assert not any(unicodedata.category(c) in ("Cc", "Cs") for c in escaped)
    ordinary = "".join(c for c in text if c.isalnum())
    assert [c for c in ordinary if c not in escaped] == []
    if text.isalnum():
        assert escaped == text


@pytest.mark.filterwarnings("default")
def test_what_cannot_be_written_ends_no_run(
    log_file: LogFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = [h for h in logging.getLogger().handlers if "observe" in type(h).__module__]
    monkeypatch.setattr(logging.getLogger(), "handlers", ours)  # pytest's own would fail

    class Unprintable:
        def __str__(self) -> str:
            raise RuntimeError("no text")

    log_file.planned(plan(tmp_path))
    log.warning("no such argument: %d", "x")
    log.warning(Unprintable())
    log.warning("a thing", extra={"fields": {"thing": Unprintable()}})
    log.warning("odd", extra={"fields": {"nan": float("nan"), "half": "\ud800", "bytes": b"x"}})
    log.warning("no dict", extra={"fields": "a text"})
    loop: list[Any] = []
    loop.append(loop)
    log.warning("endless", extra={"fields": {"loop": loop}})
    warnings.warn("a library warns", stacklevel=1)
    found = lines(tmp_path)
    assert found[1]["message"] == "no such argument: %d"
    assert found[2]["message"] == "Unprintable"
    assert found[3]["event"] == "unreadable"
    assert found[4]["fields"] == {"nan": "nan", "half": "\\ud800", "bytes": "b'x'"}
    assert "a library warns" in found[-1]["message"]
    assert len(found) == 8


def test_ten_megabytes_in_a_message_are_clipped(
    log_file: LogFile, tmp_path: Path, said: list[str]
) -> None:
    log_file.planned(plan(tmp_path))
    log.warning("x" * 10_000_000, extra={"fields": {"reply": "y" * 10_000_000}})
    assert (tmp_path / "log.jsonl").stat().st_size < 20_000
    assert len(said[0]) < 600


def test_a_full_disk_stops_the_log_with_one_line_and_not_the_run(
    log_file: LogFile, tmp_path: Path, said: list[str]
) -> None:
    (tmp_path / "log.jsonl").symlink_to("/dev/full")
    log_file.planned(plan(tmp_path))
    for _ in range(3):
        log.info("more")
    assert len(said) == 1
    assert "No space left" in said[0]
    log.warning("still shown")
    assert said[1] == "agemem-eval: warning: still shown"


def test_a_folder_that_cannot_be_written_is_told_once(tmp_path: Path, said: list[str]) -> None:
    file = LogFile(say=said.append)
    log.warning("early")
    file.planned(plan(tmp_path / "missing"))
    file.close()
    assert [line for line in said if "log.jsonl" in line] == said[1:]


def test_logging_is_left_as_it_was(tmp_path: Path) -> None:
    root, ours = logging.getLogger(), logging.getLogger("agemem_eval")
    before = list(root.handlers), root.level, ours.level, list(ours.handlers)
    file = LogFile("debug")
    file.planned(plan(tmp_path))
    assert before != (list(root.handlers), root.level, ours.level, list(ours.handlers))
    file.close()
    file.close()
    assert before == (list(root.handlers), root.level, ours.level, list(ours.handlers))
