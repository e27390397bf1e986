"""The demo's report in a real browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.checkouts import Checkout

OFFLINE = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]


@pytest.fixture(scope="session")
def page_file(demo: Checkout) -> Path:
    """The demo's report."""
    return demo.root / "reports" / "demo" / "index.html"


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
