"""One sequence of commands per game, played on any engine, and its trace as hashes.

Both sides of the equivalence test use this file: the native engine in the default tests, and the
reference engine where the committed hashes are made:

    python tests/alfworld/equivalence.py --data FOLDER [--processes 2]

A sequence follows the walkthrough, goes on a little after the win, starts anew and then takes
random steps: admissible, inadmissible and malformed commands mixed. It depends on the engine
only through what that shows, and all of that is hashed.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

from agemem_eval.envs.alfworld.engine import Engine
from agemem_eval.envs.alfworld.gamefile import GameText, read_game
from agemem_eval.envs.alfworld.generator import generate
from agemem_eval.envs.alfworld.reference import ReferenceEngine

RANDOM_STEPS = 100
STEPS_AFTER_WIN = 10
GENERATED_GAMES = 200
STEP_BYTES = 3  # of each step's hash; a wrong step passes with probability 2**-24
GOLDEN = Path(__file__).parent / "golden" / "reference.json"

# Rare actions need luck in a row, so a random walk prefers them to walking and looking.
VERB_WEIGHTS = {
    "go": 6, "open": 5, "close": 1, "take": 6, "move": 3, "examine": 4, "use": 3, "heat": 6,
    "clean": 6, "cool": 6, "slice": 8, "look": 2, "inventory": 1, "help": 0.3,
}  # fmt: skip
ODD_COMMANDS = (
    "", " ", "\n", "LOOK", "Look", "look around", "looks", "go", "go to", "go to ", "take", "put",
    "go to nowhere 1", "take from", "take  from ", "move to", "help me", "help ", "inventory\n",
    "\tlook\t", "\u00a0look\u00a0", "\u2003inventory", "\x1clook", "ｌｏｏｋ", "löök", "看",
    "\U0001f600", "examine", "examine ", "use", "open", "close the door", "slice bread with knife",
    "heat", "{o}", "#look.feedback#", "__import__('os')", "look\x00", "x" * 20_000,
    "go to " + "desk " * 500, "go to desk 1; look", "None", "go to\u00a0desk 1", "'look'",
)  # fmt: skip
TEMPLATES = (
    "go to {}", "take {} from {}", "move {} to {}", "open {}", "close {}", "use {}", "examine {}",
    "heat {} with {}", "clean {} with {}", "cool {} with {}", "slice {} with {}", "put {} in/on {}",
)  # fmt: skip
DAMAGES: tuple[Callable[[str], str], ...] = (
    str.upper,
    str.title,
    lambda command: f"  {command}\t",
    lambda command: f"{command}\n",
    lambda command: command.replace(" ", "  "),
    lambda command: command.replace(" ", "\t"),
    lambda command: command.replace(" ", "\u00a0"),
    lambda command: command + ".",
    lambda command: command[:-1],
    lambda command: f"{command} {command}",
    lambda command: command.replace("e", "é"),
    lambda command: "please " + command,
)


class Player(Protocol):
    """What native and reference engine have in common."""

    won: bool
    valid: bool

    def reset(self) -> str: ...
    def step(self, command: str) -> str: ...
    def admissible(self) -> list[str]: ...


@dataclass(slots=True)
class Trace:
    """A game played: one short hash a step, one hash of everything, and what was done."""

    steps: bytearray = field(default_factory=bytearray)
    full: Any = field(default_factory=hashlib.sha256)
    kinds: Counter[str] = field(default_factory=Counter)
    log: list[tuple[str | None, str, list[str], bool]] | None = None

    def add(self, player: Player, command: str | None, observation: str) -> None:
        shown = json.dumps([observation, player.admissible(), player.won])
        self.steps += hashlib.sha256(shown.encode()).digest()[:STEP_BYTES]
        self.full.update(json.dumps([command, shown]).encode())
        if self.log is not None:
            self.log.append((command, observation, player.admissible(), player.won))

    def as_json(self) -> dict[str, str]:
        return {
            "sha256": self.full.hexdigest(),
            "steps": base64.b64encode(bytes(self.steps)).decode(),
        }


def trace(player: Player, game: GameText, key: str, *, log: bool = False) -> Trace:
    """Play the game's sequence of commands."""
    walk = Walk(random.Random(key))
    result = Trace(log=[] if log else None)
    result.add(player, None, player.reset())

    def do(command: str, kind: str) -> None:
        admissible = player.admissible()
        result.add(player, command, player.step(command))
        assert player.valid == (command.strip() in admissible), command
        walk.saw(command, admissible)
        result.kinds[kind if player.valid else f"{kind}, refused"] += 1

    for command in game.walkthrough:
        do(command, "walkthrough")
    for _ in range(STEPS_AFTER_WIN if player.won else 0):
        do(*walk.command(player.admissible()))
    result.add(player, None, player.reset())
    for _ in range(RANDOM_STEPS):
        do(*walk.command(player.admissible()))
    return result


