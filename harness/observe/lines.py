"""Progress where there is no terminal: a plain line every few seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ..watch import Planned
from .tally import FAILURES, Tally, duration
from .text import escape
from .text import say as write

EVERY_S = 5.0  # between two lines
IDLE_S = 60.0  # between two lines that say the same


class PlainLines(Tally):
    """Prints a line when something changed, and now and then when nothing did.

    Args:
        say: Writes one line; None: to standard error.
        every_s: Seconds between two lines.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        say: Callable[[str], None] | None = None,
        every_s: float = EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(clock)
        self._say, self._every = say or write, every_s
        self._said, self._when = "", -IDLE_S
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._speak, name="progress", daemon=True)

    def planned(self, plan: Planned) -> None:
        """See `Watcher`."""
        super().planned(plan)
        self._line()
        self._thread.start()

    def close(self) -> None:
        """The last line."""
        super().close()
        if not self._over.is_set():
            self._over.set()
            if self._thread.ident is not None:
                self._thread.join()
                self._line()

    def _speak(self) -> None:
        while not self._over.wait(self._every):
            self._line()

    def _line(self) -> None:
        with self.lock:
            counts, rest = self._counts(), self._pace()
            now = self.clock()
        if counts != self._said or now - self._when >= IDLE_S:
            self._said, self._when = counts, now
            self._say(escape(counts + rest))

    def _counts(self) -> str:
        total = self.total
        text = f"{self.run}: {total.done} of {total.plan.planned} episodes"
        if total.success_rate is not None:
            text += f", {total.success_rate:.0%} of {total.scored} solved"
        failed = [f"{name} {total.statuses[name]}" for name in FAILURES if total.statuses[name]]
        text += f"; {', '.join(failed)}" if failed else ""
        if self.faults:
            kinds = ", ".join(f"{kind} {n}" for kind, n in self.faults.most_common())
            text += f"; failed tries: {kinds}"
        return text + (f"; {self.notice}" if self.notice else "")

    def _pace(self) -> str:
        prompt = sum(speed[1] for speed in self.speeds())
        completion = sum(speed[2] for speed in self.speeds())
        eta = self.eta()
        text = f"; {prompt:.0f} + {completion:.0f} tokens/s" if prompt or completion else ""
        return text + (f"; {duration(eta)} left" if eta and eta >= 1 else "")
