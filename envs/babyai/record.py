"""Writes `games.tsv`: `python -m agemem_eval.envs.babyai.record`, after a change of the oracle.

Each test game is played once by the oracle; what is written is a fingerprint of its start and the
number of actions. Training games that are games of a test split are named, to be left out.
"""

from __future__ import annotations

import sys

from ...harness.files import write_whole
from .game import Game
from .levels import GAMES, GENERATED, HEADER, games, level_id
from .oracle import steps_to_win


def main() -> None:
    """Play the test games and write the file."""
    lines, starts = [HEADER], {}
    for level, seed in sorted({*games("agentboard"), *games("generated")}):
        fingerprint = Game(level_id(level), seed).fingerprint()
        starts[level, fingerprint] = seed
        steps = steps_to_win(level_id(level), seed)
        lines.append(
            "\t".join([level, str(seed), fingerprint, "" if steps is None else str(steps)])
        )
    write_whole(GAMES, "\n".join([*lines, ""]).encode())
    for level, seed in games("generated-train"):
        if (level, Game(level_id(level), seed).fingerprint()) in starts:
            print(f"leave out of generated-train: {level} {seed}", file=sys.stderr)
    print(f"{len(lines) - 1} games of {len(GENERATED)} levels and more", file=sys.stderr)


if __name__ == "__main__":
    main()
