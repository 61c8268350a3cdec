"""The run on a terminal while it goes: a table of cells, speeds, calls, and how long it will take.

The lines are put together here, cell by cell, since a table of rich costs ten times the CPU, four
times a second, for as long as a run goes.
"""

from __future__ import annotations

import atexit
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.segment import Segment
from rich.style import Style

from ..watch import Planned
from .tally import FAILURES, CellTally, Tally, duration, summed
from .text import escape

EVERY_S = 0.25

_DIM, _BOLD, _GOOD, _BAD = (Style.parse(s) for s in ("dim", "bold", "green", "red"))
_LIMIT, _PLAIN = Style.parse("yellow"), Style.null()
_GAP = "  "
_NARROWEST_NAME, _WIDEST_BAR, _NARROWEST_BAR = 12, 24, 8
_FAILURES = tuple(zip(("agent", "limit", "infra"), FAILURES, strict=True))
_FOOT, _FOOT_LINES = " " * 10, 2
_FEWEST_ROWS = 6  # of the table, before lines below it give way

Part = tuple[str, Style]
Line = list[Part]


@dataclass(frozen=True, slots=True)
class _Column:
    title: str
    width: int
    show: Callable[[CellTally], Part]

    @property
    def left(self) -> bool:
        """Whether it is text, not a number."""
        return self.title in ("cell", "")


class Screen(Console):
    """A terminal that one thread writes to at a time.

    rich works out where the cursor must go in one step and writes in another; a second thread
    between the two would tear the picture.
    """

    def __init__(self, **options: Any) -> None:
        self.turn = threading.RLock()
        super().__init__(emoji=False, highlight=False, markup=False, **options)

    def __enter__(self) -> Screen:
        self.turn.acquire()
        super().__enter__()
        return self

    def print(self, *objects: Any, **options: Any) -> None:
        """Print without a last look at what is too wide; nothing here is, and it costs a third."""
        super().print(*objects, **{"crop": False, **options})

    def __exit__(self, *error: Any) -> None:
        try:
            super().__exit__(*error)
        finally:
            self.turn.release()


