"""What the Snakefile needs besides the plan: settings for jobs, and the report of a failed run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from counterpoise.files import sha256_file

if TYPE_CHECKING:
    from counterpoise.spec.cell import Cell
    from counterpoise.spec.tier import Config

IN_WORKFLOW = "COUNTERPOISE_WORKFLOW"
"""Set for the jobs of a workflow, to the number of its process."""

MEMORY = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
    "THP_MEM_ALLOC_ENABLE": "1",
}
"""glibc keeps the memory that a step has freed for the next one.

By itself it gives large blocks, and the end of its heap, back to the system, which then has to
clear them anew at every step: a third of the time of SqueezeNet with 32 pictures of 224 pixels, and
more than a tenth of that of LeNet with batches of 1,024 (docs/measurements.md).
"""

LIGHT = ("lenet", "mlp", "small_cnn", "stand_in")
"""Networks that need little more memory than torch itself; others are torchvision's."""


@contextmanager
def report_of_a_failed_run(results: Path, gate: Path) -> Iterator[None]:
    """Within, the report is built outside Snakemake, from what a failed run has left.

    Snakemake would take it for that of the last whole run: once the edit that has failed is undone,
    the inputs of the report are again what it remembers. So the gate goes, and the results that it
    reads: the next run makes both anew, and the page with them. They stay where the report stays as
    it was, as when only the gate has failed.

    Args:
        results: the report's numbers, beside its page.
        gate: what the gate has written there.
    """
    gate.unlink(missing_ok=True)
    before = _contents(results.parent)
    results.unlink(missing_ok=True)  # building may be killed
    try:
        yield
    finally:
        if _contents(results.parent) != before:
            results.unlink(missing_ok=True)


def _contents(folder: Path) -> dict[str, str]:
    """Checksums of all files of a folder but hidden ones, which Snakemake puts there."""
    found = (path for path in sorted(folder.rglob("[!.]*")) if path.is_file())
    return {str(path.relative_to(folder)): sha256_file(path) for path in found}


def memory_mb(cell: Cell, *, gpu: bool) -> int:
    """Megabytes of the host's memory to declare for a training; pages of mapped data not counted.

    On a CPU they follow the largest that was measured (docs/measurements.md). On a GPU, where the
    steps need none, they are an estimate: CUDA's libraries, and the weights of all seeds, which are
    on the host three times while they are written.
    """
    network = cell.network.options.get("base", cell.network.name)
    if network in LIGHT:
        return 4000 if gpu else 2000
    trunks = 4000 if cell.network.name == "cross_stitch" else 0
    if gpu:
        return 8000 + trunks
    side = cell.dataset_options.get("size", 224)
    share = (side / 224) ** 2 if isinstance(side, int) else 1.0
    items = cell.protocol.micro_batch or cell.protocol.batch_size
    return round(3000 + trunks + 260 * items * share)


def job_environment(config: Config) -> dict[str, str]:
    """Environment variables for the jobs.

    Where data come from, what computes and what is left out of a report are no part of a result.
    They go by the environment, because a change of a rule's ``params`` would ask for everything
    again. The interpreter that runs Snakemake runs the jobs, whether or not its folder is on the
    PATH.
    """
    variables = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        IN_WORKFLOW: str(os.getpid()),  # a job can tell whether it still runs
        **MEMORY,
    }
    for name in ("tier", "mirror", "device", "methods", "papers"):
        value = getattr(config, name)
        if value is not None:
            words = value if isinstance(value, str) else ",".join(value)
            variables[f"COUNTERPOISE_{name.upper()}"] = words
    return variables
