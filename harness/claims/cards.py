"""Whether the checkpoints of an experiment are those it speaks of, by what their cards say.

The checkpoints of one training differ by its seed, and by nothing else; trainings that are compared
began from the same weights. A folder under the wrong name would answer another question.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from ..config import split_model
from ..errors import DataError, UsageError
from ..files import read_json
from ..models.inprocess.files import CARD
from ..models.packaged import CHECKPOINTS, FOLDER
from ..reproduce.settings import read_spec
from .experiment import Checkpoints, Experiment


def check_cards(experiment: Experiment, played: Collection[str]) -> None:
    """Refuse checkpoints whose cards do not fit the definition, where it says what they must be.

    Args:
        experiment: Whose models.
        played: Those of them that are to be played.

    Raises:
        UsageError: for another scheme, a seed that comes twice, or another base; in one line.
        DataError: for a card that cannot be read.
    """
    bases: dict[str, tuple[str, str]] = {}  # of each base its hash, and who said so
    for name, model in experiment.models.items():
        if name not in played or (model.scheme is None and model.base is None):
            continue
        seeds: dict[str, str] = {}
        for spec, card in _cards(model):
            _check_scheme(model, spec, card)
            seed = str(card.get("seed"))
            if seeds.setdefault(seed, spec) != spec:
                raise UsageError(f"{seeds[seed]} and {spec} are of the same seed, {seed}")
            if model.base is None:
                continue
            hash_ = str(_within(card, "base", "hash"))
            known, first = bases.setdefault(model.base, (hash_, spec))
            if known != hash_:
                raise UsageError(
                    f"{first} and {spec} were not trained from the same {model.base}: their cards "
                    "have different hashes of their base"
                )


def _check_scheme(model: Checkpoints, spec: str, card: dict[str, Any]) -> None:
    found = _within(card, "reward", "scheme")
    if model.scheme is not None and found != model.scheme:
        raise UsageError(
            f"{spec} was trained by the scheme {found}, and {model.scheme} is meant here: its "
            f"{CARD} says which"
        )


def _cards(model: Checkpoints) -> Iterator[tuple[str, dict[str, Any]]]:
    for spec in model.specs:
        provider, path = split_model(read_spec(spec).name)
        folder = FOLDER / provider if provider in CHECKPOINTS else Path(path).expanduser()
        card = read_json(folder / CARD)
        if not isinstance(card, dict):
            raise DataError(f"{folder / CARD} is no card of a checkpoint")
        yield spec, card


def _within(card: dict[str, Any], *keys: str) -> Any:
    found: Any = card
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found
