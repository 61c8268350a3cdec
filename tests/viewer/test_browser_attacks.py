"""What models, tasks and names bring along never runs, and a large report stays quick to use."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from agemem_fakes.episodes import key
from viewer_browser import opened
from viewer_runs import ATTACKS, EVIL, FLAG, game, planted, write

from agemem_eval.harness.plan import Cell
from agemem_eval.harness.types import Task
from agemem_eval.harness.viewer.build import build_view

pytestmark = pytest.mark.browser
ROWS = "#episode-table tbody tr:not(.space)"


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = planted(
        tmp_path_factory.mktemp("runs") / "<script>window.hit=1<" / "x onload=hit=1 <b>run"
    )
    return build_view([run], tmp_path_factory.mktemp("view") / "v").index.parent


def safe(page: Any) -> bool:
    """Whether nothing planted has run or become an element."""
    found = page.evaluate(
        f"() => [window.{FLAG}, document.querySelectorAll('main script, main iframe, main style,"
        " main img, main [onerror], main [onload], main [onmouseover], main b b').length,"
        " document.querySelectorAll('a:not([href^=\"#\"])').length,"
        " ({}).polluted, Object.getOwnPropertyNames(Object.prototype).includes('tags')]"
    )
    return found == [None, 0, 0, None, False]


def test_nothing_planted_in_names_and_tasks_runs_on_the_first_page(
    browser: Any, view: Path
) -> None:
    with opened(browser, view) as page:
        page.wait_for_selector(ROWS)
        page.keyboard.press("/")
        page.keyboard.type("<script>")
        page.wait_for_timeout(300)
        assert page.locator(ROWS).count() >= 1
        assert safe(page)
        assert ATTACKS[0] in page.inner_text("main")  # it is shown, as text
        assert page.title().startswith("x onload=hit=1 <b>run")


def test_nothing_planted_in_an_episode_runs(browser: Any, view: Path) -> None:
    with opened(browser, view) as page:
        page.wait_for_selector(ROWS)
        page.locator(ROWS).first.locator("a").first.click()
        page.wait_for_selector(".pane")
        text, texts = EVIL.encode(errors="replace").decode(), "all => all.map(e => e.textContent)"
        shown = page.eval_on_selector_all(".message .text", texts)
        assert shown == [text] * 5
        held = page.eval_on_selector_all(
            ".entry:not(.gone) .id", "all => all.map(e => e.textContent)"
        )
        assert sorted(held) == ["__proto__", "constructor"]
        page.keyboard.press("/")
        page.keyboard.type("onerror")
        assert page.locator("mark").count() > 5
        for details in page.locator("details summary").all():
            details.click()
        page.hover(".message .text")
        assert safe(page)


def test_addresses_bring_nothing_in(browser: Any, view: Path) -> None:
    image, script = ATTACKS[2], ATTACKS[0]
    for attack in (f"#/episode/{image}", f"#/{script}", f"#/?q={image}&sort={script}",
                   "#/compare/__proto__/constructor/turn/1", f"#{ATTACKS[4]}"):  # fmt: skip
        with opened(browser, view, attack) as page:
            page.wait_for_timeout(250)
            assert safe(page)


def test_the_policy_lets_no_markup_be_made_of_text(browser: Any, view: Path) -> None:
    attack = "<img src=x onerror='window.hit=1'>"
    with opened(browser, view, complaint="TrustedHTML|Trusted Type") as page:
        page.wait_for_selector(ROWS)
        # As if some line of the page were careless after all.
        said = page.evaluate(
            "text => { try { document.body.innerHTML = text } catch (e) { return e.name } }", attack
        )
        assert said == "TypeError"
        assert page.evaluate(f"window.{FLAG}") is None


def test_ten_thousand_episodes_cost_as_many_rows_as_are_in_sight(
    browser: Any, tmp_path: Path
) -> None:
    tasks = tuple(Task(f"task {n:05}", "test", f"kind {n % 7}") for n in range(10_000))
    cell = Cell("none", replace(key(""), env="rooms"), tasks, 1)
    jobs = [job for _, jobs in cell.streams() for job in jobs]
    trace = list(game(2))
    run = write(tmp_path / "run", [cell], dict.fromkeys((job.key for job in jobs), trace))
    view = build_view([run], tmp_path / "view").index.parent
    with opened(browser, view) as page:
        page.wait_for_selector(ROWS)
        assert "10,000" in page.inner_text("#episode-table .counter")
        assert page.locator(ROWS).count() < 100
        page.eval_on_selector("#episode-table .scroller", "node => { node.scrollTop = 9e9 }")
        page.wait_for_selector(f"{ROWS}:has-text('task 09999')")
        assert page.locator(ROWS).count() < 100
        page.fill("#episode-table .table-search", "task 07777")
        assert page.locator(ROWS).count() == 1
        page.click(f"{ROWS} a")
        page.wait_for_selector(".pane")
        assert page.inner_text("h1").endswith("task 07777")
        loaded = page.evaluate("performance.getEntriesByType('resource').length")
        assert loaded <= 4  # the table, the texts, one file of turns: not the other hundreds
