"""What each table and figure of the paper measures, as cells that this harness can play.

A table has rows and columns; each value of it is a score on one cell: an environment, a memory, a
model. Most of the paper's values have their place here. What is only ours (`EM`, rows of untrained
models, all prompt tokens of an episode) stands beside them and has no number of the paper.

HotpotQA is played in three stages throughout, with five distractors: so the paper trains, and its
tables 2, 4, 5, 7 and 8 share that cell's numbers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from ...results import paper
from ..errors import unknown_name

# A method's name in the paper -> the checkpoint it needs, a key of `RECIPES`.
RECIPES = {
    "agemem": "AgeMem, trained with all returns",
    "answer-only": "AgeMem, trained with the reward of the answer alone",
    "langmem+st": "LangMem with the short-term tools, trained with them",
    "amem+st": "A-Mem with the short-term tools, trained with them",
    "mem0+st": "Mem0 with the short-term tools, trained with them",
}
THREE_STAGE = ("hotpotqa.form", "three-stage")
PAPER_TOOLS = {
    "ADD": "Add_memory",
    "UPDATE": "Update_memory",
    "DELETE": "Delete_memory",
    "RETRIEVE": "Retrieve_memory",
    "SUMMARY": "Summary_context",
    "FILTER": "Filter_context",
}
TOTAL = "TOTAL"
ONE_MODEL = "Qwen2.5-7B"  # the model of the tables that name none: their numbers are its own
J, MQ, EM = "quality.j", "quality.mq", "success"
QUESTION_TOKENS = "question_tokens"  # see `measure`
ALL_TOKENS = "tokens.agent.prompt"
TOOL_CALLS = "tool_calls"  # of the six tools together
EM_NAME = "EM"
NO_RL = "AgeMem-noRL"


@dataclass(frozen=True, slots=True)
class Play:
    """A cell to play.

    Attributes:
        env: Registered name.
        memory: Registered name.
        recipe: The checkpoint that plays it, one of `RECIPES`; None: the model itself, untrained.
        st_tools: Whether the memory is given the short-term tools.
        options: `owner.key` and value, which the table sets itself.
    """

    env: str
    memory: str
    recipe: str | None = None
    st_tools: bool = False
    options: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Value:
    """One value: a score (a column of `CellFrame`, or one that `measure` knows) on a cell."""

    play: Play
    score: str


@dataclass(frozen=True, slots=True)
class Average:
    """The mean over further values of the same row, by their columns; all of them or none."""

    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """A column, and how its numbers are written.

    Attributes:
        name: As in the paper's data.
        scale: What ours are multiplied with: 100 where the paper reports percent.
        digits: After the point.
        meaning: For the reader.
    """

    name: str
    scale: float = 1.0
    digits: int = 3
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the paper, and what to play for each of its values."""

    name: str
    title: str
    head: str  # what its rows are
    rows: tuple[str, ...]
    columns: tuple[Column, ...]
    values: Mapping[tuple[str, str], Value | Average]  # by row and column
    notes: tuple[str, ...] = ()  # how something of the paper is expressed here

    def plays(self) -> list[Play]:
        """All cells, each once, in the order of the rows."""
        found = (
            self.values.get((row, column.name)) for row in self.rows for column in self.columns
        )
        return list(dict.fromkeys(value.play for value in found if isinstance(value, Value)))


@dataclass(slots=True)
class _Draft:
    """Values while they are gathered."""

    values: dict[tuple[str, str], Value | Average] = field(default_factory=dict)

    def put(self, row: str, play: Play, **scores: str) -> None:
        """Scores of one cell, by column."""
        for column, score in scores.items():
            self.values[row, column] = Value(play, score)

    @property
    def rows(self) -> tuple[str, ...]:
        """Rows in the order in which they came."""
        return tuple(dict.fromkeys(row for row, _ in self.values))


def hotpotqa(
    memory: str, recipe: str | None = None, *options: tuple[str, str], st_tools: bool = False
) -> Play:
    """HotpotQA in three stages."""
    return Play("hotpotqa", memory, recipe, st_tools, (THREE_STAGE, *options))


def make_table(name: str, recipes: Collection[str] = ()) -> Table:
    """What to play for a table.

    Args:
        name: One of `results.paper.TABLES`.
        recipes: The checkpoints there are. The sweeps of tables 5 and 8 are of a trained model;
            without one, the untrained model is swept, in rows that are called so.

    Raises:
        UsageError: for any other name; it names the nearest.
    """
    if name not in _MAKERS:
        raise unknown_name("table", name, _MAKERS)
    return _MAKERS[name](recipes)


def paper_values(name: str) -> dict[tuple[str, str, str], float]:
    """The paper's numbers of a table, by its model, and by row and column as `make_table` has them.

    Args:
        name: One of `results.paper.TABLES`.
    """
    return dict(_paper_values(name))


def _paper_values(name: str) -> Iterator[tuple[tuple[str, str, str], float]]:
    for line in paper.table(name):
        model = line.pop("model", ONE_MODEL)
        head, *columns = line
        for column in columns:
            number = float(line[column])
            if name == "table3":  # a column is a model and what became of it
                model, _, variant = column.rpartition("_")
                yield (model, line[head], variant), number
            else:
                yield (model, line[head], column), number


