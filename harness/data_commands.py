"""What `agemem-eval data …` does; imported when it runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from .commands import standard_output
from .datasets import CATALOGUE, Dataset, data_root, dataset, installed, problems
from .download import Progress, get
from .errors import UsageError


def list_data(directory: Path | None, as_json: bool) -> None:
    """`data list`."""
    root = directory or data_root()
    if as_json:
        rows = [
            {
                "name": d.name,
                "env": d.env,
                "about": d.about,
                "licence": d.licence,
                "size": d.size,
                "homepage": d.homepage,
                "files": [{"url": f.url, "size": f.size, "sha256": f.sha256} for f in d.files],
                "folder": str(folder) if (folder := installed(d.name, root)) else None,
            }
            for d in CATALOGUE.values()
        ]
        print(json.dumps({"root": str(root), "datasets": rows}, ensure_ascii=False))
        return
    table = Table("name", "environment", "what it is", "licence", "size", "here", box=None)
    for d in CATALOGUE.values():
        here = "yes" if installed(d.name, root) else "no"
        table.add_row(d.name, d.env, d.about, d.licence, _size(d), here)
    console = standard_output()
    console.print(table)
    console.print(f"\nkept in {root}; agemem-eval data get NAME", markup=False, highlight=False)
    console.print(
        "no data needed: alfworld, pddl and hotpotqa generate tasks; those of scienceworld and "
        "babyai come with their extras",
        markup=False,
        highlight=False,
    )


def get_data(
    names: list[str], directory: Path | None, source: Path | None, mirror: str | None
) -> None:
    """`data get`.

    Raises:
        UsageError: for unknown names, or two sources.
        DataError: for what could not be fetched or is not what it should be.
    """
    if source is not None and mirror is not None:
        raise UsageError("--from and --mirror exclude each other")
    wanted = [dataset(name) for name in names]  # all names first, before anything is fetched
    root = directory or data_root()
    for about in wanted:
        print(f"{about.name}: {about.about}; licence {about.licence}", file=sys.stderr)
        folder = get(about, root, source=source, mirror=mirror, progress=_progress())
        unknown = [file.name for file in about.files if file.sha256 is None]
        if unknown:
            said = f"no SHA-256 is published for {', '.join(unknown)}; recorded as it came"
            print(f"{about.name}: {said}", file=sys.stderr)
        print(folder)


def verify_data(names: list[str], directory: Path | None, as_json: bool) -> int:
    """`data verify`: 1 if anything differs from its manifest."""
    root = directory or data_root()
    wanted = [dataset(name).name for name in names]
    wanted = wanted or [name for name in CATALOGUE if installed(name, root) is not None]
    found = {name: list(problems(name, root)) for name in wanted}
    if as_json:
        print(json.dumps({"root": str(root), "datasets": found}, ensure_ascii=False))
    else:
        for name, lines in found.items():
            for line in lines:
                print(line)
            print(f"{name}: {f'{len(lines)} problems' if lines else 'as it was fetched'}")
        if not found:
            print(f"no data set is in {root}")
    return 1 if any(found.values()) else 0


def _size(about: Dataset) -> str:
    if about.size is None:
        return "not published"
    return f"{about.size / 1e6:.0f} MB"


def _progress() -> Progress:
    """One line that counts on a terminal; nothing elsewhere."""
    if not sys.stderr.isatty():
        return lambda *_: None
    console = Console(stderr=True)

    def show(name: str, have: int, total: int | None) -> None:
        of = f" of {total / 1e6:.1f}" if total else ""
        end = "\n" if have == total else "\r"
        console.print(f"{name}: {have / 1e6:.1f}{of} MB", end=end, markup=False, highlight=False)

    return show
