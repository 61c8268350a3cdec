"""The oracle: the explorer with the whole building drawn into its map at the start.

minigrid's own bot (see `bot`) has to explore, knows no macros, and hangs or fails on some levels,
all of which this wins.
"""

from __future__ import annotations

from typing import Any

from .explorer import Explorer
from .game import Game
from .view import Cell
from .worldmap import Item

MAX_ACTIONS = 200  # more than the oracle needs for any game it wins


def guide(level: str, seed: int) -> Explorer:
    """An explorer at the start of a game that knows where everything is."""
    game = Game(level, seed)
    explorer = Explorer(game.mission, game.view.text)
    explorer.inform(*_building(game.env))
    return explorer


def steps_to_win(level: str, seed: int) -> int | None:
    """In how many actions the oracle wins a game; None where it does not."""
    explorer, game = guide(level, seed), Game(level, seed)
    for number in range(1, MAX_ACTIONS + 1):
        action = explorer.next_action()
        explorer.observe(action, game.step(action).text)
        if game.over:
            return number if game.success else None
    return None


def _building(env: Any) -> tuple[set[Cell], set[Cell], list[Item]]:
    """All free cells, walls and objects as the explorer counts them: from where the game begins."""
    x, y = env.agent_pos
    (forward_x, forward_y), (right_x, right_y) = env.dir_vec, env.right_vec
    free, walls, items = set(), set(), []
    for i in range(env.grid.width):
        for j in range(env.grid.height):
            dx, dy = i - x, j - y
            cell = int(dx * forward_x + dy * forward_y), int(dx * right_x + dy * right_y)
            thing = env.grid.get(i, j)
            if thing is not None and thing.type == "wall":
                walls.add(cell)
                continue
            free.add(cell)
            if thing is not None:
                items.append(Item(f"{thing.color} {thing.type}", cell, cell, _state(thing)))
    return free, walls, items


def _state(thing: Any) -> str:
    if thing.type != "door":
        return ""
    return "open" if thing.is_open else "locked" if thing.is_locked else "closed"