# --- the tables -------------------------------------------------------------------------------


def _percent(name: str, meaning: str) -> Column:
    return Column(name, 100.0, 2, meaning)


_J = Column("J", meaning="a judge's score of the answer, 0 to 1")
_MQ = Column("MQ", meaning="a judge's score of what the memory holds, 0 to 1")
_EM = Column(EM_NAME, meaning="exact match of the answer; ours, never in the place of J")
_TOKENS = Column(
    "tokens", digits=0, meaning="prompt tokens of a call once the question is put, its mean"
)
# The score that the paper reports of each environment.
METRICS = {"alfworld": EM, "scienceworld": EM, "babyai": EM, "pddl": "progress", "hotpotqa": J}
_RAG_NOTE = (
    "+LT is the paper's AgeMem-noRL-RAG (memory `agemem-norl-rag`): Add, Update and Delete, and in "
    "the place of the short-term tools the three nearest memories before each step; +LT/RL is the "
    "same with a trained model (`agemem-rag`)"
)
_SWEEP_NOTE = (
    "the paper sweeps its trained model; rows called AgeMem-noRL are of the untrained one, played "
    "because no checkpoint was given, and have no number of the paper"
)


def _across(envs: Mapping[str, str], rows: Mapping[str, tuple[str, str | None, bool]]) -> _Draft:
    """Methods × environments, and their average; HotpotQA's exact match beside."""
    draft = _Draft()
    for row, (memory, recipe, st_tools) in rows.items():
        for column, env in envs.items():
            options = (THREE_STAGE,) if env == "hotpotqa" else ()
            play = Play(env, memory, recipe, st_tools, options)
            draft.put(row, play, **{column: METRICS[env]})
            if env == "hotpotqa":
                draft.put(row, play, **{f"{column} {EM_NAME}": EM})
        draft.values[row, "Avg"] = Average(tuple(envs))
    return draft


def _across_columns(envs: Mapping[str, str]) -> tuple[Column, ...]:
    meanings = {"progress": "progress rate", J: "a judge's score of the answer"}
    scores = [
        _percent(column, meanings.get(METRICS[env], "success rate") + ", percent")
        for column, env in envs.items()
    ]
    exact = _percent(f"HotpotQA {EM_NAME}", f"{_EM.meaning}; percent")
    average = _percent("Avg", "mean over the environments, HotpotQA by J")
    return (*scores, average, exact)


def _table2(_: Collection[str]) -> Table:
    envs = {column: env for column, (env, _) in paper.ENVIRONMENTS.items()}
    methods = ("No-Memory", "LangMem", "A-Mem", "Mem0", "Mem0g", NO_RL, "AgeMem")
    rows = {m: (paper.MEMORIES[m], "agemem" if m == "AgeMem" else None, False) for m in methods}
    draft = _across(envs, rows)
    title = "Table 2: performance on five benchmarks, percent"
    return Table("table2", title, "method", methods, _across_columns(envs), draft.values)


def _table7(_: Collection[str]) -> Table:
    envs = {c: paper.ENVIRONMENTS[c][0] for c in ("ALFWorld", "SciWorld", "HotpotQA")}
    rows: dict[str, tuple[str, str | None, bool]] = {"No-Memory": ("none", None, False)}
    for method in ("LangMem", "A-Mem", "Mem0"):
        memory = paper.MEMORIES[method]
        rows[method] = (memory, None, False)
        rows[f"{method}+ST"] = (memory, None, True)
        rows[f"{method}+ST/RL"] = (memory, f"{memory}+st", True)
    rows["AgeMem"] = ("agemem", "agemem", False)
    draft = _across(envs, rows)
    title = "Table 7: baselines with the short-term tools and training, percent"
    note = (
        "+ST is `--st-tools` with the untrained model, which the paper does not report; +ST/RL is "
        "the same with a checkpoint trained with that memory: --trained langmem+st=SPEC, …"
    )
    columns = _across_columns(envs)
    return Table("table7", title, "method", tuple(rows), columns, draft.values, (note,))


def _figure2(_: Collection[str]) -> Table:
    draft = _Draft()
    methods = ("LangMem", "A-Mem", "Mem0", "Mem0g", NO_RL, "AgeMem")
    for method in methods:
        play = hotpotqa(paper.MEMORIES[method], "agemem" if method == "AgeMem" else None)
        draft.put(method, play, MQ=MQ, EM=EM)
    title = "Figure 2: memory quality (MQ) on HotpotQA"
    return Table("figure2", title, "method", methods, (_MQ, _EM), draft.values)


