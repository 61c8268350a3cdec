"""How many calls an endpoint should get at once, learnt from its replies; no clock, no loop.

Of one endpoint only its replies are known, so the limit is found as TCP finds a path's capacity:

- *Slow start* (RFC 5681, 3.1): from `START` on, each reply raises the limit by one, so it doubles
  per round. It ends when a tenth of a round is rejected, or when, of a limit that was reached,
  latency no longer holds and a round brought hardly more replies a second than the one before: a
  server that batches gets slower and yet serves more. A *round* is as many outcomes as calls were
  in flight when it began: about one round trip.
- Then it grows by its square root per round while latency holds (the step of Netflix's
  concurrency-limits): while it is within `TOLERANCE` times the least of the last 30 to 60 rounds.
  Medians are compared, of calls with requests and replies of like lengths alone, with twice their
  standard error for the least: long prompts, long answers and outliers are no congestion. Latency
  stops growth, it does not cut: who is slow for others' sake is not faster for fewer calls of ours.
- It grows only while calls wait for it (RFC 7661): what was never tried proves nothing.
- *Back off*: 429, 503, 529 and timeouts multiply it by a little less than the share of the round's
  calls that got through, to 1/2 of it at least, or 1/4 in slow start, whose limit was a mere guess
  (after DCTCP, RFC 8257, which backs off by the share).
  Once per round, and calls that started before the last cut say nothing new (the recovery point of
  RFC 6582). An endpoint that takes N calls is so held close to N.
- Rejections that a cut does not end are not about load. The share of those that follow cuts, up to
  `BACKGROUND`, is taken off before the next cut, and what is within one standard deviation of it
  is no reason for one, so an endpoint that fails every tenth call is not slowed down for it.
- A limit that was too much is tried again after 1, 2, 4 and then every `PATIENCE` rounds (near the
  last failure growth slows down, as it does in CUBIC, RFC 9438).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from typing import Literal

START = 64  # calls in flight before anything is known
TOLERANCE = 2.0  # times the least latency that count as holding
SLACK_S = 0.1  # latencies below it are all alike: the rest is noise of this machine
OVERLOADED = 0.1  # share of rejected calls that ends slow start
BACKGROUND = 0.15  # the largest share of rejections that may have nothing to do with load
GAIN = 1.1  # times the replies a second that make a round of slow start worth it
ENOUGH = 16  # outcomes that make a share of rejections: of eight, a stray one were a large share
MARGIN = 1.25  # times the share of rejected calls that a cut takes off, so as to end them
NO_SHARE = 0.01  # of rejections: where cuts end them, they are about load
PATIENCE = 8  # rounds before a limit that has failed again and again is tried once more
TOLD = 0.7  # times the limit last told of that are worth telling
_ENOUGH = 16  # latencies that make a median
_ERA = 30  # rounds after which the least latency is measured anew
_MOST_KINDS = 64

Change = Literal["backed off", "recovered"]


class AdaptiveLimit:
    """The limit, and what it was learnt from.

    Args:
        told: Hears when the limit has backed off by a third (and by each further third) and when
            it is back: what happened, the limit now, the limit before.
    """

    def __init__(self, told: Callable[[Change, int, int], None] = lambda *_: None) -> None:
        self._told = told
        self.most = math.inf  # bound by the user
        self.epoch = 0  # calls carry the one they started in; each cut begins another
        self._limit = float(START)
        self._threshold = math.inf  # slow start ends here
        self._outcomes = self._rejections = self._started = 0  # in this round
        self._round = START  # outcomes that end it; 0: it is about to begin
        self._peak = 0  # most calls in flight in this round
        self._scarce = False  # whether a call had to wait for a slot in this round
        self._before = 0  # what was in flight before it backed off; 0: it has not
        self._last_told = 0  # the limit that `told` last heard of since
        self._background = 0.0  # share of rejections that cuts do not end
        self._has_cut = False  # in the round before
        self._failed_at = math.inf  # the limit that was cut
        self._patience = self._waited = 0  # rounds to wait before it is tried again
        self._rate = 0.0  # calls served in the time that one took at best, in the round before
        self._latencies = _Latencies()

    @property
    def value(self) -> int:
        """Calls that may be in flight."""
        return int(min(self._limit, self.most))

    @property
    def round_trip(self) -> float:
        """Seconds that a served call takes, smoothed; 0 before the first."""
        return self._latencies.round_trip

    def admits(self, busy: int) -> bool:
        """Whether one more call may start beside so many that are in flight."""
        if busy < self.value:
            return True
        self._scarce = True
        return False

    def starts(self, busy: int) -> int:
        """A call starts, as the last of so many; its epoch."""
        self._started += 1
        self._peak = max(self._peak, busy)
        return self.epoch

    def served(self, epoch: int, alike: Hashable, seconds: float) -> None:
        """A call was answered.

        Args:
            epoch: In which it started.
            alike: Calls with an equal value should take about equally long.
            seconds: How long it took.
        """
        self._latencies.add(alike, seconds)
        if self._limit < self._threshold and self._scarce:
            self._limit += 1
        self._outcome(epoch, 0)

    def rejected(self, epoch: int) -> None:
        """A call was one too many, or got no answer in time."""
        self._outcome(epoch, 1)

    def failed(self, epoch: int) -> None:
        """A call failed for reasons that have nothing to do with load."""
        self._outcome(epoch, 0)

    def begin_round(self, busy: int) -> None:
        """Begin a round if one has just ended, with so many calls in flight."""
        if not self._round:
            self._round = max(1, busy)
            self._peak = busy

    def _outcome(self, epoch: int, rejections: int) -> None:
        if epoch != self.epoch:
            return
        self._outcomes += 1
        self._rejections += rejections
        # Rounds of four and fewer end as they are: so small a capacity is found by trying alone.
        least = ENOUGH if self._rejections and self._round > 4 else 0
        if self._round and self._outcomes >= max(self._round, least):
            self._end_round()

    def _end_round(self) -> None:
        slower = self._latencies.end_round()
        used = min(self._limit, max(self._peak, 1))
        # A rejection ends before a reply that started with it, so this round's replies alone
        # would make it seem more frequent than it is.
        share = self._rejections / max(self._outcomes, self._started)
        holds = slower <= TOLERANCE
        more, self._rate = used / slower > GAIN * self._rate, used / slower  # by Little's law
        if self._has_cut and share <= BACKGROUND:
            self._background += (share - self._background) / 4
        noise = math.sqrt(self._background * (1 - self._background) / self._outcomes)
        self._has_cut = share > self._background + noise
        if self._has_cut:
            self._cut(used, share)
        elif self._limit < self._threshold:
            if self._scarce and not (holds or more):
                self._limit = self._threshold = max(1.0, used * max(0.5, TOLERANCE / slower))
        elif self._scarce and holds:
            self._grow()
        self._limit = min(self._limit, self.most)
        if 0 < self._before <= self.value:
            if self._last_told:
                self._told("recovered", self.value, self._last_told)
            self._before = self._last_told = 0
        self._outcomes = self._rejections = self._started = self._round = 0
        self._scarce = False

    def _grow(self) -> None:
        """One step up, or one round less to wait before it, where it failed before."""
        after = self._limit + math.sqrt(self._limit)
        if after > self._failed_at - 1 and self._waited < self._patience:
            self._waited += 1
            return
        if self._limit > self._failed_at:  # it holds now
            self._failed_at, self._patience = math.inf, 0
        self._limit, self._waited = after, 0

    def _cut(self, used: float, share: float) -> None:
        """Back off from what was used, by the share of calls that did not get through."""
        least = 0.5 if self._threshold < math.inf else 0.25
        self._limit = max(1.0, used * max(least, 1 - MARGIN * (share - self._background)))
        self.epoch += 1
        again = used < 1.5 * self._failed_at < math.inf and self._background < NO_SHARE
        self._patience = min(max(1, 2 * self._patience), PATIENCE) if again else 0
        self._failed_at, self._waited = used, 0
        if OVERLOADED < share < 1:  # where nothing got through it is down: that is no capacity
            self._threshold = self._limit
        self._before = max(self._before, int(used))
        if self.value <= TOLD * (self._last_told or self._before):
            self._last_told = self.value
            self._told("backed off", self.value, self._before)


class _Latencies:
    """Whether calls take longer than like calls took at best."""

    def __init__(self) -> None:
        self.round_trip = 0.0
        self._kinds: dict[Hashable, _Kind] = {}
        self._rounds = 0

    def add(self, alike: Hashable, seconds: float) -> None:
        """A call that was served."""
        self.round_trip += (seconds - self.round_trip) / (8 if self.round_trip else 1)
        kind = self._kinds.get(alike)
        if kind is None:
            if len(self._kinds) >= _MOST_KINDS:
                return
            kind = self._kinds[alike] = _Kind()
        kind.recent.append(seconds)

    def end_round(self) -> float:
        """The latency of this round as a multiple of the least; 1 where nothing can be said."""
        counted = total = 0.0
        for kind in self._kinds.values():
            if len(kind.recent) < _ENOUGH:
                continue  # it goes on collecting
            n, ordered = len(kind.recent), sorted(kind.recent)
            median = max(SLACK_S, ordered[n // 2])
            spread = (ordered[3 * n // 4] - ordered[n // 4]) / 1.35  # of a normal distribution
            kind.least = min(kind.least, median + 2 * 1.25 * spread / math.sqrt(n))
            counted += n
            total += n * max(1.0, median / min(kind.least, kind.least_before))
            kind.recent.clear()
        self._rounds += 1
        if self._rounds % _ERA == 0:
            self._end_era()
        return total / counted if counted else 1.0

    def _end_era(self) -> None:
        for kind in self._kinds.values():
            kind.least_before, kind.least = kind.least, math.inf
        for key in [key for key, kind in self._kinds.items() if kind.least_before == math.inf]:
            del self._kinds[key]


class _Kind:
    """Latencies of calls that should be alike."""

    __slots__ = ("least", "least_before", "recent")

    def __init__(self) -> None:
        self.recent: list[float] = []
        self.least = self.least_before = math.inf  # medians of rounds: of this era, of the last
