"""The command line: `agemem-eval run | list | doctor | …`; results are in `cli_results`.

This module imports only typer; each command imports what it needs when it runs, so that `--help`
answers at once.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .cli_claims import claims_app
from .cli_data import data_app
from .cli_results import add_results
from .cli_runs import runs_app
from .cli_train import add_train
from .errors import AgememError

STOPPED = 130  # the shell's exit code for an interruption

app = typer.Typer(
    name="agemem-eval",
    help="Which memory makes an agent better, at what cost, and is the memory any good?",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    add_completion=False,
)

Env = Annotated[str | None, typer.Option("--env", help="Environments, comma-separated.")]
Memory = Annotated[str | None, typer.Option("--memory", help="Memories, comma-separated.")]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="nano (default where this installation has it, else scripted), nano-sft, "
        "nano-answer-only, openai:NAME, vllm:MODEL, hf:DIR, numpy:DIR, scripted:explorer, random, "
        "replay:RUN.",
    ),
]
Split = Annotated[str | None, typer.Option(help="Split; default: the environment's own.")]
Episodes = Annotated[int | None, typer.Option(help="First n tasks of the split; default: all.")]
Seed = Annotated[int | None, typer.Option(help="Seed of environments and sampling [0].")]
Repeats = Annotated[int | None, typer.Option(help="Episodes a task [1].")]
Scope = Annotated[
    str | None,
    typer.Option("--memory-scope", help="episode (default), or run: one memory over all tasks."),
]
OrderSeeds = Annotated[
    str | None,
    typer.Option("--order-seeds", help="With --memory-scope run: orders of the tasks, e.g. 0,1,2."),
]
MemoryModel = Annotated[
    str | None,
    typer.Option(
        "--memory-model",
        help="What writes for the memory: heuristic (rules, offline), or openai:NAME; default: "
        "the agent's model where that can write, else heuristic.",
    ),
]
StTools = Annotated[
    bool | None,
    typer.Option("--st-tools", help="Give every memory Retrieve, Summary and Filter as tools."),
]
Judge = Annotated[
    str | None,
    typer.Option("--judge", help="A model that scores answers (j) and memories (mq)."),
]
Store = Annotated[
    str | None,
    typer.Option(
        "--store",
        help="sqlite (default, exact), sqlite+usearch (large; approximate, so resumed runs may "
        "differ), qdrant[:URL].",
    ),
]
Embedder = Annotated[
    str | None,
    typer.Option(help="hashing (default), minilm, or a sentence-transformers model."),
]
Transport = Annotated[str | None, typer.Option(help="prompt (default) or native tool calls.")]
Shots = Annotated[int | None, typer.Option(help="Worked examples in the prompt: 0 or 1 [1].")]
ShowValid = Annotated[
    str | None,
    typer.Option("--show-valid-actions", help="never (default), on-request or always."),
]
MaxSteps = Annotated[int | None, typer.Option(help="Step cap; default: the environment's.")]
MaxTurns = Annotated[
    int | None, typer.Option("--max-turns-per-step", help="Model calls a step [6].")
]
MaxCalls = Annotated[
    int | None, typer.Option("--max-calls-per-turn", help="Tool calls a turn [8].")
]
ContextTokens = Annotated[int | None, typer.Option(help="Tokens the prompt may have [8192].")]
HistoryTokens = Annotated[
    int | None,
    typer.Option(
        help="Tokens of it beside system prompt and tools' schemas: the same room for "
        "memories with and without tools [what is left of --context-tokens]."
    ),
]
ContextKept = Annotated[
    float | None,
    typer.Option(
        help="Share of them that is left once they are too few: below 1 more is dropped at once, "
        "and seldom, so that prompts go on from what was computed of earlier ones [1]."
    ),
]
MaxTokens = Annotated[int | None, typer.Option(help="Tokens a completion may have [1024].")]
Temperature = Annotated[float | None, typer.Option(help="Sampling temperature [0].")]
TopP = Annotated[float | None, typer.Option("--top-p", help="Nucleus sampling; default: off.")]
AllowShort = Annotated[
    bool | None,
    typer.Option("--allow-short", help="Accept a split that holds fewer tasks than it should."),
]
Options = Annotated[
    list[str] | None,
    typer.Option(
        "-o",
        "--option",
        help="key=value for the environment, memory or model that has such an option; "
        "NAME.key=value where several have it.",
    ),
]
Config = Annotated[
    Path | None, typer.Option("--config", help="YAML with any of these; the command line wins.")
]
Data = Annotated[Path | None, typer.Option(help="Folder of the environment's data files.")]
BaseUrl = Annotated[str | None, typer.Option(help="Where an openai: model is served.")]
MemoryBaseUrl = Annotated[
    str | None, typer.Option(help="Where the memory's model is served [--base-url].")
]
JudgeBaseUrl = Annotated[str | None, typer.Option(help="Where the judge is served [--base-url].")]
CacheDir = Annotated[
    Path | None,
    typer.Option(help="Where replies and a judge's scores are kept [run: RUNS_DIR/.cache]."),
]
Name = Annotated[str | None, typer.Option(help="Name of the run; default: made from the config.")]
RunsDir = Annotated[Path | None, typer.Option(help="Where runs are kept [runs].")]
Concurrency = Annotated[int | None, typer.Option(help="Episodes at once [8].")]
Workers = Annotated[
    int | None, typer.Option(help="Environment processes; default: one a core; 0: none.")
]
Retries = Annotated[
    int | None, typer.Option(help="Further tries after an infrastructure failure [2].")
]
MaxInfra = Annotated[
    int | None,
    typer.Option(
        "--max-infra-errors",
        help="Failed episodes in a row that end the run, or make it wait [5]; see --patience.",
    ),
]
Patience = Annotated[
    float | None,
    typer.Option(
        "--patience", help="Seconds to wait for an endpoint that has worked and is down [600]."
    ),
]
StepTimeout = Annotated[
    float | None,
    typer.Option("--step-timeout", help="Seconds a step may take [60]; scienceworld: 150 or more."),
]
EpisodeTimeout = Annotated[
    float | None, typer.Option("--episode-timeout", help="Seconds an episode may take [3600].")
]
Heartbeat = Annotated[
    float | None,
    typer.Option("--heartbeat", help="Seconds without a sign of life that end a worker [30]."),
]
Resume = Annotated[
    bool | None,
    typer.Option(help="Go on with a run of the same name (default), or refuse it."),
]
Backend = Annotated[
    str | None,
    typer.Option(help="Where environments live: local (default) processes, or ray actors."),
]
RayAddress = Annotated[
    str | None,
    typer.Option(help="The Ray cluster, or auto; default: one on this machine, for this run."),
]
RayCpus = Annotated[float | None, typer.Option(help="CPUs that a Ray worker takes [1].")]
Cache = Annotated[
    bool | None,
    typer.Option(
        "--cache", help="Keep the model's replies in --cache-dir, and ask for none a second time."
    ),
]
TraceTo = Annotated[
    str | None,
    typer.Option(
        "--trace", help="Export a span for each model and tool call: jsonl (in the run), or otlp."
    ),
]
TraceContent = Annotated[
    bool | None,
    typer.Option(
        "--trace-content", help="Spans with the texts of outputs, tool calls and actions, too."
    ),
]
LogLevel = Annotated[
    str | None,
    typer.Option(help="Of log.jsonl in the run: debug, info (default), warning or error."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


@app.command()
def run(
    env: Env = None,
    memory: Memory = None,
    model: Model = None,
    split: Split = None,
    episodes: Episodes = None,
    seed: Seed = None,
    repeats: Repeats = None,
    memory_scope: Scope = None,
    order_seeds: OrderSeeds = None,
    memory_model: MemoryModel = None,
    st_tools: StTools = None,
    judge: Judge = None,
    store: Store = None,
    embedder: Embedder = None,
    transport: Transport = None,
    shots: Shots = None,
    show_valid_actions: ShowValid = None,
    max_steps: MaxSteps = None,
    max_turns_per_step: MaxTurns = None,
    max_calls_per_turn: MaxCalls = None,
    context_tokens: ContextTokens = None,
    history_tokens: HistoryTokens = None,
    context_kept: ContextKept = None,
    max_tokens: MaxTokens = None,
    temperature: Temperature = None,
    top_p: TopP = None,
    allow_short: AllowShort = None,
    option: Options = None,
    config: Config = None,
    data: Data = None,
    base_url: BaseUrl = None,
    memory_base_url: MemoryBaseUrl = None,
    judge_base_url: JudgeBaseUrl = None,
    cache_dir: CacheDir = None,
    name: Name = None,
    runs_dir: RunsDir = None,
    concurrency: Concurrency = None,
    workers: Workers = None,
    retries: Retries = None,
    max_infra_errors: MaxInfra = None,
    patience_s: Patience = None,
    heartbeat_s: Heartbeat = None,
    resume: Resume = None,
    backend: Backend = None,
    ray_address: RayAddress = None,
    ray_cpus: RayCpus = None,
    cache: Cache = None,
    trace: TraceTo = None,
    trace_content: TraceContent = None,
    log_level: LogLevel = None,
    step_timeout_s: StepTimeout = None,
    episode_timeout_s: EpisodeTimeout = None,
    as_json: AsJson = False,
) -> None:
    """Run environments × memories with a model; the same command again resumes."""
    given = {key: value for key, value in locals().items() if value is not None}
    from .commands import run_command

    sys.exit(run_command(given))  # past `main`, to which 130 would be an interruption


@app.command("list")
def list_(
    what: Annotated[
        str | None, typer.Argument(help="envs, memories, models or embedders; default: all.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what can be run: environments with their splits, memories, models, embedders."""
    from .commands import list_command

    list_command(what, as_json)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Check this machine: Python, extras, data, endpoint key; what is missing and how to get it."""
    from .commands import doctor_command

    raise typer.Exit(doctor_command(as_json))


@app.command()
def check(
    target: Annotated[
        str, typer.Argument(help="A registered environment or memory, or package.module:Class.")
    ],
    option: Annotated[
        list[str] | None, typer.Option("-o", "--option", help="key=value to build it with.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check that an environment or a memory, yours too, holds to what the harness relies on."""
    from .commands import check_command

    raise typer.Exit(check_command(target, option or [], as_json))


