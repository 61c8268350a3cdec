"""`nano`, `nano-sft`, `nano-answer-only`: checkpoints of this project, played by numpy.

Each is a folder below `FOLDER`, which `policies.package` makes of what a training left: a small
checkpoint as `numpy:` takes it, whose `card.json` says beside the training how it is to be asked:

    {"training": "agemem", "agent": {"shots": 0, "max_tokens": 200}, "writes": false}

`agent` are the settings that it was trained with, which hold wherever the user gives none;
`writes` is whether it can write a memory's texts, which so small a model cannot unless it says so.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError

from ..config import AgentConfig
from ..errors import DataError
from ..files import read_json
from ..types import Model
from . import make_model, require_no_name
from .inprocess.files import CARD
from .numpy import NumpyModel

FOLDER = Path(__file__).resolve().parents[2] / "policies" / "nano"
DEFAULT, WEIGHTLESS = "nano", "scripted"  # what `run` plays with, and without a checkpoint


class Card(BaseModel):
    """What a packaged checkpoint's `card.json` says that a model is asked by; more may stand there.

    Attributes:
        agent: Settings of `AgentConfig`, those that were given at the training.
        writes: See `ModelInfo`.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    agent: dict[str, Any] = {}
    writes: bool = False


class PackagedModel(NumpyModel):
    """A checkpoint of the package; which one, a subclass says.

    Args:
        name: Empty: the subclass is the name.
        max_batch: Requests decoded at once; without it as many as `numpy:` takes.
        max_tokens_in_flight: Tokens that the cache holds; likewise.
        actions: `restricted` as in `numpy:`: results are shown as `nano (restricted)`.

    Raises:
        UsageError: for a name or an option's bad value.
        DataError: where this installation is without the checkpoint, or its files are damaged.
    """

    checkpoint: ClassVar[str] = ""
    before: ClassVar[str | None] = None  # the checkpoint it was trained from by reinforcement

    def __init__(
        self,
        name: str = "",
        *,
        max_batch: str | int | None = None,
        max_tokens_in_flight: str | int | None = None,
        actions: str = "free",
    ) -> None:
        require_no_name(self.checkpoint, name)
        given = {"max_batch": max_batch, "max_tokens_in_flight": max_tokens_in_flight}
        given["actions"] = actions if actions != "free" else None
        self._options = {key: str(value) for key, value in given.items() if value is not None}
        card = self._card()
        of_numpy: dict[str, Any] = self._options
        super().__init__(str(self.folder()), **of_numpy)
        shown = self.info.name.removeprefix("numpy:")
        self.info = replace(self.info, name=shown, writes=card.writes)
        self._asked.info = self.info  # its errors name it as the user does

    @classmethod
    def folder(cls) -> Path:
        """Where its files are, if they are."""
        return FOLDER / cls.checkpoint

    @classmethod
    def shipped(cls) -> bool:
        """Whether this installation has it."""
        return (cls.folder() / CARD).is_file()

    @classmethod
    def agent_settings(cls) -> dict[str, Any]:
        """The agent's settings that it was trained with.

        Raises:
            DataError: where this installation is without the checkpoint, or its card is damaged.
        """
        return cls._card().agent

    def untrained(self) -> Model | None:
        """The checkpoint before reinforcement learning; None where it is that itself.

        Raises:
            DataError: where this installation is without it.
        """
        return make_model(self.before, self._options) if self.before is not None else None

    @classmethod
    def _card(cls) -> Card:
        path = cls.folder() / CARD
        if not cls.shipped():
            raise DataError(
                f"this installation has no checkpoint {cls.checkpoint} ({cls.folder()} is not "
                f"there): use --model {WEIGHTLESS}, or numpy:FOLDER with a checkpoint of your own"
            )
        try:
            card = Card.model_validate(read_json(path))
            AgentConfig.model_validate(card.agent)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise DataError(f"{path} is damaged: {where}: {first['msg']}") from error
        return card


class Nano(PackagedModel):
    """A small policy for AgeMem's tools, fine-tuned and then trained by step-wise GRPO."""

    checkpoint, before = "nano", "nano-sft"


class NanoSft(PackagedModel):
    """`nano` before reinforcement learning: it plays `agemem-norl` in its place."""

    checkpoint = "nano-sft"


class NanoAnswerOnly(PackagedModel):
    """`nano-sft` trained by GRPO that rewards the answer alone."""

    checkpoint, before = "nano-answer-only", "nano-sft"


CHECKPOINTS = {model.checkpoint: model for model in (Nano, NanoSft, NanoAnswerOnly)}  # by name


def default_model() -> str:
    """The model of a `run` that names none: `nano` where this installation has it."""
    return DEFAULT if Nano.shipped() else WEIGHTLESS