class Dashboard(Tally):
    """Shows a run on a terminal until it ends, and leaves nothing behind.

    What others write to standard error meanwhile comes above it.

    Args:
        screen: Where to; None: standard error.
        clock: Seconds, monotonic.
    """

    def __init__(
        self, screen: Screen | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(clock)
        self._layout: _Layout | None = None
        self._name = self._models = ""
        self.screen = screen or Screen(stderr=True)
        self._live = Live(
            _Lines(self.lines),
            console=self.screen,
            auto_refresh=False,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),  # a file or a pipe gets what was meant for it
            vertical_overflow="crop",
        )
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._draw, name="dashboard", daemon=True)
        self._live.start(refresh=True)
        self._thread.start()
        atexit.register(self.close)  # a terminal without a cursor is a bad thing to leave behind

    def planned(self, plan: Planned) -> None:
        """See `Watcher`."""
        self._name = escape(plan.run)
        self._models = escape(", ".join(sorted({cell.model for cell in plan.cells})))
        super().planned(plan)

    def close(self) -> None:
        """Take it off the terminal."""
        super().close()
        if not self._over.is_set():
            self._over.set()
            self._thread.join()
            with self.screen.turn, suppress(OSError, ValueError):  # the terminal may be gone
                self._live.stop()
            atexit.unregister(self.close)

    def _draw(self) -> None:
        while not self._over.wait(EVERY_S):
            try:
                with self.screen.turn:
                    self._live.refresh()
            except (OSError, ValueError):  # the terminal is gone, the run goes on
                return

    def lines(self, width: int, height: int) -> list[Line]:
        """What is shown on a terminal of this size."""
        with self.lock:
            if not self.cells:
                return [[("planning", _DIM), (f"  {duration(self.elapsed)}", _DIM)]]
            feet = list(self._feet(width))[-max(2, height - 3 - _FEWEST_ROWS) :]
            room = max(1, height - len(feet) - 3)  # beside the title, the header and the last line
            table = list(self._table(width, room))
            title = self._title(width)
        lines = [title, *table, *feet]
        return lines[: max(1, height - 1)]

    # --- parts ------------------------------------------------------------------------------

    def _title(self, width: int) -> Line:
        times = f"{duration(self.elapsed)}{_GAP}{duration(self.eta())} left"
        room = width - cell_len(times) - 3
        name = self._name
        if cell_len(name) + 2 + cell_len(self._models) <= room:
            name += _GAP + self._models
        return [(_fit(name, room), _BOLD), (_GAP + times, _DIM)]

    def _table(self, width: int, room: int) -> Iterator[Line]:
        cells = list(self.cells.values())
        shown, rest = cells, []
        if len(cells) + (len(cells) > 1) > room:
            ranked = sorted(cells, key=_dullness)  # stable, so that rows keep their places
            keep = {id(cell) for cell in ranked[: max(0, room - 2)]}
            shown = [cell for cell in cells if id(cell) in keep]
            rest = [cell for cell in cells if id(cell) not in keep]
        total = self.total
        if self._layout is None or self._layout.width != width:
            self._layout = _Layout(width, cells, total)
        yield self._layout.header
        for cell in shown:
            yield self._layout.row(cell, _DIM if cell.finished else _PLAIN)
        if rest and shown:
            yield self._layout.row(summed(rest, f"{len(rest)} more"), _DIM)
        if len(cells) > 1:
            yield self._layout.row(total, _BOLD)

    def _feet(self, width: int) -> Iterator[Line]:
        prompt, completion = self.tokens()
        speeds = [s for s in self.speeds() if s[1] or s[2]]
        yield from _foot("tokens/s", [f"{r} {short(p)} + {short(c)}" for r, p, c in speeds], width)
        if prompt or completion:
            all_ = [f"{short(prompt)} prompt", f"{short(completion)} completion"]
            yield from _foot("tokens", all_, width)
        playing = [f"{len(self.playing)} episodes"]
        if self.limits:  # learnt: known once an endpoint refused something
            playing.append(f"at most {' + '.join(map(str, self.limits.values()))} calls at once")
        yield from _foot("in play", playing, width)
        yield from _foot("retried", _counted(self.retries), width, _LIMIT)
        yield from _foot("failed", _counted(self.faults), width, _BAD)
        if self.notice:
            for text in wrap(escape(self.notice), width - 1)[:_FOOT_LINES]:
                yield [(text, _LIMIT)]


class _Layout:
    """The columns that fit a width, and the rows made with them, kept while nothing changes."""

    def __init__(self, width: int, cells: list[CellTally], total: CellTally) -> None:
        self.width = width
        splits: dict[str, set[str]] = {}
        for cell in cells:
            splits.setdefault(cell.plan.env, set()).add(cell.plan.split)
        self._plain = {env for env, names in splits.items() if len(names) == 1}
        self._rows: dict[int, tuple[object, Line]] = {}
        digits = len(str(total.plan.planned))
        most = [
            _Column("done", max(4, 2 * digits + 1), _done),
            _Column("success", digits + 7, _success),
        ]
        failures = [_Column(title, 5, _failures(name)) for title, name in _FAILURES]
        full, brief = (
            max(_NARROWEST_NAME, *(cell_len(self._name(c, b)) for c in cells))
            for b in (False, True)
        )
        # The most telling that fit: with the split or without, with a bar, with failures.
        for name, columns, bar in (
            (full, most + failures, _WIDEST_BAR),
            (full, most + failures, _NARROWEST_BAR),
            (brief, most + failures, _NARROWEST_BAR),
            (brief, most + failures, 0),
            (brief, most, 0),
        ):
            room = width - 1 - name - sum(c.width + len(_GAP) for c in columns)
            if room >= bar + len(_GAP) * (bar > 0):
                break
        self._brief = name < full
        columns = list(columns)
        bar = min(_WIDEST_BAR, room - len(_GAP))
        if bar >= _NARROWEST_BAR:
            columns.insert(1, _Column("", bar, _bar(bar)))
        name = max(_NARROWEST_NAME, name + min(0, room))
        self._columns = [_Column("cell", name, self._named), *columns]
        titles = (
            c.title.ljust(c.width) if c.left else c.title.rjust(c.width) for c in self._columns
        )
        self.header: Line = [(_GAP.join(titles), _DIM)]

    def row(self, cell: CellTally, style: Style) -> Line:
        """One cell's row."""
        state = cell.done, cell.scored, cell.solved, style, *cell.statuses.values()
        kept = self._rows.get(id(cell))
        if kept is not None and kept[0] == state:
            return kept[1]
        line: Line = []
        for index, column in enumerate(self._columns):
            text, own = column.show(cell)
            text = _fit(text, column.width, left=column.left)
            text = _GAP + text if index else text
            own = style + own
            if line and line[-1][1] == own:  # each part costs at every redraw
                text = line.pop()[0] + text
            line.append((text, own))
        if cell.plan.memory:  # a sum is made anew each time, and its id is soon another's
            self._rows[id(cell)] = state, line
        return line

    def _named(self, cell: CellTally) -> Part:
        return self._name(cell, self._brief), _PLAIN

    def _name(self, cell: CellTally, brief: bool) -> str:
        plan = cell.plan
        split = "" if brief and plan.env in self._plain else plan.split
        return escape(" ".join(filter(None, (plan.env, split, plan.memory))))


