"""Every built-in environment and memory holds to the suites."""

from __future__ import annotations

from agemem_eval.testing import EnvironmentConformance, MemoryConformance


class TestAlfworld(EnvironmentConformance):
    target = "alfworld"
    splits = ("generated", "generated-train")


class TestNoMemory(MemoryConformance):
    target = "none"


class TestAgeMem(MemoryConformance):
    target = "agemem"


class TestAgeMemLongTermOnly(MemoryConformance):
    target = "agemem"
    options = {"st_tools": "false"}
