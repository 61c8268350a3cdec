"""The report in a real browser: tables, keys, search, addresses, side by side, and a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agemem_fakes.episodes import key
from viewer_browser import opened
from viewer_runs import game, message, write

from agemem_eval.harness.plan import Cell
from agemem_eval.harness.store import RunStore
from agemem_eval.harness.types import Task
from agemem_eval.harness.viewer.build import build_view
from agemem_eval.harness.viewer.reconstruct import State, Turn, reconstruct

from .conftest import play

pytestmark = pytest.mark.browser
ROWS = "#episode-table tbody tr:not(.space)"
SELECTED = ".timeline [aria-selected=true] .n"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    stages = ["hotpotqa.form=three-stage", "hotpotqa.changes=2"]
    given = {"env": "hotpotqa,alfworld", "episodes": 2, "option": stages}
    one = play(folder, "first", memory="none,agemem,mem0g", **given)
    other = play(folder, "second", memory="agemem,amem", memory_scope="run", **given)
    return [one, other]


@pytest.fixture(scope="module")
def view(runs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_view(runs, tmp_path_factory.mktemp("view") / "both").index.parent


@pytest.fixture
def page(browser: Any, view: Path) -> Iterator[Any]:
    with opened(browser, view) as found:
        found.wait_for_selector(ROWS)
        yield found


def episode_id(runs: list[Path], memory: str, env: str, run: int = 0) -> str:
    keys = RunStore.open(runs[run]).episodes()
    return next(k.id for k in keys if k.memory == memory and k.env == env)


def column(page: Any, n: int) -> list[str]:
    return page.eval_on_selector_all(
        f"{ROWS} td:nth-child({n})", "cells => cells.map(c => c.textContent)"
    )


def header(page: Any, name: str) -> int:
    titles = page.locator("#episode-table thead th").all_inner_texts()
    return [title.split(" ")[0] for title in titles].index(name) + 1


# --- tables -------------------------------------------------------------------------------------


def test_the_first_page_has_cells_figures_and_all_episodes(page: Any) -> None:
    assert page.inner_text("h1") == "first beside second"
    assert page.locator("#h-cells + .table tbody tr").count() == 10
    assert page.locator("figure").count() >= 2
    assert page.locator("figure svg.strip[aria-label*='interval']").count() == 10
    assert page.locator(ROWS).count() == 20
    assert "protocol" in page.inner_text(".notes")  # a stream is played by another protocol


def test_a_click_on_a_header_sorts_and_a_second_one_turns_it_round(page: Any) -> None:
    n = header(page, "Turns")
    button = page.locator(f"#episode-table thead th:nth-child({n}) button")
    for way, reverse in (("descending", True), ("ascending", False)):
        button.click()
        values = [int(text) for text in column(page, n)]
        assert values == sorted(values, reverse=reverse)
        assert len(set(values)) > 1
        assert button.locator("..").get_attribute("aria-sort") == way


def test_what_is_missing_is_sorted_last_both_ways(page: Any) -> None:
    n = header(page, "Progress")
    for _ in range(2):
        page.click(f"#episode-table thead th:nth-child({n}) button")
        shown = column(page, n)
        assert "–" in shown
        assert shown == sorted(shown, key=lambda text: text == "–")


def test_a_choice_filters_and_the_address_keeps_it(browser: Any, page: Any, view: Path) -> None:
    page.select_option("#episode-table select[aria-label=Memory]", "agemem-norl")
    page.select_option("#episode-table select[aria-label=Environment]", "alfworld")
    assert page.locator(ROWS).count() == 4
    assert set(column(page, header(page, "Memory"))) == {"agemem-norl"}
    assert "4 of 20" in page.inner_text("#episode-table .counter")
    where = page.evaluate("location.hash")
    assert "memory=agemem-norl" in where
    with opened(browser, view, where) as again:
        again.wait_for_selector(ROWS)
        assert again.locator(ROWS).count() == 4


def test_a_search_looks_at_goals_and_answers_too(page: Any) -> None:
    page.keyboard.press("/")
    page.keyboard.type("Your goal: put")  # stands in the texts of alfworld alone
    page.wait_for_function(
        "document.querySelector('#episode-table .counter').textContent.includes(' of ')"
    )
    assert set(column(page, header(page, "Environment"))) == {"alfworld"}
    page.keyboard.press("Escape")
    assert page.locator(ROWS).count() == 20


def test_a_cell_leads_to_its_episodes(page: Any) -> None:
    page.locator("#h-cells + .table tbody tr").nth(4).click()
    assert page.locator(ROWS).count() == 2


def test_the_table_can_be_used_with_keys_alone(page: Any) -> None:
    page.focus("#episode-table .scroller")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_selector(".pane")
    assert page.evaluate("location.hash").startswith("#/episode/")
    page.keyboard.press("Escape")
    page.wait_for_selector(ROWS)


# --- an episode ---------------------------------------------------------------------------------


def test_keys_walk_the_turns_and_the_address_follows(page: Any) -> None:
    page.locator(ROWS).first.locator("a").first.click()
    page.wait_for_selector(".pane")
    for pressed, turn in (
        ("j", 2),
        ("ArrowRight", 3),
        ("ArrowDown", 4),
        ("k", 3),
        ("ArrowLeft", 2),
    ):
        page.keyboard.press(pressed)
        assert page.inner_text(SELECTED) == str(turn)
        assert page.evaluate("location.hash").endswith(f"/turn/{turn}")
        assert page.inner_text(".turn h2") == f"Turn {turn}"
    page.keyboard.press("End")
    last = page.locator(".timeline li").count()
    assert page.inner_text(SELECTED) == str(last)
    page.keyboard.press("j")
    assert page.inner_text(SELECTED) == str(last)
    page.keyboard.press("Home")
    assert page.inner_text(SELECTED) == "1"


def test_an_address_opens_an_episode_at_a_turn(browser: Any, view: Path, runs: list[Path]) -> None:
    id_ = episode_id(runs, "agemem-norl", "alfworld")
    with opened(browser, view, f"#/episode/{id_}/turn/3") as page:
        page.wait_for_selector(".pane")
        assert page.inner_text(SELECTED) == "3"
        page.evaluate(f"location.hash = '#/episode/{id_}/turn/5'")
        page.wait_for_function(f"document.querySelector('{SELECTED}').textContent === '5'")
        page.evaluate("location.hash = '#/episode/nobody'")
        page.wait_for_selector(".failure")
        assert "no episode nobody" in page.inner_text("main")
        page.evaluate("location.hash = '#/%E0%A4%A'")
        page.wait_for_function("document.querySelector('main').textContent.includes('no page')")


@pytest.mark.parametrize("memory", ["agemem-norl", "mem0g"])
@pytest.mark.parametrize("env", ["hotpotqa", "alfworld"])
def test_both_panes_show_at_every_turn_what_the_trace_says(
    browser: Any, view: Path, runs: list[Path], memory: str, env: str
) -> None:
    id_ = episode_id(runs, memory, env)
    turns, _ = reconstruct(RunStore.open(runs[0]).read_trace(id_), {})
    marks = set()
    with opened(browser, view, f"#/episode/{id_}") as page:
        page.wait_for_selector(".pane")
        page.check(".check input")
        for n, (sent, held) in enumerate(_states(turns), 1):
            assert page.inner_text(SELECTED) == str(n)
            assert _texts(page, ".message .text:not(.gone)") == sent
            while page.locator(".more-entries button").count():
                page.click(".more-entries button")
            there = dict(
                zip(
                    _texts(page, ".entry:not(.gone) .id"),
                    _texts(page, ".entry:not(.gone) > .text"),
                    strict=True,
                )
            )
            assert there == held
            marks |= set(page.locator(".panes .tag").all_inner_texts())
            page.keyboard.press("j")
    assert "+ added" in marks
    assert any(mark.startswith("↩") for mark in marks)


def test_messages_that_left_are_marked_with_why(browser: Any, tmp_path: Path) -> None:
    whys = {"filter": "filtered", "summary": "summarised", "overflow": "dropped for room"}
    trace = [*game(1), *(message(n, "observation", f"noise {n}") for n in range(10, 13))]
    for n, why in enumerate(whys, 10):
        trace.append({"type": "remove", "step": 1, "turn": 1, "ids": [f"m{n}"], "reason": why})
        if why == "summary":
            trace.append(message(20, "summary", "Summary of 1 earlier message: noise"))
    trace.append({"type": "rewrite", "step": 1, "turn": 1, "id": "m3", "text": "a", "tokens": 1})
    cell = Cell("none", key(""), (Task("t0", "test", "even"),), 1)
    ((job,),) = [jobs for _, jobs in cell.streams()]
    run = write(tmp_path / "run", [cell], {job.key: trace})
    view = build_view([run], tmp_path / "view").index.parent
    with opened(browser, view, f"#/episode/{job.key.id}") as page:
        page.wait_for_selector(".pane")
        gone = page.locator(".message.gone").all_inner_texts()
        assert len(gone) == 3
        for text, (n, why) in zip(gone, enumerate(whys.values(), 10), strict=True):
            assert why in text
            assert f"noise {n}" in text
        order = _texts(page, ".message .id")
        places = [int(text.split(" ")[0][1:]) for text in order]
        assert places[-4:] == [10, 11, 20, 12]  # the summary stands where what it replaces stood
        assert "shortened" in page.inner_text(".messages")
        assert "1 filtered" in page.inner_text(".timeline .chips").replace("\n", " ")


def test_a_stream_goes_on_with_the_memory_of_the_episode_before(
    browser: Any, view: Path, runs: list[Path]
) -> None:
    store = RunStore.open(runs[1])
    keys = [k for k in store.episodes() if k.memory == "amem" and k.env == "alfworld"]
    _, first = reconstruct(store.read_trace(keys[0].id), {})
    with opened(browser, view, f"#/episode/{keys[1].id}@2") as page:
        page.wait_for_selector(".pane")
        assert set(first.memory) <= set(_texts(page, ".entry .id"))


def test_a_search_in_an_episode_finds_turns_and_marks_the_places(page: Any) -> None:
    page.select_option("#episode-table select[aria-label=Environment]", "alfworld")
    page.locator(ROWS).first.locator("a").first.click()
    page.wait_for_selector(".pane")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.className") == "episode-search"
    page.keyboard.type("ARRIVE AT")
    hits = page.locator(".timeline li.hit").count()
    assert hits >= 1
    assert page.locator(".stage mark").count() >= 1
    assert page.locator(".stage mark").first.inner_text().lower() == "arrive at"
    page.keyboard.press("Enter")
    assert "hit" in page.get_attribute(".timeline [aria-selected=true]", "class")
    page.keyboard.press("Escape")
    assert page.locator("mark").count() == 0
    assert page.evaluate("location.hash").startswith("#/episode/")  # it left the search alone


def test_two_episodes_of_a_task_stand_side_by_side_and_walk_together(page: Any) -> None:
    page.select_option("#episode-table select[aria-label=Memory]", "agemem-norl")
    page.locator(ROWS).first.locator("a").first.click()
    page.wait_for_selector(".beside select")
    options = page.locator(".beside option").all_inner_texts()
    assert any(option.startswith("second · amem") for option in options)
    page.select_option(".beside select", index=2)
    page.wait_for_selector(".pair section:nth-child(2) .pane")
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert page.locator(SELECTED).all_inner_texts() == ["3", "3"]
    where = page.evaluate("location.hash")
    assert where.startswith("#/compare/")
    assert where.endswith("/turn/3")
    page.reload()
    page.wait_for_selector(".pair section:nth-child(2) .pane")
    assert page.locator(SELECTED).all_inner_texts() == ["3", "3"]


def test_another_run_is_one_click_away_from_the_table(page: Any) -> None:
    page.select_option("#episode-table select[aria-label=Memory]", "agemem-norl")
    page.locator(f"{ROWS} a[aria-label*='side by side']").first.click()
    page.wait_for_selector(".pair section:nth-child(2) .pane")
    which = page.locator(".which").all_inner_texts()
    assert which[0].startswith("first")
    assert which[1].startswith("second")


# --- reading it otherwise -----------------------------------------------------------------------


@pytest.mark.parametrize("width", [360, 390])
def test_nothing_is_wider_than_a_phone(
    browser: Any, view: Path, runs: list[Path], width: int
) -> None:
    one, other = (episode_id(runs, m, "hotpotqa") for m in ("agemem-norl", "mem0g"))
    for where in ("", f"#/episode/{one}/turn/4", f"#/compare/{one}/{other}/turn/2"):
        size = {"width": width, "height": 780}
        with opened(browser, view, where, viewport=size, has_touch=True) as page:
            page.wait_for_selector(".pane" if where else ROWS)
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide == width, where
            if where.startswith("#/episode"):
                page.tap("button[aria-label='Next turn']")
                assert page.inner_text(SELECTED) == "5"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_can_be_read_against_their_ground(
    browser: Any, view: Path, runs: list[Path], scheme: str
) -> None:
    """WCAG 2.1, 1.4.3: a contrast of 4.5 at least, for all text there is."""
    id_ = episode_id(runs, "agemem-norl", "hotpotqa")
    for where in ("", f"#/episode/{id_}/turn/4"):
        with opened(browser, view, where, color_scheme=scheme) as page:
            page.wait_for_selector(".pane" if where else ROWS)
            assert page.evaluate(CONTRAST) == []


def test_what_can_be_used_has_a_name_and_shows_its_focus(page: Any) -> None:
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('button, input, select, a, [tabindex="0"]')]
          .filter(e => !(e.getAttribute('aria-label') || e.getAttribute('aria-labelledby')
            || e.textContent.trim() || e.closest('label'))).map(e => e.outerHTML.slice(0, 80))"""
    )
    assert nameless == []
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_a_data_file_that_is_missing_is_told_in_its_place(
    browser: Any, runs: list[Path], tmp_path: Path
) -> None:
    view = build_view(runs[:1], tmp_path / "view").index.parent
    for path in (view / "data").glob("t[0-9]*.js"):
        path.unlink()
    id_ = episode_id(runs, "mem0g", "alfworld")
    with opened(browser, view, f"#/episode/{id_}", complaint="ERR_FILE_NOT_FOUND") as page:
        page.wait_for_selector(".failure")
        assert "is missing" in page.inner_text(".failure")
        assert page.inner_text(".tag.memory") == "mem0g"


