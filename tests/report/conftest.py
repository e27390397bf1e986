"""The demo's report in a real browser, as a tree, and as numbers."""

from __future__ import annotations

import json
import os
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import html5lib
import pytest

from tests.checkouts import Checkout

OFFLINE = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]


@pytest.fixture(scope="session")
def page_file(demo: Checkout) -> Path:
    """The demo's report."""
    return demo.root / "reports" / "demo" / "index.html"


@pytest.fixture(scope="session")
def results(page_file: Path) -> dict[str, Any]:
    """The demo's numbers for machines."""
    return json.loads((page_file.parent / "results.json").read_text(encoding="utf-8"))


def parse(text: str) -> tuple[ET.Element, list[Any]]:
    """A page as browsers read it, and what is wrong with its HTML."""
    parser = html5lib.HTMLParser(namespaceHTMLElements=False)
    return parser.parse(text), parser.errors


@pytest.fixture(scope="session")
def parsed(page_file: Path) -> tuple[ET.Element, list[Any]]:
    """The demo's report as :func:`parse` gives it."""
    return parse(page_file.read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's Chromium; on the test server its absence is an error."""
    binary = shutil.which("chromium")
    if binary is None:
        if os.environ.get("COUNTERPOISE_REQUIRE_BROWSER"):
            pytest.fail("chromium is required here and is not installed")
        pytest.skip("chromium is not installed (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=binary, args=OFFLINE)
        yield running
        running.close()
