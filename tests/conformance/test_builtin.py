"""Every built-in environment and memory holds to the suites."""

from __future__ import annotations

from unittest import SkipTest

import pytest

from agemem_eval.baselines.rag import Rag
from agemem_eval.baselines.shortterm import WithShortTerm
from agemem_eval.harness import registry
from agemem_eval.harness.types import Environment, Memory, Services, Task
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


class TestThreeStageOfAlfworld(EnvironmentConformance):
    target = "three-stage"
    options = {"env": "alfworld", "exposure": "episode"}
    splits = ("generated", "generated-train")
    n_steps = 20  # eight of them are messages
    forgiving = False  # an answer that cannot be read is a message passed over


class TestThreeStageOfPddl(EnvironmentConformance):
    target = "three-stage"
    options = {"env": "pddl", "exposure": "world", "distractors": "2"}
    splits = ("generated", "generated-train")
    n_steps = 20
    forgiving = False


@pytest.mark.babyai
class TestThreeStageOfBabyai(EnvironmentConformance):
    target = "three-stage"
    options = {"env": "babyai", "rules": "told", "distractors": "2"}
    n_steps = 20
    forgiving = False


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


class TestAgeMemNoRL(MemoryConformance):
    target = "agemem-norl"


class TestAgeMemRag(MemoryConformance):
    target = "agemem-rag"


class TestAgeMemNoRLRag(MemoryConformance):
    target = "agemem-norl-rag"


class TestRag(MemoryConformance):
    target = "rag"


class TestRagWithShortTermTools(MemoryConformance):
    def make(self, services: Services) -> Memory:
        return WithShortTerm(Rag(services), services)


class TestEmptyStore(MemoryConformance):
    target = "empty-store"

    def test_what_is_added_is_found_changed_and_deleted(self) -> None:
        raise SkipTest("it is the control that keeps nothing")


class TestStoreAll(MemoryConformance):
    target = "store-all"


class TestGoldStore(MemoryConformance):
    target = "gold-store"


class TestShuffledStore(MemoryConformance):
    target = "shuffled-store"


class TestMem0(MemoryConformance):
    target = "mem0"


class TestMem0AsReleased(MemoryConformance):
    target = "mem0"
    options = {"profile": "oss-1.0"}


class TestMem0g(MemoryConformance):
    target = "mem0g"


class TestAMem(MemoryConformance):
    target = "amem"


class TestLangMem(MemoryConformance):
    target = "langmem"


class TestLangMemHotPath(MemoryConformance):
    target = "langmem"
    options = {"mode": "hot-path"}


@pytest.mark.libraries
class TestMem0Library(MemoryConformance):
    target = "mem0-lib"


@pytest.mark.libraries
class TestLangMemLibrary(MemoryConformance):
    target = "langmem-lib"


@pytest.mark.parametrize("group", ["envs", "memories"])
def test_nothing_built_in_is_left_out(group: registry.Group) -> None:
    suites = [v for v in globals().values() if isinstance(v, type) and hasattr(v, "target")]
    covered = {suite.target for suite in suites}
    built_in = {p.name for p in registry.plugins(group) if p.distribution == "agemem-eval"}
    assert built_in <= covered
