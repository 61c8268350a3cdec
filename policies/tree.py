"""Steps packed as trees: what they have in common from their first token on is computed once.

The prompts of an agent's turns begin alike: each is mostly the one before it with a little more,
and the rollouts of a group begin with the same prompt. A trie of all paths (a step's prompt and
its completion) is laid out in a row, a node a token: its position is its depth, and it sees its
ancestors and itself. Each node so gets the hidden state it has in the plain row of any step
through it, and since a node with several children predicts a token for each, losses are sums of
the same terms: log-probabilities, loss and gradients are those of `pack_plain` but for the order
in which floating-point numbers are summed.

A mask of a row is dense: attention costs, and its mask takes, width squared, also for pairs that do
not see each other. A large trie is therefore cut into several, each with the beginning of its
paths computed anew; where, is decided by what is cheapest altogether.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from .forward import Packed, trained_offsets
from .trajectory import Step

# Width at which a dense mask's attention costs as much as all else; see docs/training-speed.md.
EVEN_WIDTH = 1024
_PADDING = 1 / 8  # most of a pack that may be padding
_TOKEN = np.dtype(">i8")  # bytes in this order sort as the numbers do (none is negative)

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Path:
    """A step from the root on: prompt and completion, without what nothing is predicted from."""

    ids: Ids
    before: int  # depth of the token that predicts the completion's first
    first: int  # canonical index of the completion's first token
    offsets: Ids  # of the trained tokens within the completion
    targets: Ids


@dataclass(frozen=True, slots=True)
class _Tree:
    """The trie of some paths as a row."""

    ids: Ids
    positions: Ids
    sees: NDArray[np.bool_]  # [width, width]
    sources: Ids
    targets: Ids
    order: Ids

    @property
    def width(self) -> int:
        return len(self.ids)


def pack_tree(
    steps: Sequence[Step], batch_tokens: int, even_width: int = EVEN_WIDTH
) -> list[Packed]:
    """The forwards of some steps, with common beginnings computed once.

    What nothing trained depends on is left out, so a step without trained tokens costs nothing.

    Args:
        steps: In canonical order; of a trajectory, of a group, or of many: what is alike is found.
        batch_tokens: Most tokens of a pack, padding included; a longer path is alone. The masks
            of a pack take at most its square in bytes.
        even_width: Tokens of a row at which attention under a dense mask takes as long as all
            else; wider trees repeat less, narrower ones attend to less in vain.

    Raises:
        ValueError: for a trained completion after an empty prompt.
    """
    paths = sorted((_path(*found) for found in trained_offsets(steps)), key=_sorted_by)
    if not paths:
        return []
    alike = [0, *(_alike(a.ids, b.ids) for a, b in pairwise(paths))]
    runs = _cut([len(path.ids) for path in paths], alike, batch_tokens, even_width)
    trees = [_lay_out(paths[a:b], [0, *alike[a + 1 : b]]) for a, b in runs]
    trees.sort(key=lambda tree: -tree.width)
    packs, start = [], 0
    while start < len(trees):
        end, width = start + 1, trees[start].width
        while end < len(trees) and _fits(trees[start : end + 1], width, batch_tokens):
            end += 1
        packs.append(_pack(trees[start:end]))
        start = end
    return packs


def _path(step: Step, first: int, offsets: list[int]) -> _Path:
    ids = np.array((*step.prompt_ids, *step.completion_ids[: offsets[-1]]), dtype=np.int64)
    targets = np.array(step.completion_ids, dtype=np.int64)[offsets]
    return _Path(ids, len(step.prompt_ids) - 1, first, np.array(offsets), targets)


def _sorted_by(path: _Path) -> bytes:
    """Sorts paths token by token, so that those of a subtree stand together."""
    return path.ids.astype(_TOKEN).tobytes()


def _alike(ids: Ids, others: Ids) -> int:
    """How many tokens two paths have in common from the first."""
    length = min(len(ids), len(others))
    differ = np.flatnonzero(ids[:length] != others[:length])
    return int(differ[0]) if len(differ) else length


def _cut(
    lengths: Sequence[int], alike: Sequence[int], most: int, even_width: int
) -> list[tuple[int, int]]:
    """Runs of sorted paths, each to be a tree, that together cost least.

    A tree of w tokens costs w + w² / even_width: what is computed token by token, and attention.
    As many tokens are new with a path as it has beyond what it shares with its predecessor.

    Args:
        lengths: Of the paths.
        alike: Tokens that each shares with its predecessor.
        most: Tokens of a tree of several paths.
        even_width: See `pack_tree`.
    """
    best: list[tuple[float, int]] = [(0.0, 0)]  # of the first n paths: cost, start of the last run
    for end in range(1, len(lengths) + 1):
        found, width = (float("inf"), end - 1), 0
        for start in range(end - 1, -1, -1):
            # the run's first path is computed whole; the one after it no longer is
            width += lengths[start] - (alike[start + 1] if start + 1 < end else 0)
            if width > most and start < end - 1:
                break
            cost = best[start][0] + width + width * width / even_width
            found = min(found, (cost, start))
        best.append(found)
    runs, end = [], len(lengths)
    while end:
        runs.append((best[end][1], end))
        end = best[end][1]
    return runs[::-1]


def _lay_out(paths: Sequence[_Path], alike: Sequence[int]) -> _Tree:
    """The trie of sorted paths, depth first.

    Args:
        paths: At least one.
        alike: Tokens that each shares with its predecessor; 0 for the first.
    """
    width = sum(len(path.ids) - shared for path, shared in zip(paths, alike, strict=True))
    ids, positions = np.zeros(width, np.int64), np.zeros(width, np.int64)
    sees = np.zeros((width, width), np.bool_)
    sources, targets, order = [], [], []
    columns, filled = np.zeros(0, np.int64), 0  # the last path's places in the row, by depth
    for path, shared in zip(paths, alike, strict=True):
        end = filled + len(path.ids) - shared
        ids[filled:end] = path.ids[shared:]
        positions[filled:end] = np.arange(shared, len(path.ids))
        sees[filled:end, columns[:shared]] = True
        sees[filled:end, filled:end] = np.tri(end - filled, dtype=np.bool_)
        columns = np.concatenate([columns[:shared], np.arange(filled, end)])
        sources.append(columns[path.before + path.offsets])
        targets.append(path.targets)
        order.append(path.first + path.offsets)
        filled = end
    joined = (np.concatenate(parts) for parts in (sources, targets, order))
    return _Tree(ids, positions, sees, *joined)


def _fits(trees: Sequence[_Tree], width: int, batch_tokens: int) -> bool:
    """Whether trees, the widest first, go into one pack."""
    padding = sum(width - tree.width for tree in trees)
    room = width * len(trees)
    return room <= batch_tokens and padding <= _PADDING * room


def _pack(trees: Sequence[_Tree]) -> Packed:
    """Trees, the widest first, as rows; what pads them sees itself alone."""
    rows, width = len(trees), trees[0].width
    ids, positions = np.zeros((2, rows, width), np.int64)
    mask = np.zeros((rows, 1, width, width), np.bool_)
    for i, tree in enumerate(trees):
        ids[i, : tree.width], positions[i, : tree.width] = tree.ids, tree.positions
        mask[i, 0, : tree.width, : tree.width] = tree.sees
        padding = np.arange(tree.width, width)
        mask[i, 0, padding, padding] = True
    sources = np.concatenate([tree.sources + i * width for i, tree in enumerate(trees)])
    return Packed(
        torch.from_numpy(ids),
        torch.from_numpy(positions),
        torch.from_numpy(mask),
        torch.from_numpy(sources),
        torch.from_numpy(np.concatenate([tree.targets for tree in trees])),
        torch.from_numpy(np.concatenate([tree.order for tree in trees])),
        sum(tree.width for tree in trees),
    )
