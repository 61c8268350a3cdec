"""Demonstrations by minigrid's own bot, told in the actions of the text layer.

The bot explores as a player has to, but knows no macros, and on some levels it fails, loops or
grows without end. So it plays in a process of its own (`bot_worker`) with limits of time and
memory. What it played is pressed into macros where they do exactly the same, and replayed.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence

from ...harness.errors import EpisodeTimeout, WorkerError
from ...harness.workers.process import imports_alike
from .commands import WORDS, Primitive, macros
from .game import Game
from .levels import level_id

SECONDS = 20.0  # that a demonstration may take
MEMORY = 2 << 30  # bytes of address space; a fresh process has a quarter of a gigabyte
_GRACE = 5  # seconds later the process ends itself, should nobody have ended it
_PROGRAM = f"{__package__}.bot_worker"
_IN_WORDS = {primitive: words for words, primitive in WORDS.items()}
_LOCK = threading.Lock()


def demonstration(level: str, seed: int) -> tuple[str, ...] | None:
    """The actions by which the bot wins a game, replayed to make sure; None where it does not.

    Args:
        level: As in a task's data, without minigrid's `BabyAI-`.
        seed: The game's own.

    Raises:
        EpisodeTimeout: the bot took too long, as where it loops.
        WorkerError: the bot failed, or needed too much memory.
    """
    with _LOCK:
        trace = _shared(os.getpid()).play(level, seed)
    actions = tuple(in_words(level, seed, trace).values())
    game = Game(level_id(level), seed)
    for action in actions:
        game.step(action)
    return actions if game.success else None


@functools.cache
def _shared(pid: int) -> Bot:
    """The bot of `demonstration`; a fork has one of its own."""
    del pid
    bot = Bot()
    atexit.register(bot.close)
    return bot


class Demonstrator:
    """Gives the bot's actions in a game one by one, whatever anybody else does in between."""

    def __init__(self, bot: Bot, level: str, seed: int) -> None:
        self._bot, self._level, self._seed = bot, level, seed
        self._trace: list[Primitive] | None = None  # the whole game as the bot would have it
        self._actions: dict[int, str] = {}  # by the number of native actions before

    def next_action(self, played: list[Primitive]) -> str | None:
        """What the bot does after these native actions; None where it has no plan left.

        Raises:
            EpisodeTimeout: see `Bot.play`.
            WorkerError: see `Bot.play`.
        """
        done, trace = len(played), self._trace
        if trace is None or trace[:done] != played or done not in self._actions:
            trace = [*played, *self._bot.play(self._level, self._seed, played)]
            self._actions = in_words(self._level, self._seed, trace, done)
            self._trace = trace
        return self._actions.get(done)


def in_words(level: str, seed: int, trace: Sequence[Primitive], start: int = 0) -> dict[int, str]:
    """The actions that do what native ones do from `start` on, each by where in these it begins.

    The macro that covers most is taken each time, or a single native action; what is taken has
    been carried out, and the state after it is the same. Ends early where none is.
    """
    native = Game(level_id(level), seed)
    states = [_state(native)]
    for primitive in trace:
        native.act(primitive)
        states.append(_state(native))
    game, found = _after(level, seed, trace[:start]), dict[int, str]()
    while (done := len(game.primitives)) < len(trace):
        for action in _candidates(game, trace[done:]):
            game.step(action)
            end = len(game.primitives)
            if end > done and game.primitives == trace[:end] and _state(game) == states[end]:
                found[done] = action
                break
            game = _after(level, seed, trace[:done])
        else:
            break
    return found


def _candidates(game: Game, ahead: Sequence[Primitive]) -> Iterator[str]:
    """The actions that may do just what is ahead, those that cover most of it first."""
    covering = []
    for action, plan in macros(game.view):
        n_same = 0
        for planned, played in zip(plan.primitives, ahead, strict=False):
            if planned != played:
                break
            n_same += 1
        # A macro may end earlier than planned: with the game, or in a doorway.
        missing = len(plan.primitives) - n_same
        if not missing or n_same == len(ahead) or (plan.may_stop and missing == 1):
            covering.append((-n_same, missing, action))
    yield from (action for n_same, _, action in sorted(covering) if n_same < -1)
    if ahead[0] in _IN_WORDS:
        yield _IN_WORDS[ahead[0]]
    yield from (action for n_same, _, action in sorted(covering) if n_same == -1)


def _after(level: str, seed: int, played: Sequence[Primitive]) -> Game:
    game = Game(level_id(level), seed)
    for primitive in played:
        game.act(primitive)
    return game


def _state(game: Game) -> tuple[str, str, bool]:
    """The building and where the agent stands, what it carries, and whether the game is over."""
    return game.fingerprint(), game.view.carried, game.over


class Bot:
    """minigrid's bot in a process, which is started when needed and again after it ended."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def play(self, level: str, seed: int, played: Sequence[Primitive] = ()) -> list[Primitive]:
        """The native actions by which the bot goes on after those played.

        Raises:
            EpisodeTimeout: it took longer than `SECONDS`.
            WorkerError: it failed, needed more than `MEMORY`, or its process died.
        """
        name = f"minigrid's bot on {level} {seed}"
        request = {"level": level, "seed": seed, "actions": [int(action) for action in played]}
        try:
            reply = json.loads(self._ask(json.dumps(request).encode() + b"\n", name))
            if "error" not in reply:
                return [Primitive(action) for action in reply["actions"]]
        except (OSError, ValueError, TypeError, LookupError) as error:
            self.close()
            raise WorkerError(f"{name} gave no answer: {type(error).__name__}: {error}") from error
        except BaseException:  # an interrupt too: a late answer would be taken for the next one
            self.close()
            raise
        self.close()
        if reply["error"] == "memory":
            raise WorkerError(f"{name} needs more than {MEMORY >> 20} MiB of memory")
        raise WorkerError(f"{name} failed: {reply['error']}")

    def close(self) -> None:
        """End the process, and wait for its end."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            with contextlib.suppress(BrokenPipeError):
                process.__exit__(None, None, None)  # closes the pipes and waits

    def _ask(self, request: bytes, name: str) -> bytes:
        """The line with which the process answers."""
        deadline = time.monotonic() + SECONDS
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        poll = select.poll()
        poll.register(process.stdout)
        line = b""
        with contextlib.suppress(BrokenPipeError):  # then there is nothing to read either
            process.stdin.write(request)
            process.stdin.flush()
        while not line.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                raise EpisodeTimeout(f"{name} took longer than {SECONDS:g} s")
            data = os.read(process.stdout.fileno(), 1 << 16)
            if not data:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_GRACE)
                limits = f"limits: {SECONDS:g} s, {MEMORY >> 20} MiB"
                raise WorkerError(f"{name} died with {process.returncode} ({limits})")
            line += data
        return line

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self.close()
        if self._process is None:
            limits = [str(MEMORY), str(int(SECONDS) + _GRACE)]
            command = [sys.executable, "-P", "-m", _PROGRAM, *limits]
            # each thread would reserve address space
            environment = {**imports_alike(), "OPENBLAS_NUM_THREADS": "1"}
            # In the process group of this one, so that it ends where that is killed as a whole.
            self._process = subprocess.Popen(  # noqa: S603 - our own command, no shell
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
            )
        return self._process
