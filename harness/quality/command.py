"""`judge-check`: is this model fit to judge?"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ..build import takes
from ..config import split_model
from ..errors import UsageError
from ..ledger import Ledger, Role
from ..metering import Meter, MeteredModel
from ..models import make_model
from ..models.cache import ReplyCache, cached
from ..options import read_pair
from ..trace import Trace
from .calibration import Kind, Part, Report, calibrate
from .judge import Judge


def judge_check_command(
    spec: str,
    pairs: Sequence[str] = (),
    *,
    base_url: str | None = None,
    as_json: bool = False,
    cache_dir: Path | None = None,
) -> int:
    """Score the labelled items with a model, and print how well it does.

    Args:
        spec: The model, e.g. `openai:gpt-4o-mini`.
        pairs: `key=value` options of the model.
        base_url: Its endpoint, for models that have one.
        as_json: One JSON object instead of a table.
        cache_dir: Where its replies are kept; None asks anew for each.

    Returns:
        The exit code: 0 for a calibrated judge, else 1.

    Raises:
        UsageError: for a model that is unknown, or that cannot judge.
        ModelError: when its endpoint failed for good.
    """
    options = {key.removeprefix("model."): value for key, value in map(read_pair, pairs)}
    provider, _ = split_model(spec)
    if base_url is not None:
        if not takes("models", provider, "base_url"):
            raise UsageError(f"the model {provider!r} has no --base-url")
        options["base_url"] = base_url
    report, ledger, faults = asyncio.run(_check(spec, options, cache_dir))
    if as_json:
        print(json.dumps(_as_json(spec, report, ledger, faults), ensure_ascii=False))
    else:
        _print(spec, report, ledger, faults)
    return 0 if report.calibrated else 1


async def _check(
    spec: str, options: dict[str, str], cache_dir: Path | None
) -> tuple[Report, Ledger, int]:
    cache = None if cache_dir is None else ReplyCache(cache_dir)
    model = cached(make_model(spec, options), cache)
    try:
        if not model.info.writes or model.info.name.startswith("heuristic"):
            raise UsageError(f"{model.info.name} cannot judge: name a language model, openai:NAME")
        ledger, trace = Ledger(), Trace()
        metered = MeteredModel(model, Meter(ledger, trace), Role.JUDGE)
        report = await calibrate(Judge(metered, trace))
        return report, ledger, len(trace.of("judge_fault"))
    finally:
        await model.close()


def _as_json(spec: str, report: Report, ledger: Ledger, faults: int) -> dict[str, object]:
    return {
        "judge": spec,
        "calibrated": report.calibrated,
        "failures": {"answers": report.answers.failures, "memories": report.memories.failures},
        "answers": asdict(report.answers),
        "memories": asdict(report.memories),
        "tokens": {role: asdict(usage) for role, usage in ledger.roles.items()},
        "unreadable": faults,
    }


def _print(spec: str, report: Report, ledger: Ledger, faults: int) -> None:
    console = Console(emoji=False)  # `openai:m:` is no emoji
    parts = (("answers", report.answers), ("memories", report.memories))
    lines = [f"{title}: {failure}" for title, part in parts for failure in part.failures]
    for title, part in parts:
        console.print(_table(title, part))
        said = (
            f"agreement {_number(part.agreement)}, error {_number(part.error)}, "
            f"rho {_number(part.spearman)}, false accepts {_number(part.false_accepts)}, "
            f"false rejects {_number(part.false_rejects)}, no score {_number(part.unscored)}\n"
        )
        console.print(said, highlight=False, soft_wrap=True)
    usage = ledger.roles.get(Role.JUDGE.value)
    if usage is not None:
        tokens = f"{usage.prompt_tokens} + {usage.completion_tokens} tokens"
        lines.insert(0, f"{usage.calls} calls, {tokens}, {faults} unreadable")
    lines.append(f"{spec}: {'calibrated' if report.calibrated else 'NOT calibrated'}")
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _table(title: str, part: Part) -> Table:
    table = Table(title=title, title_justify="left", box=None)
    table.add_column("kind")
    for name in ("n", "label", "score", "error", "no score"):
        table.add_column(name, justify="right")
    for kind in part.kinds:
        table.add_row(*_row(kind))
    return table


def _row(kind: Kind) -> tuple[str, ...]:
    return (
        kind.kind,
        str(kind.n),
        _number(kind.label),
        _number(kind.score),
        _number(kind.error),
        str(kind.unscored or ""),
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
