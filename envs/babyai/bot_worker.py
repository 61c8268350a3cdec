"""The process in which minigrid's own bot plays: `python -m agemem_eval.envs.babyai.bot_worker`.

Reads one request a line from standard input, `{"level": …, "seed": …, "actions": […]}`, and answers
each with a line: `{"actions": […]}`, the native actions with which the bot goes on after those of
the request, or `{"error": …}`. The bot loops or grows without end on some levels, so the process
takes two arguments: the bytes of memory and the seconds of a request that it may use.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
import threading
from typing import Any, cast

from .commands import Primitive
from .game import Game
from .levels import level_id


def play(level: str, seed: int, played: list[int]) -> list[int]:
    """The bot's native actions after those played, up to the end of the game or of its plans."""
    try:
        return _play(level, seed, played, watching=True)
    except AssertionError:
        if not played:
            raise
        # Seeing somebody else act can put the bot off; then it begins anew with what is there.
        return _play(level, seed, played, watching=False)


def _play(level: str, seed: int, played: list[int], *, watching: bool) -> list[int]:
    from minigrid.utils.baby_ai_bot import BabyAIBot

    game, build = Game(level_id(level), seed), cast("Any", BabyAIBot)
    bot = build(game.env)
    advice, actions = bot.replan(), list[int]()
    for action in played:
        game.act(Primitive(action))
        if game.over:
            return []
        if watching:
            advice = bot.replan(action)
    if not watching:
        bot = build(game.env)
        advice = bot.replan()
    while not game.over and actions[-1:] != [Primitive.DONE]:
        actions.append(int(advice))
        game.act(Primitive(advice))
        if not game.over:
            advice = bot.replan(advice)
    if not game.over:
        actions.pop()  # by `done` it says that it has no plan left
    return actions


def answer(line: bytes) -> dict[str, Any]:
    """The answer to a request; any failure is an answer."""
    try:
        request = json.loads(line)
        return {"actions": play(request["level"], request["seed"], request["actions"])}
    except MemoryError:
        return {"error": "memory"}
    except Exception as error:  # noqa: BLE001 - the bot asserts, and fails in other ways
        return {"error": " ".join(f"{type(error).__name__}: {error}".split()).rstrip(":")}


def main() -> None:
    """Answer requests until the parent is gone."""
    memory, seconds = int(sys.argv[1]), int(sys.argv[2])
    target = _take_output()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the parent's to deal with
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if sys.platform == "linux":  # elsewhere the system does not enforce it
        _, most = resource.getrlimit(resource.RLIMIT_AS)
        limit = memory if most == resource.RLIM_INFINITY else min(memory, most)
        resource.setrlimit(resource.RLIMIT_AS, (limit, most))
    for line in sys.stdin.buffer:
        signal.alarm(seconds)  # ends the process, whatever state it is in
        reply = answer(line)
        signal.alarm(0)
        os.write(target, json.dumps(reply).encode() + b"\n")
        if "error" in reply:
            return  # who knows what a failed bot has left behind


def _take_output() -> int:
    """The descriptor for answers, out of reach of what pygame and minigrid print."""
    target = os.dup(1)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    return target


def _end_with_parent() -> None:
    """A bot that loops never comes to read that its parent is gone."""
    poll = select.poll()
    poll.register(0, 0)  # no events asked for: only a hang-up is reported
    poll.poll()
    os._exit(1)


if __name__ == "__main__":
    main()
