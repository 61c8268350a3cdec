"""Blocksworld: blocks on a table and on each other, moved one at a time."""

from __future__ import annotations

from random import Random

from ..pddl_text import Fact
from .game import Draft, Game
from .words import Phrase, Words
from .world import World

WORDS = Words(
    intro="This is blocksworld: blocks stand on a table and on each other, and you move them.",
    phrases={
        "holding": Phrase("your hand holds {0}"),
        "arm-empty": Phrase("your hand is empty"),
        "on-table": Phrase("{0} is on the table", "{0} are on the table"),
        "on": Phrase("{0} is on {1}"),
        "clear": Phrase("{0} is clear", "{0} are clear"),
    },
    forms={
        "pickup": "pick up {b}",
        "putdown": "put down {b}",
        "stack": "stack {b} on {below}",
        "unstack": "unstack {b} from {below}",
    },
)

_SIZES = {"easy": (4, 4), "medium": (5, 6), "hard": (7, 9)}  # blocks


def _draw(rng: Random, size: str) -> Draft:
    blocks = [f"b{number}" for number in range(1, rng.randint(*_SIZES[size]) + 1)]
    while True:
        init, goal = _towers(rng, blocks), _towers(rng, blocks)
        wanted = [fact for fact in goal if fact[0] == "on"]
        open_ = [fact for fact in wanted if fact not in init]
        if 2 * len(wanted) >= len(blocks) and 2 * len(open_) >= len(wanted):
            break
    return Draft(
        objects=dict.fromkeys(blocks, "block"),
        init=(("arm-empty",), *init),
        goal=tuple(wanted),
    )


def _towers(rng: Random, blocks: list[str]) -> list[Fact]:
    """The facts of a random arrangement, in the order of the blocks."""
    tops: list[str] = []
    below: dict[str, str | None] = {}
    for block in rng.sample(blocks, len(blocks)):
        place = rng.randrange(len(tops) + 1 + len(tops) // 2)  # rather on a tower than a new one
        if place == 0 or not tops:
            below[block] = None
            tops.append(block)
        else:
            number = (place - 1) % len(tops)
            below[block] = tops[number]
            tops[number] = block
    facts: list[Fact] = []
    for block in blocks:
        under = below[block]
        facts.append(("on-table", block) if under is None else ("on", block, under))
        if block in tops:
            facts.append(("clear", block))
    return facts


def _solve(world: World) -> None:
    """Build the wanted towers from below; what is in the way goes to the table."""
    plan = _Towers(world)
    while True:
        held = world.find("holding")
        if held:
            _put(world, plan, held[0][1])
            continue
        loose = [block for _, block in world.find("clear") if not plan.placed(block)]
        ready = [block for block in loose if plan.can_be_stacked(block)]
        stacked = [block for block in loose if world.value("on", block) is not None]
        if ready or stacked:
            _lift(world, (ready or stacked)[0])
        else:
            for _, block in world.wants("holding"):
                _lift(world, block)
            world.stuck()


class _Towers:
    """Which blocks stand as the goal wants them, with all below."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._below = {above: below for _, above, below in world.wants("on")}
        self._on_table = {block for _, block in world.wants("on-table")}
        bare = {block for _, block in world.wants("clear")}
        lifted = {block for _, block in world.wants("holding")}
        self._reserved = {*self._below.values(), *bare, *lifted}

    def placed(self, block: str) -> bool:
        """Whether a block need not be moved any more."""
        for _ in self._world.objects:
            wanted, under = self._below.get(block), self._world.value("on", block)
            if under is None:
                return wanted is None and self._world.has("on-table", block)
            if wanted != under and (
                wanted is not None or block in self._on_table or under in self._reserved
            ):
                return False
            block = under
        return self._world.stuck()  # a tower that bites its own tail

    def can_be_stacked(self, block: str) -> bool:
        """Whether the place that a block is wanted at is ready for it."""
        target = self._below.get(block)
        return target is not None and self._world.has("clear", target) and self.placed(target)

    def target(self, block: str) -> str:
        """The block that a block is wanted on."""
        return self._below[block]


def _put(world: World, plan: _Towers, block: str) -> None:
    if plan.can_be_stacked(block):
        world.do("stack", block, plan.target(block))
    else:
        world.do("putdown", block)


def _lift(world: World, block: str) -> None:
    under = world.value("on", block)
    if under is None:
        world.do("pickup", block)
    else:
        world.do("unstack", block, under)


BLOCKSWORLD = Game("blocksworld", WORDS, _draw, _solve)
