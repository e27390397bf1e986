"""How the report's smaller files are written: lines of CSV, and folders without what is gone."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from counterpoise.files import make_folder, write_text


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Rows as CSV, under their header."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue()


def write_folder(folder: Path, files: dict[str, str], suffixes: Sequence[str]) -> None:
    """Write files by name; others of these kinds, which an earlier report has left, go.

    The folder is there afterwards, though it may be empty: Snakemake asks for it.
    """
    make_folder(folder)
    for name, text in files.items():
        write_text(folder / name, text)
    for path in folder.glob("*.*"):
        if path.suffix in suffixes and path.name not in files:
            path.unlink()
