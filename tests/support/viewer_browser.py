"""A real headless Chromium, and a page that must make no request and no complaint."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser: $AGEMEM_CHROMIUM, Playwright's own, or one on the PATH; skips where none is."""
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    with api.sync_playwright() as playwright:
        own = playwright.chromium.executable_path
        given = os.environ.get("AGEMEM_CHROMIUM") or (own if Path(own).exists() else None)
        path = given or next(filter(None, map(shutil.which, NAMES)), None)
        if path is None:
            pytest.skip("no Chromium: install one, or `playwright install chromium`")
        # Root, as in a container, has no sandbox of its own to give.
        flags = ["--no-sandbox"] if os.getuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        yield browser
        browser.close()


@contextmanager
def opened(
    browser: Any, view: Path, where: str = "", *, complaint: str = "", **settings: Any
) -> Iterator[Any]:
    """The page of a report; at the end it must have asked for nothing and complained of nothing.

    `complaint` is a pattern of what the browser must have complained of, and nothing else.
    """
    settings = {"viewport": {"width": 1280, "height": 900}, **settings}
    context = browser.new_context(offline=True, **settings)
    page, asked, said = context.new_page(), list[str](), list[str]()
    page.set_default_timeout(15_000)
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: said.append(f"error: {error}"))
    page.on("dialog", lambda dialog: said.append(f"dialog: {dialog.message}"))
    page.goto((view / "index.html").as_uri() + where)
    try:
        yield page
        assert [url for url in asked if not url.startswith((view.as_uri(), "data:"))] == []
        assert bool(said) == bool(complaint), said
        assert all(re.search(complaint, line) for line in said), said
    finally:
        context.close()
