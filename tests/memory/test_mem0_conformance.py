"""What the harness asks of every memory, asked of Mem0 and Mem0g.

The model writes one fixed note, whatever it is asked: every reply is skipped, and counted.
"""

from __future__ import annotations

from agemem_eval.testing import MemoryConformance


class TestMem0(MemoryConformance):
    target = "agemem_eval.baselines.mem0:Mem0"


class TestMem0Library(MemoryConformance):
    target = "agemem_eval.baselines.mem0:Mem0"
    options = {"profile": "oss-1.0"}


class TestMem0g(MemoryConformance):
    target = "agemem_eval.baselines.mem0g:Mem0g"
