"""docs/methods.md, written by pytest with ``--methods-table`` from what the tests measured.

What each method is held to, and how exactly, is also written where the report's cards read it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from string import ascii_lowercase
from typing import Any

import pytest

from counterpoise import registry
from counterpoise.methods._catalogue import PROMISES, promises, signals

from ..contract.test_costs import TASKS
from ..support import ROOT
from .oracles import LEFT_OUT, LIBMTL_HAS, ROWS, TORCHJD_HAS, Oracle, Row

FILE = ROOT / "docs" / "methods.md"
EVIDENCE = ROOT / "src" / "counterpoise" / "report" / "assets" / "methods.json"
COMMAND = "python -m pytest tests/golden tests/contract/test_costs.py --methods-table"
COLUMNS = (
    "method", "paper", "tested against", "largest relative error", "signal", "trunk passes back", "promises"
)  # fmt: skip
Errors = dict[str, dict[str, Any]]
"""By node, what the fixture of these tests says."""
Counts = dict[str, list[dict[str, Any]]]
"""By method, the passes of its option sets, defaults first."""


def covers(pattern: str, node: str) -> bool:
    """Whether a test as oracles.py names it is, or contains, a node of this folder."""
    return node == pattern or node.startswith(pattern if "[" in pattern else f"{pattern}[")


def digit(error: float) -> str:
    """One significant digit, so that the table changes seldom."""
    return f"{error:.0e}".replace("e-0", "e-") if error else "0"


def error_of(oracle: Oracle, errors: Errors) -> str:
    """The largest error of an oracle's tests.

    Raises:
        LookupError: one of them did not run, or compared nothing.
    """
    found = []
    for pattern in oracle.tests:
        own = [value for node, value in errors.items() if covers(pattern, node)]
        if not own:
            raise LookupError(f"{pattern} measured nothing")
        found += own
    if not found:
        return "-"
    single = ["float32"] if any(value["single"] for value in found) else []
    notes = ", ".join([*single, *filter(None, [oracle.because])])
    return digit(max(value["largest"] for value in found)) + (f" ({notes})" if notes else "")


def _either(values: list[str]) -> str:
    """Those that differ, the default's first."""
    return " or ".join(dict.fromkeys(values))


def passes_of(name: str, counts: Counts) -> str:
    """Backward passes of the trunk for K tasks.

    Raises:
        LookupError: they were not counted, or are neither one nor one a task, nor one more than that.
    """
    if not counts[name]:
        raise LookupError(f"passes of {name} were not counted")
    kinds = {1: "1", len(TASKS): "K", len(TASKS) + 1: "K + 1"}
    words = []
    for count in counts[name]:
        if count["trunk backward"] not in kinds:
            raise LookupError(f"{name}: {count['trunk backward']} passes of the trunk")
        forward = " (2 forward)" if count["trunk forward"] > 1 else ""
        words.append(kinds[count["trunk backward"]] + forward)
    return _either(words)


HEAD = f"""\
# Methods

Written by the tests; the words are in `tests/golden/oracles.py`. The command:

```
{COMMAND}
```

- *tested against*: what is independent of the method and says what it should give. The tests of
  `tests/golden` compare the two. Methods whose weights TorchJD computes are tested against
  something else.
- *largest relative error*: max |found - expected| / max |expected|, the largest of all comparisons with
  the oracle of that letter, in float64 unless it says float32. What else an error is owed to stands
  beside it. `-`: the test compares inequalities, statistics or printed digits, or with a solver that
  stops early.
- *signal*: what the method has to see, from cheap to dear: `losses`; `features`, the gradients at the
  shared representation Z; `last_layer`, those at the last shared layer; `gramian`, the inner products of
  those at all shared parameters; `jacobian`, those themselves. After *or*: with an option.
- *trunk passes back*: backward passes of the shared network a step, for K tasks, counted by hooks.
  Where a step takes two forward passes, that is said, too.
- *promises*, each a contract test over the method and its variants (*some options*: only some of them
  keep it):
"""


