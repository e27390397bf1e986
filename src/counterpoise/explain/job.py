"""One explanation of a trained cell: maps of a few pictures, and localisation scores of many.

It needs torch and the data; figures are drawn from what it saves, without either.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from counterpoise.datasets._part import Part
from counterpoise.errors import UserError
from counterpoise.explain.localisation import (
    SHARES,
    centre_prior,
    energy,
    overlap,
    pointing,
    random_maps,
)
from counterpoise.explain.regions import mask, read_boxes
from counterpoise.explain.saliency import WAYS, Answer, Question, activation, enlarged, map_stages
from counterpoise.files import atomic, sha256_file, write_sealed
from counterpoise.prepared import load_items, load_part
from counterpoise.spec.paper import Explanation
from counterpoise.training.modules import Network
from counterpoise.training.predict import read_weights, replicates_of
from counterpoise.training.problem import Job, Problem, device_of, tasks_of
from counterpoise.training.seeding import seed_of

PART = "test"
BATCH = 16
EXPECTED = 16
"""Training pictures that SHAP takes as what is to be expected."""
CENTRE, RANDOM, UNTRAINED = "centre", "random", "untrained"


def explain(job: Job, spec: Explanation, target: Path, device: str = "auto") -> None:
    """Write ``target`` (Parquet) with localisation scores, and beside it maps as ``.npz``.

    Last comes a ``.json`` with the checksums of both.

    Columns of the scores: ``seed``, ``draw`` (of untrained weights), ``task``, ``item``, the
    split's other columns, ``way`` (of :data:`WAYS`, ``centre``, ``random``, and each way after
    ``untrained/``), ``pointing``, ``energy`` and ``overlap.<share>``, of up to ``spec.most`` test
    pictures that have a box of the finding, the first in the order of the split. Arrays of the
    maps, each (H, W): ``<task>/picture`` and ``<task>/mask`` of the first of these pictures,
    ``<task>/<way>`` and ``<task>/layer/<stage>``, the mean over the channels of what a stage gives;
    of the first seed.

    Raises:
        UserError: no picture of a finding has a box, or the network has no maps to look at.
    """
    torch.set_num_threads(1)
    where = device_of(device)
    tensors = read_weights(job.out / "weights.safetensors")
    parts = {n: load_part(job.cell.dataset, job.cell.dataset_options, job.split, n).to(where)
             for n in ("train", PART)}  # fmt: skip
    problem = Problem(job.cell, tasks_of(job.cell), parts, where)
    chosen = _regions(job, spec, parts[PART])
    arrays: dict[str, np.ndarray] = {}
    frames: list[pd.DataFrame] = []
    for seed, network, method, state in replicates_of(problem, tensors):
        network.eval()
        names = [task.name for task in problem.tasks]
        last = list(_stages(network, parts[PART].shape))[-1]
        coarse = network.maps(parts[PART].shape)[last][1:]
        expected, _ = parts["train"].batch(torch.arange(min(EXPECTED, len(parts["train"]))))
        forgotten = [_forgotten(problem, seed, draw) for draw in range(spec.untrained)]
        for task, (items, masks) in chosen.items():
            rows = torch.tensor(items["item"].tolist())
            place = names.index(task)
            shape = (masks.shape[1], masks.shape[2])
            noise = torch.from_numpy(
                random_maps(len(items), coarse, seed_of("explain", "random", task, seed))
            )
            known: dict[str, np.ndarray] = {
                CENTRE: centre_prior(len(items), shape),
                RANDOM: enlarged(noise, torch.empty(1, 1, *shape)).numpy(),
            }
            own = Answer(network, method, state, place)
            known |= {way: _maps(way, own, parts[PART], rows, expected) for way in spec.ways}
            every = [(way, 0, found) for way, found in known.items()]
            for draw, other in enumerate(forgotten):
                answer = Answer(other, method, state, place)
                every += [
                    (f"{UNTRAINED}/{way}", draw, _maps(way, answer, parts[PART], rows, expected))
                    for way in spec.ways
                ]
            frames += [
                _scores(items, masks, found).assign(seed=seed, task=task, way=way, draw=draw)
                for way, draw, found in every
            ]
            if seed == job.cell.seeds[0] and task in spec.tasks:
                first = rows[:1]
                arrays |= _pictures(task, own, parts[PART], first, masks[0])
                arrays |= {f"{task}/{way}": known[way][0].astype(np.float32) for way in spec.ways}
    with atomic(target.with_suffix(".npz")) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    table = pd.concat(frames, ignore_index=True)
    with atomic(target) as temporary:
        table.to_parquet(temporary, index=False, compression="zstd")
    made = (target, target.with_suffix(".npz"))
    write_sealed(
        target.with_suffix(".json"),
        {
            "cell": f"{job.name}/{job.digest}",
            "files": {path.name: sha256_file(path) for path in made},
        },
    )


def _regions(job: Job, spec: Explanation, part: Part) -> dict[str, tuple[pd.DataFrame, np.ndarray]]:
    """By finding, the test items that have a box of it, and their masks."""
    boxes = read_boxes(job.split.parent)
    items = load_items(job.split)
    items = items[items["part"] == PART].reset_index(drop=True)
    shape = (part.shape[-2], part.shape[-1])
    found = {}
    for task in job.cell.tasks:
        marked = boxes[boxes["task"] == task]
        positive = part.targets[task].cpu().numpy() == 1
        these = items[items["image"].isin(marked["image"]) & positive].head(spec.most)
        if len(these):
            masks = [mask(marked[marked["image"] == image], shape) for image in these["image"]]
            found[task] = these, np.stack(masks)
    lacking = [task for task in spec.tasks if task not in found]
    if lacking:
        raise UserError(
            f"no test picture has both the label and a box of {', '.join(lacking)}",
            where=job.split.parent,
            remedy="name other tasks in the paper's `explanations`, or use more data",
        )
    return found


def _maps(
    way: str, answer: Answer, part: Part, rows: torch.Tensor, expected: torch.Tensor
) -> np.ndarray:
    """(N, H, W) maps of one way."""
    questions = _questions(answer, part, rows, expected)
    return np.concatenate([WAYS[way](question).cpu().numpy() for question in questions])


def _questions(
    answer: Answer, part: Part, rows: torch.Tensor, expected: torch.Tensor
) -> Iterator[Question]:
    for start in range(0, len(rows), BATCH):
        block = rows[start : start + BATCH]
        inputs, _ = part.batch(block.to(part.inputs.device))
        stages = _stages(answer.network, part.shape)
        yield Question(answer, list(stages.values())[-1], inputs, expected)


def _stages(network: Network, shape: tuple[int, ...]) -> dict[str, torch.nn.Module]:
    stages = map_stages(network, shape)
    if not stages:
        raise UserError("the network has no convolutional stage, so that there are no maps of it")
    return stages


def _forgotten(problem: Problem, seed: int, draw: int) -> Network:
    """The network with all weights drawn anew: what its maps show, the form of the network shows.

    Adebayo et al., "Sanity Checks for Saliency Maps" (2018).
    """
    network, _ = problem.build(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of("explain", "untrained", seed, draw))
        for module in network.modules():
            if callable(reset := getattr(module, "reset_parameters", None)):
                reset()
    return network.eval()


def _scores(items: pd.DataFrame, masks: np.ndarray, maps: np.ndarray) -> pd.DataFrame:
    numbers: dict[str, Any] = {"pointing": pointing(maps, masks), "energy": energy(maps, masks)}
    numbers |= {f"overlap.{share}": overlap(maps, masks, share) for share in SHARES}
    return items.assign(**numbers).reset_index(drop=True)


def _pictures(
    task: str, answer: Answer, part: Part, row: torch.Tensor, region: np.ndarray
) -> dict[str, np.ndarray]:
    """The picture itself, its region, and what each stage makes of it."""
    inputs, _ = part.batch(row.to(part.inputs.device))
    grey = inputs[0].mean(0) * part.std + part.mean
    found = {f"{task}/picture": grey.cpu().numpy(), f"{task}/mask": region}
    for name, stage in _stages(answer.network, part.shape).items():
        mean = activation(answer, stage, inputs).abs().mean(1)
        found[f"{task}/layer/{name}"] = enlarged(mean, inputs)[0].cpu().numpy()
    return found
