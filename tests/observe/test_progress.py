"""The numbers of a run, and the dashboard that shows them."""

from __future__ import annotations

import io
import json
import logging
import os
import pty
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from agemem_fakes.episodes import episode
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from agemem_eval.harness.observe.dashboard import Dashboard, Screen, short
from agemem_eval.harness.observe.tally import Tally, duration
from agemem_eval.harness.watch import CellPlan, Planned

from .feed import Clock, completion, key_of, plan


def text_of(dashboard: Dashboard, width: int = 120, height: int = 40) -> list[str]:
    return ["".join(text for text, _ in line) for line in dashboard.lines(width, height)]


def hidden(clock: Clock | None = None) -> Dashboard:
    """A dashboard on a terminal that nobody sees."""
    screen = Screen(file=io.StringIO(), force_terminal=True, width=120, height=40)
    return Dashboard(screen, clock or Clock())


# --- numbers --------------------------------------------------------------------------------


def test_cells_count_what_is_committed() -> None:
    tally = Tally(Clock())
    tally.planned(plan(Path(), "none", "rag", planned=10, done=4))
    for task, fields in {
        "t1": {"status": "completed"},
        "t2": {"status": "limit"},
        "t3": {"status": "infra_error", "fault": "timeout"},
    }.items():
        tally.begins(key_of(task), 1)
        ended = episode(task, **fields)
        tally.ends(ended)
        tally.committed(ended)
    tally.begins(key_of("t4"), 1)
    tally.close()
    none, rag = tally.cells.values()
    assert (none.done, none.scored, none.solved, none.success_rate) == (6, 2, 1, 0.5)
    assert none.statuses == {"completed": 1, "limit": 1, "infra_error": 1}
    assert (rag.done, rag.success_rate) == (4, None)
    assert (tally.total.done, tally.total.plan.planned) == (10, 20)
    assert tally.faults == {"timeout": 1}
    assert len(tally.playing) == 1


def test_tokens_a_second_are_those_of_the_last_seconds_by_role() -> None:
    clock = Clock()
    tally = Tally(clock)
    tally.planned(plan())
    for _ in range(60):
        clock.now += 1
        tally.event(key_of(), completion(100, 10))
        tally.event(key_of(), {"type": "message", "text": "x"})
    write = {"type": "model_call", "role": "memory_write"}
    tally.event(key_of(), {**write, "prompt_tokens": 300, "completion_tokens": 30})
    (agent, *speed), (writes, *_) = tally.speeds()
    assert (agent, writes) == ("agent", "memory_write")
    assert speed == pytest.approx([100, 10], rel=0.05)
    assert tally.tokens() == (6300, 630)
    clock.now += 100
    assert [row[1:] for row in tally.speeds()] == [(0, 0), (0, 0)]
    tally.close()


def test_time_left_is_by_the_pace_of_this_part_and_unknown_before_there_is_one() -> None:
    clock = Clock()
    tally = Tally(clock)
    tally.planned(plan(planned=1000, done=900))  # a resumed run
    assert tally.eta() is None
    for n in range(20):
        clock.now += 6
        tally.committed(episode(f"t{n}"))
    assert tally.eta() == pytest.approx(80 * 6)
    clock.now += 120  # it has come to a halt, so the estimate grows
    assert tally.eta() == pytest.approx(80 * 12)
    for n in range(80):
        clock.now += 1
        tally.committed(episode(f"u{n}"))
        if n == 69:
            assert tally.eta() == pytest.approx(10, rel=0.1)
    assert tally.eta() == 0
    tally.close()


def test_what_the_endpoint_is_given_is_heard_from_the_log() -> None:
    tally = Tally(Clock())
    log = logging.getLogger("agemem_eval.endpoint")
    before = logging.getLogger("agemem_eval").level
    logging.getLogger("agemem_eval").setLevel(logging.INFO)
    retry = {"event": "retry", "kind": "rate_limit", "endpoint": "http://a", "wait_s": 1.0}
    log.info("429", extra={"fields": retry})
    for now in (20, 12):
        fields = {"event": "limit", "endpoint": "http://a", "limit": now, "before": 32}
        log.warning("backed off", extra={"fields": fields})
    log.warning("stopping after %s", "all", extra={"fields": {"event": "drain"}})
    tally.close()
    log.info("429", extra={"fields": retry})
    logging.getLogger("agemem_eval").setLevel(before)
    assert (tally.retries, tally.limits) == ({"rate_limit": 1}, {"http://a": 12})
    assert tally.notice == "stopping after all"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "–"), (0, "0:00"), (59.6, "1:00"), (3723, "1:02:03"), (400_000, "4 d 15 h")],
)
def test_durations(seconds: float | None, shown: str) -> None:
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0, "0"), (9999, "9999"), (12_345, "12.3k"), (123_456, "123k"), (4_567_890, "4.57M")],
)
def test_large_numbers(number: float, shown: str) -> None:
    assert short(number) == shown


