"""`agemem-eval` as one of several processes, which tells that it was there.

`train_launched.py FOLDER ARGUMENTS…`: writes the number of its rank there, and what it played.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    from agemem_eval.harness.cli import main as cli
    from agemem_eval.policies.rollout import Player

    folder, played = Path(sys.argv.pop(1)), []
    kept = Player._kept

    async def spy(self, task, *args, **kwargs):
        played.append(task.id)
        return await kept(self, task, *args, **kwargs)

    Player._kept = spy
    try:
        cli()
    finally:
        (folder / f"rank-{os.environ.get('RANK', 'none')}").write_text("\n".join(played))


if __name__ == "__main__":
    main()
