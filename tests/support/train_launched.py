"""`agemem-eval` as one of several processes, which tells that it was there.

`train_launched.py FOLDER ARGUMENTS…`: writes what it played to a file there that is named by its
rank. With DIE_AFTER=CHECKPOINT in the environment all processes are killed once that is written.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path


def main() -> None:
    from agemem_eval.harness.cli import main as cli
    from agemem_eval.policies.rollout import Player

    folder, kept = Path(sys.argv.pop(1)), Player._kept
    log = folder / f"rank-{os.environ.get('RANK', 'none')}"

    async def spy(self, task, *args, **kwargs):
        with log.open("a") as file:
            print(task.id, file=file)
        return await kept(self, task, *args, **kwargs)

    Player._kept = spy
    if "ACCELERATE_USE_DEEPSPEED" in os.environ:
        do_not_compile()
    if "DIE_AFTER" in os.environ:
        _die_after(os.environ["DIE_AFTER"])
    log.touch()
    cli()


def do_not_compile() -> None:
    """Leave out what DeepSpeed would compile on a CPU: a faster way to add up."""
    import deepspeed

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def _die_after(name: str) -> None:
    """Kill this process and those launched with it once a checkpoint is written."""
    import psutil

    from agemem_eval.policies.checkpoints import Checkpoints

    write = Checkpoints.write

    def wrapped(self, state, save):
        path = write(self, state, save)
        if path.name == name:
            for process in psutil.Process(os.getppid()).children():
                if process.pid != os.getpid():
                    process.kill()
            os.kill(os.getpid(), signal.SIGKILL)
        return path

    Checkpoints.write = wrapped


if __name__ == "__main__":
    main()