def lettered(lines: list[str]) -> str:
    """A cell of several lines, which a narrow column may break."""
    if len(lines) == 1:
        return lines[0]
    return "<br>".join(
        f"{letter}) {line}" for letter, line in zip(ascii_lowercase, lines, strict=False)
    )


NONE_YET = Row("its own file says", ())
"""Of a method that is not held to anything: one of somebody's own, which only has its file."""


def cells_of(name: str, errors: Errors, counts: Counts) -> tuple[str, ...]:
    """One row, by :data:`COLUMNS`."""
    kind, row = registry.method(name), ROWS.get(name, NONE_YET)
    return (
        f"[{kind.label}](../src/counterpoise/methods/{name}.py)",
        row.paper,
        lettered([oracle.what for oracle in row.oracles] or ["nothing yet"]),
        lettered([error_of(oracle, errors) for oracle in row.oracles] or ["-"]),
        " or ".join(signals(kind)),
        passes_of(name, counts),
        ", ".join(promises(kind)) or "none",
    )


def row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def table(head: tuple[str, ...], rows: Iterable[Iterable[str]]) -> str:
    return "".join([row(head), "|" + "---|" * len(head) + "\n", *map(row, rows)])


def evidence(errors: Errors) -> str:
    """Of every method with a row, as JSON: its paper, and each oracle with its largest error.

    Raises:
        LookupError: something was not measured.
    """
    told = {
        name: {
            "paper": row.paper,
            "oracles": [[oracle.what, error_of(oracle, errors)] for oracle in row.oracles],
        }
        for name, row in sorted(ROWS.items())
    }
    return json.dumps(told, indent=1, ensure_ascii=False) + "\n"


def names_elsewhere() -> list[tuple[str, str, str]]:
    """What is ours, or left out, and what two libraries call it."""
    targets = {*TORCHJD_HAS.values(), *LIBMTL_HAS.values()}
    rows = []
    for target in [*sorted(targets - {""}), ""]:
        method, _, option = target.partition(".")
        here = f"`{method}`" + (f" and others, option `{option}`" if option else "")
        theirs = [
            ", ".join(dict.fromkeys(n.rpartition(".")[2] for n, o in names.items() if o == target))
            for names in (TORCHJD_HAS, LIBMTL_HAS)
        ]
        rows.append((here if target else "left out", theirs[0] or "-", theirs[1] or "-"))
    return rows


def page(errors: Errors, counts: Counts) -> str:
    """The whole file.

    Raises:
        LookupError: something was not measured.
    """
    names = sorted(registry.names("methods"), key=lambda name: registry.method(name).label.lower())
    meanings = ";\n".join(f"  - {short}: {full}" for short, full in PROMISES.values())
    rows = [cells_of(name, errors, counts) for name in names]
    return (
        f"{HEAD}{meanings}.\n\n{table(COLUMNS, rows)}\n## Left out\n\n"
        f"{table(('method', 'why'), LEFT_OUT.items())}\n## Names in other libraries\n\n"
        f"{table(('here', 'TorchJD', 'LibMTL'), names_elsewhere())}"
    )


class MethodsTable:
    """The plugin: gathers what the tests report, and writes the file if all went well."""

    def __init__(self) -> None:
        self.errors: Errors = {}
        self.counts: Counts = defaultdict(list)
        self.said = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """The last report of a test has all its properties."""
        if report.when != "teardown":
            return
        for key, value in report.user_properties:
            if key == "relative error":
                self.errors[report.nodeid.removeprefix("tests/golden/")] = value
            elif key == "cost":
                self.counts[value["method"]].append(value)

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Write, or say why not."""
        if exitstatus:
            self.said = f"{FILE} was not written: the tests did not pass"
            return
        try:
            whole, told = page(self.errors, self.counts), evidence(self.errors)
            FILE.write_text(whole, encoding="utf-8")
            EVIDENCE.write_text(told, encoding="utf-8")
        except LookupError as error:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
            self.said = f"{FILE} was not written: {error.args[0]}; the command is: {COMMAND}"
        else:
            self.said = f"wrote {FILE} and {EVIDENCE}"

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Where the file is."""
        terminalreporter.write_line(self.said)
