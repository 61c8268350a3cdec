"""The numbers that AgeMem's authors report (arXiv 2601.01885), as data.

One file a table or figure, named after it. They are facts of that paper, measured under its own
protocol: never ranked with results of this harness. Success, progress and J of the tables 2, 4/9
and 7 are in percent, elsewhere J and MQ are shares. A figure's numbers are those printed in it.
"""

from __future__ import annotations

import csv
from importlib import resources

SOURCE = "arXiv 2601.01885"
SET_APART = "reported by the authors, another protocol"
TABLES = {
    "table2": "table2_main.tsv",
    "figure2": "figure2_memory_quality.tsv",
    "figure3": "figure3_prompt_tokens.tsv",
    "table3": "table3_tool_calls.tsv",
    "figure4": "figure4_9_component_ablation.tsv",
    "table4": "table4_6_reward_ablation.tsv",
    "table5": "table5_filter_threshold.tsv",
    "table7": "table7_baselines_st_rl.tsv",
    "table8": "table8_distractors.tsv",
}
# Of the paper's columns: the environment here, and the metric it reports there.
ENVIRONMENTS = {
    "ALFWorld": ("alfworld", "success"),
    "SciWorld": ("scienceworld", "success"),
    "PDDL": ("pddl", "progress"),
    "BabyAI": ("babyai", "success"),
    "HotpotQA": ("hotpotqa", "quality.j"),
}
# Of the paper's methods: the memory here.
MEMORIES = {
    "No-Memory": "none",
    "LangMem": "langmem",
    "A-Mem": "amem",
    "Mem0": "mem0",
    "Mem0g": "mem0g",
    "AgeMem-noRL": "agemem-norl",
    "AgeMem": "agemem",
    "AgeMem-noRL-RAG": "agemem-norl-rag",
    "AgeMem-RAG": "agemem-rag",
}


def table(name: str) -> list[dict[str, str]]:
    """The rows of a table or figure, by column; every value as the file has it.

    Args:
        name: One of `TABLES`.
    """
    file = resources.files(__name__) / TABLES[name]
    return list(csv.DictReader(file.read_text(encoding="utf-8").splitlines(), delimiter="\t"))
