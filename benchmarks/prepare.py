"""Preparing images of the release against a plain loop, and reading them against decoding PNG.

    python -m benchmarks.prepare --raw FOLDER [--images 240] [--size 224]

FOLDER holds the files of the source nih-chestxray14-sample, whose real images are enlarged to the
1024 x 1024 pixels of the release, with noise of one grey level so that they compress as badly.

- *plain loop*: open, convert to grey, resize, save as PNG, one file after the other;
- *prepare*: the same images from an archive ``images_001.tar.gz`` into the array that training
  reads, on all cores, as `counterpoise prepare` does it.

Their ratio is at most that of their processor times, times what the other cores are worth, which is
measured too: virtual ones are often threads of one core.

Then batches of 64 in random order: from the mapped array (as bytes, and as float32 as training gets
them), against decoding the release's PNG files and resizing, and against decoding the PNG files
that the loop saved; with files in the page cache and with the cache dropped before each batch.
"""

from __future__ import annotations

import argparse
import os
import tarfile
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.command import arguments
from counterpoise.datasets._archives import read_images
from counterpoise.datasets._arrays import Array, cores
from counterpoise.datasets._images import decode
from counterpoise.datasets._part import Part

RELEASE = 112_120
SIDE = 1024
BATCH = 64
GREY = Image.Resampling.BILINEAR


def main() -> None:
    """Measure and print."""
    chosen = arguments(__doc__, images=240, size=224, batches=8)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        names = make_release(chosen.raw, folder, chosen.images)
        prepare(folder, names, chosen.size)
        read(folder, names, chosen)


def make_release(raw: Path, folder: Path, count: int) -> list[str]:
    """Files of the release's size, each alone and all in one archive."""
    (folder / "images").mkdir()
    (folder / "saved").mkdir()
    (folder / "release").mkdir()
    rng = np.random.default_rng(0)
    names, total = [], 0
    with (
        tarfile.open(raw / "images_001.tar.gz") as source,
        tarfile.open(folder / "release" / "images_001.tar.gz", "w:gz", compresslevel=1) as target,
    ):
        for member in source:
            if not member.isreg() or len(names) == count:
                continue
            content = source.extractfile(member)
            assert content is not None
            with Image.open(BytesIO(content.read())) as picture:
                large = picture.convert("L").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            noisy = np.asarray(large).astype(int) + rng.integers(-1, 2, (SIDE, SIDE))
            stream = BytesIO()
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(stream, "PNG")
            name = Path(member.name).name
            (folder / "images" / name).write_bytes(stream.getvalue())
            info = tarfile.TarInfo(f"images/{name}")
            info.size = len(stream.getvalue())
            stream.seek(0)
            target.addfile(info, stream)
            names.append(name)
            total += info.size
    print(f"{len(names)} images of {SIDE} px, {total / len(names) / 1024:.0f} KiB each")
    return names


def prepare(folder: Path, names: list[str], size: int) -> None:
    """Both ways to prepared images, three times, in turn; the fastest of each counts."""
    loops, ours = [], []
    used: list[list[float]] = [[], []]  # processor time, which other work leaves alone
    for _ in range(3):
        start, cpu = time.perf_counter(), time.process_time()
        loop(folder, names, size)
        loops.append(time.perf_counter() - start)
        used[0].append(time.process_time() - cpu)
        (folder / "images.npy").unlink(missing_ok=True)
        start, cpu = time.perf_counter(), time.process_time()
        rows = {name: row for row, name in enumerate(names)}
        array = Array(folder / "images.npy", rows, size, "")
        array.fill(read_images(folder / "release", rows, "the benchmark"), decode)
        array.clear()
        ours.append(time.perf_counter() - start)
        used[1].append(time.process_time() - cpu)
    images = np.load(folder / "images.npy", mmap_mode="r")
    for row in (0, len(names) - 1):
        with Image.open(folder / "saved" / names[row]) as picture:
            assert np.array_equal(np.asarray(picture), images[row])
    for what, seconds, cpu in (
        ("plain loop", min(loops), min(used[0])),
        (f"prepare, {cores()} cores", min(ours), min(used[1])),
    ):
        each = seconds / len(names)
        whole = f"{RELEASE * each / 60:6.1f} min for {RELEASE:,}"
        busy = f"{1e3 * cpu / len(names):6.2f} ms of processor time"
        print(f"{what:20} {1e3 * each:7.2f} ms an image ({busy}), {whole}")
    print(f"prepare is {min(loops) / min(ours):.1f} times as fast, with the same pixels")
    print(f"all cores run the plain loop {scaling(folder, names, size):.2f} times as fast as one")


