"""Whole runs with `hf:`, by the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agemem_eval.harness.cli import main

pytestmark = pytest.mark.hf


def run(tiny: Path, runs: Path, name: str, *more: str) -> list[dict[str, Any]]:
    """The records of a run, without what differs from time to time."""
    command = [
        "run", "--env", "alfworld", "--memory", "agemem", "--model", f"hf:{tiny}",
        "--max-tokens", "24", "--max-turns-per-step", "2", "--context-tokens", "6000",
        "--runs-dir", str(runs), "--name", name, "--workers", "0", *more,
    ]  # fmt: skip
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert not ended.value.code
    records = []
    for file in (runs / name / "episodes").glob("*.jsonl"):
        for line in file.read_text().splitlines():
            record = json.loads(line)
            for key in ("wall_s", "started_at", "memory_costs"):
                record.pop(key, None)
            records.append(record)
    return sorted(records, key=lambda record: str(record["key"]))


def test_a_run_is_scored_and_equal_at_concurrency_1_and_16(tiny: Path, tmp_path: Path) -> None:
    drawn = ("--temperature", "1.0", "--episodes", "4")
    one = run(tiny, tmp_path, "one", "--concurrency", "1", *drawn, "-o", "max_batch=1")
    many = run(tiny, tmp_path, "many", "--concurrency", "16", *drawn, "-o", "prefix_reuse=false")
    assert len(one) == 4
    assert one == many
    for record in one:
        assert record["key"]["model"] == "hf:tiny"
        assert record["key"]["memory"] == "agemem-norl"
        assert record["status"] != "infra_error"
        tokens = record["tokens"]["agent"]
        assert tokens["estimated_calls"] == 0
        assert 0 < tokens["completion_tokens"] <= 24 * tokens["calls"]


def test_a_native_run_shows_the_tools_to_the_model(tiny: Path, tmp_path: Path) -> None:
    records = run(tiny, tmp_path, "native", "--transport", "native", "--episodes", "1")
    assert records[0]["status"] != "infra_error"


def test_native_tools_without_a_template_for_them_end_in_one_line(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    template = tmp_path / "plain.jinja"
    template.write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    with pytest.raises(SystemExit) as ended:
        main([
            "run", "--env", "alfworld", "--memory", "agemem", "--model", f"hf:{tiny}",
            "--transport", "native", "--episodes", "1", "--runs-dir", str(tmp_path),
            "-o", f"chat_template={template}", "--workers", "0",
        ])  # fmt: skip
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "shows no tools: use --transport prompt" in " ".join(said.split())
    assert "Traceback" not in said
