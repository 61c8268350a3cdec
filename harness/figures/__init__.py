"""Figures of runs as SVG, PNG and PDF; docs/figures.md tells what each shows and how to read it.

    from agemem_eval.harness.analysis import load_frames
    from agemem_eval.harness import figures

    frames = load_frames(Path("runs/a"))
    for name in figures.drawable(frames):
        figure = figures.draw(frames, name)      # a matplotlib Figure
        figures.svg(figure)                      # a string that can stand in an HTML page
        figures.png(figure), figures.pdf(figure) # bytes

The same frames give the same bytes. matplotlib (extra `figures`) is imported when one is drawn.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from ..analysis import CellFrame
from ..errors import DataError, MissingExtraError, unknown_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .training import TrainingLog

# What can be drawn, in the order of a report: name, and the title it has.
TITLES = {
    "scores": "Scores",
    "memory-quality": "Quality of the memory",
    "prompt-tokens": "Prompt tokens",
    "ablation": "Ablation of the components",
    "reward-curves": "Reward over training",
    "tool-usage": "Use of the memory tools",
    "success-tokens": "Score against tokens",
    "success-steps": "Solved within n steps",
    "lifelong-gain": "Success over a stream of tasks",
    "losses": "Where failed questions lost their facts",
}
NAMES = tuple(TITLES)
# What they are in AgeMem's paper (arXiv 2601.01885), as other names of them.
ALIASES = {
    "figure2": "memory-quality",
    "figure3": "prompt-tokens",
    "figure4": "ablation",
    "figure9": "ablation",
    "figure5": "reward-curves",
    "figure10": "reward-curves",
    "table2": "scores",
    "table3": "tool-usage",
}


class NothingToDrawError(DataError):
    """The runs hold no numbers for this figure; the message says what is lacking."""


def canonical(name: str) -> str:
    """The name of a figure, given that or an alias.

    Raises:
        UsageError: for an unknown one; it names the nearest.
    """
    name = ALIASES.get(name, name)
    if name not in TITLES:
        raise unknown_name("figure", name, (*TITLES, *ALIASES))
    return name


def draw(
    frames: Sequence[CellFrame],
    name: str,
    *,
    logs: Iterable[TrainingLog] = (),
    reference: bool = False,
    trained: Mapping[str, str] | None = None,
    allow_mixed: bool = False,
) -> Figure:
    """Draw one figure.

    Args:
        frames: The cells to show, of one or more runs.
        name: One of `NAMES`, or of `ALIASES`.
        logs: Training logs, for `reward-curves`.
        reference: Whether the values that AgeMem's authors report stand beside, set apart.
        trained: For `ablation`, the model that each trained one was made from.
        allow_mixed: Whether cells of different protocols may stand in panels of their own.

    Raises:
        NothingToDrawError: if there are no numbers for it.
        UsageError: for an unknown name, or cells of one environment under different protocols.
        MissingExtraError: without matplotlib.
    """
    name = canonical(name)
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("matplotlib", "figures") from error
    from .drawing import drawn
    from .gather import GATHER
    from .material import Material

    material = Material(tuple(frames), tuple(logs), reference, dict(trained or {}), allow_mixed)
    return drawn(GATHER[name](material))


def drawable(
    frames: Sequence[CellFrame], logs: Iterable[TrainingLog] = (), *, allow_mixed: bool = False
) -> list[str]:
    """The names of the figures that there are numbers for.

    Raises:
        UsageError: as `draw`.
    """
    from .gather import GATHER
    from .material import Material

    material = Material(tuple(frames), tuple(logs), allow_mixed=allow_mixed)
    found = []
    for name, gather in GATHER.items():
        with contextlib.suppress(NothingToDrawError):
            gather(material)
            found.append(name)
    return found


def svg(figure: Figure) -> str:
    """A figure as an `<svg>` element, to stand in a page: text as text, every name escaped."""
    from .style import as_svg

    return as_svg(figure)


def png(figure: Figure) -> bytes:
    """A figure as PNG, 150 dots an inch."""
    from .style import as_bytes

    return as_bytes(figure, "png")


def pdf(figure: Figure) -> bytes:
    """A figure as PDF, with its fonts."""
    from .style import as_bytes

    return as_bytes(figure, "pdf")
