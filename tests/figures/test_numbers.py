"""What figures show, as numbers; no drawing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from agemem_eval.harness import figures
from agemem_eval.harness.errors import DataError, UsageError
from agemem_eval.harness.figures import NothingToDrawError, bars, curves
from agemem_eval.harness.figures.material import Material
from agemem_eval.harness.figures.training import load_logs
from agemem_eval.harness.metrics import wilson
from agemem_eval.harness.runner import rows_of
from agemem_eval.harness.stats import estimate
from agemem_eval.results import paper


def _log(directory: Path, lines: list[object]) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (directory / "metrics.jsonl").write_text(text)
    return directory


def test_every_bar_is_the_mean_of_its_cell_with_the_interval_of_the_statistics(few):
    (panel,) = bars.scores(Material(tuple(few))).grid[0]
    assert [bar.row for bar in panel.bars] == ["none", "rag", "agemem-norl"]
    for bar, frame in zip(panel.bars, few, strict=True):
        values = frame.values("success")
        assert bar.estimate == estimate(values, frame.tasks())
        low, high = wilson(int(values.sum()), len(values))
        assert (bar.estimate.low, bar.estimate.high) == pytest.approx((low, high))
    assert 0 < panel.bars[0].estimate.value < 1
    assert panel.n == "n = 6"


def test_tokens_a_call_are_those_of_an_episode_by_its_calls(few):
    a_call, an_episode, *_ = bars.prompt_tokens(Material(tuple(few))).grid[0]
    for bar, frame in zip(a_call.bars, few, strict=True):
        shares = frame.values("tokens.agent.prompt") / frame.values("tokens.agent.calls")
        assert bar.estimate.value == pytest.approx(shares.mean())
    found = [bar.estimate.value for bar in an_episode.bars]
    assert found == [frame.values("tokens.agent.prompt").mean() for frame in few]


def test_tools_are_counted_as_the_table_counts_them(few, runs_dir):
    (row,) = bars.tool_usage(Material(tuple(few))).grid
    (told,) = [r for r in rows_of(runs_dir / "few") if r.tool_calls]
    drawn = {panel.title.strip().split("\n")[-1]: panel.bars[0].estimate.value for panel in row}
    drawn.pop("failed, of any tool", None)
    assert drawn == pytest.approx({tool: c["mean"] for tool, c in told.tool_calls.items()})


def test_without_a_judge_the_quality_is_that_of_the_facts_and_says_so(cell):
    facts = {"success": [1, 0], "quality__fact_f1": [0.5, 0.7], "quality__fact_recall": [1, 1]}
    sheet = bars.memory_quality(Material((cell("rag", **facts), cell("none", **facts))))
    (panel,) = sheet.grid[0]
    assert panel.label.startswith("F1")
    assert "No judge gave MQ" in sheet.notes[0]
    assert [(bar.row, bar.estimate.value) for bar in panel.bars] == [("rag", pytest.approx(0.6))]
    judged = bars.memory_quality(Material((cell(quality__mq=[0.2, 0.4], **facts),)))
    assert judged.grid[0][0].label.startswith("MQ")
    assert not judged.notes


def test_a_missing_score_is_no_bar_and_not_zero(cell):
    nan = float("nan")
    scored, other = cell(success=[1, 1], quality__mq=[nan, 0.4]), cell("mem0", success=[1, 1])
    (panel,) = bars.memory_quality(Material((scored, other))).grid[0]
    assert [(bar.row, bar.estimate.n) for bar in panel.bars] == [("rag", 1)]
    assert np.isnan(panel.bars[0].estimate.low)


def test_steps_of_the_ablation_pair_a_trained_model_with_its_base(cell):
    def of(memory, model, value):
        return cell(memory, model, success=[value, value])

    base = [of("none", "q", 0), of("agemem-norl-rag", "q", 0), of("none", "q-rl", 1)]
    frames = (*base, of("agemem-rag", "q-rl", 1), of("agemem", "q-rl", 1))
    (panel,) = bars.ablation(Material(frames)).grid[0]
    assert [(bar.row.split()[0], bar.series) for bar in panel.bars] == [
        ("Base", "q"), ("+LT", "q"), ("+LT/RL", "q"), ("+LT/ST/RL", "q"),
    ]  # fmt: skip
    assert [bar.estimate.value for bar in panel.bars] == [0, 0, 1, 1]


def test_of_several_bases_none_is_guessed_and_what_is_told_is_used(cell):
    frames = (
        cell("none", "a", success=[0, 0]),
        cell("none", "b", success=[0, 0]),
        cell("agemem", "t", success=[1, 1]),
    )
    sheet = bars.ablation(Material(frames))
    assert {bar.series for bar in sheet.grid[0][0].bars} == {"a", "b", "t"}
    assert "--trained" in sheet.notes[0]
    told = bars.ablation(Material(frames, trained={"t": "b"}))
    assert [b.series for b in told.grid[0][0].bars if "agemem" in b.row] == ["b"]


def test_the_paper_s_values_stand_only_where_the_metric_is_the_same(cell):
    by_judge = cell(headline=("quality.j", "success"), success=[1, 0], quality__j=[0.5, 0.6])
    (panel,) = bars.scores(Material((by_judge,), reference=True)).grid[0]
    rows = [r for r in paper.table("table2") if r["method"] == "AgeMem"]
    found = {m.series: m.value for m in panel.marks if m.row == "agemem"}
    assert found == {r["model"]: pytest.approx(float(r["HotpotQA"]) / 100) for r in rows}
    by_success = cell(headline=("quality.j", "success"), success=[1, 0])
    assert not bars.scores(Material((by_success,), reference=True)).grid[0][0].marks
    assert not bars.scores(Material((by_judge,))).grid[0][0].marks


def test_two_protocols_are_refused_and_when_allowed_set_apart(cell):
    frames = [cell(success=[1, 0], run="a"), cell(success=[1, 1], protocol="other", run="b")]
    with pytest.raises(UsageError, match=r"hotpotqa .* in a and b \(agent.*--allow-mixed"):
        bars.scores(Material(tuple(frames)))
    sheet = bars.scores(Material(tuple(frames), allow_mixed=True))
    assert [panel.title for panel in sheet.grid[0]] == [
        "hotpotqa (test), protocol A", "hotpotqa (test), protocol B",
    ]  # fmt: skip
    assert "not comparable: agent" in sheet.notes[0]


def test_cells_of_the_same_memory_are_told_apart_by_their_run(cell):
    frames = (cell(success=[1, 0], run="a"), cell(success=[1, 1], run="b"), cell("x", success=[1]))
    frames[2].protocol = frames[0].protocol
    (panel,) = bars.scores(Material(frames)).grid[0]
    assert [bar.row for bar in panel.bars] == ["rag (a)", "rag (b)", "x"]


def test_what_is_hardly_covered_is_marked(cell):
    broken = cell(success=[1, 0, 1], statuses=["completed", "completed", "infra_error"])
    sheet = bars.scores(Material((broken,)))
    assert sheet.grid[0][0].bars[0].flagged
    assert "2 of 3 planned episodes scored; not to be ranked" in sheet.notes[0]


def test_the_share_solved_within_n_steps_never_grows_beyond_what_was_seen(cell):
    frame = cell(
        success=[1, 1, 0, 0, float("nan")],
        steps=[2, 5, 4, 3, 9],
        statuses=["completed", "completed", "limit", "completed", "completed"],
    )
    (panel,) = curves.success_steps(Material((frame,))).panels
    (line,) = panel.lines
    shares = dict(zip(line.x, (e.value for e in line.y), strict=True))
    assert shares == {0: 0, 1: 0, 2: 0.25, 3: 0.25, 4: 0.25, 5: 0.5}
    assert line.ticks == (4,)  # cut by the cap; what ended by itself is none
    low, high = wilson(2, 4)
    assert (line.y[-1].low, line.y[-1].high) == pytest.approx((low, high))


def test_the_last_share_within_n_steps_is_the_success_rate(few):
    (panel,) = curves.success_steps(Material(tuple(few))).panels
    for line, frame in zip(panel.lines, few, strict=True):
        assert line.y[-1].value == frame.values("success").mean()
        assert line.ticks == (5,)


def test_the_gain_over_a_stream_is_the_table_s(stream, runs_dir):
    (panel,) = curves.lifelong_gain(Material(tuple(stream))).panels
    for line, row in zip(panel.lines, rows_of(runs_dir / "stream"), strict=True):
        assert line.said.startswith(f"{100 * row.lifelong['gain']:+.1f}")
        assert "3 streams" in line.said
        means = [e.value for e in line.y]
        rate = np.mean([s["success_rate"] for s in row.lifelong["streams"]])
        assert np.mean(means) == pytest.approx(rate)  # a window of one task


def test_losses_add_up_to_the_failures(cell):
    losses = ["not_stored", "not_used", None, None, "not_used"]
    frame = cell(losses=losses, success=[0, 0, 0, 1, 0])
    sheet = curves.losses(Material((frame,)))
    (stack,) = sheet.panels[0].stacks
    assert dict(zip(sheet.parts, stack.shares, strict=True)) == {
        "not stored": 0.2, "not retrieved": 0, "not used": 0.4, "failed otherwise": 0.2,
    }  # fmt: skip
    assert [e.value for e in stack.cumulated] == pytest.approx([0.2, 0.2, 0.6, 0.8])
    low, high = wilson(3, 5)
    assert (stack.cumulated[2].low, stack.cumulated[2].high) == pytest.approx((low, high))


def test_the_front_is_of_those_that_none_beats_in_both(cell):
    def at(memory, tokens, success, **more):
        return cell(memory, success=success, tokens__agent__prompt=[tokens] * 4, **more)

    owed = ["completed"] * 3 + ["infra_error"]
    frames = (
        at("dear", 900, [1, 1, 1, 0]), at("cheap", 100, [1, 0, 0, 0]), at("bad", 500, [0, 0, 0, 0]),
        at("as good", 950, [1, 1, 1, 0]), at("owed", 50, [1, 1, 1, 1], statuses=owed),
    )  # fmt: skip
    (panel,) = curves.success_tokens(Material(frames)).panels
    assert [point.memory for point in panel.front] == ["cheap", "dear"]
    assert len(panel.points) == 5


def test_reward_curves_are_means_over_seeds_with_an_interval_over_them(tmp_path):
    logs = []
    for seed, shift in enumerate((-0.1, 0.0, 0.4)):
        lines = [
            {"step": s, "reward": s / 10 + shift, "components": {"task": 0.5}, "series": "all",
             "seed": seed, "loss": None}
            for s in range(5)
        ]  # fmt: skip
        logs += load_logs(_log(tmp_path / f"s{seed}", lines))
    sheet = curves.reward_curves(Material((), tuple(logs)))
    assert [panel.title for panel in sheet.panels] == ["reward", "reward, component task"]
    (line,) = sheet.panels[0].lines
    assert line.name == "all"
    assert line.x == (0, 1, 2, 3, 4)
    for s, found in enumerate(line.y):
        assert found == estimate([s / 10 - 0.1, s / 10, s / 10 + 0.4])
    assert "interval over 3 seeds" in sheet.notes[0]


def test_one_seed_has_the_interval_of_its_groups_or_none_and_says_which(tmp_path):
    with_groups = {"step": 0, "reward": 0.5, "group_rewards": [0.4, 0.6, 0.5]}
    logs = load_logs(_log(tmp_path / "g", [with_groups]))
    logs += load_logs(_log(tmp_path / "alone", [{"step": 0, "reward": 0.5}]))
    sheet = curves.reward_curves(Material((), tuple(logs)))
    g, alone = sheet.panels[0].lines
    assert g.y[0] == estimate([0.4, 0.6, 0.5])
    assert np.isnan(alone.y[0].low)
    assert "over the groups" in sheet.notes[0]
    assert "no interval" in sheet.notes[1]


def test_a_torn_last_line_is_left_out_and_others_are_told_by_number(tmp_path):
    directory = _log(tmp_path / "r", [{"step": 0, "reward": 1.0}, {"step": 1, "reward": 0.5}])
    file = directory / "metrics.jsonl"
    file.write_text(file.read_text() + '{"step": 2, "rew')
    assert len(load_logs(directory)[0].steps) == 2
    for bad, said in [
        ('{"step": 1}', "no 'reward'"),
        ('{"step": 0.5, "reward": 1}', "no whole number"),
        ('{"step": 0, "reward": NaN}', "no finite number"),
        ('{"step": 0, "reward": 1, "components": [1]}', "components"),
        ('{"step": 0, "reward": 1, "group_rewards": 7}', "group_rewards"),
        ("[]", "no object"),
        ('{"step": 9, "reward": 1}\n{"step": 9, "reward": 1}', "line 2.*step 9 after step 9"),
        ("", "no training step"),
        ("{no", "line 1: no JSON"),
    ]:
        file.write_text(bad + "\n")
        with pytest.raises(DataError, match=said):
            load_logs(directory)


def test_what_there_are_no_numbers_for_says_what_is_lacking(few):
    material = Material(tuple(few))
    for gather, lacking in [
        (bars.memory_quality, "--judge"),
        (curves.lifelong_gain, "--memory-scope run"),
        (curves.reward_curves, "metrics.jsonl"),
        (curves.losses, "hotpotqa"),
    ]:
        with pytest.raises(NothingToDrawError, match=lacking):
            gather(material)
    assert figures.drawable(few) == [
        "scores", "prompt-tokens", "ablation", "tool-usage", "success-tokens", "success-steps",
    ]  # fmt: skip


def test_an_unknown_figure_gets_the_nearest_name():
    with pytest.raises(UsageError, match="did you mean 'success-steps'"):
        figures.canonical("sucess-steps")
    assert figures.canonical("figure10") == "reward-curves"