# --- dashboard ------------------------------------------------------------------------------


def test_the_dashboard_shows_every_cell_with_its_coverage_and_success() -> None:
    dashboard = hidden()
    assert text_of(dashboard)[0].startswith("planning")
    dashboard.planned(plan(Path(), "none", "rag", planned=10, done=4))
    dashboard.event(key_of(), completion(3000, 50))
    for n in range(4):
        dashboard.committed(episode(f"t{n}", status="completed" if n else "limit"))
    broken = episode("t9", status="infra_error", fault="rate_limit")
    dashboard.ends(broken)
    dashboard.committed(broken)
    shown = text_of(dashboard)
    dashboard.close()
    none = next(line for line in shown if line.startswith("count test none"))
    assert re.search(r"8/10 .* 75% \(4\) +· +1 +1$", none)
    assert re.search(
        r"4/10 .* – +· +· +·$", next(x for x in shown if x.startswith("count test rag"))
    )
    assert re.search(r"12/20 .* 75% \(4\)", next(x for x in shown if x.startswith("all")))
    assert any("3000 prompt" in line and "50 completion" in line for line in shown)
    assert any(line.startswith("failed") and "rate_limit 1" in line for line in shown)


NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=60)


@settings(deadline=None)
@given(
    st.integers(20, 200),
    st.integers(4, 60),
    st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=30, unique=True),
)
def test_no_line_is_wider_and_no_table_higher_than_the_terminal(
    width: int, height: int, names: list[tuple[str, str]]
) -> None:
    dashboard = hidden()
    cells = [CellPlan(env, "test", memory, "model", 140, 3) for env, memory in names]
    dashboard.planned(Planned("run " * 10, Path(), tuple(cells)))
    for role in ("agent", "memory_write", "memory_read", "judge"):
        call = {"type": "model_call", "role": role}
        dashboard.event(key_of(), {**call, "prompt_tokens": 10**6, "completion_tokens": 10**5})
    dashboard.heard({"event": "drain"}, "stopping after the episodes in play")
    lines = text_of(dashboard, width, height)
    dashboard.close()
    assert len(lines) < height
    if width >= 40:
        assert max(map(cell_len, lines)) <= width


def test_of_many_cells_those_that_fit_are_shown_and_the_rest_is_summed() -> None:
    dashboard = hidden()
    dashboard.planned(plan(Path(), *(f"memory-{n}" for n in range(30)), planned=10))
    trouble = episode("t", status="infra_error", key=key_of("t", "memory-25"))
    dashboard.committed(trouble)
    shown = text_of(dashboard, 100, 20)
    dashboard.close()
    rows = [line for line in shown if line.startswith("count")]
    assert any("memory-25" in row for row in rows), "what fails is what one looks for"
    assert any(line.startswith(f"{30 - len(rows)} more") for line in shown)
    assert "0/300" in next(line for line in shown if line.startswith("all"))


def test_the_row_of_the_rest_is_that_of_the_rest_whatever_the_terminals_height() -> None:
    dashboard = hidden()
    dashboard.planned(plan(Path(), *(f"memory-{n}" for n in range(30)), planned=10))
    for height in (20, 19, 18, 20, 30, 12):
        shown = text_of(dashboard, 100, height)
        rows = [line for line in shown if line.startswith("count")]
        left = 30 - len(rows)
        more = next(line for line in shown if " more " in line)
        assert more.startswith(f"{left} more")
        assert f"0/{left * 10} " in more
    dashboard.close()


def test_markup_and_control_characters_in_names_are_text() -> None:
    out = io.StringIO()
    screen = Screen(file=out, force_terminal=True, width=120, height=40, color_system=None)
    dashboard = Dashboard(screen, Clock())
    dashboard.planned(plan(Path(), "[red]evil[/red]\x1b[2J", env="[link=x]"))
    dashboard.heard({"event": "drain"}, "[bold]stop")
    with dashboard.screen.turn:
        dashboard._live.refresh()
    dashboard.close()
    text = out.getvalue()
    assert "[link=x] test [red]evil[/red]\\x1b[2J" in text
    assert "[bold]stop" in text
    assert "\x1b[2J" not in text


