"""Prepared arrays and splits on disk, and the parts read back from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from counterpoise import registry
from counterpoise.datasets._part import Part
from counterpoise.errors import UserError
from counterpoise.files import atomic, read_json, sha256_file, write_json
from counterpoise.lazy import pd

PARTS = ("train", "validation", "test")


def prepare(dataset: str, options: dict[str, Any], raw: Path, marker: Path) -> None:
    """Decode the raw files into arrays beside ``marker``, which lists their checksums."""
    module = registry.find("datasets", dataset)
    module.prepare(raw, marker.parent, module.Options(**options))
    files = sorted(p for p in marker.parent.iterdir() if p.suffix in {".npy", ".parquet"})
    write_json(
        marker,
        {
            "dataset": dataset,
            "options": options,
            "raw": read_json(raw / "source.json"),
            "files": {p.name: sha256_file(p) for p in files if p.name != "split.parquet"},
        },
    )


def split(dataset: str, options: dict[str, Any], seed: int, target: Path) -> None:
    """Write the items of each part.

    Raises:
        UserError: a part is empty.
    """
    module = registry.find("datasets", dataset)
    items = module.split(target.parent, module.Options(**options), seed)
    counts = items["part"].value_counts()
    for part in PARTS:
        if counts.get(part, 0) == 0:
            raise UserError(f"the {part} part of {dataset} is empty", where=target)
    with atomic(target) as temporary:
        items.to_parquet(temporary, index=False)


def load_items(split_file: Path) -> pd.DataFrame:
    """The items of all parts.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        return pd.read_parquet(split_file)
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot read the split ({error})",
            where=split_file,
            remedy="delete it and run `snakemake` again",
        ) from error


def load_part(dataset: str, options: dict[str, Any], split_file: Path, part: str) -> Part:
    """Inputs and targets of one part."""
    module = registry.find("datasets", dataset)
    items = load_items(split_file)
    chosen = items[items["part"] == part]
    try:
        loaded: Part = module.load(split_file.parent, chosen, module.Options(**options))
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot read the prepared data ({error})",
            where=split_file.parent,
            remedy="delete this folder and run `snakemake` again",
        ) from error
    return loaded
