"""What the harness asks of every memory, asked of Mem0 and Mem0g.

With a model that writes one fixed note, so that every reply is skipped and counted, and with one
that writes by rules.
"""

from __future__ import annotations

from agemem_eval.baselines.heuristic.model import HeuristicModel
from agemem_eval.harness.types import Model
from agemem_eval.testing import MemoryConformance


class TestMem0(MemoryConformance):
    target = "agemem_eval.baselines.mem0:Mem0"


class TestMem0g(MemoryConformance):
    target = "agemem_eval.baselines.mem0g:Mem0g"


class _ByRules(MemoryConformance):
    __test__ = False

    def model(self) -> Model:
        return HeuristicModel()


class TestMem0ByRules(_ByRules):
    __test__ = True
    target = "agemem_eval.baselines.mem0:Mem0"


class TestMem0LibraryByRules(_ByRules):
    __test__ = True
    target = "agemem_eval.baselines.mem0:Mem0"
    options = {"profile": "oss-1.0"}


class TestMem0gByRules(_ByRules):
    __test__ = True
    target = "agemem_eval.baselines.mem0g:Mem0g"
    options = {"profile": "oss-1.0"}