def test_a_terminal_that_is_gone_ends_no_run(capsys: pytest.CaptureFixture[str]) -> None:
    out = io.StringIO()
    dashboard = Dashboard(Screen(file=out, force_terminal=True, width=80, height=24), Clock())
    dashboard.planned(plan())
    out.close()
    dashboard.event(key_of(), completion())
    dashboard._thread.join(10)
    assert not dashboard._thread.is_alive(), "it draws no more"
    dashboard.close()
    print("standard error is itself again", file=sys.stderr)
    assert capsys.readouterr().err == "standard error is itself again\n"


PLAY = """
import json, sys
from pathlib import Path
sys.path[:0] = json.loads(sys.argv[2])
from agemem_fakes.episodes import episode
from feed import plan
from agemem_eval.harness.config import Execution
from agemem_eval.harness.observe import watchers_for
import logging
watchers = watchers_for(Execution())
for watcher in watchers:
    watcher.planned(plan(Path(sys.argv[1]), planned=3))
logging.getLogger("agemem_eval.x").warning("look out")
print("a library speaks")
for n in range(3):
    for watcher in watchers:
        watcher.committed(episode(f"t{n}"))
for watcher in watchers:
    watcher.close()
print("the table")
"""


def on_a_terminal(directory: Path, **environment: str) -> str:
    """What a run writes to a terminal of its own."""
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "support")]
    parent, child = pty.openpty()
    command = [sys.executable, "-c", PLAY, str(directory), json.dumps(paths)]
    keep = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    process = subprocess.Popen(
        command, stdout=child, stderr=child, stdin=child, env={**keep, **environment}
    )
    os.close(child)
    chunks: list[bytes] = []

    def read() -> None:
        try:
            while chunk := os.read(parent, 65536):
                chunks.append(chunk)
        except OSError:  # Linux says so when the last writer is gone
            pass

    reader = threading.Thread(target=read)
    reader.start()
    assert process.wait(60) == 0
    reader.join(10)
    os.close(parent)
    return b"".join(chunks).decode()


def test_on_a_terminal_it_is_live_and_leaves_nothing_behind(tmp_path: Path) -> None:
    text = on_a_terminal(tmp_path, TERM="xterm-256color", COLUMNS="100", LINES="30")
    assert "count test none" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h"), "the cursor is shown again"
    assert "agemem-eval: warning: look out" in text
    assert "a library speaks" in text
    after = text[text.rindex("\x1b[2K") :]  # the last line that was erased
    assert "count" not in after
    assert after.endswith("the table\r\n")


def test_colours_are_left_out_where_nobody_wants_them(tmp_path: Path) -> None:
    colour = re.compile(r"\x1b\[[0-9;]*3[0-9]")
    where = {"COLUMNS": "100", "LINES": "30", "TERM": "xterm-256color"}
    assert colour.search(on_a_terminal(tmp_path, **where))
    assert not colour.search(on_a_terminal(tmp_path, **where, NO_COLOR="1"))


def test_a_dumb_terminal_gets_plain_lines(tmp_path: Path) -> None:
    text = on_a_terminal(tmp_path, TERM="dumb")
    assert "\x1b" not in text
    assert "a-run: 0 of 3 episodes" in text
    assert "a-run: 3 of 3 episodes, 100% of 3 solved" in text


def picture(written: str) -> list[str]:
    """The rows of an endless terminal after what was written to it."""
    rows, at = [""], 0
    for part in re.split(r"(\x1b\[[0-9?]*[A-Za-z]|\n|\r)", written):
        match part:
            case "\n":
                at += 1
                rows += [""] * (at == len(rows))
            case "\x1b[1A":
                at -= 1
            case "\x1b[2K":
                rows[at] = ""
            case "\r" | "\x1b[?25l" | "\x1b[?25h":
                pass
            case _:
                assert not part.startswith("\x1b"), part
                rows[at] += part
    return rows


def test_lines_of_several_threads_do_not_tear_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agemem_eval.harness.observe.dashboard.EVERY_S", 0.002)
    out = io.StringIO()
    screen = Screen(file=out, force_terminal=True, width=100, height=40, color_system=None)
    dashboard = Dashboard(screen)
    dashboard.planned(plan(Path(), "none", "rag"))

    def speak(name: int) -> None:
        for n in range(150):
            screen.print(f"said {name} {n}")
            dashboard.heard({"event": "drain"}, "stop " * (1 + n % 2 * 30))  # one line, or two

    threads = [threading.Thread(target=speak, args=(name,)) for name in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with screen.turn:
        rows = picture(out.getvalue())
    dashboard.close()
    assert sum(row.startswith("a-run") for row in rows) == 1
    assert sum(row.startswith("said") for row in rows) == 450
    after = [row for row in picture(out.getvalue()) if row.strip()]
    assert all(row.startswith("said") for row in after), "nothing of it is left"
