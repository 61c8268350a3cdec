"""Figures as drawn: what the artists hold, what is readable, and the bytes."""

from __future__ import annotations

import hashlib
import itertools
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from agemem_eval.harness import cli, figures
from agemem_eval.harness.errors import MissingExtraError
from agemem_eval.harness.figures.training import TrainingLog, TrainingStep
from agemem_eval.harness.stats import estimate
from agemem_eval.results.paper import SET_APART

mpl = pytest.importorskip("matplotlib", exc_type=ImportError)
pytestmark = pytest.mark.figures


def _logs():
    steps = [TrainingStep(i, i / 9, {"task": 0.5, "<i>$m$</i>": i / 20}) for i in range(9)]
    return [TrainingLog("All-Returns $x$", seed, tuple(steps)) for seed in (0, 1)]


def _texts(svg: str) -> list[str]:
    root = ET.fromstring(svg)
    return ["".join(t.itertext()) for t in root.iter("{http://www.w3.org/2000/svg}text")]


def _whiskers(axes) -> list[tuple[float, float]]:
    """Ends of the whiskers that lie, in the order drawn."""
    return [
        (float(segment[0][0]), float(segment[-1][0]))
        for lines in axes.collections
        for segment in lines.get_segments()
    ]


def test_bars_and_whiskers_are_the_means_and_intervals_of_the_frames(few):
    figure = figures.draw(few, "scores")
    (axes,) = figure.axes
    expected = [estimate(frame.values("success"), frame.tasks()) for frame in few]
    assert [bar.get_width() for bar in axes.patches] == [e.value for e in expected]
    drawn = _whiskers(axes)
    assert drawn == [pytest.approx((e.low, e.high)) for e in expected]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["none", "rag", "agemem-norl"]
    assert "n = 6" in axes.get_xlabel()
    assert "success rate" in axes.get_xlabel()


def test_bars_of_tokens_and_tools_are_those_of_the_frames_too(few):
    axes = figures.draw(few, "prompt-tokens").axes[1]
    expected = [estimate(f.values("tokens.agent.prompt"), f.tasks()) for f in few]
    assert [bar.get_width() for bar in axes.patches] == [e.value for e in expected]
    assert _whiskers(axes) == [pytest.approx((e.low, e.high)) for e in expected]
    assert "tokens" in axes.get_xlabel()


def test_points_stand_at_both_means_with_whiskers_both_ways(few):
    (axes,) = figures.draw(few, "success-tokens").axes
    roles = ("agent", "memory_write", "memory_read")
    for frame in few:
        x = sum(frame.values(f"tokens.{r}.{k}") for r in roles for k in ("prompt", "completion")
                if f"tokens.{r}.{k}" in frame.columns)  # fmt: skip
        at = (float(np.mean(x)), float(np.mean(frame.values("success"))))
        assert any(
            np.allclose(at, line.get_xydata()[0]) for line in axes.lines if len(line.get_xdata())
        )
    lengths = {len(c.get_segments()) for c in axes.collections}
    assert lengths == {1}
    assert len(axes.collections) == 2 * len(few)


