"""Between the event loop and the decoder: one thread that owns the model.

Requests wait in a queue. The thread takes in what fits, lets all rows step, and answers each row
the moment it is done. Whatever happens, a request is answered: with its continuation, or with the
failure that ended the thread's work.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import math
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field

from ...errors import ModelError
from .. import in_hurry
from .batch import BatchDecoder, Interrupted, Row
from .decoding import Generated, Prompt

HURRY_S = 1.0  # for a layer to be computed where this process is told to end
POLL_S = 0.005

_running: set[Batcher] = set()  # whose threads run
_log = logging.getLogger("agemem_eval.inprocess")


@dataclass(slots=True, eq=False)
class _Job:
    """A request on its way; cancelled by its caller through the future."""

    prompt: Prompt
    future: Future[Generated] = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)

    def fail(self, error: BaseException) -> None:
        if self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)


class Batcher:
    """Decodes the requests of many callers together.

    Args:
        decoder: Used by the thread alone from now on.
        name: Of the model, for errors.
        max_wait_s: While others are decoded, a request waits for company for so long, since
            prompts are read more cheaply together; where nothing is decoded it begins at once.
    """

    def __init__(self, decoder: BatchDecoder, name: str, max_wait_s: float) -> None:
        self._decoder, self._name, self._max_wait_s = decoder, name, max_wait_s
        self._changed = threading.Condition()
        self._waiting: deque[_Job] = deque()
        self._active: dict[Row, _Job] = {}  # of the thread alone, as is the next
        self._joining: list[_Job] = []  # taken from the queue, not in the batch yet
        self._thread: threading.Thread | None = None
        self._closing = False
        self._expected = 0  # callers; see `expect`
        self._tried_less = False  # memory was short, and no row has been done since

    async def generate(self, prompt: Prompt) -> Generated:
        """The continuation of a prompt; cancelling this takes it out of the batch.

        Raises:
            ModelError: if it is too long, the decoder fails, or `close` came first.
        """
        most = self._decoder.max_tokens
        if prompt.total > most:
            raise ModelError(
                f"{self._name}: the prompt and its continuation may need {prompt.total} tokens, "
                f"the cache holds {most}: raise -o max_tokens_in_flight, or lower --context-tokens",
                "refused",
            )
        job = _Job(prompt)
        with self._changed:
            if self._closing:
                raise self._closed()
            self._waiting.append(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="decoder", daemon=True)
                _running.add(self)
                self._thread.start()
            self._changed.notify()
        return await asyncio.wrap_future(job.future)

    def expect(self, callers: int) -> None:
        """Decode only while so many callers wait for a reply; 0: whoever waits.

        Then what is computed together depends on the requests alone, not on how fast callers are:
        the same requests give the same sums to the last bit. A caller that will ask no more must
        be taken off the number at once, since all others wait for it.
        """
        with self._changed:
            self._expected = callers
            self._changed.notify()

    async def close(self) -> None:
        """End the thread; requests under way fail. A later request starts another.

        A forward is not waited for but its layer. Where the calling task is itself being
        cancelled, as by SIGTERM, that is not either: the process waits for it when all is written.
        """
        thread = self._tell_to_end()
        patience_s = HURRY_S if in_hurry() else math.inf
        begun = time.monotonic()
        # not joined by a thread of the loop's, which the loop's own end would wait for
        while thread is not None and thread.is_alive():
            if time.monotonic() - begun > patience_s:
                return
            await asyncio.sleep(POLL_S)
        with self._changed:
            self._closing = False

    def _tell_to_end(self) -> threading.Thread | None:
        with self._changed:
            self._closing = True
            self._decoder.interrupted = self._thread is not None
            self._changed.notify()
            return self._thread

    # --- the thread -------------------------------------------------------------------------

    def _run(self) -> None:
        error: BaseException = self._closed()
        try:
            while self._awaits_work():
                try:
                    self._work()
                except Interrupted:
                    break
                except Exception as problem:  # noqa: BLE001 - torch and models may raise anything
                    self._recover(problem)
        except BaseException as problem:  # what ends a thread must not leave its callers waiting
            error = problem
            raise
        finally:
            self._decoder.reset()
            with self._changed:
                self._thread, self._decoder.interrupted = None, False
                _running.discard(self)
                jobs = self._take_all()
            for job in jobs:
                job.fail(error)

    def _awaits_work(self) -> bool:
        """Sleep until there is something to do; False when it is to end."""
        with self._changed:
            while not self._closing:
                callers = len(self._waiting) + len(self._active)
                if callers and callers >= self._expected:
                    break
                self._changed.wait()
            return not self._closing

    def _work(self) -> None:
        """Let cancelled rows go, take new ones in, draw a token for each, answer those done."""
        for row, job in list(self._active.items()):
            if job.future.cancelled():
                self._decoder.leave(row)
                del self._active[row]
        self._joining = self._due()
        if self._joining:
            rows = self._decoder.join([job.prompt for job in self._joining])
            jobs, self._joining = self._joining, []
            self._active |= zip(rows, jobs, strict=False)
            with self._changed:
                self._waiting.extendleft(reversed(jobs[len(rows) :]))
            self._answer()
        self._decoder.step()
        self._answer()

    def _due(self) -> list[_Job]:
        """The requests to take in now, oldest first; none while they may wait for company."""
        with self._changed:
            jobs = [job for job in self._waiting if not job.future.cancelled()]
            free = self._decoder.max_rows - len(self._active)
            waited = time.monotonic() - jobs[0].since if jobs else 0.0
            if self._expected:  # all are there: in an order that their arrival does not change
                jobs.sort(key=lambda job: (job.prompt.seed, job.prompt.tokens))
            elif self._active and len(jobs) < free and waited < self._max_wait_s:
                self._waiting = deque(jobs)
                return []
            self._waiting = deque(jobs[free:])
            return jobs[:free]

    def _answer(self) -> None:
        for row, job in list(self._active.items()):
            if row.done is not None:
                del self._active[row]
                self._tried_less = False
                if job.future.set_running_or_notify_cancel():
                    job.future.set_result(row.done)

    def _recover(self, problem: Exception) -> None:
        """Where memory was short try once with half the rows; else fail all, and go on."""
        jobs = self._jobs_under_way()
        decoder = self._decoder
        decoder.reset()
        if _is_memory(problem) and not self._tried_less:
            self._tried_less = True
            decoder.max_rows = max(1, min(decoder.max_rows, len(jobs)) // 2)
            with self._changed:
                self._waiting.extendleft(reversed(jobs))
            _log.warning(
                "%s: out of memory with %d rows: again with %d",
                self._name,
                len(jobs),
                decoder.max_rows,
                extra={"fields": {"event": "out_of_memory", "rows": len(jobs)}},
            )
            return
        self._tried_less = False
        with self._changed:
            jobs += self._take_all()
        text = " ".join(str(problem).split())[:300]
        hint = ": lower -o max_batch or max_tokens_in_flight" if _is_memory(problem) else ""
        for job in jobs:
            message = f"{self._name}: decoding failed{hint}: {type(problem).__name__}: {text}"
            job.fail(ModelError(message, "server"))

    def _jobs_under_way(self) -> list[_Job]:
        jobs = [*self._active.values(), *self._joining]
        self._active, self._joining = {}, []
        return jobs

    def _take_all(self) -> list[_Job]:
        jobs = [*self._jobs_under_way(), *self._waiting]
        self._waiting.clear()
        return jobs

    def _closed(self) -> ModelError:
        return ModelError(f"{self._name}: the model was closed while it was asked")


@atexit.register
def _end_all() -> None:
    """Wait for the threads that run: one that is cut off amid torch takes the process with it.

    The interpreter ends what threads of its own there still are by unwinding them, and C++ that
    does not let itself be unwound calls that a failure: an abort in place of the exit code.
    """
    for thread in [batcher._tell_to_end() for batcher in list(_running)]:
        if thread is not None:
            thread.join()


def _is_memory(problem: BaseException) -> bool:
    """Whether memory ran out; on a CPU torch says so by a bare RuntimeError."""
    if isinstance(problem, MemoryError):
        return True
    # torch.OutOfMemoryError is a RuntimeError, too
    said = str(problem).lower() if isinstance(problem, RuntimeError) else ""
    return "out of memory" in said or "not enough memory" in said
