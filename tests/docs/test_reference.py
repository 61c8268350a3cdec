"""The docs are complete: what the code knows stands on the page that is about it."""

from __future__ import annotations

import re
import typing
from pathlib import Path

import pytest
import yaml
from doc_pages import DOCS, ROOT, name_of, pages, text_of

from agemem_eval.harness import registry, report
from agemem_eval.harness.analysis.frame import PLAIN
from agemem_eval.harness.cli import main
from agemem_eval.harness.config import AgentConfig, Execution, RunConfig
from agemem_eval.harness.ledger import Cost, Role
from agemem_eval.harness.metrics import Row
from agemem_eval.harness.quality.score import MEANINGS
from agemem_eval.harness.tools import ToolStatus
from agemem_eval.harness.types import Status

ENVS = [plugin.name for plugin in registry.plugins("envs") if plugin.distribution == "agemem-eval"]
MEMORIES = [p.name for p in registry.plugins("memories") if p.distribution == "agemem-eval"]
MODELS = [p.name for p in registry.plugins("models") if p.distribution == "agemem-eval"]


def known_metrics() -> list[str]:
    """Every number of an episode, a row, or an environment, by its name."""
    names = [*PLAIN, "memory_faults", *(f"quality.{name}" for name in MEANINGS)]
    for env in ENVS:
        names += [f"metrics.{name}" for name in registry.load("envs", env).spec.metrics]
    names += [*(role.value for role in Role), *report.LOSSES, *typing.get_args(Status)]
    names += [*Row.__dataclass_fields__, *(n for n in Cost.__dataclass_fields__ if n != "wall_s")]
    return list(dict.fromkeys(names))


@pytest.mark.parametrize("name", known_metrics())
def test_every_metric_is_on_the_page_of_metrics(name: str) -> None:
    assert f"`{name}`" in text_of(DOCS / "metrics.md")


def test_what_stands_above_a_column_is_on_the_page_of_metrics() -> None:
    page = text_of(DOCS / "metrics.md")
    empty = report.grids([])[0]
    for title in (*empty.names, *report._SHORT.values()):
        words = title.partition(" [")[0]
        assert words in page, title


def test_the_headline_of_each_environment_is_the_codes() -> None:
    page = text_of(DOCS / "metrics.md")
    section = page[page.index("## Headline score") : page.index("## Scores of an environment")]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    for env in ENVS:
        (row,) = [row for row in rows if f"`{env}`" in row.split("|")[1]]
        assert re.findall(r"`([^`]+)`", row.split("|")[2]) == list(
            registry.load("envs", env).spec.headline
        )


@pytest.mark.parametrize("env", ENVS)
def test_each_environment_has_a_page_that_says_the_same_things(env: str) -> None:
    page = text_of(DOCS / f"environments/{env}.md")
    headings = re.findall(r"^## (.*)$", page, re.MULTILINE)
    wanted = ["Splits", "Scores", "Options", "Installation and data", "How it was checked"]
    assert [heading for heading in headings if heading in wanted] == wanted
    for split in registry.load("envs", env).spec.splits:
        assert f"`{split.name}`" in page


@pytest.mark.parametrize("memory", MEMORIES)
def test_each_memory_is_on_a_page_and_in_the_overview(memory: str) -> None:
    assert f"`{memory}`" in text_of(DOCS / "memories/index.md")
    asked = f"<!-- generated: options memories {memory} -->"
    assert any(asked in page.read_text("utf-8") for page in (DOCS / "memories").glob("*.md"))


@pytest.mark.parametrize("model", MODELS)
def test_each_model_is_on_the_page_of_models(model: str) -> None:
    assert re.search(rf"`{model}[:`]", text_of(DOCS / "models.md"))


def test_every_status_of_a_tool_call_is_told() -> None:
    page = text_of(DOCS / "memories/agemem.md")
    assert all(f"`{status.value}`" in page for status in ToolStatus)


def test_every_key_of_a_configuration_file_is_told() -> None:
    page = text_of(DOCS / "configuration.md")
    for model in (RunConfig, AgentConfig, Execution):
        assert not [name for name in model.model_fields if f"| `{name}` |" not in page]


