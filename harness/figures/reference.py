"""The values that AgeMem's authors report, as marks beside this harness's own results.

They were measured under another protocol, without intervals that could be shown.
"""

from __future__ import annotations

from ...results import paper
from .material import Measure
from .sheets import Mark

_METRICS = {"success": "success rate", "progress": "progress rate", "quality.j": "J"}
_TOOLS = {
    "Add_memory": "ADD",
    "Update_memory": "UPDATE",
    "Delete_memory": "DELETE",
    "Retrieve_memory": "RETRIEVE",
    "Summary_context": "SUMMARY",
    "Filter_context": "FILTER",
}
_TRAINING = {"noRL": "agemem-norl", "GRPO": "agemem"}
_STEPS = {
    "Base": "Base (none)",
    "+LT": "+LT (agemem-norl-rag)",
    "+LT/RL": "+LT/RL (agemem-rag)",
    "+LT/ST/RL": "+LT/ST/RL (agemem)",
}
MEASURED_ON = "hotpotqa"  # what the paper's figures of quality, tokens and tools are of


def scores(env: str, measure: Measure) -> list[Mark]:
    """Table 2, where it has this environment's score in the same metric."""
    found = []
    for name, (ours, metric) in paper.ENVIRONMENTS.items():
        if ours == env and measure.label.startswith(_METRICS[metric]):
            found += [
                Mark(paper.MEMORIES[row["method"]], row["model"], float(row[name]) / 100)
                for row in paper.table("table2")
            ]
    return found


def memory_quality(env: str) -> list[Mark]:
    """Figure 2."""
    return _by_method("figure2", "MQ") if env == MEASURED_ON else []


def prompt_tokens(env: str) -> list[Mark]:
    """Figure 3: of a call of the agent."""
    return _by_method("figure3", "prompt_tokens") if env == MEASURED_ON else []


def ablation(env: str, measure: Measure) -> list[Mark]:
    """Figures 4 and 9, likewise."""
    found = []
    for row in paper.table("figure4"):
        ours, metric = paper.ENVIRONMENTS[row["dataset"]]
        if ours == env and measure.label.startswith(_METRICS[metric]):
            found += [
                Mark(step, row["model"], float(row[name]) / 100) for name, step in _STEPS.items()
            ]
    return found


def tool_usage(env: str, tool: str) -> list[Mark]:
    """Table 3."""
    found = []
    if env == MEASURED_ON and tool in _TOOLS:
        (row,) = [row for row in paper.table("table3") if row["tool"] == _TOOLS[tool]]
        for name, value in row.items():
            model, _, training = name.rpartition("_")
            if training in _TRAINING:
                found.append(Mark(_TRAINING[training], model, float(value)))
    return found


def _by_method(name: str, value: str) -> list[Mark]:
    return [
        Mark(paper.MEMORIES[row["method"]], row["model"], float(row[value]))
        for row in paper.table(name)
    ]
