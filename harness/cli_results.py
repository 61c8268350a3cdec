"""The commands that turn runs into results; like `cli` this module imports only typer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

Runs = Annotated[list[str], typer.Argument(help="Run names under --runs-dir, or paths.")]
Run = Annotated[str, typer.Argument(help="A run's name under --runs-dir, or its path.")]
RunsDir = Annotated[Path, typer.Option(help="Where runs are kept.")]
HERE = Path("runs")
BASELINES = Path("results/baselines")
AllowMixed = Annotated[
    bool, typer.Option("--allow-mixed", help="Set runs of different protocols in blocks apart.")
]
MinCoverage = Annotated[
    float, typer.Option("--min-coverage", help="Cells below it are shown and never ranked.")
]
Alpha = Annotated[float, typer.Option("--alpha", help="Level of significance.")]
Baselines = Annotated[Path, typer.Option("--baselines", help="Folder of pinned baselines.")]
Reference = Annotated[
    str | None, typer.Option("--reference", help="paper: the paper's rows, set apart.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def add_results(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (report, figures, view, compare, pin, export, reproduce):
        app.command()(command)


def report(
    runs: Runs,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="terminal, markdown, csv, latex, html or json [that of --out's suffix; terminal].",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write it to this file.")] = None,
    reference: Reference = None,
    prices: Annotated[
        Path | None, typer.Option(help="YAML: dollars a million tokens, by model and kind.")
    ] = None,
    allow_mixed: AllowMixed = False,
    min_coverage: MinCoverage = 0.95,
    alpha: Alpha = 0.05,
    runs_dir: RunsDir = HERE,
) -> None:
    """Print the leaderboard of runs: memories × environments, ranked where that is honest."""
    from .leaderboard.command import report_command

    report_command(
        runs,
        format_,
        runs_dir,
        out=out,
        reference=reference,
        prices=prices,
        allow_mixed=allow_mixed,
        min_coverage=min_coverage,
        alpha=alpha,
    )


def figures(
    runs: Runs,
    out: Annotated[Path, typer.Option("--out", help="Folder to write to.")] = Path("figures"),
    only: Annotated[
        str | None, typer.Option("--only", help="Names of figures, comma-separated; default: all.")
    ] = None,
    formats: Annotated[
        str, typer.Option("--formats", help="svg, png or pdf, comma-separated.")
    ] = "svg,png",
    reference: Reference = None,
    trained: Annotated[
        list[str] | None,
        typer.Option(
            "--trained", help="BASE=TRAINED: the model a trained one was made from; repeatable."
        ),
    ] = None,
    allow_mixed: AllowMixed = False,
    runs_dir: RunsDir = HERE,
) -> None:
    """Draw the figures that there are numbers for."""
    from .figures.command import figures_command

    figures_command(
        runs, runs_dir, out=out, only=only, formats=formats, reference=reference,
        trained=trained or (), allow_mixed=allow_mixed,
    )  # fmt: skip


def view(
    run: Run,
    other: Annotated[
        str | None, typer.Argument(help="A second run, to see both on the same tasks.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder to write to [RUN/view].")
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    runs_dir: RunsDir = HERE,
) -> None:
    """Write a report in HTML that opens from disk: tables, figures, every episode turn by turn."""
    from .viewer.command import view_command

    view_command(run, other, runs_dir, out=out, open_=open_)


def compare(
    base: Annotated[str, typer.Argument(help="The run, or the pinned baseline, to hold against.")],
    new: Annotated[str, typer.Argument(help="The run, or baseline, to judge.")],
    max_drop: Annotated[
        float, typer.Option("--max-drop", help="Drop of a score that is no regression yet.")
    ] = 0.0,
    alpha: Alpha = 0.05,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            help="Column that decides, with a drop of its own or not: success=0.05, "
            "tokens.agent.prompt=10%, headline (default). Repeatable, or comma-separated.",
        ),
    ] = None,
    require_power: Annotated[
        bool, typer.Option("--require-power", help="Exit 1 where --max-drop would go unseen.")
    ] = False,
    base_memory: Annotated[
        str | None, typer.Option(help="Compare this memory of BASE alone.")
    ] = None,
    new_memory: Annotated[str | None, typer.Option(help="With this memory of NEW alone.")] = None,
    junit: Annotated[Path | None, typer.Option("--junit", help="Write JUnit XML here.")] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", help="Write a pull-request comment here.")
    ] = None,
    allow_mixed: Annotated[
        bool,
        typer.Option("--allow-mixed", help="Of different protocols compare what is in common."),
    ] = False,
    baselines: Baselines = BASELINES,
    runs_dir: RunsDir = HERE,
    as_json: AsJson = False,
) -> None:
    """Pair the episodes of two runs: exit code 1 on a regression or lost coverage."""
    from .compare.command import columns_given, compare_command
    from .compare.verdict import Settings

    settings = Settings(
        max_drop=max_drop, alpha=alpha, metrics=columns_given(metric), allow_mixed=allow_mixed,
        require_power=require_power, base_memory=base_memory, new_memory=new_memory,
    )  # fmt: skip
    code = compare_command(
        base, new, runs_dir, settings, baselines=baselines, junit_file=junit,
        markdown_file=markdown, json_=as_json,
    )  # fmt: skip
    raise typer.Exit(code)


def pin(
    run: Run,
    name: Annotated[str | None, typer.Option(help="Name of the baseline [the run's].")] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder of baselines.")] = BASELINES,
    force: Annotated[bool, typer.Option("--force", help="Replace one of that name.")] = False,
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="Pin a run that is not finished.")
    ] = False,
    runs_dir: RunsDir = HERE,
) -> None:
    """Keep a run's episode scores as one small file, to compare later runs with."""
    from .compare.command import pin_command

    pin_command(run, runs_dir, name=name, out=out, force=force, allow_partial=allow_partial)