@pytest.mark.parametrize("name", figures.NAMES)
def test_nothing_is_cut_off_or_covered_with_many_long_names(name, crowd, stream):
    frames = stream if name == "lifelong-gain" else crowd
    figure = figures.draw(frames, name, logs=_logs(), reference=True)
    renderer = figure.canvas.get_renderer()
    whole = figure.bbox
    texts = [*figure.texts, figure._suptitle]
    for axes in figure.axes:
        texts += [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            texts += [t.label1 for t in axis.get_major_ticks() if low <= t.get_loc() <= high]
        texts += [axes._left_title]
    for legend in (*figure.legends, *(a.get_legend() for a in figure.axes)):
        texts += legend.get_texts() if legend else []
    shown = [text for text in texts if text.get_text() and text.get_visible()]
    assert len(shown) > 10
    for text in shown:
        box = text.get_window_extent(renderer)
        inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= whole.x1 + 1 and box.y1 <= whole.y1 + 1
        assert inside, text.get_text()
        assert text.get_fontsize() >= 7
    _nothing_covers_a_row_name(figure, renderer)


def _nothing_covers_a_row_name(figure, renderer) -> None:
    for axes in figure.axes:
        boxes = [
            label.get_window_extent(renderer)
            for label in axes.get_yticklabels()
            if label.get_text()
        ]
        for one, other in itertools.combinations(boxes, 2):
            assert not one.overlaps(other)


def test_names_are_shown_as_they_are_whatever_they_hold(crowd):
    svg = figures.svg(figures.draw(crowd, "memory-quality"))
    texts = _texts(svg)
    assert any("org-$x_1$/<b>very & \\frac{long}</b>" in text for text in texts)
    assert "<b>" not in svg
    names = set(re.findall(r"<(\w+)", svg))
    assert names <= {"svg", "metadata", "defs", "style", "g", "path", "text", "tspan", "use",
                     "clipPath", "rect", "pattern", "rdf", "cc", "dc"}  # fmt: skip


def test_control_characters_in_names_leave_a_figure_that_can_be_read(cell):
    frame = cell("a\x00b\x1b[31m\u202e\n", "m\x07", success=[1, 0])
    svg = figures.svg(figures.draw([frame], "scores"))
    assert "a\N{REPLACEMENT CHARACTER}b" in " ".join(_texts(svg))


def test_an_svg_stands_in_a_page_with_a_label_and_no_ids_of_groups(few):
    svg = figures.svg(figures.draw(few, "scores"))
    assert svg.startswith("<svg ")
    assert 'aria-label="Scores"' in svg
    assert '<g id="' not in svg
    referred = set(re.findall(r'(?:url\(#|href="#)([^")]+)', svg))
    assert referred <= set(re.findall(r'id="([^"]+)"', svg))


def test_bars_are_told_apart_in_grey(cell):
    frames = [cell("rag", f"model {i}", success=[1.0] * 12) for i in range(10)]
    figure = figures.draw(frames, "scores")
    figure.set_dpi(150)
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[:, :, :3] / 255
    grey = pixels @ np.array([0.2126, 0.7152, 0.0722])
    looks = []
    for bar in figure.axes[0].patches:
        box = bar.get_window_extent()
        inside = grey[
            int(grey.shape[0] - box.y1) + 3 : int(grey.shape[0] - box.y0) - 3,
            int(box.x0) + 8 : int(box.x0 + 0.6 * box.width),
        ]
        diagonals = inside[1:, 1:] - inside[:-1, :-1], inside[1:, :-1] - inside[:-1, 1:]
        looks.append((inside.mean(), inside.std(), *(np.abs(d).mean() for d in diagonals)))
    assert len(looks) == 10
    for (i, one), (j, other) in itertools.combinations(enumerate(looks), 2):
        assert max(abs(a - b) for a, b in zip(one, other, strict=True)) > 0.03, (i, j)


def test_curves_are_told_apart_by_dashes_and_markers_alone():
    from agemem_eval.harness.figures import style

    looks = [(str(s.dashes), s.marker) for s in map(style.stroke, range(40))]
    assert len(set(looks)) == 40
    fills = [(f.color, f.hatch) for f in map(style.fill, range(35))]
    assert len(set(fills)) == 35


def test_the_paper_s_marks_are_hollow_and_said_to_be_of_another_protocol(cell):
    frame = cell("mem0", quality__mq=[0.4, 0.5], success=[1, 0])
    figure = figures.draw([frame], "memory-quality", reference=True)
    marks = [line for line in figure.axes[0].lines if line.get_marker() in "D^"]
    assert len(marks) == 2
    assert {line.get_markerfacecolor() for line in marks} == {"white"}
    said = [text.get_text() for text in figure.legends[0].get_texts()]
    assert f"Qwen3-4B: {SET_APART}" in said
    plain = figures.draw([frame], "memory-quality")
    assert SET_APART not in figures.svg(plain)


@pytest.mark.parametrize("format_", ["svg", "png", "pdf"])
def test_the_same_frames_give_the_same_bytes_whatever_the_user_s_settings(few, format_):
    make = getattr(figures, format_)
    first = make(figures.draw(few, "success-steps"))
    with mpl.rc_context({"font.size": 30, "svg.fonttype": "path", "axes.facecolor": "red"}):
        assert make(figures.draw(few, "success-steps")) == first
        assert mpl.rcParams["font.size"] == 30


def test_another_process_gives_the_same_bytes(runs_dir, few):
    code = (
        "import sys, hashlib; from pathlib import Path\n"
        "from agemem_eval.harness import figures\n"
        "from agemem_eval.harness.analysis import load_frames\n"
        "f = figures.draw(load_frames(Path(sys.argv[1])), 'scores')\n"
        "print(hashlib.sha256(figures.svg(f).encode() + figures.png(f)).hexdigest())\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(runs_dir / "few")], capture_output=True, text=True,
        check=True, env={"PYTHONHASHSEED": "7"},
    )  # fmt: skip
    figure = figures.draw(few, "scores")
    own = hashlib.sha256(figures.svg(figure).encode() + figures.png(figure)).hexdigest()
    assert done.stdout.strip() == own


# --- the command ------------------------------------------------------------------------------


def _command(capsys, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        cli.main(["figures", *arguments])
    said = capsys.readouterr()
    return ended.value.code, said.out, said.err


def test_the_command_writes_what_there_are_numbers_for_and_says_what_is_left_out(
    runs_dir, tmp_path, capsys
):
    code, out, _ = _command(
        capsys, "few", "--runs-dir", str(runs_dir), "--out", str(tmp_path), "--formats", "svg",
        "--only", "scores,figure3,lifelong-gain",
    )  # fmt: skip
    assert code == 0
    assert {path.name for path in tmp_path.iterdir()} == {"scores.svg", "prompt-tokens.svg"}
    assert "left out: lifelong-gain: no stream was played whole" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["few", "--only", "memory-qualty"], "did you mean 'memory-quality'?"),
        (["few", "--only", "lifelong-gain"], "nothing to draw: lifelong-gain: no stream"),
        (["few", "--formats", "jpg"], "unknown format 'jpg'"),
        (["few", "--only", ","], "names nothing"),
        (["few", "--reference", "papers"], "did you mean 'paper'?"),
        (["few", "--trained", "x"], "write BASE=TRAINED"),
        (["fwe"], "did you mean 'few'?"),
        (["few", "stream"], "alfworld was played under different protocols in few and stream"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(runs_dir, tmp_path, capsys, arguments, said):
    code, _, err = _command(
        capsys, *arguments, "--runs-dir", str(runs_dir), "--out", str(tmp_path / "out")
    )
    assert code == 2
    assert said in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_mixed_protocols_get_panels_of_their_own(runs_dir, tmp_path, capsys):
    code, *_ = _command(
        capsys, "few", "stream", "--runs-dir", str(runs_dir), "--out", str(tmp_path),
        "--only", "scores", "--formats", "svg", "--allow-mixed",
    )  # fmt: skip
    texts = _texts((tmp_path / "scores.svg").read_text())
    assert code == 0
    assert {"alfworld (generated), protocol A", "alfworld (generated), protocol B"} <= set(texts)
    assert any("not comparable" in text for text in texts)


def test_a_directory_of_training_logs_needs_no_run(tmp_path, capsys):
    for seed in (0, 1):
        folder = tmp_path / "train" / f"seed-{seed}"
        folder.mkdir(parents=True)
        (folder / "metrics.jsonl").write_text('{"step": 0, "reward": 0.5, "series": "r"}\n')
    code, out, _ = _command(
        capsys, str(tmp_path / "train"), "--out", str(tmp_path / "f"), "--formats", "png,pdf"
    )
    assert code == 0
    assert {path.name for path in (tmp_path / "f").iterdir()} == {
        "reward-curves.png", "reward-curves.pdf",
    }  # fmt: skip
    assert "left out: scores: no episode was scored" in out


def test_without_matplotlib_the_extra_is_named(few, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"agemem-eval\[figures\]"):
        figures.draw(few, "scores")