@app.command("judge-check")
def judge_check(
    judge: Annotated[str, typer.Argument(help="The model, e.g. openai:NAME.")],
    option: Annotated[
        list[str] | None, typer.Option("-o", "--option", help="key=value of the model.")
    ] = None,
    base_url: BaseUrl = None,
    cache_dir: CacheDir = None,
    as_json: AsJson = False,
) -> None:
    """Hold a judge against labelled answers and memories: exit code 1 unless it is calibrated."""
    from .quality.command import judge_check_command

    code = judge_check_command(
        judge, option or [], base_url=base_url, as_json=as_json, cache_dir=cache_dir
    )
    raise typer.Exit(code)


app.add_typer(data_app, name="data")
app.add_typer(runs_app, name="runs")
app.add_typer(claims_app, name="claims")
add_results(app)
add_train(app)


def main(arguments: list[str] | None = None) -> None:
    """Entry point: errors become one line and an exit code.

    Exit codes: 0 done, 1 an incomplete run, 2 wrong usage, 3 a missing prerequisite, 130
    stopped by Ctrl-C, 143 stopped by SIGTERM.
    """
    try:
        code = app(args=arguments, standalone_mode=False)
    except AgememError as error:
        _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        _fail("stopped; the same command resumes", STOPPED)
    except Exception as error:  # typer's usage errors share no public base across its versions
        if not hasattr(error, "format_message"):
            raise
        if type(error).__name__ == "NoArgsIsHelpError":  # a group of commands, none named
            print(error.format_message(), file=sys.stderr)
            sys.exit(2)
        _fail(error.format_message(), 2)
    else:
        if code == STOPPED:  # typer made an exit code of the interruption
            _fail("stopped; the same command resumes", STOPPED)
        sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> None:
    line = " ".join(message.split())
    print(f"agemem-eval: error: {line}", file=sys.stderr)
    sys.exit(code)
