"""What a split by image adds to the scores, on real images: the leak of DeepChest's public code.

    python -m benchmarks.leak --raw FOLDER [--seeds 3]

FOLDER holds the files of the source nih-chestxray14-sample. For each seed the images are divided at
random, 70/10/20, regardless of patient, and small_cnn (of `--width`) is trained twice with the same
settings and as many images, both scored on the same test images:

- *leaking*: on training images drawn from all of them;
- *by patient*: on those of patients who have no image in the test part.

It prints the mean AUROC over 14 findings of both, their difference with a 95 % interval over
resampled patients of the test part, and the mean over seeds with its 95 % t interval; then the same
for those test images whose patient has images in the training part, where the leak acts.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from scipy import stats
from sklearn.metrics import roc_auc_score

from benchmarks.command import arguments
from counterpoise.datasets import chestxray14
from counterpoise.prepared import PATIENT, leak_in
from counterpoise.spec.cell import Cell, Component, Protocol
from counterpoise.training.engine import Replicate
from counterpoise.training.problem import Problem, outputs_of

DRAWS = 500
"""Resamples of patients."""


def main() -> None:
    """Train, score and print."""
    chosen = arguments(__doc__, seeds=3, size=64, width=8, epochs=12, batch=32, lr=3e-3)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        options = chestxray14.Options(size=chosen.size, split="by_image")
        chestxray14.prepare(chosen.raw, folder, options)
        found = [measure(folder, options, seed, chosen) for seed in range(chosen.seeds)]
    for what in ("all", "seen"):
        gaps = np.array([one[what] for one in found])
        half = stats.t.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / len(gaps) ** 0.5
        print(
            f"{what} test images: leaking minus by patient {gaps.mean():+.4f} "
            f"({gaps.mean() - half:+.4f} to {gaps.mean() + half:+.4f} over {len(gaps)} seeds)"
        )


def measure(
    folder: Path, options: chestxray14.Options, seed: int, chosen: argparse.Namespace
) -> dict[str, float]:
    """The differences of one seed, on all test images and on those of patients seen in training."""
    items = chestxray14.split(folder, options, seed)
    told = leak_in(items)
    tested = items[items["part"] == "test"]
    train = items[items["part"] == "train"]
    apart = train[~train[PATIENT].isin(tested[PATIENT])]
    leaking = train.sample(len(apart), random_state=seed)
    seen = tested[PATIENT].isin(leaking[PATIENT]).to_numpy()
    print(
        f"seed {seed}: {len(train)} training images, {len(apart)} of other patients than the test "
        f"part's; of {told['test']} test images {told['seen']} have a patient in training, "
        f"{seen.sum()} in as many images as are used"
    )
    parts = {
        "leaking": chestxray14.load(folder, leaking, options),
        "by patient": chestxray14.load(folder, apart, options),
    }
    held_out = chestxray14.load(folder, items[items["part"] == "validation"], options)
    test = chestxray14.load(folder, tested, options)
    labels = np.stack([test.targets[name].numpy() for name in chestxray14.TASKS], axis=1)
    tasks = chestxray14.tasks(options)
    cell = Cell(
        dataset="chestxray14", source="sample", dataset_options=options.model_dump(mode="json"),
        network=Component(name="small_cnn", options={"width": chosen.width}),
        method=Component(name="uniform"), tasks=tuple(chestxray14.TASKS), seeds=(seed,),
        protocol=Protocol(
            epochs=chosen.epochs, batch_size=chosen.batch, learning_rate=chosen.lr, selection="last"
        ),
    )  # fmt: skip
    logits = {}
    for name, part in parts.items():
        problem = Problem(cell, tasks, {"train": part, "validation": held_out})
        replicate = Replicate(problem, seed, folder / f"{name}-{seed}.state", 1e9)
        replicate.run(lambda _: None, lambda: False)
        outputs = outputs_of(replicate.network, replicate.method, replicate.method_state, test)
        logits[name] = torch.cat(outputs, dim=1).numpy()
    result = {}
    for what, rows in (("all", np.ones(len(tested), bool)), ("seen", seen)):
        scores = {name: auroc(labels[rows], values[rows]) for name, values in logits.items()}
        gap = scores["leaking"] - scores["by patient"]
        low, high = interval(labels[rows], logits, tested[PATIENT].to_numpy()[rows], rows, seed)
        result[what] = gap
        print(
            f"  {what:4} {rows.sum():4} images: leaking {scores['leaking']:.4f}, by patient "
            f"{scores['by patient']:.4f}, difference {gap:+.4f} ({low:+.4f} to {high:+.4f} over "
            "patients)"
        )
    return result


def auroc(labels: np.ndarray, logits: np.ndarray) -> float:
    """Mean over the findings that have positives and negatives among (N, 14) labels."""
    both = [k for k in range(labels.shape[1]) if 0 < labels[:, k].sum() < len(labels)]
    return float(np.mean([roc_auc_score(labels[:, k], logits[:, k]) for k in both]))


def interval(
    labels: np.ndarray,
    logits: dict[str, np.ndarray],
    patients: np.ndarray,
    rows: np.ndarray,
    seed: int,
) -> tuple[float, float]:
    """95 % of the difference over resamples of the patients."""
    rng = np.random.default_rng(seed)
    _, owner = np.unique(patients, return_inverse=True)
    images = np.split(np.argsort(owner, kind="stable"), np.cumsum(np.bincount(owner))[:-1])
    one, other = logits["leaking"][rows], logits["by patient"][rows]
    gaps = []
    for _ in range(DRAWS):
        drawn = np.concatenate([images[k] for k in rng.integers(0, len(images), len(images))])
        gaps.append(auroc(labels[drawn], one[drawn]) - auroc(labels[drawn], other[drawn]))
    low, high = np.quantile(gaps, [0.025, 0.975])
    return float(low), float(high)


if __name__ == "__main__":
    main()
