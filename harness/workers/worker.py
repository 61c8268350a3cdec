"""The worker process: hosts environments for the parent, one call after the other.

Started as `python -m …workers.worker LIFELINE SECONDS`, or as a Ray actor (`ray_actor`).
Frames come on standard input and go to the descriptor that was standard output; whatever
environment code prints goes to standard error. A thread beats every so many seconds.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
import threading
import time
from typing import Any

from ..build import build
from ..types import Environment, Observation, StepResult, Task
from .wire import BEAT, Frames, failure, knows_gold, pack, plain, sound, sound_gold


class Host:
    """The live environments of this process, by the parent's session number."""

    def __init__(self) -> None:
        self.sessions: dict[int, Environment] = {}

    def answer(self, request: list[Any]) -> dict[str, Any]:
        """Carry out one request; any failure is a reply."""
        operation, session, arguments = request
        try:
            return {"value": getattr(self, f"do_{operation}")(session, *arguments)}
        except Exception as error:  # noqa: BLE001 - environment code may raise anything
            return failure(error, f"the environment's {operation}")

    def do_path(self, _: int, path: list[str]) -> None:
        """Import from where the parent imports from."""
        sys.path[:] = path

    def do_join(self, _: int, path: list[str], directory: str) -> None:
        """Import and read from where the parent does, as far as this machine has the places."""
        sys.path += [p for p in path if p not in sys.path and os.path.exists(p)]
        if os.path.isdir(directory):
            os.chdir(directory)

    def do_open(self, session: int, name: str, options: dict[str, str]) -> Any:
        """Build an environment; returns its spec."""
        environment: Environment = build("envs", name, options)
        self.sessions[session] = environment
        return plain(environment.spec)

    def do_describe(self, session: int, split: str) -> Any:
        """The tasks of a split and their data hash."""
        environment = self.sessions[session]
        tasks = list(environment.tasks(split))
        described = [plain(task) for task in tasks], environment.data_hash(split)
        return [*described, knows_gold(environment, tasks)]

    def do_reset(self, session: int, task: dict[str, Any], seed: int) -> Any:
        """Start a task."""
        observation = self.sessions[session].reset(Task(**task), seed)
        if not isinstance(observation, Observation):
            raise TypeError(f"reset returned {type(observation).__name__}, not an Observation")
        sound(observation)
        return plain(observation)

    def do_step(self, session: int, action: str) -> Any:
        """Carry out one action."""
        result = self.sessions[session].step(action)
        if not isinstance(result, StepResult):
            raise TypeError(f"step returned {type(result).__name__}, not a StepResult")
        sound(result)
        return plain(result)

    def do_valid_actions(self, session: int) -> list[str] | None:
        """The actions that would be valid now."""
        return self.sessions[session].valid_actions()

    def do_expert_action(self, session: int, name: str) -> str | None:
        """The expert's next action."""
        return self.sessions[session].expert_action(name)

    def do_gold(self, session: int, task: dict[str, Any]) -> Any:
        """What a perfect memory of a task would hold; None where that is not defined."""
        gold = getattr(self.sessions[session], "gold", None)
        return None if gold is None else plain(sound_gold(gold(Task(**task))))

    def do_close(self, session: int) -> None:
        """Release one environment."""
        environment = self.sessions.pop(session, None)
        if environment is not None:
            environment.close()

    def close(self) -> None:
        """Release all of them."""
        for session in list(self.sessions):
            self.answer(["close", session, []])


def serve(source: int, target: int, beat_s: float) -> None:
    """Answer requests until the parent says `exit` or is gone; beat all the while."""
    host, frames, send = Host(), Frames(), _Sender(target)
    threading.Thread(target=_beat, args=(send, beat_s), daemon=True).start()
    while data := os.read(source, 1 << 20):
        for request in frames.feed(data):
            if request[0] == "exit":
                host.close()
                return
            send(reply_frame(host, request))


def reply_frame(host: Host, request: list[Any]) -> bytes:
    """The frame that answers one request."""
    reply = host.answer(request)
    try:
        return pack(reply)
    except (TypeError, ValueError) as error:
        return pack(failure(error, f"the reply of the environment's {request[0]}"))


class _Sender:
    """Writes frames whole, though two threads write: one replies, one beats."""

    def __init__(self, target: int) -> None:
        self._target, self._lock = target, threading.Lock()

    def __call__(self, frame: bytes) -> None:
        view = memoryview(frame)
        with self._lock:
            while view:
                view = view[os.write(self._target, view) :]


def _beat(send: _Sender, beat_s: float) -> None:
    frame = pack(BEAT)
    with contextlib.suppress(OSError):  # the parent is gone, which others notice and act on
        while True:
            time.sleep(beat_s)
            send(frame)


def take_pipes() -> tuple[int, int]:
    """The protocol's own descriptors, out of reach of what environment code prints or reads."""
    source, target = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    return source, target


def end_with_parent(lifeline: int) -> None:
    """Leave no orphan: this process and its children end when the parent is gone.

    Nothing is ever written to the lifeline; that its other end closes is the parent's end. Linux
    is asked to kill the whole process group then, since environment code may keep the
    interpreter lock for good. Elsewhere, and for a parent gone before that, a thread waits.
    """
    os.set_inheritable(lifeline, False)
    if sys.platform == "linux" and os.getpgrp() == os.getpid():
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        flags = fcntl.fcntl(lifeline, fcntl.F_GETFL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, flags | os.O_ASYNC)
    threading.Thread(target=_wait_for_hangup, args=(lifeline,), daemon=True).start()


def _wait_for_hangup(lifeline: int) -> None:
    with contextlib.suppress(OSError):  # a connection that broke
        os.read(lifeline, 1)  # not poll, which does not tell of a hang-up alone on macOS
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def main() -> None:
    """Run one worker process; its arguments: descriptor of the lifeline, seconds between beats."""
    source, target = take_pipes()
    end_with_parent(int(sys.argv[1]))
    serve(source, target, float(sys.argv[2]))


if __name__ == "__main__":
    main()
