"""Barman: shots are filled with ingredients, or with cocktails mixed of two of them."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from ..pddl_text import Fact
from .game import Draft, Game
from .words import Phrase, Words, natural
from .world import World

WORDS = Words(
    intro="This is barman: you fill shots with drinks, and mix cocktails in a shaker for that.",
    phrases={
        "holding": Phrase("the {0} hand holds {1}"),
        "handempty": Phrase("the {0} hand is free", "the {0} hands are free"),
        "ontable": Phrase("{0} is on the table", "{0} are on the table"),
        "contains": Phrase("{0} contains {1}", "{0} contains {1}", gather=1),
        "empty": Phrase("{0} is empty", "{0} are empty"),
        "clean": Phrase("{0} is clean", "{0} are clean"),
        "used": Phrase("{0} has traces of {1}"),
        "unshaked": Phrase("what is in {0} is unshaken"),
        "shaked": Phrase("what is in {0} is shaken"),
        "shaker-level": Phrase("the level of {0} is {1}"),
        "shaker-empty-level": Phrase("the level of {0} when empty is {1}"),
        "next": Phrase("level {1} is next above level {0}"),
        "dispenses": Phrase("{0} dispenses {1}"),
        "cocktail-part1": Phrase("part 1 of {0} is {1}"),
        "cocktail-part2": Phrase("part 2 of {0} is {1}"),
    },
    forms={
        "grasp": "grasp {c} with {h} hand",
        "leave": "put down {c} from {h} hand",
        "fill-shot": "fill {s} with {i} from {d}",
        "refill-shot": "refill {s} with {i} from {d}",
        "empty-shot": "empty {s}",
        "clean-shot": "clean {s}",
        "pour-shot-to-clean-shaker": "pour {i} from {s} into {d}",
        "pour-shot-to-used-shaker": "pour {i} from {s} into {d}",
        "empty-shaker": "empty {s}",
        "clean-shaker": "clean {s}",
        "shake": "shake {b} in {s}",
        "pour-shaker-to-shot": "pour {b} from {s} into {d}",
    },
)

# Shots, recipes, cocktails wanted, ingredients wanted.
_SIZES = {
    "easy": ((3, 4), (2, 3), (1, 1), (0, 1)),
    "medium": ((4, 5), (3, 4), (1, 2), (1, 1)),
    "hard": ((5, 7), (4, 6), (2, 3), (1, 2)),
}


def _draw(rng: Random, size: str) -> Draft:
    n_shots, n_recipes, n_mixed, n_plain = (rng.randint(*bounds) for bounds in _SIZES[size])
    shots = [f"shot{number}" for number in range(1, n_shots + 1)]
    ingredients = [f"ingredient{number}" for number in (1, 2, 3)]
    cocktails = [f"cocktail{number}" for number in range(1, n_recipes + 1)]
    facts: list[Fact] = [("handempty", "left"), ("handempty", "right")]
    facts += [("ontable", "shaker1"), ("empty", "shaker1")]
    facts += [("clean", "shaker1")] if rng.random() < 0.8 else []
    facts += [("shaker-empty-level", "shaker1", "l0"), ("shaker-level", "shaker1", "l0")]
    facts += [("next", "l0", "l1"), ("next", "l1", "l2")]
    facts += [("dispenses", f"dispenser{i[-1]}", i) for i in ingredients]
    for cocktail in cocktails:
        first, second = rng.sample(ingredients, 2)
        facts += [("cocktail-part1", cocktail, first), ("cocktail-part2", cocktail, second)]
    for shot in shots:
        drink, chance = rng.choice(ingredients), rng.random()
        facts.append(("ontable", shot))
        facts.append(("contains", shot, drink) if chance < 0.15 else ("empty", shot))
        facts.append(("used", shot, drink) if chance < 0.35 else ("clean", shot))
    drinks = [rng.choice(cocktails) for _ in range(n_mixed)]
    drinks += [rng.choice(ingredients) for _ in range(n_plain)]
    served = sorted(rng.sample(shots, min(len(drinks), n_shots)), key=natural)
    rng.shuffle(drinks)
    return Draft(
        objects={
            "shaker1": "shaker",
            **dict.fromkeys(("left", "right"), "hand"),
            **dict.fromkeys(shots, "shot"),
            **dict.fromkeys(ingredients, "ingredient"),
            **dict.fromkeys(cocktails, "cocktail"),
            **dict.fromkeys((f"dispenser{i[-1]}" for i in ingredients), "dispenser"),
            **dict.fromkeys(("l0", "l1", "l2"), "level"),
        },
        init=tuple(facts),
        goal=tuple(("contains", s, d) for s, d in zip(served, drinks, strict=False)),
    )


def _solve(world: World) -> None:
    """Mix each cocktail once for as many shots as it serves, then fill in the ingredients."""
    bar = _Bar(world)
    while open_ := [fact for fact in world.wants("contains") if not world.has(*fact)]:
        mixed = [fact for fact in open_ if world.objects[fact[2]] == "cocktail"]
        if not mixed:
            for _, shot, ingredient in open_:
                bar.fill(shot, ingredient)
            continue
        cocktail = min(mixed, key=lambda f: (not bar.has_mixed(f[2]), natural(f[2])))[2]
        bar.serve(cocktail, [shot for _, shot, drink in mixed if drink == cocktail])
    world.stuck()  # what else the goal may ask for


class _Bar:
    """What a barman can do in several actions."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._hands = [name for name, kind in world.objects.items() if kind == "hand"]
        shakers = [name for name, kind in world.objects.items() if kind == "shaker"]
        self._shaker = min(shakers, key=natural, default="")
        self._shots = sorted((n for n, k in world.objects.items() if k == "shot"), key=natural)

    def has_mixed(self, cocktail: str) -> bool:
        """Whether the shaker holds some of a cocktail."""
        return self._world.has("shaked", self._shaker) and cocktail in self._contents(self._shaker)

    def serve(self, cocktail: str, shots: list[str]) -> None:
        """Bring a cocktail into the shots, as far as one shaker serves."""
        if not self._shaker:
            self._world.stuck()
        if not (self.has_mixed(cocktail) and self._lower_level()):
            self._combine(cocktail, shots)
        for shot in shots[:1] if self.has_mixed(cocktail) else shots[:2]:
            self._make_ready(shot)  # before the shaker is in a hand
        self._shake(cocktail)
        for shot in shots:
            if not self._lower_level():
                return
            self._make_ready(shot)
            lower, level = self._lower_level()[0][1:]
            hand = self._hold(self._shaker)
            self._world.do("pour-shaker-to-shot", cocktail, shot, hand, self._shaker, level, lower)

    def fill(self, shot: str, ingredient: str) -> None:
        """Fill a shot with an ingredient, whatever is in it."""
        world = self._world
        if world.has("contains", shot, ingredient):
            return
        self._empty_shot(shot)
        sources = world.find("dispenses", None, ingredient)
        if not sources:
            world.stuck()
        one, other = self._hold_alone(shot)
        if not world.has("clean", shot) and world.has("used", shot, ingredient):
            world.do("refill-shot", shot, ingredient, one, other, sources[0][1])
            return
        self._make_ready(shot)
        world.do("fill-shot", shot, ingredient, one, other, sources[0][1])

    def _combine(self, cocktail: str, shots: list[str]) -> None:
        """Get a cocktail's two ingredients, and nothing else, into the shaker."""
        world, shaker = self._world, self._shaker
        self._empty_shaker()
        if self._contents(shaker) - self._parts(cocktail):  # spoilt: make of it what is possible
            for _, other, _ in world.find("cocktail-part1"):
                if self._contents(shaker) <= self._parts(other):
                    self._combine(other, shots)
                    self._shake(other)
                    self._empty_shaker()
                    break
            else:
                world.stuck()
        if world.has("empty", shaker) and not world.has("clean", shaker):
            world.do("clean-shaker", *self._hold_alone(shaker), shaker)
        while missing := self._parts(cocktail) - self._contents(shaker):
            helper, part = self._helper(missing, shots)
            self.fill(helper, part)
            level = world.value("shaker-level", shaker)
            higher = world.value("next", level or "")
            if level is None or higher is None:
                world.stuck()
            clean = "clean" if world.has("clean", shaker) else "used"
            hand = self._hold(helper)
            world.do(f"pour-shot-to-{clean}-shaker", helper, part, shaker, hand, level, higher)

    def _helper(self, missing: Iterable[str], targets: list[str]) -> tuple[str, str]:
        """The shot to carry an ingredient to the shaker with, and the ingredient: least work."""
        world = self._world
        options = [
            (self._effort(shot, part, targets), natural(shot), natural(part), shot, part)
            for shot in self._shots
            for part in missing
            if not any(world.has(*fact) for fact in world.wants("contains", shot))
            and (world.has("clean", shot) or world.find("used", shot))
        ]
        return min(options)[3:] if options else world.stuck()

    def _effort(self, shot: str, part: str, targets: list[str]) -> int:
        world = self._world
        effort = 0 if world.find("holding", None, shot) else 2
        effort += 3 if shot in targets else 0  # it has to be clean again
        if world.has("contains", shot, part):
            return effort
        effort += 1 + len(self._contents(shot))
        return effort + (not world.has("clean", shot) and not world.has("used", shot, part))

    def _shake(self, cocktail: str) -> None:
        world = self._world
        if world.has("shaked", self._shaker):
            return
        first = world.value("cocktail-part1", cocktail) or world.stuck()
        second = world.value("cocktail-part2", cocktail) or world.stuck()
        world.do("shake", cocktail, first, second, self._shaker, *self._hold_alone(self._shaker))

    def _empty_shaker(self) -> None:
        world, shaker = self._world, self._shaker
        if world.has("shaked", shaker):
            hand = self._hold(shaker)
            level = world.value("shaker-level", shaker) or world.stuck()
            lowest = world.value("shaker-empty-level", shaker) or world.stuck()
            for drink in sorted(self._contents(shaker), key=natural):
                if world.objects[drink] == "cocktail":
                    world.do("empty-shaker", hand, shaker, drink, level, lowest)

    def _make_ready(self, shot: str) -> None:
        """Have a shot empty and clean."""
        self._empty_shot(shot)
        if not self._world.has("clean", shot):
            traces = self._world.value("used", shot) or self._world.stuck()
            self._world.do("clean-shot", shot, traces, *self._hold_alone(shot))

    def _empty_shot(self, shot: str) -> None:
        for drink in sorted(self._contents(shot), key=natural):
            self._world.do("empty-shot", self._hold(shot), shot, drink)

    def _hold(self, container: str) -> str:
        """The hand that holds a container, after it has been taken into one."""
        world = self._world
        holding = world.find("holding", None, container)
        if holding:
            return holding[0][1]
        if not world.find("handempty"):
            self._leave(self._hands)
        free = world.find("handempty")[0][1]
        world.do("grasp", free, container)
        return free

    def _hold_alone(self, container: str) -> tuple[str, str]:
        """The hand that holds a container, and another that is free."""
        hand = self._hold(container)
        others = [other for other in self._hands if other != hand]
        if not any(self._world.has("handempty", other) for other in others):
            self._leave(others)
        free = [other for other in others if self._world.has("handempty", other)]
        return hand, free[0]

    def _leave(self, hands: list[str]) -> None:
        for _, hand, container in self._world.find("holding"):
            if hand in hands:
                self._world.do("leave", hand, container)
                return
        self._world.stuck()

    def _parts(self, cocktail: str) -> set[str]:
        parts = (f"cocktail-part{number}" for number in (1, 2))
        return {fact[2] for part in parts for fact in self._world.find(part, cocktail)}

    def _contents(self, container: str) -> set[str]:
        return {drink for _, _, drink in self._world.find("contains", container)}

    def _lower_level(self) -> list[Fact]:
        """The step down from the shaker's level; none where it has nothing left to pour."""
        level = self._world.value("shaker-level", self._shaker)
        return self._world.find("next", None, level) if level else []


BARMAN = Game("barman", WORDS, _draw, _solve)
