"""Which levels and seeds make the splits; nothing here needs minigrid.

`games.tsv` holds facts about the test games, made by `python -m agemem_eval.envs.babyai.record`: a
fingerprint of each start, and in how many actions the oracle wins (empty: it does not).
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ...harness.errors import DataError, unknown_name
from ...harness.types import Task

_MINIGRID = "minigrid 3.2.0"  # the release that the extra pins; another may draw other games
DEFAULT_CAP = 30  # actions; AgentBoard's published configuration
LARGEST_CAP = 100
GAMES = Path(__file__).with_name("games.tsv")
HEADER = "level\tseed\tfingerprint\toracle_steps"

# AgentBoard's levels 1-21, 24, 25, 27-29, 31 and 32, in its order. (Its GoToObjS6-v0 is called
# GoToObjS6-v1 by the minigrid of today.)
_AGENTBOARD = """
    GoToRedBallGrey-v0 GoToRedBall-v0 GoToRedBallNoDists-v0 GoToObjS6-v1 GoToLocalS8N7-v0
    GoToObjMazeS7-v0 GoToImpUnlock-v0 GoToSeqS5R2-v0 GoToRedBlueBall-v0 GoToDoor-v0 GoToObjDoor-v0
    Open-v0 OpenRedDoor-v0 OpenDoorLoc-v0 OpenRedBlueDoorsDebug-v0 OpenDoorsOrderN4Debug-v0
    Pickup-v0 UnblockPickup-v0 PickupLoc-v0 PickupDistDebug-v0 PickupAbove-v0 Unlock-v0
    UnlockLocalDist-v0 UnlockPickupDist-v0 BlockedUnlockPickup-v0 UnlockToUnlock-v0 FindObjS7-v0
    KeyCorridorS6R3-v0
"""
# All of minigrid's but seven at which its own bot fails or loops, some of them for some seeds only:
# KeyInBox, UnlockToUnlock, two OpenDoorsOrder*Debug and three PutNext*Carrying.
_GENERATED = """
    GoToRedBallGrey-v0 GoToRedBall-v0 GoToRedBallNoDists-v0 GoToObj-v0 GoToObjS4-v0 GoToObjS6-v1
    GoToLocal-v0 GoToLocalS5N2-v0 GoToLocalS6N2-v0 GoToLocalS6N3-v0 GoToLocalS6N4-v0
    GoToLocalS7N4-v0 GoToLocalS7N5-v0 GoToLocalS8N2-v0 GoToLocalS8N3-v0 GoToLocalS8N4-v0
    GoToLocalS8N5-v0 GoToLocalS8N6-v0 GoToLocalS8N7-v0 GoTo-v0 GoToOpen-v0 GoToObjMaze-v0
    GoToObjMazeOpen-v0 GoToObjMazeS4R2-v0 GoToObjMazeS4-v0 GoToObjMazeS5-v0 GoToObjMazeS6-v0
    GoToObjMazeS7-v0 GoToImpUnlock-v0 GoToSeq-v0 GoToSeqS5R2-v0 GoToRedBlueBall-v0 GoToDoor-v0
    GoToObjDoor-v0 Open-v0 OpenRedDoor-v0 OpenDoor-v0 OpenDoorDebug-v0 OpenDoorColor-v0
    OpenDoorLoc-v0 OpenTwoDoors-v0 OpenRedBlueDoors-v0 OpenRedBlueDoorsDebug-v0
    OpenDoorsOrderN2-v0 OpenDoorsOrderN4-v0 Pickup-v0 UnblockPickup-v0 PickupLoc-v0 PickupDist-v0
    PickupDistDebug-v0 PickupAbove-v0 PutNextLocal-v0 PutNextLocalS5N3-v0 PutNextLocalS6N4-v0
    PutNextS4N1-v0 PutNextS5N2-v0 PutNextS5N1-v0 PutNextS6N3-v0 PutNextS7N4-v0 Unlock-v0
    UnlockLocal-v0 UnlockLocalDist-v0 UnlockPickup-v0 UnlockPickupDist-v0 BlockedUnlockPickup-v0
    ActionObjDoor-v0 FindObjS5-v0 FindObjS6-v0 FindObjS7-v0 KeyCorridor-v0 KeyCorridorS3R1-v0
    KeyCorridorS3R2-v0 KeyCorridorS3R3-v0 KeyCorridorS4R3-v0 KeyCorridorS5R3-v0 KeyCorridorS6R3-v0
    OneRoomS8-v0 OneRoomS12-v0 OneRoomS16-v0 OneRoomS20-v0 MoveTwoAcrossS5N2-v0
    MoveTwoAcrossS8N9-v0 Synth-v0 SynthS5R2-v0 SynthLoc-v0 SynthSeq-v0 MiniBossLevel-v0
    BossLevel-v0 BossLevelNoUnlock-v0