def export(
    runs: Runs,
    to: Annotated[
        str,
        typer.Option("--to", help="parquet, csv, datasets, inspect, wandb, mlflow or model-card."),
    ],
    out: Annotated[Path | None, typer.Option("--out", help="File or folder to write.")] = None,
    project: Annotated[
        str | None, typer.Option(help="Of wandb; experiment of mlflow [agemem-eval].")
    ] = None,
    runs_dir: RunsDir = HERE,
) -> None:
    """Hand a run's numbers to other tools."""
    from .exports.command import export_command

    export_command(runs, to, runs_dir, out=out, project=project)


def reproduce(
    what: Annotated[
        str,
        typer.Argument(
            help="table2, figure2, figure3, table3, figure4, table4, table5, table7 or table8."
        ),
    ],
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            help="As in `run`, with options of its own behind it: 'vllm:BASE dtype=float16'; "
            "repeatable.",
        ),
    ] = None,
    trained: Annotated[
        list[str] | None,
        typer.Option(
            "--trained",
            help="The AgeMem-trained form of each --model, e.g. 'vllm:BASE lora=DIR'; with "
            "answer-only=, langmem+st=, amem+st= or mem0+st= before it one of another training.",
        ),
    ] = None,
    judge: Annotated[
        str | None, typer.Option("--judge", help="Model that scores J and MQ on HotpotQA.")
    ] = None,
    embedder: Annotated[str | None, typer.Option(help="As in `run`.")] = None,
    memory_model: Annotated[str | None, typer.Option(help="As in `run`.")] = None,
    episodes: Annotated[int | None, typer.Option(help="Of each environment; default: all.")] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            help="YAML with more settings of `run`, and under by_env those of one environment.",
        ),
    ] = None,
    base_url: Annotated[str | None, typer.Option(help="Where openai: models are served.")] = None,
    judge_base_url: Annotated[
        str | None, typer.Option(help="Where the judge is served [--base-url].")
    ] = None,
    concurrency: Annotated[int | None, typer.Option(help="Episodes at once [8].")] = None,
    skip_missing: Annotated[
        bool, typer.Option("--skip-missing", help="Leave environments out that lack their extra.")
    ] = False,
    out: Annotated[Path, typer.Option("--out", help="Folder for the table.")] = Path("results"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would run.")] = False,
    runs_dir: Annotated[Path | None, typer.Option(help="Where runs are kept [runs].")] = None,
) -> None:
    """Run, or resume, what a table or figure of the paper needs; write it beside the paper's."""
    from .reproduce.command import reproduce_command

    code = reproduce_command(
        what, models=model, trained=trained, config=config, out=out, dry_run=dry_run,
        skip_missing=skip_missing, judge=judge, embedder=embedder, memory_model=memory_model,
        episodes=episodes, base_url=base_url, judge_base_url=judge_base_url,
        concurrency=concurrency, runs_dir=runs_dir,
    )  # fmt: skip
    sys.exit(code)  # past `main`, to which 130 would be an interruption