def _figure3(_: Collection[str]) -> Table:
    draft = _Draft()
    for method, recipe in (
        ("AgeMem-noRL-RAG", None), (NO_RL, None), ("AgeMem-RAG", "agemem"), ("AgeMem", "agemem")
    ):  # fmt: skip
        play = hotpotqa(paper.MEMORIES[method], recipe)
        draft.put(method, play, prompt_tokens=QUESTION_TOKENS, **{"whole episode": ALL_TOKENS})
    columns = (
        Column("prompt_tokens", digits=0, meaning=_TOKENS.meaning),
        Column("whole episode", digits=0, meaning="prompt tokens of all the agent's calls; ours"),
    )
    title = "Figure 3: prompt tokens on HotpotQA"
    notes = ("a drawing beside this table shows the mean over all calls of an episode",)
    return Table("figure3", title, "method", draft.rows, columns, draft.values, notes)


def _table3(_: Collection[str]) -> Table:
    draft = _Draft()
    untrained, trained = hotpotqa("agemem-norl"), hotpotqa("agemem", "agemem")
    tools = {
        **{name: f"tool_calls.{tool}" for name, tool in PAPER_TOOLS.items()},
        TOTAL: TOOL_CALLS,
    }
    for row, score in tools.items():
        draft.put(row, untrained, noRL=score)
        draft.put(row, trained, GRPO=score)
    columns = (
        Column("noRL", digits=2, meaning="calls an episode, untrained"),
        Column("GRPO", digits=2, meaning="calls an episode, trained"),
    )
    title = "Table 3: tool calls an episode on HotpotQA"
    notes = ("every call of one of the six tools counts, refused ones too, over all stages",)
    return Table("table3", title, "tool", draft.rows, columns, draft.values, notes)


def _figure4(_: Collection[str]) -> Table:
    draft = _Draft()
    parts = {
        "Base": ("none", None),
        "+LT": ("agemem-norl-rag", None),
        "+LT/RL": ("agemem-rag", "agemem"),
        "+LT/ST/RL": ("agemem", "agemem"),
    }
    for dataset in ("ALFWorld", "SciWorld", "HotpotQA"):
        env = paper.ENVIRONMENTS[dataset][0]
        options = (THREE_STAGE,) if env == "hotpotqa" else ()
        for part, (memory, recipe) in parts.items():
            play = Play(env, memory, recipe, options=options)
            draft.put(dataset, play, **{part: METRICS[env]})
    for part, (memory, recipe) in parts.items():
        draft.put(f"HotpotQA {EM_NAME}", hotpotqa(memory, recipe), **{part: EM})
    columns = tuple(_percent(part, "percent") for part in parts)
    title = "Figures 4 and 9: components of AgeMem, percent"
    notes = (_RAG_NOTE, f"HotpotQA is a judge's score of the answer; {EM_NAME}: {_EM.meaning}")
    return Table("figure4", title, "data set", draft.rows, columns, draft.values, notes)


def _put_all(draft: _Draft, row: str, play: Play, *, calls: bool = False) -> None:
    more = {"tool_calls": TOOL_CALLS} if calls else {}
    draft.put(row, play, J=J, tokens=QUESTION_TOKENS, MQ=MQ, EM=EM, **more)


def _table4(_: Collection[str]) -> Table:
    draft = _Draft()
    _put_all(draft, "Answer-Only", hotpotqa("agemem", "answer-only"), calls=True)
    _put_all(draft, "All-Returns", hotpotqa("agemem", "agemem"), calls=True)
    _put_all(draft, NO_RL, hotpotqa("agemem-norl"), calls=True)
    columns = (_J, _TOKENS, _MQ, Column("tool_calls", digits=2, meaning="calls an episode"), _EM)
    title = "Tables 4 and 6: reward of the training, on HotpotQA"
    notes = (
        "which checkpoint was trained with which reward is what --trained says of it",
        f"{NO_RL} is the untrained model, for orientation; the paper has no such row here",
    )
    return Table("table4", title, "reward", draft.rows, columns, draft.values, notes)


def _sweep(name: str, title: str, option: str, recipes: Collection[str]) -> Table:
    """One option of AgeMem on HotpotQA, over the paper's values; `OWN` stands for its memory."""
    draft = _Draft()
    settings = [next(iter(line.values())) for line in paper.table(name)]
    for setting in settings:
        key = option.replace("OWN", "agemem")
        _put_all(draft, setting, hotpotqa("agemem", "agemem", (key, setting)))
    for setting in settings if "agemem" not in recipes else ():
        key = option.replace("OWN", "agemem-norl")
        _put_all(draft, f"{NO_RL}, {setting}", hotpotqa("agemem-norl", None, (key, setting)))
    head, columns = option.partition(".")[2], (_J, _MQ, _TOKENS, _EM)
    return Table(name, title, head, draft.rows, columns, draft.values, (_SWEEP_NOTE,))


def _table5(recipes: Collection[str]) -> Table:
    title = "Table 5: threshold of Filter_context, on HotpotQA"
    return _sweep("table5", title, "OWN.theta_f", recipes)


def _table8(recipes: Collection[str]) -> Table:
    title = "Table 8: number of distractor messages, on HotpotQA"
    return _sweep("table8", title, "hotpotqa.distractors", recipes)


_MAKERS = {
    "table2": _table2,
    "figure2": _figure2,
    "figure3": _figure3,
    "table3": _table3,
    "figure4": _figure4,
    "table4": _table4,
    "table5": _table5,
    "table7": _table7,
    "table8": _table8,
}