class _Lines:
    """Renders lines anew each time it is asked."""

    def __init__(self, lines: Callable[[int, int], list[Line]]) -> None:
        self._lines = lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The lines as segments, none wider than the terminal."""
        lines = self._lines(options.max_width, console.size.height)
        for index, line in enumerate(lines):
            if index:
                yield Segment.line()
            for text, style in line:
                yield Segment(text, style)


def short(number: float) -> str:
    """`950`, `12.3k`, `4.56M`: three digits and a unit."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if number >= limit:
            value = number / (1e3 if unit == "k" else limit)
            return f"{value:.3g}{unit}" if value < 1000 else f"{value:.0f}{unit}"
    return f"{number:.0f}"


def _foot(title: str, items: list[str], width: int, style: Style = _PLAIN) -> Iterator[Line]:
    """A line of items, or two; what does not fit them is left out."""
    room = width - len(_FOOT) - 1
    texts = [""]
    for item in map(escape, items):
        longer = f"{texts[-1]} · {item}" if texts[-1] else item
        if cell_len(longer) <= room:
            texts[-1] = longer
        elif len(texts) == _FOOT_LINES:
            texts[-1] = _fit(longer, room)
            break
        else:
            texts.append(item)
    if items:
        for index, text in enumerate(texts):
            yield [
                (title.ljust(len(_FOOT)) if not index else _FOOT, _DIM),
                (_fit(text, room), style),
            ]


def _counted(kinds: Counter[str]) -> list[str]:
    return [f"{kind} {n}" for kind, n in kinds.most_common()]


def _fit(text: str, width: int, *, left: bool = True) -> str:
    """A text of exactly this width; what is cut off is marked."""
    if cell_len(text) > width:
        return set_cell_size(text, max(0, width - 1)) + "…"
    return set_cell_size(text, width) if left else " " * (width - cell_len(text)) + text


def _done(cell: CellTally) -> Part:
    return f"{cell.done}/{cell.plan.planned}", _PLAIN


def _success(cell: CellTally) -> Part:
    if cell.success_rate is None:
        return "–", _DIM
    return f"{cell.success_rate:.0%} ({cell.scored})", _PLAIN


def _failures(status: str) -> Callable[[CellTally], Part]:
    style = _BAD if status == "infra_error" else _LIMIT

    def show(cell: CellTally) -> Part:
        n = cell.statuses[status]
        return (str(n), style) if n else ("·", _DIM)

    return show


def _bar(width: int) -> Callable[[CellTally], Part]:
    def show(cell: CellTally) -> Part:
        share = min(1.0, cell.done / cell.plan.planned) if cell.plan.planned else 1.0
        full = int(share * width)  # a full bar means all, so it is never rounded up
        return "━" * full + "┄" * (width - full), _GOOD

    return show


def _dullness(cell: CellTally) -> tuple[bool, bool]:
    """Cells that are finished matter least, those that fail most."""
    return cell.finished, not cell.statuses["infra_error"]
