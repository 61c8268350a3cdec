"""`python -m agemem_eval.policies.package TRAINING/final NAME`: a checkpoint for the package.

Makes the folder `policies/nano/NAME` that `--model NAME` plays: weights in float16, tokenizer and
template as they are, `card.json` with the settings the model is asked by, `training.json` with
the recipe and the curves, `README.md` for people. Moments of the optimizer stay behind, and so do
paths of the machine. Needs no torch.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import yaml
from numpy.typing import NDArray
from safetensors.numpy import save_file

from ..harness.config import AgentConfig
from ..harness.errors import AgememError, DataError, UsageError, unknown_name
from ..harness.files import read_json, write_json
from ..harness.models import packaged
from ..harness.models.inprocess.files import WHOLE
from ..harness.models.numpy.weights import read_weights
from ..harness.models.packaged import CHECKPOINTS
from ..harness.store import check_name
from .checkpoints import CARD, HEADER, Phase, whole_folder
from .logs import EVALUATION, METRICS, SFT, read_lines
from .package_card import TRAINING, readme

LARGEST = 20 * 10**6  # bytes of all packaged checkpoints together
_COPIED = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
    "special_tokens_map.json", "chat_template.jinja",
)  # fmt: skip
_OF_TASKS = ("max_steps",)  # agent's settings that are the environment's, not the checkpoint's
_EVALUATED = ("step", "reward", "low", "high", "success", "answered", "format_valid")
_TRAINED = ("step", "reward", "success", "format_valid", "kl")
_TUNED = ("step", "loss", "accuracy")
_TUNED_LINES = 50  # of supervised fine-tuning, evenly spaced


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the folder; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m agemem_eval.policies.package")
    parser.add_argument("checkpoint", type=Path, help="TRAINING/final, TRAINING/sft, or a step's")
    parser.add_argument("name", help=f"{', '.join(CHECKPOINTS)}; another with --kind and --out")
    parser.add_argument("--kind", choices=list(CHECKPOINTS), help="what it is, by another name")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings",
                        help="a setting of the agent, instead of the recipe's")  # fmt: skip
    parser.add_argument("--results", type=Path, help="Markdown: what was measured with it")
    parser.add_argument("--limits", type=Path, help="Markdown: further limits")
    parser.add_argument("--out", type=Path, default=packaged.FOLDER, help="default: the package")
    given = parser.parse_args(arguments)
    try:
        texts = {key: _text(getattr(given, key)) for key in ("results", "limits")}
        folder = make_package(
            given.checkpoint, given.name, given.out, given.settings, kind=given.kind, **texts
        )
        size, rest = _size(folder), _size(given.out)
    except AgememError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{folder}: {size / 1e6:.2f} MB; all checkpoints there: {rest / 1e6:.2f} of "
          f"{LARGEST / 1e6:g} MB")  # fmt: skip
    return 0


def make_package(
    checkpoint: Path,
    name: str,
    out: Path,
    settings: Sequence[str] = (),
    *,
    kind: str | None = None,
    results: str = "",
    limits: str = "",
) -> Path:
    """Make the folder of a packaged checkpoint; what was there under this name is replaced.

    Args:
        checkpoint: What a training left, in the training's folder.
        name: One of `CHECKPOINTS`; outside of the package any, with its kind.
        out: Where packaged checkpoints are.
        settings: `key=value` of `AgentConfig`, over those of the recipe.
        kind: One of `CHECKPOINTS`, whose training it has, e.g. with another seed; None: its name.
        results: Markdown for the card.
        limits: Likewise.

    Raises:
        UsageError: for an unknown name or setting, or a checkpoint that is not what the name says.
        DataError: if files are missing or damaged, weights do not fit float16, or all packaged
            checkpoints together would be larger than `LARGEST`.
    """
    if (kind or name) not in CHECKPOINTS or (kind and out == packaged.FOLDER):
        raise unknown_name("packaged checkpoint", name, CHECKPOINTS)
    check_name(name)
    training = _training(checkpoint)
    header, card = _read(training / HEADER, "recipe"), _read(checkpoint / CARD, "training")
    _check_kind(kind or name, card)
    weights = read_weights(checkpoint)
    card |= {
        "agent": agent_settings(header["recipe"], settings),
        "writes": False,
        "weights": {"count": sum(w.size for w in weights.values()), "dtype": "float16"},
    }
    told = {"recipe": _without_places(header["recipe"]), **_curves(training, card)}
    model = name if name in CHECKPOINTS else "numpy:DIR"  # wherever it lies
    text = readme(name, card, told, model, results=results, limits=limits)
    with whole_folder(out / name, f"the checkpoint {out / name}") as folder:
        _fill(folder, checkpoint, weights)
        write_json(folder / CARD, card)
        write_json(folder / TRAINING, told)
        (folder / "README.md").write_text(text, encoding="utf-8")
        others = sum(_size(out / other) for other in CHECKPOINTS if other != name)
        if (size := _size(folder) + others) > LARGEST:
            raise DataError(
                f"the packaged checkpoints would be {size / 1e6:.1f} MB together, which is more "
                f"than {LARGEST // 10**6}"
            )
    return out / name


def _fill(folder: Path, checkpoint: Path, weights: Mapping[str, NDArray[np.float32]]) -> None:
    """Write the weights, and what reads and writes texts as it is."""
    for file in _COPIED:
        if (checkpoint / file).is_file():
            shutil.copyfile(checkpoint / file, folder / file)
    save_file(halved(weights), folder / WHOLE, metadata={"format": "pt"})
    (folder / WHOLE).chmod(0o644)


def halved(weights: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float16]]:
    """Weights in float16.

    Raises:
        DataError: if one is too large for it, or no number.
    """
    found: dict[str, NDArray[np.float16]] = {}
    for name, weight in weights.items():
        with np.errstate(over="ignore"):
            half = weight.astype(np.float16)
        if not np.isfinite(half).all():
            raise DataError(f"the weight {name} holds numbers that float16 cannot")
        found[name] = half
    return found


def agent_settings(recipe: Mapping[str, Any], given: Sequence[str] = ()) -> dict[str, Any]:
    """The settings that a model is asked by: its training's, drawn as at its evaluation.

    Raises:
        UsageError: for an unknown setting or a bad value.
    """
    found = {k: v for k, v in dict(recipe["agent"]).items() if k not in _OF_TASKS}
    found["temperature"] = recipe["evaluation"]["temperature"]
    for pair in given:
        key, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f"--set {pair!r} is not of the form key=value")
        if key not in AgentConfig.model_fields:
            raise unknown_name("setting of the agent", key, AgentConfig.model_fields)
        found[key] = yaml.safe_load(value)
    try:
        checked = AgentConfig.model_validate(found)
    except ValueError as error:
        raise UsageError(f"the agent's settings {found} are refused: {error}") from error
    return {key: getattr(checked, key) for key in found}


def _training(checkpoint: Path) -> Path:
    """The folder of the training that a checkpoint is of."""
    for folder in checkpoint.resolve().parents[:2]:
        if (folder / HEADER).is_file():
            return folder
    raise DataError(f"{checkpoint} is in no folder of a training: there is no {HEADER} above it")


def _read(path: Path, key: str) -> dict[str, Any]:
    value = read_json(path)
    if not isinstance(value, dict) or key not in value:
        raise DataError(f"{path} is not of a checkpoint: it tells no {key!r}")
    return value


def _check_kind(name: str, card: Mapping[str, Any]) -> None:
    """See that the checkpoint is what its name will say of it."""
    scheme = (card.get("reward") or {}).get("scheme")
    trained = name != packaged.NanoSft.checkpoint
    wanted = "answer-only" if name == packaged.NanoAnswerOnly.checkpoint else "all-returns"
    if (card["training"] == "agemem") != trained or card.get("phase") not in get_args(Phase):
        raise UsageError(f"{name} is {'not ' * (not trained)}trained by GRPO, and this one's card "
                         f"says training {card['training']!r}")  # fmt: skip
    if trained and scheme != wanted:
        raise UsageError(f"{name} is trained with scheme {wanted}, and this one with {scheme}")


def _without_places(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe whose model is named by its folder's name; the card tells it by its hash."""
    model = dict(recipe["model"])
    if model.get("path"):
        model["path"] = Path(str(model["path"])).name
    return {**recipe, "model": model}


def _curves(training: Path, card: Mapping[str, Any]) -> dict[str, Any]:
    """What the training's logs tell up to the checkpoint, a few numbers a line."""
    step = card["step"] if card["phase"] == "grpo" else 0
    tuned = read_lines(training / SFT)
    if len(tuned) > _TUNED_LINES:
        picked = np.unique(np.linspace(0, len(tuned) - 1, _TUNED_LINES).round().astype(int))
        tuned = [tuned[i] for i in picked]
    return {
        "evaluation": _lines(read_lines(training / EVALUATION), _EVALUATED, step),
        "grpo": _lines(read_lines(training / METRICS), _TRAINED, step),
        "sft": _lines(tuned, _TUNED, None),
    }


def _lines(
    lines: Sequence[dict[str, Any]], keys: Sequence[str], last: int | None
) -> list[dict[str, Any]]:
    kept = (line for line in lines if last is None or line["step"] <= last)
    return [{key: line[key] for key in keys if key in line} for line in kept]


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _text(path: Path | None) -> str:
    try:
        return path.read_text(encoding="utf-8").strip() if path is not None else ""
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
