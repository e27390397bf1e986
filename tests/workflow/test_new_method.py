"""Adding a method is dropping one file: it is selectable, tested, documented and shown."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.checkouts import ROOT, Checkout

PAPER = "config/papers/rotograd.yaml"
RUN = "      uniform: {method: uniform, label: uniform, calibrated: true}\n"


def test_one_new_file_is_all_it_takes(checkout: Checkout) -> None:
    before = {p for p in checkout.root.rglob("*") if p.is_file() and p.suffix != ".pyc"}
    done = checkout.run("counterpoise", "new", "method", "half_loss")
    assert done.returncode == 0, done.stderr
    after = {p for p in checkout.root.rglob("*") if p.is_file() and p.suffix != ".pyc"}
    assert {p.name for p in after - before} == {"half_loss.py"}

    # Tested: the contract tests run over it, on its defaults and its variant. Nothing asks for more.
    for words, fewest in (
        (["tests/contract", "-k", "half_loss"], 20),
        (["tests/golden/test_oracles.py"], 1),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words],
            cwd=ROOT, env=checkout.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:]
        passed = re.search(r"(\d+) passed", done.stdout)
        assert passed is not None and int(passed[1]) >= fewest, done.stdout[-3000:]

    # Selectable, with its options checked by file and line.
    wrong = RUN + "      half: {method: half_loss, options: {scale: -1.0}}\n"
    checkout.edit(PAPER, RUN, wrong)
    line = 1 + (checkout.root / PAPER).read_text().splitlines().index(wrong.splitlines()[1])
    done = checkout.run("counterpoise", "plan", "--tier", "smoke")
    assert done.returncode == 1 and f"rotograd.yaml:{line}: " in done.stderr
    assert "greater than 0" in done.stderr
    checkout.edit(PAPER, "{scale: -1.0}", "{scale: 2.0}")
    checkout.edit("config/tiers.yaml", "runs: [rotograd/reduced/uniform, ",
                  "runs: [rotograd/reduced/half, ")  # fmt: skip
    done = checkout.run("counterpoise", "plan", "--tier", "smoke")
    assert "multimnist-lenet-reduced-half_loss-scale-2.0/" in done.stdout, done.stderr

    # Documented and shown: its card is in the report, with the run that uses it.
    done = checkout.run("counterpoise", "report", "--tier", "smoke")
    assert done.returncode == 0, done.stderr
    page = (checkout.root / "reports/smoke/index.html").read_text(encoding="utf-8")
    assert 'id="method:half_loss"' in page and "Weight of every task (ours, as an example)." in page

    # Taken, and a name that will not do.
    for name, said in (("half_loss", "there is already a method"), ("../up", "cannot be the name")):
        done = checkout.run("counterpoise", "new", "method", name)
        assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr
