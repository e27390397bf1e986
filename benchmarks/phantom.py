"""How hard the chest phantom is, and what it costs, on one thread.

    python benchmarks/phantom.py [--sheet FILE.png]

Trains `small_cnn` on the phantom (14 sigmoids, binary cross-entropy, Adam with a warm-up and
cosine decay, uniform weights) and prints, for patients that it was not trained on, the AUROC of
each finding beside that of a logistic regression on a thumbnail of 8 x 8 pixels: what can be told
without looking at the picture. With `--sheet` it only draws a contact sheet.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from itertools import islice
from math import cos, pi
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from scipy.ndimage import binary_dilation
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler
from torch import nn

from counterpoise.generators.chest_phantom import FINDINGS, Scene, radiograph, scenes
from counterpoise.networks import small_cnn

OUTLINE = 255  # the one entry of the sheet's palette that is not grey


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=2400, help="images to train on")
    parser.add_argument("--held-out", type=int, default=3000, help="images of other patients")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0, help="of the phantom and of the training")
    parser.add_argument("--sheet", type=Path, metavar="FILE.png")
    return parser.parse_args()


def main() -> None:
    """Measure and print, or draw."""
    chosen = arguments()
    torch.set_num_threads(1)
    if chosen.sheet:
        sheet(chosen.sheet, chosen.seed)
        return
    # Held-out images are those of the patients that follow the last one trained on.
    cohort = list(scenes(chosen.images + chosen.held_out, chosen.seed))
    last = cohort[chosen.images - 1].patient
    started = time.perf_counter()
    images = np.stack([radiograph(scene, chosen.size)[0] for scene in cohort])
    generating = (time.perf_counter() - started) / len(cohort)
    labels = np.array([[name in scene.findings for name in FINDINGS] for scene in cohort])
    train = np.arange(len(cohort)) < chosen.images
    test = np.array([scene.patient > last for scene in cohort])

    started = time.perf_counter()
    network = fit(images[train], labels[train], chosen)
    training = time.perf_counter() - started
    ours = aurocs(labels[test], predict(network, images[test]))
    base = aurocs(labels[test], thumbnail(images[train], labels[train], images[test]))
    print(f"{'':20} prevalence   CNN  thumbnail")
    for row in zip(FINDINGS, labels.mean(axis=0), ours, base, strict=True):
        print("{:20} {:10.3f} {:5.3f} {:10.3f}".format(*row))
    print(f"{'mean':20} {labels.mean():10.3f} {ours.mean():5.3f} {base.mean():10.3f}")
    print(
        f"{train.sum()} images trained on, {test.sum()} held out, {chosen.size} px: "
        f"{generating * 1e3:.2f} ms an image of generating, {training:.1f} s of training"
    )


def fit(images: np.ndarray, labels: np.ndarray, chosen: argparse.Namespace) -> nn.Module:
    """Train on images (N, S, S) and labels (N, 14)."""
    torch.manual_seed(chosen.seed)
    options = small_cnn.Options()
    trunk = small_cnn.trunk(options, (1, *images.shape[1:]), len(FINDINGS))
    network = nn.Sequential(trunk, nn.Linear(options.features, len(FINDINGS)))
    inputs, targets = torch.from_numpy(images)[:, None], torch.from_numpy(labels).float()
    optimizer = torch.optim.Adam(network.parameters())
    batches = -(-len(inputs) // chosen.batch)
    steps, step = chosen.epochs * batches, 0
    for _ in range(chosen.epochs):
        for batch in torch.randperm(len(inputs)).split(chosen.batch):
            warm = min(1.0, (step + 1) / 20)
            optimizer.param_groups[0]["lr"] = (
                chosen.lr * warm * (0.5 + 0.5 * cos(pi * step / steps))
            )
            logits = network(inputs[batch].float() / 255)
            optimizer.zero_grad()
            nn.functional.binary_cross_entropy_with_logits(logits, targets[batch]).backward()
            optimizer.step()
            step += 1
    return network.eval()


@torch.no_grad()
def predict(network: nn.Module, images: np.ndarray) -> np.ndarray:
    """Logits (N, 14)."""
    inputs = torch.from_numpy(images)[:, None]
    return torch.cat([network(part.float() / 255) for part in inputs.split(256)]).numpy()


def thumbnail(images: np.ndarray, labels: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Logits (N, 14) of logistic regressions on 8 x 8 block means."""

    def reduced(pictures: np.ndarray) -> np.ndarray:
        count, size = pictures.shape[:2]
        blocks = pictures.reshape(count, 8, size // 8, 8, size // 8)
        return blocks.mean(axis=(2, 4)).reshape(count, 64)

    scaler = StandardScaler().fit(reduced(images))
    known, asked = scaler.transform(reduced(images)), scaler.transform(reduced(others))
    models = [LogisticRegression(max_iter=2000).fit(known, column) for column in labels.T]
    return np.stack([model.decision_function(asked) for model in models], axis=1)


def aurocs(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """AUROC of each column."""
    pairs = zip(labels.T, scores.T, strict=True)
    return np.array([roc_auc_score(truth, score) for truth, score in pairs])


def sheet(path: Path, seed: int, size: int = 176) -> None:
    """Draw each finding: the healthy twin, the finding, its mask, and the second domain."""
    people = [scene for scene in scenes(400, seed) if scene.visit == 0]
    examples = [("No Finding", replace(people[0], findings=()))]
    for name in FINDINGS:
        # The third person of those who have it: no choosing of pretty ones.
        having = next(islice((p for p in people if name in p.findings), 2, None))
        examples.append((name, replace(having, findings=(name,))))
    tiles = [_tile(name, scene, size) for name, scene in examples]
    tiles += [np.full_like(tiles[0], 252)] * (len(tiles) % 2)
    page = np.vstack([np.hstack(tiles[row : row + 2]) for row in range(0, len(tiles), 2)])
    picture = Image.fromarray(np.where(page == OUTLINE, OUTLINE, page // 4 * 4), "P")
    picture.putpalette([*(grey for grey in range(255) for _ in "rgb"), 255, 200, 0])
    picture.save(path, optimize=True)


def _tile(name: str, scene: Scene, size: int) -> np.ndarray:
    healthy = radiograph(replace(scene, findings=()), size)[0]
    pixels, masks = radiograph(scene, size)
    outlined = np.minimum(pixels, OUTLINE - 1)
    for mask in masks.values():
        outlined[binary_dilation(mask) & ~mask] = OUTLINE
    second = radiograph(replace(scene, domain="second"), size)[0]
    person = f"{scene.view}, {scene.sex}, {scene.age}"
    columns = (
        ("without", np.minimum(healthy, OUTLINE - 1)),
        (f"{name} ({person})", np.minimum(pixels, OUTLINE - 1)),
        ("where", outlined),
        ("second domain", np.minimum(second, OUTLINE - 1)),
    )
    tile = Image.new("L", (4 * size + 12, size + 20), 252)
    for place, (caption, picture) in enumerate(columns):
        tile.paste(Image.fromarray(picture), (place * size, 16))
        ImageDraw.Draw(tile).text((place * size + 2, 2), caption, fill=0)
    return np.asarray(tile)


if __name__ == "__main__":
    main()
