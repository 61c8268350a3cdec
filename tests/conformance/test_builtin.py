"""Every built-in environment and memory holds to the suites."""

from __future__ import annotations

import pytest

from agemem_eval.harness import registry
from agemem_eval.harness.types import Environment, Task
from agemem_eval.testing import EnvironmentConformance, MemoryConformance


class TestAlfworld(EnvironmentConformance):
    target = "alfworld"
    splits = ("generated", "generated-train")


class TestPddl(EnvironmentConformance):
    target = "pddl"
    splits = ("generated", "generated-train")
    n_tasks = 12


class TestHotpotqa(EnvironmentConformance):
    target = "hotpotqa"
    splits = ("generated", "generated-train")


class TestHotpotqaInThreeStages(EnvironmentConformance):
    target = "hotpotqa"
    options = {"form": "three-stage"}
    forgiving = False  # an answer that cannot be read is a message passed over


@pytest.mark.babyai
class TestBabyai(EnvironmentConformance):
    target = "babyai"
    splits = ("agentboard", "generated")
    n_tasks = 10


@pytest.mark.scienceworld
class TestScienceworld(EnvironmentConformance):
    target = "scienceworld"

    def sample(self, env: Environment) -> list[Task]:
        # Of kinds for which the simulator finds its gold path in a second, not in twenty.
        kinds = ("find-living-thing", "lifespan-longest-lived")
        tasks = env.tasks("test")
        return [next(task for task in tasks if task.type == kind) for kind in kinds]


class TestNoMemory(MemoryConformance):
    target = "none"


class TestAgeMem(MemoryConformance):
    target = "agemem"


class TestAgeMemLongTermOnly(MemoryConformance):
    target = "agemem"
    options = {"st_tools": "false"}


@pytest.mark.parametrize("group", ["envs", "memories"])
def test_nothing_built_in_is_left_out(group: registry.Group) -> None:
    suites = [v for v in globals().values() if isinstance(v, type) and hasattr(v, "target")]
    covered = {suite.target for suite in suites}
    built_in = {p.name for p in registry.plugins(group) if p.distribution == "agemem-eval"}
    assert built_in <= covered
