"""The site as it is built: strict, whole, and with nothing to fetch from elsewhere at view time."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from doc_pages import DOCS, ROOT

pytest.importorskip("mkdocs", reason="mkdocs-material is not installed: tox -e docs")

LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
FETCHED = {"stylesheet", "icon", "preload", "preconnect", "prefetch", "dns-prefetch", "manifest"}


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(target)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return target


class Loads(HTMLParser):
    """What a page makes a browser fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        address = given.get(LOADS.get(tag, ""))
        if tag == "link" and not FETCHED & set((given.get("rel") or "").split()):
            return
        if address:
            self.found.append(address)


def test_every_page_is_built(site: Path) -> None:
    for page in DOCS.rglob("*.md"):
        assert (site / page.relative_to(DOCS).with_suffix(".html")).is_file()


def test_no_page_fetches_anything_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        loads = Loads(page.read_text(encoding="utf-8")).found
        assert loads, page
        assert not [address for address in loads if re.match(r"(https?:)?//", address)], page


def test_no_style_fetches_anything_from_elsewhere(site: Path) -> None:
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert not re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^)]+", text), sheet


def test_what_is_generated_is_in_the_pages(site: Path) -> None:
    for page in site.rglob("*.html"):
        assert "<!-- generated" not in page.read_text(encoding="utf-8"), page
    assert "--max-infra-errors" in (site / "cli.html").read_text(encoding="utf-8")
