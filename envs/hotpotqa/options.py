"""The options of HotpotQA, read from the texts of the command line."""

from __future__ import annotations

from dataclasses import dataclass

from ...harness.errors import UsageError, unknown_name
from ..common import flag, number
from .changes import MAX_CHANGES
from .distractors import MAX_DISTRACTORS
from .generator import N_PARAGRAPHS

_FORMS = ("interactive", "three-stage")
_EXPOSURES = ("together", "each")
_FEWEST = 2  # paragraphs: those that support an answer
_MAX_CHANGES_OF_FEWEST = 5  # some have no sixth fact that could be corrected
_CITES = ("optional", "required")


@dataclass(frozen=True, slots=True)
class Options:
    """How questions are played; `HotpotqaEnvironment` tells what each option means."""

    three_stage: bool
    each: bool
    n_distractors: int
    n_changes: int
    n_paragraphs: int  # of generated questions
    cite: bool
    allow_short: bool


def read_options(
    form: str,
    exposure: str,
    distractors: str,
    changes: str,
    paragraphs: str,
    cite: str,
    allow_short: str,
) -> Options:
    """The options as they are used.

    Raises:
        UsageError: a value that an option does not have.
    """
    for name, value, values in (
        ("form", form, _FORMS), ("exposure", exposure, _EXPOSURES), ("cite", cite, _CITES)
    ):  # fmt: skip
        if value not in values:
            raise unknown_name(f"value of {name}:", value, values)
    options = Options(
        three_stage=form == "three-stage",
        each=exposure == "each",
        n_distractors=number("distractors", distractors, MAX_DISTRACTORS),
        n_changes=number("changes", changes, MAX_CHANGES),
        n_paragraphs=number("paragraphs", paragraphs, N_PARAGRAPHS),
        cite=cite == "required",
        allow_short=flag("allow_short", allow_short),
    )
    if not options.three_stage and (exposure, distractors, changes) != ("together", "5", "0"):
        raise UsageError("exposure, distractors and changes are options of form=three-stage")
    if options.n_paragraphs < _FEWEST:
        raise UsageError(f"paragraphs must be at least {_FEWEST}, not {paragraphs}")
    if options.n_paragraphs == _FEWEST and options.n_changes > _MAX_CHANGES_OF_FEWEST:
        raise UsageError(
            f"changes={changes} are too many for the facts of {_FEWEST} paragraphs: choose "
            f"changes={_MAX_CHANGES_OF_FEWEST} at most, or more paragraphs"
        )
    return options
