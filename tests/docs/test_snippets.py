"""What the docs tell a reader to do is done, and gives what they say."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from doc_pages import DOCS, Fence, command_lines, fences, name_of

from agemem_eval.harness.cli import main
from agemem_eval.harness.models import packaged

WITH_BLOCKS = [page for page in sorted(DOCS.rglob("*.md")) if any(f.mark for f in fences(page))]
_SHELL = re.compile(r"[|&;<>$]")


@pytest.mark.parametrize("page", WITH_BLOCKS, ids=name_of)
def test_the_blocks_of_a_page_do_what_it_says(
    page: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    if not any(f.mark == "shows" and "… nano …" in f.code for f in fences(page)):
        monkeypatch.setattr(packaged, "FOLDER", tmp_path / "none")  # it takes longer than rules
    printed = ""
    for fence in fences(page):
        if fence.mark == "run":
            printed = carried_out(fence, capfd)
        elif fence.mark == "shows":
            missing = [line for line in fence.code.splitlines() if not stands_in(line, printed)]
            assert not missing, f"of {name_of(page)} not in:\n{printed}"


def carried_out(fence: Fence, capfd: pytest.CaptureFixture[str]) -> str:
    """Do what a block says; what it printed."""
    if fence.title:
        file = Path(fence.title)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(fence.code + "\n", encoding="utf-8")
        if fence.language == "python":
            compile(fence.code, fence.title, "exec")
        return ""
    if fence.language == "python":
        return in_a_process([sys.executable, "-c", fence.code])
    printed = ""
    for line in command_lines(fence.code):
        if line.startswith("agemem-eval ") and not _SHELL.search(line):
            printed += in_this_process(shlex.split(line)[1:], capfd)
        else:
            printed += in_a_process(["bash", "-c", line])
    return printed


def in_this_process(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    """A command without the second that a start takes."""
    capfd.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    printed = "\n".join(capfd.readouterr())
    assert ended.value.code in (0, None), printed
    return printed


def in_a_process(command: list[str]) -> str:
    """A command as a shell would run it, with this Python first on the path."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def stands_in(line: str, printed: str) -> bool:
    """Whether a line of a page is one of what was printed; blanks count as one, `…` as anything."""
    parts = (r"\s+".join(map(re.escape, part.split())) for part in line.split("…"))
    pattern = r".*?".join(parts)
    return any(re.search(pattern, row) for row in printed.splitlines())


def test_a_line_that_was_not_printed_is_noticed() -> None:
    assert stands_in(" rag … 5/5", "hotpotqa  rag   100%   5/5")
    assert not stands_in(" rag … 5/5", "hotpotqa  rag   100%   4/5")
    assert not stands_in("a\nb".splitlines()[1], "a")


def test_there_are_blocks_on_the_pages_that_promise_them() -> None:
    names = {page.name for page in WITH_BLOCKS}
    assert {"get-started.md", "your-memory.md", "your-environment.md", "your-model.md"} <= names
