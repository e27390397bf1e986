"""Data of one's own: two commands lead from a folder and a table to the report."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
from PIL import Image

from tests.checkouts import Checkout

LABELS = ("Bright", "Striped")


def make_folder(checkout: Checkout, count: int = 150) -> None:
    """Pictures of two patterns, a third of whose labels are unknown or uncertain."""
    rng = np.random.default_rng(0)
    folder = checkout.root / "data" / "own"
    folder.mkdir(parents=True)
    rows = []
    for n in range(count):
        bright, striped = rng.integers(0, 2, 2)
        image = rng.normal(90 + 60 * bright, 20, (40, 36))
        image[:, ::4] += 50 * striped
        name = f"{n:03}.{'jpg' if n % 2 else 'png'}"
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / name)
        told = [rng.choice([str(value), str(value), ""]) for value in (bright, striped)]
        told[1] = "-1" if n % 10 == 0 else told[1]
        rows.append([name, f"p{n // 2}", *told])
    table = pd.DataFrame(rows, columns=["image", "person", *LABELS])
    table.to_csv(folder / "labels.csv", index=False)


def test_a_folder_and_a_table_become_a_report(checkout: Checkout) -> None:
    make_folder(checkout)
    done = checkout.run("counterpoise", "compare", "ours")
    assert done.returncode == 1 and "counterpoise new dataset" in done.stderr
    done = checkout.run("counterpoise", "new", "dataset", "ours", "--labels", ",".join(LABELS))
    assert done.returncode == 0, done.stderr
    card, study = "config/datasets/ours.yaml", "config/studies/ours.yaml"
    checkout.edit(card, "size: 224", "size: 32")
    checkout.edit(card, "file: file", "file: image")
    checkout.edit(card, "patient: patient", "patient: person")

    # The first time, what is compared is written down and can be edited.
    done = checkout.run("counterpoise", "compare", "ours", "--dry-run")
    assert done.returncode == 0, done.stderr
    checkout.edit(
        study, "{name: resnet, options: {depth: 18}}", "{name: small_cnn, options: {width: 4}}"
    )
    # Enough for the gate, which asks whether equal weights learn anything.
    checkout.edit(study, "learning_rate: 0.0003", "learning_rate: 0.01")
    checkout.edit(study, "seeds: 3", "seeds: 1")
    for line in ("dwa", "gradnorm", "famo", "deepchest"):
        text = (checkout.root / study).read_text()
        kept = [one for one in text.splitlines() if not one.startswith(f"  {line}:")]
        (checkout.root / study).write_text("\n".join(kept) + "\n")
    done = checkout.run("counterpoise", "compare", "ours", "--cores", "2")
    assert done.returncode == 0, done.stderr[-4000:]

    found = json.loads((checkout.root / "reports/own/ours/results.json").read_text())
    numbers = {n["row"]: n for n in found["numbers"] if n["column"] == "auroc"}
    assert set(numbers) == {"always", "uniform", "uw", "db_mtl"}
    assert all(n["ours"] is not None for row, n in numbers.items())
    assert {claim["id"] for claim in found["claims"]} == {"uw", "db_mtl"}
    assert {claim["word"] for claim in found["claims"]} <= {
        "inconclusive",
        "holds",
        "does not hold",
    }
    page = (checkout.root / "reports/own/ours/index.html").read_text()
    assert "<h1>Which method should I trust?</h1>" in page
    assert "you, 20" not in page and "What was read" not in page
    assert "printed numbers have" not in page and "committed results" not in page
    assert "Which balancing method should I trust on" in page and "RotoGrad</h2>" not in page

    # Unknown labels have no part in the scores: the test part's known ones alone are counted.
    (summary,) = (checkout.root / "data/prepared").glob("ours-folder/*/summary.json")
    parts = json.loads(summary.read_text())["parts"]
    assert all(parts[p]["known"]["striped"] < parts[p]["items"] for p in parts)
    (predictions,) = checkout.root.glob("results/own/cells/*-uw*/*/predictions.parquet")
    rows = pd.read_parquet(predictions)
    test = rows[rows["part"] == "test"]
    assert (test["target.striped"] >= 0).sum() == parts["test"]["known"]["striped"]
    assert checkout.run("counterpoise", "check").returncode == 0
    done = checkout.run("counterpoise", "compare", "ours", "--dry-run")
    assert done.returncode == 0 and "job" not in done.stdout.replace("jobs", ""), "all is done"
