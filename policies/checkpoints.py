"""Checkpoints of a training: folders that are written whole or not at all, even if killed.

    RUN/recipe.json                the recipe, its hash, and the hash of the tasks' data
    RUN/base/                      the model that a `fresh` recipe begins with
    RUN/sft/                       the model after supervised fine-tuning: AgeMem-noRL
    RUN/checkpoints/step-000010/   model or adapter, optimizer.safetensors, state.json, card.json
    RUN/final/                     the model at the end
    RUN/end.json                   why the training ended, where it shall not go on

Weights are safetensors, everything else is JSON; nothing is pickled. A folder is written under a
name of its own, synced, and then renamed: whatever has its final name is complete. Logs are cut at
the length that `state.json` tells when a training goes on from a checkpoint, so that what was
logged after it is made again.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from .. import __version__
from ..harness.errors import DataError, UsageError
from ..harness.files import disk_error, make_folder, read_json, sync_folder, write_json
from ..harness.store.header import check_same
from .recipe import Recipe

Phase = Literal["sft", "grpo"]
PHASES: tuple[Phase, ...] = ("sft", "grpo")
SCHEMA = 1  # of the folder
HEADER, END, STATE, OPTIMIZER, CARD = (
    "recipe.json", "end.json", "state.json", "optimizer.safetensors", "card.json",
)  # fmt: skip
_NAME = re.compile(r"(?:(sft)-update|step)-(\d+)")
_OS_ERROR = re.compile(r"\(os error (\d+)\)")  # as the safetensors library tells the system's


@dataclass(frozen=True, slots=True)
class State:
    """How far a training is; all that it goes on from beside the weights and moments.

    Attributes:
        phase: Supervised fine-tuning, or GRPO.
        step: Updates done in this phase.
        logs: Length of each log in bytes.
        best: Step of the best held-out reward so far, and that reward.
        collapse: What the watch for collapse has seen.
        tokens: Trained on in this phase so far: what stands in the loss, not what was computed.
    """

    phase: Phase
    step: int
    logs: dict[str, int] = field(default_factory=dict)
    best: tuple[int, float] | None = None
    collapse: dict[str, Any] = field(default_factory=dict)
    tokens: int = 0

    @property
    def name(self) -> str:
        """The checkpoint's folder."""
        return f"{'sft-update' if self.phase == 'sft' else 'step'}-{self.step:06d}"

    @classmethod
    def from_json(cls, value: Any) -> State:
        """The state of `asdict`.

        Raises:
            ValueError: if it is none.
        """
        try:
            best = value["best"]
            state = cls(
                value["phase"],
                int(value["step"]),
                {str(name): int(size) for name, size in value["logs"].items()},
                None if best is None else (int(best[0]), float(best[1])),
                dict(value["collapse"]),
                int(value["tokens"]),
            )
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise ValueError(f"no state: {error!r}") from error
        if state.phase not in PHASES:
            raise ValueError(f"phase {state.phase!r}")
        return state


