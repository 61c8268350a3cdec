"""Whole runs with `hf:`, by the command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agemem_eval.harness.cli import main
from agemem_eval.harness.store import RunStore

pytestmark = pytest.mark.hf


def run(tiny: Path, runs: Path, name: str, *more: str) -> list[tuple[Any, Any]]:
    """Records and events of a run, without what differs from time to time."""
    command = [
        "run", "--env", "alfworld", "--memory", "agemem", "--model", f"hf:{tiny}",
        "--max-tokens", "12", "--max-turns-per-step", "1", "--context-tokens", "6000",
        "--runs-dir", str(runs), "--name", name, "--workers", "0", *more,
    ]  # fmt: skip
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert not ended.value.code
    store = RunStore.open(runs / name)
    played = []
    for key, episode in sorted(store.episodes().items(), key=lambda item: item[0].id):
        events = [{**event, "latency_s": None} for event in store.read_trace(key.id)]
        still = replace(episode, wall_s=0.0, started_at="", memory_costs={})
        played.append((still, events))
    return played


def test_a_run_is_scored_and_equal_at_concurrency_1_and_16(tiny: Path, tmp_path: Path) -> None:
    drawn = ("--temperature", "1.0", "--episodes", "4")
    one = run(tiny, tmp_path, "one", "--concurrency", "1", *drawn, "-o", "max_batch=1")
    many = run(tiny, tmp_path, "many", "--concurrency", "16", *drawn, "-o", "prefix_reuse=false")
    assert len(one) == 4
    assert one == many
    for episode, events in one:
        assert (episode.key.model, episode.key.memory) == ("hf:tiny", "agemem-norl")
        assert episode.scored
        tokens = episode.tokens["agent"]
        assert tokens.estimated_calls == 0
        assert 0 < tokens.completion_tokens <= 12 * tokens.calls
        replies = [event for event in events if event["type"] == "completion"]
        assert sum(event["completion_tokens"] for event in replies) == tokens.completion_tokens


def test_a_run_with_native_calls_is_scored(tiny: Path, tmp_path: Path) -> None:
    ((episode, events),) = run(tiny, tmp_path, "native", "--transport", "native", "--episodes", "1")
    assert episode.scored
    shown = next(event for event in events if event["type"] == "completion")
    said = sum(event["tokens"] for event in events[:3] if event["type"] == "message")
    assert shown["prompt_tokens"] > said  # the tools' schemas are in the prompt, too


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