"""
AGENTBOARD = tuple(_AGENTBOARD.split())
GENERATED = tuple(_GENERATED.split())
_FIRST_TRAINING_SEED = 100_000
# Small levels draw the same game for different seeds; these would be games of the test splits.
_SAME_AS_TEST = {
    "GoToObjS4-v0": {100014},
    "OpenRedDoor-v0": {100008, 100028, 100040, 100054, 100060, 100071},
    "OpenRedBlueDoors-v0": {100053},
    "OpenRedBlueDoorsDebug-v0": {100053},
    "KeyCorridorS3R1-v0": {100008, 100018, 100033},
}


@dataclass(frozen=True, slots=True)
class _Layout:
    """A split: its levels, how many seeds of each, and a stride that mixes the levels."""

    levels: tuple[str, ...]
    n_seeds: int
    stride: int  # has no factor in common with the number of levels
    first_seed: int


LAYOUTS = {
    "agentboard": _Layout(AGENTBOARD, 4, 11, 1234),
    "generated": _Layout(GENERATED, 3, 34, 1),
    "generated-train": _Layout(GENERATED, 80, 34, _FIRST_TRAINING_SEED),
}
SIZES = {name: len(layout.levels) * layout.n_seeds for name, layout in LAYOUTS.items()}


@dataclass(frozen=True, slots=True)
class Fact:
    """What is known of a test game."""

    fingerprint: str
    oracle_steps: int | None


@cache
def facts() -> dict[tuple[str, int], Fact]:
    """What is known of the test games, by level and seed.

    Raises:
        DataError: `games.tsv` is missing or broken.
    """
    return dict(read_facts(GAMES))


def read_facts(path: Path) -> Iterator[tuple[tuple[str, int], Fact]]:
    """The facts of a file, one game a line.

    Raises:
        DataError: a file that cannot be read, or a line that is no fact; it names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    if not lines or lines[0] != HEADER:
        raise DataError(f"{path}, line 1: the columns are not {' '.join(HEADER.split())}")
    for number, line in enumerate(lines[1:], 2):
        row = line.split("\t")
        numbers = row[1:2] + [value for value in row[3:] if value]
        if len(row) != 4 or not all(_is_number(n) for n in numbers):
            raise DataError(f"{path}, line {number}: not a level, seed, fingerprint, steps")
        level, seed, fingerprint, steps = row
        yield (level, int(seed)), Fact(fingerprint, int(steps) if steps else None)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


@cache
def cap(level: str) -> int:
    """The step cap of a level: twice what the oracle needs for the longest of its test games.

    A cap for the whole level, so that it says nothing about the game at hand. The oracle knows the
    building; twice its steps leaves a player some for looking around.
    """
    longest = max(_oracle_steps().get(level, [0]))
    return min(max(DEFAULT_CAP, 2 * longest), LARGEST_CAP)


@cache
def _oracle_steps() -> dict[str, list[int]]:
    by_level: dict[str, list[int]] = defaultdict(list)
    for (level, _), fact in facts().items():
        if fact.oracle_steps is not None:
            by_level[level].append(fact.oracle_steps)
    return by_level


def games(split: str) -> Iterator[tuple[str, int]]:
    """The levels and seeds of a split in order: every level once, then every level again.

    Raises:
        UsageError: an unknown split.
    """
    if split not in LAYOUTS:
        raise unknown_name("split of babyai:", split, LAYOUTS)
    layout = LAYOUTS[split]
    n_levels = len(layout.levels)
    order = [layout.levels[i * layout.stride % n_levels] for i in range(n_levels)]
    seeds = {level: _seeds(split, level) for level in order}
    for index in range(layout.n_seeds):
        for level in order:
            yield level, seeds[level][index]


def level_id(level: str) -> str:
    """The name under which gymnasium knows a level."""
    return f"BabyAI-{level}"


def _seeds(split: str, level: str) -> list[int]:
    layout = LAYOUTS[split]
    skipped = _SAME_AS_TEST.get(level, set())  # none of the test splits' seeds is among them
    first = layout.first_seed
    candidates = range(first, first + layout.n_seeds + len(skipped))
    return [seed for seed in candidates if seed not in skipped][: layout.n_seeds]


def tasks(split: str) -> list[Task]:
    """The tasks of a split in their fixed order.

    Raises:
        UsageError: an unknown split.
    """
    known = facts()
    made = []
    for level, seed in games(split):
        fact = known.get((level, seed))
        made.append(
            Task(
                id=f"{level}/{seed}",
                split=split,
                type=level,
                data={"level": level, "seed": seed},
                max_steps=cap(level),
                oracle_steps=fact.oracle_steps if fact else None,
            )
        )
    return made


def split_hash(split: str) -> str:
    """A hash of the games of a split: their fingerprints where known, else what makes them."""
    known = facts()
    digest = hashlib.sha256(_MINIGRID.encode())
    for level, seed in games(split):
        fact = known.get((level, seed))
        digest.update(f"\n{level} {seed} {fact.fingerprint if fact else ''} {cap(level)}".encode())
    return digest.hexdigest()[:16]