class Walk:
    """A random walk that prefers what is rare and stays with what it has changed."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.things: dict[str, None] = {}  # names seen so far, in order
        self.favourites: set[str] = set()  # things that were heated, sliced, …

    def saw(self, command: str, offers: list[str]) -> None:
        """Take in what could be done, and what was."""
        for offer in offers:
            self.things.update(dict.fromkeys(_names(offer)))
        if command in offers and command.split()[0] in ("heat", "clean", "cool", "slice", "use"):
            self.favourites.add(_names(command)[0])

    def command(self, offers: list[str]) -> tuple[str, str]:
        """A command and its kind: the verb of an admissible one, or the sort of another."""
        luck = self.rng.random()
        if luck < 0.05:
            return self.rng.choice(ODD_COMMANDS), "odd"
        command = self.rng.choices(offers, self._weights(offers))[0]
        if luck < 0.10:
            return self.rng.choice(DAMAGES)(command), "damaged"
        if luck < 0.18 and self.things:
            names = self.rng.choices(list(self.things), k=2)
            return self.rng.choice(TEMPLATES).format(*names), "well-formed"
        return command, command.split()[0]

    def _weights(self, offers: list[str]) -> list[float]:
        verbs = Counter(offer.split()[0] for offer in offers)
        hands_full = not verbs["take"]
        weights = []
        for offer in offers:
            verb = offer.split()[0]
            weight = VERB_WEIGHTS[verb] / verbs[verb]
            if verb == "go" and hands_full and re.search(r"microwave|fridge|sink|counter", offer):
                weight *= 8
            if verb == "take" and re.search(r"knife|apple|bread|mug|potato|tomato|lettuce", offer):
                weight *= 4
            if self.favourites.intersection(_names(offer)):
                weight *= 8
            weights.append(weight)
        return weights


def _names(command: str) -> list[str]:
    return re.findall(r"[a-z]+ \d+", command)


def official_games(data: Path) -> dict[str, GameText]:
    """The official valid_seen games by name, from a folder like $ALFWORLD_DATA."""
    root = data / "json_2.1.1" / "valid_seen"
    files = sorted(root.glob("*/*/game.tw-pddl"))
    return {file.parent.relative_to(root).as_posix(): read_game(file) for file in files}


def generated_games() -> dict[str, GameText]:
    """The generated games that the comparison uses, by name."""
    games = [generate("generated", index) for index in range(GENERATED_GAMES)]
    return {game.id: GameText(game.id, game.problem, game.task, game.walkthrough) for game in games}


def content_hash(game: GameText) -> str:
    """Tells whether hashes were made for this very game."""
    parts = [game.problem, game.task, list(game.walkthrough)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def differences(golden: dict[str, str], game: GameText, key: str) -> Iterator[str]:
    """How the native engine's trace differs from a stored one: nothing, or its first step."""
    if golden["game"] != content_hash(game):
        yield f"{key}: is another game than the one the hashes were made for: make them anew"
        return
    played = trace(Engine(game.compile()), game, key, log=True)
    stored = base64.b64decode(golden["steps"])
    assert played.log is not None
    for number, entry in enumerate(played.log):
        span = slice(number * STEP_BYTES, (number + 1) * STEP_BYTES)
        if played.steps[span] != stored[span]:
            command, observation, admissible, won = entry
            yield f"{key}: step {number}: {command!r} gives {observation!r}, {won=}, {admissible}"
            return
    if played.as_json()["sha256"] != golden["sha256"]:
        yield f"{key}: the trace as a whole differs"


def make(data: Path, part: int, parts: int, out: Path) -> None:
    """Play a share of the games on the reference engine and append their hashes to a file."""
    games = official_games(data) | generated_games()
    done = {json.loads(line)["key"] for line in _lines(out)}
    for key in sorted(games):
        # The share depends on the key alone, so that work resumes when games are added.
        if hashlib.sha256(key.encode()).digest()[0] % parts == part and key not in done:
            played = trace(ReferenceEngine(games[key]), games[key], key)
            entry = {"key": key, "game": content_hash(games[key]), **played.as_json()}
            with out.open("a", encoding="utf-8") as file:
                file.write(json.dumps({**entry, "kinds": dict(played.kinds)}) + "\n")


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def run_parts(data: Path, work: Path, processes: int) -> dict[str, dict[str, Any]]:
    """Make the hashes of all games on the reference, in processes of their own; resumable."""
    work.mkdir(parents=True, exist_ok=True)
    outs = [work / f"part-{part}-of-{processes}.jsonl" for part in range(processes)]
    running = [
        subprocess.Popen(
            [
                sys.executable,
                __file__,
                "--data",
                data,
                "--part",
                f"{part}/{processes}",
                "--out",
                out,
            ]
        )
        for part, out in enumerate(outs)
    ]
    codes = [process.wait() for process in running]
    if any(codes):
        raise SystemExit("a process of the reference engine failed")
    entries = [json.loads(line) for out in outs for line in _lines(out)]
    return {entry.pop("key"): entry for entry in sorted(entries, key=lambda e: str(e["key"]))}


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the reference engine's hashes.")
    parser.add_argument("--data", type=Path, required=True, help="folder like $ALFWORLD_DATA")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path("build/equivalence"))
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:
        part, parts = map(int, args.part.split("/"))
        make(args.data, part, parts, args.out)
        return
    games = run_parts(args.data, args.work, args.processes)
    kinds: Counter[str] = Counter()
    for entry in games.values():
        kinds.update(entry.pop("kinds"))
    made_by = {name: metadata.version(name) for name in
               ("textworld", "alfworld", "fast-downward-textworld")}  # fmt: skip
    document = {"made_by": made_by, "coverage": dict(sorted(kinds.items())), "games": games}
    GOLDEN.write_text(json.dumps(document, indent=0) + "\n", encoding="utf-8")
    print(f"{len(games)} games, {sum(kinds.values())} commands: {GOLDEN}")


if __name__ == "__main__":
    main()
