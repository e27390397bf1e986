"""One explanation of a trained cell: maps of a few pictures, and localisation scores of many.

It needs torch and the data; figures are drawn from what it saves, without either.
"""

from __future__ import annotations

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
    empty,
    energy,
    overlap,
    pointing,
    random_maps,
)
from counterpoise.explain.regions import mask, read_boxes
from counterpoise.explain.saliency import (
    WAYS,
    Answer,
    Question,
    activation,
    enlarged,
    first_blocks,
    map_stages,
)
from counterpoise.files import atomic, sha256_file, write_sealed
from counterpoise.prepared import load_items, load_part
from counterpoise.spec.explanation import CENTRE, RANDOM, UNTRAINED, Explanation
from counterpoise.training.gpus import own_gpu
from counterpoise.training.modules import Network
from counterpoise.training.predict import read_weights, replicates_of
from counterpoise.training.problem import Job, Problem, device_of, tasks_of
from counterpoise.training.seeding import seed_of

PART = "test"
BATCH = 16
EXPECTED = 16
"""Training pictures that SHAP takes as what is to be expected."""


def explain(job: Job, spec: Explanation, target: Path, device: str = "auto") -> None:
    """Write ``target`` (Parquet) with localisation scores, and beside it maps as ``.npz``.

    A ``.json`` holds the checksums of both. ``target`` comes last: it alone is asked for.

    Columns of the scores: ``seed``, ``draw`` (of untrained weights), ``task``, ``item``, the
    split's other columns, ``way`` (of :data:`WAYS`, ``centre``, ``random``, and each way after
    ``untrained/``), ``pointing``, ``energy``, ``overlap.<share>`` and ``empty``, of up to
    ``spec.most`` test pictures that have a box of the finding, the first in the order of the split.
    Arrays of the
    maps, each (H, W): ``<task>/picture`` and ``<task>/mask`` of the first of these pictures,
    ``<task>/<way>`` and ``<task>/layer/<stage>``, the mean over the channels of what a stage gives,
    and ``<stage>[0]`` of what the first of its blocks gives; of the first seed.

    Raises:
        UserError: no picture of a finding has a box, or the network has no maps to look at.
    """
    torch.set_num_threads(1)
    # Maps tell small differences, whatever the training was content with.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    with own_gpu(device_of(device)) as where:
        _explain(job, spec, target, where)


def _explain(job: Job, spec: Explanation, target: Path, where: torch.device) -> None:
    tensors = read_weights(job.out / "weights.safetensors")
    parts = {n: load_part(job.cell.dataset, job.cell.dataset_options, job.split, n).to(where)
             for n in ("train", PART)}  # fmt: skip
    problem = Problem(job.cell, tasks_of(job.cell), parts, where)
    names = [task.name for task in problem.tasks]
    part, chosen = parts[PART], _regions(job, spec, parts[PART])
    expected, _ = parts["train"].batch(torch.arange(min(EXPECTED, len(parts["train"]))))
    arrays: dict[str, np.ndarray] = {}
    frames: list[pd.DataFrame] = []
    for seed, network, method, state in replicates_of(problem, tensors):
        anew = [_forgotten(problem, seed, draw) for draw in range(spec.untrained)]
        coarse = network.maps(part.shape)[list(_stages(network, part.shape))[-1]][1:]
        for task, (items, masks) in chosen.items():
            rows = torch.tensor(items["item"].tolist())
            own, *others = (
                Answer(one, method, state, names.index(task)) for one in (network.eval(), *anew)
            )
            known = {way: _maps(way, own, part, rows, expected) for way in spec.ways}
            guesses = _guesses(len(items), part.shape[1:], coarse, (task, seed))
            every = [(way, 0, found) for way, found in (known | guesses).items()]
            every += [
                (f"{UNTRAINED}{way}", draw, _maps(way, other, part, rows, expected))
                for draw, other in enumerate(others)
                for way in spec.ways
            ]
            frames += [
                _scores(items, masks, found).assign(seed=seed, task=task, way=way, draw=draw)
                for way, draw, found in every
            ]
            if seed == job.cell.seeds[0] and task in spec.tasks:
                arrays |= _pictures(task, own, part, rows[:1], masks[0])
                arrays |= {f"{task}/{way}": known[way][0].astype(np.float32) for way in spec.ways}
    _write(job, target, arrays, pd.concat(frames, ignore_index=True))


def _write(job: Job, target: Path, arrays: dict[str, np.ndarray], scores: pd.DataFrame) -> None:
    maps = target.with_suffix(".npz")
    with atomic(maps) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    with atomic(target) as temporary:
        scores.to_parquet(temporary, index=False, compression="zstd")
        made = {target.name: sha256_file(temporary), maps.name: sha256_file(maps)}
        about = {"cell": f"{job.name}/{job.digest}", "files": made}
        write_sealed(target.with_suffix(".json"), about)


def _guesses(
    count: int, shape: tuple[int, ...], coarse: tuple[int, ...], words: tuple[str, int]
) -> dict[str, np.ndarray]:
    """Maps that know nothing: the centre, and noise of the size (h, w) of the last map."""
    height, width = shape
    seed = seed_of("explain", "random", *words)
    noise = torch.from_numpy(random_maps(count, (coarse[0], coarse[1]), seed))
    return {
        CENTRE: centre_prior(count, (height, width)),
        RANDOM: enlarged(noise, torch.empty(1, 1, height, width)).numpy(),
    }


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
    """(N, H, W) maps of one way, of the pictures in these rows of a part."""
    layer = list(_stages(answer.network, part.shape).values())[-1]
    blocks = []
    for block in torch.split(rows, BATCH):
        inputs, _ = part.batch(block.to(part.inputs.device))
        blocks.append(WAYS[way](Question(answer, layer, inputs, expected)).cpu().numpy())
    return np.concatenate(blocks)


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
    numbers["empty"] = empty(maps)
    return items.assign(**numbers).reset_index(drop=True)


def _pictures(
    task: str, answer: Answer, part: Part, row: torch.Tensor, region: np.ndarray
) -> dict[str, np.ndarray]:
    """The picture itself, its region, and what each stage makes of it."""
    inputs, _ = part.batch(row.to(part.inputs.device))
    grey = inputs[0].mean(0) * part.std + part.mean
    found = {f"{task}/picture": grey.cpu().numpy(), f"{task}/mask": region}
    stages = _stages(answer.network, part.shape)
    for name, stage in {**stages, **first_blocks(stages)}.items():
        mean = activation(answer, stage, inputs).abs().mean(1)
        found[f"{task}/layer/{name}"] = enlarged(mean, inputs)[0].cpu().numpy()
    return found
