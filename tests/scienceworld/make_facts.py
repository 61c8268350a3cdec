"""Makes the facts that the package ships: `tasks.tsv`, and `oracle.tsv` by playing every gold path.

    python tests/scienceworld/make_facts.py FOLDER [SPLIT …]

Writes the two files to FOLDER. The gold paths take hours for all splits; a run that was stopped
goes on where it was. Compare with, then copy to, `envs/scienceworld/`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from agemem_eval.envs.scienceworld.facts import SIZES, members
from agemem_eval.envs.scienceworld.simulator import Simulator
from agemem_eval.harness.errors import InfraError

MEGABYTES = 512
RESTART = 200  # games a Java process plays


def table(simulator: Simulator) -> list[str]:
    """The lines of tasks.tsv, as the library tells them."""
    from scienceworld.constants import TASKS
    from scienceworld.utils import infer_task

    lines = []
    for entry in TASKS:
        name, topic = infer_task(entry["task_name"]), entry["task_id"].split("-")[0]
        simulator.load(name, 0, "")
        sets = [simulator.ask(f"getVariations{part}") for part in ("Train", "Dev", "Test")]
        joined = [variation for part in sets for variation in part]
        if joined != list(range(simulator.ask("getTaskMaxVariations", name))):
            raise SystemExit(f"{name}: its splits are not stretches one after the other")
        ends = [sum(map(len, sets[: i + 1])) for i in range(3)]
        lines.append("\t".join([name, topic, *map(str, ends)]))
    return lines


def gold_steps(simulator: Simulator, task: str, variation: int) -> str:
    """The number of actions after which the gold path has won; `-` if it never has."""
    path = simulator.load_with_gold(task, variation, "easy")
    for number, action in enumerate(path, 1):
        step = simulator.step(action)
        if step.done:
            return str(number) if step.score == 100 else "-"
    return "-"


def main() -> None:
    """Write what is not yet written."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    simulator = Simulator(MEGABYTES)
    head = "# task, topic, end of the training, development and test variations"
    (folder / "tasks.tsv").write_text("\n".join([head, *table(simulator)]) + "\n")
    path = folder / "oracle.tsv"
    if not path.exists():
        path.write_text("# task, variation, actions of the oracle under `easy`; - where it fails\n")
    done = {tuple(line.split("\t")[:2]) for line in path.read_text().splitlines()}
    played = 0
    with path.open("a") as file:
        for split in sys.argv[2:] or SIZES:
            for task, variation in members(split):
                if (task, str(variation)) in done:
                    continue
                done.add((task, str(variation)))
                played += 1
                if played % RESTART == 0:
                    simulator.close()
                    simulator = Simulator(MEGABYTES)
                clock = time.monotonic()
                try:
                    steps = gold_steps(simulator, task, variation)
                except InfraError as error:
                    print(f"{task} {variation}: {error}", file=sys.stderr, flush=True)
                    simulator.close()
                    simulator = Simulator(MEGABYTES)
                    continue  # nothing is known; the next run tries again
                file.write(f"{task}\t{variation}\t{steps}\n")
                file.flush()
                took = time.monotonic() - clock
                print(f"{split} {task} {variation}: {steps} in {took:.1f} s", file=sys.stderr)
    simulator.close()


if __name__ == "__main__":
    main()
