"""Every command that the docs show is one that there is, with options that it has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer.main
from doc_pages import ROOT, calls, name_of, pages, reference

from agemem_eval.harness.cli import app

PROGRAM: Any = typer.main.get_command(app)
OPEN = re.compile(r"…|\.\.\.|^[A-Z_]+…?$|[A-Z]{3,}|^\[|\$")  # what a reader puts in, or leaves out


def command_of(words: list[str]) -> tuple[Any, list[str]]:
    """The command that some words name, and what follows."""
    command = PROGRAM
    rest = list(words)
    while hasattr(command, "commands"):
        if not rest or rest[0] not in command.commands:
            raise AssertionError(f"there is no command {' '.join(words)!r}")
        command = command.commands[rest.pop(0)]
    return command, rest


def check(words: list[str]) -> None:
    """Raise what the command line would raise for these words."""
    if words[0].startswith("-") or OPEN.search(words[0]):
        return
    if words in (["runs"], ["data"]):  # groups, named as such
        return
    command, rest = command_of(words)
    if any(OPEN.search(word) for word in rest) or not rest:
        known = {
            flag for option in command.params for flag in (*option.opts, *option.secondary_opts)
        }
        for word in rest:
            flag = word.partition("=")[0]
            assert not flag.startswith("-") or flag in known | {"--help"}, flag
    else:
        command.make_context(command.name, rest)


def problem(words: list[str]) -> str:
    """What is wrong with a command; nothing where nothing is."""
    try:
        check(words)
    except SystemExit:  # --help
        return ""
    except Exception as error:  # noqa: BLE001 - typer's errors share no base
        return error.format_message() if hasattr(error, "format_message") else repr(error)
    return ""


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_every_command_shown_is_one_that_the_program_takes(page: Path) -> None:
    found = {" ".join(words): problem(words) for words in calls(page)}
    assert not {words: said for words, said in found.items() if said}


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--env", "alfworld", "--no-such"],
        ["run", "--episodes", "five"],
        ["reports", "x"],
        ["run", "--no-such", "NAME"],
        ["compare", "only-one"],
    ],
)
def test_the_check_notices_what_the_program_refuses(words: list[str]) -> None:
    assert problem(words)


def test_commands_are_found_in_fences_spans_and_over_several_lines(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "Use `agemem-eval list` or\n\n```bash\npip install . && agemem-eval run --env a \\\n"
        "    --memory b > c\n```\n",
        encoding="utf-8",
    )
    assert list(calls(page)) == [["run", "--env", "a", "--memory", "b"], ["list"]]


def test_the_command_line_page_has_every_flag_that_help_shows() -> None:
    page = reference.filled((ROOT / "docs/cli.md").read_text(encoding="utf-8"))
    sections = dict(
        re.findall(r"^## `agemem-eval ([a-z -]+)`.*?\n(.*?)(?=^## |\Z)", page, re.M | re.S)
    )
    assert set(sections) == set(reference.commands())
    for words, section in sections.items():
        command, _ = command_of(words.split())
        context = command.context_class(command, info_name=words)
        shown = set(
            re.findall(r"(?<![\w-])--[a-z][a-z-]*", _options_part(command.get_help(context)))
        )
        listed = set(re.findall(r"`(--[a-z-]+)`", section))
        assert shown - {"--help"} <= listed, words


def _options_part(text: str) -> str:
    """The flags at the begin of the lines of options, not those that the prose names."""
    return "\n".join(line for line in text.splitlines() if re.match(r"\s{2}-", line)).replace(
        "  --", "\n--"
    )