def loop(folder: Path, names: list[str], size: int) -> None:
    """The plain loop."""
    for name in names:
        with Image.open(folder / "images" / name) as picture:
            picture.convert("L").resize((size, size), GREY).save(folder / "saved" / name)


def scaling(folder: Path, names: list[str], size: int) -> float:
    """What this machine's other cores are worth: the plain loop in a process for each."""
    start = time.perf_counter()
    loop(folder, names, size)
    alone = time.perf_counter() - start
    with ProcessPoolExecutor(cores()) as pool:
        list(pool.map(loop, [folder] * cores(), [names[:1]] * cores(), [size] * cores()))
        start = time.perf_counter()
        shares = [names[core :: cores()] for core in range(cores())]
        list(pool.map(loop, [folder] * cores(), shares, [size] * cores()))
        return alone / (time.perf_counter() - start)


def read(folder: Path, names: list[str], chosen: argparse.Namespace) -> None:
    """Batches from the array and from PNG files."""
    images = torch.from_numpy(np.load(folder / "images.npy", mmap_mode="c"))[:, None]
    part = Part(images, {}, 0.5, 0.25, torch.arange(len(names)))

    def mapped(index: np.ndarray) -> None:
        images[torch.from_numpy(index)]

    def trained(index: np.ndarray) -> None:
        part.batch(torch.from_numpy(index))

    def released(index: np.ndarray) -> None:
        for place in index:
            with Image.open(folder / "images" / names[place]) as picture:
                np.asarray(picture.convert("L").resize((chosen.size, chosen.size), GREY))

    def saved(index: np.ndarray) -> None:
        for place in index:
            with Image.open(folder / "saved" / names[place]) as picture:
                np.asarray(picture)

    files = {
        mapped: [folder / "images.npy"],
        trained: [folder / "images.npy"],
        released: list((folder / "images").iterdir()),
        saved: list((folder / "saved").iterdir()),
    }
    told = {
        mapped: "mapped array, bytes",
        trained: "mapped array, float32",
        released: f"PNG of {SIDE} px, resized",
        saved: f"PNG of {chosen.size} px",
    }
    for cold in (False, True):
        print(f"reading a batch of {BATCH}, page cache {'cold' if cold else 'warm'}:")
        times = {ways: timed(ways, files[ways], len(names), chosen.batches, cold) for ways in files}
        for ways, each in times.items():
            whole = f"{RELEASE * each / 60:6.2f} min for {RELEASE:,}"
            ratio = f"{each / times[mapped]:6.1f} times the array's"
            print(f"  {told[ways]:24} {1e3 * each:8.3f} ms an image, {ratio}, {whole}")


def timed(
    ways: Callable[[np.ndarray], None], files: list[Path], count: int, batches: int, cold: bool
) -> float:
    """Seconds an image, the median over batches."""
    rng, seconds = np.random.default_rng(1), []
    ways(rng.permutation(count)[:BATCH])
    for _ in range(batches):
        if cold:
            drop(files)
        start = time.perf_counter()
        ways(rng.permutation(count)[:BATCH])
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds)) / min(BATCH, count)


def drop(files: list[Path]) -> None:
    """Write files out and forget their pages."""
    for path in files:
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


if __name__ == "__main__":
    main()
