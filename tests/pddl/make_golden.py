"""Make `golden.json`: what unified-planning's simulator says of generated problems.

Run it where unified-planning is installed, with the package on the path; the tests need neither:

    pip install unified-planning==1.3.0
    PYTHONPATH=<folder of agemem_eval> python tests/pddl/make_golden.py
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import unified_planning
from unified_planning.engines.sequential_simulator import UPSequentialSimulator
from unified_planning.io import PDDLReader
from unified_planning.shortcuts import get_environment

sys.path.insert(0, str(Path(__file__).parent))
from walks import INDICES, trace

from agemem_eval.envs.pddl import generator
from agemem_eval.envs.pddl.games import GAMES, domain, domain_text
from agemem_eval.envs.pddl.language import problem_text
from agemem_eval.envs.pddl.world import World, plan


class Simulated:
    """One problem in unified-planning, which reads our PDDL text with its own parser."""

    def __init__(self, domain_pddl: str, problem_pddl: str) -> None:
        self.problem = PDDLReader().parse_problem_string(domain_pddl, problem_pddl)
        self.simulator = UPSequentialSimulator(self.problem)
        self.fluents = list(self.problem.initial_values)
        self.state = self.simulator.get_initial_state()

    def applicable(self) -> list[tuple[str, ...]]:
        return [
            (action.name, *map(str, args))
            for action, args in self.simulator.get_applicable_actions(self.state)
        ]

    def facts(self) -> list[tuple[str, ...]]:
        return [
            (fluent.fluent().name, *map(str, fluent.args))
            for fluent in self.fluents
            if self.state.get_value(fluent).is_true()
        ]

    def apply(self, step: tuple[str, ...]) -> None:
        action = self.problem.action(step[0])
        args = [self.problem.object(name) for name in step[1:]]
        after = self.simulator.apply(self.state, action, args)
        assert after is not None, step
        self.state = after

    def reached(self) -> bool:
        return self.simulator.is_goal(self.state)


def record(index: int) -> dict[str, Any]:
    entry = generator.catalogue("generated")[index]
    problem = generator.generate("generated", entry.index, entry.draw)
    name, text = problem.domain, problem_text(problem, domain(problem.domain).constants)
    walked, solved = (Simulated(domain_text(name), text) for _ in range(2))
    world = World(domain(name), problem.objects, problem.init, problem.goal)
    for step in plan(world, GAMES[name].solve) or ():
        assert not solved.reached()
        solved.apply(step)
    assert solved.reached()
    return {
        "problem": hashlib.sha256(text.encode()).hexdigest()[:16],
        "trace": trace(index, walked.applicable, walked.facts, walked.apply),
        "solved_in": entry.steps,
    }


def main() -> None:
    get_environment().credits_stream = None
    golden = {
        "made_with": f"unified-planning {unified_planning.__version__}",
        "problems": {generator.task_id("generated", index): record(index) for index in INDICES},
    }
    path = Path(__file__).with_name("golden.json")
    path.write_text(json.dumps(golden, indent=1) + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