class Checkpoints:
    """The checkpoints of one training.

    Args:
        directory: Of the training.
        keep: How many of the newest stay.
    """

    def __init__(self, directory: Path, keep: int) -> None:
        self.directory, self._keep = directory, keep
        self.folder = directory / "checkpoints"

    def clean(self) -> None:
        """Remove what a killed process left half written or half removed."""
        for folder in (self.directory, self.folder):
            for path in folder.glob(".*") if folder.is_dir() else ():
                if path.is_dir() and path.name.startswith((".new-", ".old-")):
                    shutil.rmtree(path, ignore_errors=True)

    def steps(self) -> list[tuple[Phase, int, Path]]:
        """The checkpoints there are, oldest first."""
        found = []
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            if match := _NAME.fullmatch(path.name):
                phase: Phase = "sft" if match[1] else "grpo"
                found.append((phase, int(match[2]), path))
        return sorted(found, key=lambda entry: (PHASES.index(entry[0]), entry[1]))

    def newest(self) -> tuple[State, Path] | None:
        """The checkpoint that the training goes on from; None: from its beginning.

        Raises:
            DataError: if it is damaged.
        """
        steps = self.steps()
        if not steps:
            return None
        path = steps[-1][2]
        try:
            return State.from_json(read_json(path / STATE)), path
        except ValueError as error:
            raise DataError(
                f"{path / STATE} is damaged ({error}): remove {path}, and the same command goes on "
                "from the checkpoint before it"
            ) from error

    def write(self, state: State, save: Callable[[Path], None]) -> Path:
        """Write a checkpoint.

        Args:
            state: How far the training is.
            save: Writes the rest into a folder.

        Raises:
            DataError: if the disk refuses; no part of it stays.
        """
        path = self.folder / state.name
        with whole_folder(path, f"the checkpoint {path}") as folder:
            save(folder)
            write_json(folder / STATE, {"schema": SCHEMA, **asdict(state)})
        return path

    def prune(self, state: State, last_good: int | None = None) -> None:
        """Remove what need not be kept: not the newest, the best, or the last before a bad streak.

        Checkpoints of supervised fine-tuning go once there are later ones of GRPO.

        Args:
            state: As it stands.
            last_good: Step of GRPO from which on something has looked like collapse; the newest
                checkpoint before it stays. None: nothing does.
        """
        steps = self.steps()
        own = [entry for entry in steps if entry[0] == state.phase]
        keep = {path for _, _, path in own[-self._keep :]}
        if state.phase == "grpo":
            if state.best is not None:
                keep |= {path for _, step, path in own if step == state.best[0]}
            if last_good is not None:
                keep |= {path for _, _, path in [e for e in own if e[1] <= last_good][-1:]}
        for _, _, path in steps:
            if path not in keep:
                remove_folder(path)


@contextlib.contextmanager
def whole_folder(path: Path, what: str) -> Iterator[Path]:
    """A folder to write to, which takes its name at the end, or leaves nothing behind.

    Args:
        path: What it shall be; what is there already is replaced.
        what: For the error.

    Raises:
        DataError: if the disk refuses.
    """
    new = path.with_name(f".new-{path.name}")
    try:
        with disk(what):
            shutil.rmtree(new, ignore_errors=True)
            make_folder(new)
            yield new
            _sync_tree(new)
            remove_folder(path)
            new.rename(path)
            sync_folder(path.parent)
    except BaseException:  # also when stopped
        shutil.rmtree(new, ignore_errors=True)
        raise


@contextlib.contextmanager
def disk(what: str) -> Iterator[None]:
    """What the system refuses becomes one line; safetensors tells it in errors of its own.

    Raises:
        DataError: if the disk refuses.
    """
    try:
        yield
    except OSError as error:
        raise disk_error(what, error) from error
    except Exception as error:
        found = _OS_ERROR.search(str(error))
        if found is None:
            raise
        number = int(found[1])
        raise disk_error(what, OSError(number, os.strerror(number))) from error


def remove_folder(path: Path) -> None:
    """Remove a folder so that no part of it is ever taken for all of it."""
    if path.is_dir():
        old = path.with_name(f".old-{path.name}")
        shutil.rmtree(old, ignore_errors=True)
        path.rename(old)
        shutil.rmtree(old, ignore_errors=True)


def curve(identity: dict[str, Any]) -> dict[str, Any]:
    """The identity of a recipe but for its number of steps: more of them go on with the curve."""
    grpo = identity.get("grpo")
    if not isinstance(grpo, dict):
        return identity
    return {**identity, "grpo": {key: grpo[key] for key in grpo if key != "steps"}}


def kept(directory: Path) -> bool:
    """Whether a training there has kept what it learned; before that, any recipe may begin."""
    ends = (directory / name for name in ("sft", "final", END))
    return bool(Checkpoints(directory, 1).steps()) or any(path.exists() for path in ends)