def _states(turns: list[Turn]) -> Iterator[tuple[list[str], dict[str, str]]]:
    """Texts as sent and contents as held, turn by turn."""
    state = State()
    for turn in turns:
        for change in turn.before:
            state.apply(change)
        sent = [message["text"] for message in state.context]
        for change in turn.after:
            state.apply(change)
        yield sent, {id_: content for id_, (content, _) in state.memory.items()}


def _texts(page: Any, selector: str) -> list[str]:
    return page.eval_on_selector_all(selector, "nodes => nodes.map(node => node.textContent)")


CONTRAST = """() => {
  const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (node) => {
    for (let e = node; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c.length === 3 || c[3] === 1) return c;
    }
    return [255, 255, 255];
  };
  const bad = [];
  for (const e of document.querySelectorAll("main *, header *")) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.checkVisibility()) continue;
    if (e.closest(":disabled, .unseen, .gone, option, svg")) continue;
    const both = [light(parse(getComputedStyle(e).color)), light(ground(e))];
    const [a, b] = both.sort((x, y) => y - x), opacity = Number(getComputedStyle(e).opacity);
    const contrast = (a + 0.05) / (b + 0.05) * opacity;
    if (contrast < 4.5) bad.push(`${e.className}: ${e.textContent.slice(0, 30)}`);
  }
  return bad;
}"""
