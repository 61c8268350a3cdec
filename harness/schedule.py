"""Which episode is played next: always one of the cell whose share of done ones is the least.

So a table fills evenly, whatever the number and size of its cells, and a run that is stopped half
way has half of every cell. Nothing is listed ahead: what waits costs no memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from .metering import Meter
from .plan import Cell, Job
from .records import EpisodeKey
from .types import Memory


@dataclass(slots=True)
class Stream:
    """Episodes in order with one memory; for `memory_scope` `run`."""

    name: str
    jobs: list[Job]
    at: int = 0  # the next one to play
    memory: Memory | None = None  # None until it begins
    meter: Meter | None = None
    snapshot: bytes = b""  # of the memory before the next episode


@dataclass(frozen=True, slots=True)
class Work:
    """What one player does next: a lone episode, or the next one of a stream."""

    lane: Lane
    job: Job
    stream: Stream | None = None

    @property
    def cell(self) -> Cell:
        """Where the episode belongs."""
        return self.lane.cell


@dataclass(slots=True)
class Lane:
    """What a cell still has to play."""

    cell: Cell
    planned: int
    begun: int  # episodes that were scored before, or have begun
    lone: Iterator[Job] | None  # None: the cell is made of streams
    streams: deque[Stream] = field(default_factory=deque)  # that nobody plays just now

    @property
    def share(self) -> float:
        """Of its episodes, those done or in play."""
        return self.begun / self.planned

    def take(self) -> Work | None:
        """The next episode; None if there is none to give away now."""
        if self.lone is not None:
            job = next(self.lone, None)
            if job is None:
                return None
            self.begun += 1
            return Work(self, job)
        if not self.streams:
            return None
        # the one that lags behind; several orders of a cell grow together
        stream = min(self.streams, key=lambda s: s.at)
        self.streams.remove(stream)
        self.begun += 1
        return Work(self, stream.jobs[stream.at], stream)


class Schedule:
    """The episodes that a run still owes.

    Args:
        cells: Of the run.
        scored: Whether an episode is done.
        lifelong: Whether each memory is kept over a stream of episodes.
    """

    def __init__(
        self, cells: list[Cell], scored: Callable[[EpisodeKey], bool], lifelong: bool
    ) -> None:
        self.lanes = [_lane(cell, scored, lifelong) for cell in cells]
        self.streams = [stream for lane in self.lanes for stream in lane.streams]

    @property
    def owed(self) -> int:
        """Episodes that nobody has begun."""
        return sum(lane.planned - lane.begun for lane in self.lanes)

    def take(self) -> Work | None:
        """The next episode to play; None if there is none that no one else plays."""
        for lane in sorted(self.lanes, key=lambda lane: lane.share):
            if (work := lane.take()) is not None:
                return work
        return None

    def give_back(self, work: Work) -> None:
        """A stream's episode is scored: whoever is free may play its next one."""
        assert work.stream is not None
        work.stream.at += 1
        if work.stream.at < len(work.stream.jobs):
            work.lane.streams.append(work.stream)


def _lane(cell: Cell, scored: Callable[[EpisodeKey], bool], lifelong: bool) -> Lane:
    planned = begun = 0
    streams: deque[Stream] = deque()
    for name, jobs in cell.streams():
        done = [scored(job.key) for job in jobs]
        planned, begun = planned + len(jobs), begun + sum(done)
        if lifelong and not all(done):  # it goes on after its last episode in a row
            streams.append(Stream(name, jobs, done.index(False)))
    if lifelong:
        return Lane(cell, planned, begun, None, streams)
    owed = (job for _, jobs in cell.streams() for job in jobs if not scored(job.key))
    return Lane(cell, planned, begun, owed)