def test_the_navigation_names_each_page_once() -> None:
    def files(part: object) -> list[str]:
        if isinstance(part, str):
            return [part]
        parts = part.values() if isinstance(part, dict) else part
        return [name for inner in parts for name in files(inner)]  # type: ignore[union-attr]

    nav = files(yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"])
    there = [page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")]
    assert sorted(nav) == sorted(there)


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_links_to_files_lead_to_files(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?://|mailto:|#)([^)#\s]+)", text_of(page))
    assert not [target for target in targets if not (page.parent / target).exists()]


# --- troubleshooting --------------------------------------------------------------------------

PAGE = text_of(DOCS / "troubleshooting.md").partition("## It goes, and looks wrong")[0]
LINES = re.findall(r"^\| `([^|]+)` \| ", PAGE, re.MULTILINE)
PLAY = ["run", "--env", "alfworld", "--memory", "none", "--model", "scripted", "--episodes", "1"]
FAILING = {
    "unknown environment": ["run", "--env", "alfwrld", "--memory", "none"],
    "--env is missing": ["run", "--memory", "none"],
    "unknown split of": [*PLAY, "--split", "generatd"],
    "unknown option": [*PLAY, "-o", "engin=native"],
    "-o '": [*PLAY, "-o", "engine"],
    "No such option": [*PLAY, "--nope"],
    "configuration: ": [*PLAY, "--repeats", "0"],
    "cannot read the configuration": ["run", "--config", "nowhere.yaml"],
    "unknown key in": ["run", "--config", "wrong.yaml"],
    "… needs a key": [*PLAY, "--model", "openai:x"],
    "the split": ["run", "--env", "hotpotqa", "--memory", "none", "--split", "dev"],
    "the class": ["check", "no_such_module:Class"],
    "the system prompt needs": [*PLAY, "--context-tokens", "300"],
    "… needs supporting facts": ["run", "--env", "alfworld", "--memory", "gold-store"],
    "the model 'random'": ["run", "--env", "hotpotqa", "--memory", "none", "--model", "random"],
    "--memory-model": [*PLAY[:4], "mem0", "--memory-model", "random"],
    "--order-seeds orders": [*PLAY, "--order-seeds", "0,1"],
    "'…' cannot name": [*PLAY, "--name", "../x"],
    "unknown run": ["report", "nope"],
}


def said_by(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    capfd.readouterr()
    with pytest.raises(SystemExit):
        main(arguments)
    return capfd.readouterr().err


def matches(line: str, said: str) -> bool:
    pattern = ".*?".join(map(re.escape, line.split("…")))
    return re.search(pattern, said) is not None


@pytest.mark.parametrize("begin", FAILING)
def test_an_error_on_the_page_is_the_one_that_a_user_gets(
    begin: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in ("OPENAI_API_KEY", "ALFWORLD_DATA"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AGEMEM_DATA", str(tmp_path / "data"))
    (tmp_path / "wrong.yaml").write_text("envz: alfworld\n", encoding="utf-8")
    lines = [line for line in LINES if line.startswith(begin)]
    assert lines
    said = said_by(FAILING[begin], capfd)
    assert any(matches(line, said) for line in lines), said


def test_the_other_errors_on_the_page_are_in_the_code() -> None:
    files = [*(ROOT / "harness").rglob("*.py"), *(ROOT / "envs").rglob("*.py")]
    code = "\n".join(file.read_text(encoding="utf-8") for file in files)
    code = re.sub(r'"\s*\n\s*f?"', "", code)  # one string over several lines
    tried = (*FAILING, "…: cannot connect")
    untried = [line for line in LINES if not line.startswith(tried)]
    assert len(untried) > 5
    parts = {part.strip(" :;'()") for line in untried for part in line.split("…")}
    assert not [part for part in parts if len(part) > 3 and part not in code]


def test_the_errors_of_a_run_that_is_there_are_on_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "EMPTY")
    nobody = ["--model", "openai:x", "--base-url", "http://127.0.0.1:9/v1", "--name", "a"]
    once = ["--retries", "0", "-o", "max_retries=0", "--max-infra-errors", "1"]
    said = said_by([*PLAY, *nobody, *once], capfd)
    for begin in ("stopped early", "…: cannot connect", "incomplete;"):
        assert any(matches(line, said) for line in LINES if line.startswith(begin)), said
    for more, begin in (
        (["--seed", "1"], "the run … was made"),
        (["--no-resume"], "the run … exists"),
    ):
        said = said_by([*PLAY, *nobody, *more], capfd)
        assert any(matches(line, said) for line in LINES if line.startswith(begin)), said