def final_step(directory: Path) -> int | None:
    """Updates behind the model at the end of a training; None where there is none yet.

    Raises:
        DataError: if its card is damaged.
    """
    if not (directory / "final").is_dir():
        return None
    path = directory / "final" / CARD
    try:
        return int(read_json(path)["step"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is not the card of a checkpoint: choose another --name") from error


def check_header(directory: Path, recipe: Recipe, data_hash: str) -> bool:
    """See that a directory is free, or holds this training, perhaps with fewer steps.

    What a start left there that kept nothing of what it learned counts only where it is of the
    same recipe. Before the first checkpoint of GRPO its whole section may change: nothing that is
    kept depends on it.

    Returns:
        Whether it holds it.

    Raises:
        ConfigMismatchError: for another recipe or other data, with what differs.
        UsageError: for fewer steps than were made, or more where nothing is there to go on from.
        DataError: if the directory holds something else.
    """
    header = _header(directory)
    if header is None:
        return False
    found, wanted = curve(header["recipe"]), curve(recipe.identity)
    if not _reinforced(directory):
        found, wanted = {**found, "grpo": None}, {**wanted, "grpo": None}
    held = {"recipe": found, "data_hash": header.get("data_hash")}
    given = {"recipe": wanted, "data_hash": data_hash}
    if held != given and not kept(directory):
        return False
    check_same(directory.name, held, given)
    _check_steps(directory, recipe)
    return True


def _header(directory: Path) -> dict[str, Any] | None:
    """What a directory says that it holds; None where it is free."""
    path = directory / HEADER
    if not path.is_file():
        foreign = [p.name for p in _listed(directory) if p.name not in ("lock", f"{HEADER}.tmp")]
        if foreign:
            raise DataError(
                f"{directory} holds no training, but {sorted(foreign)[0]}: choose another --name"
            )
        return None
    header = read_json(path)
    if not isinstance(header, dict) or not isinstance(header.get("recipe"), dict):
        raise DataError(f"{path} is not the recipe of a training")
    if header.get("schema") != SCHEMA:
        raise DataError(
            f"{directory} was written by agemem-eval {header.get('version')}: go on with that "
            "version, or choose another --name"
        )
    return header


def _reinforced(directory: Path) -> bool:
    """Whether something is kept that depends on how GRPO is done."""
    ended = (directory / "final").is_dir() or (directory / END).exists()
    return ended or any(phase == "grpo" for phase, _, _ in Checkpoints(directory, 1).steps())


def _check_steps(directory: Path, recipe: Recipe) -> None:
    """Refuse fewer steps than were made, and more where the last checkpoint is gone."""
    if recipe.grpo is None:
        return
    final, steps = final_step(directory) or 0, recipe.grpo.steps
    found = [step for phase, step, _ in Checkpoints(directory, 1).steps() if phase == "grpo"]
    newest = max(found, default=0)
    if steps < max(newest, final):
        raise UsageError(
            f"the training {directory.name} has made {max(newest, final)} steps: set grpo.steps to "
            "as many or more, or choose another --name"
        )
    if newest < final < steps:
        raise UsageError(
            f"the training {directory.name} is done with {final} steps, and the checkpoint is gone "
            "from which more would go on: choose another --name"
        )


def write_header(directory: Path, recipe: Recipe, data_hash: str) -> None:
    """Say what a directory holds.

    Raises:
        DataError: if the disk refuses.
    """
    with disk(f"the training {directory}"):
        make_folder(directory)
        value = {"schema": SCHEMA, "version": __version__, "hash": recipe.hash}
        value |= {"data_hash": data_hash, "recipe": recipe.identity}
        write_json(directory / HEADER, value)


def _listed(directory: Path) -> list[Path]:
    return list(directory.iterdir()) if directory.is_dir() else []


def _sync_tree(folder: Path) -> None:
    """Bring all files below a folder, and their names, to the disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        elif path.is_dir():
            sync_folder(path)
    sync_folder(folder)
