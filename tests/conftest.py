"""Fixtures that any test may use."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from counterpoise.plan import Plan, load_plan
from counterpoise.project import Project, load_project

from .loopback import server as server  # a fixture
from .support import ROOT, SHARED, copy_of_config

# The same examples every time, however slow the machine is at the moment.
settings.register_profile("counterpoise", derandomize=True, deadline=None, database=None)
settings.load_profile("counterpoise")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--methods-table", action="store_true", help="write docs/methods.md from what tests measure"
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--methods-table"):
        from .golden.table import MethodsTable

        config.pluginmanager.register(MethodsTable())


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Results must not depend on free cores, and other processes need theirs."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _keep_signals() -> Iterator[None]:
    """A training job takes over how its process is stopped."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def config_copy(tmp_path: Path) -> Path:
    """A checkout with a copy of ``config/`` to edit."""
    return copy_of_config(tmp_path / "checkout")


@pytest.fixture(scope="session")
def project() -> Project:
    """The configuration of this checkout."""
    return load_project(ROOT)


@pytest.fixture(scope="session")
def demo_plan() -> Plan:
    """The plan of the demo with every paper and method."""
    return load_plan(ROOT, {"tier": "demo", "papers": "all", "methods": "all"})


@pytest.fixture(scope="session")
def shared() -> Path:
    """The papers' texts and numbers, which are not part of a checkout."""
    if not (SHARED / "papers").is_dir():
        pytest.skip(f"{SHARED} with the papers' texts and numbers is not here")
    return SHARED
