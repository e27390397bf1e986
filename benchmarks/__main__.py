"""The whole benchmark in a given time, the most important first; run again, it resumes.

    python -m benchmarks --device cuda --minutes 14 --out FOLDER [--libmtl FOLDER]

Writes FOLDER/speed.md, tables for docs/measurements.md, and FOLDER/speed.json, with the seconds of
every block, both rewritten after each piece of work. ``--part``, ``--work`` and ``--method`` choose
as for ``python -m benchmarks.speed``, which says what each part is; on a GPU the tests that need
one come first. A piece during which the process died is tried again after all others, three times
at most. The exit code is 0 if all is measured, 75 if the time was up first (the same command
resumes), 1 if an arm has failed through a fault or the device is lost.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.arms import set_precision
from benchmarks.machine import described, facts
from benchmarks.pieces import Piece, all_pieces
from benchmarks.ratios import OutOfTime, forget, reason
from benchmarks.speed import parser, prepare
from benchmarks.tables import read

UNFINISHED = 75
ATTEMPTS = 3
Record = dict[str, Any]


class Book:
    """What is measured, in a folder.

    Args:
        folder: of both files.
        about: hardware, versions and settings, which all pieces have in common.

    Raises:
        SystemExit: the folder has figures of another machine or with other settings.
    """

    def __init__(self, folder: Path, about: Record) -> None:
        self.folder, self.about = folder, about
        self.records: dict[str, Record] = {}
        file = folder / "speed.json"
        if not file.exists():
            return
        told = json.loads(file.read_text(encoding="utf-8"))
        for name, value in about.items():
            if told["about"].get(name) != value:
                raise SystemExit(
                    f"error: {file} was measured with {name} {told['about'].get(name)}, not {value}"
                    "; what to do: choose another --out"
                )
        self.records = told["pieces"]

    def attempts(self, piece: Piece) -> int:
        """How often a piece was begun."""
        return int(self.records.get(piece.name, {}).get("attempts", 0))

    def done(self, piece: Piece) -> bool:
        """Whether it need not be tried again."""
        record = self.records.get(piece.name, {})
        return bool(record.get("done")) or self.attempts(piece) >= ATTEMPTS

    def note(self, piece: Piece, record: Record, title: str, pieces: list[Piece]) -> None:
        """Keep a piece's record and write both files."""
        self.records[piece.name] = record
        self.write(title, pieces)

    def write(self, title: str, pieces: list[Piece]) -> None:
        """Write both files; a kill leaves the old or the new ones."""
        self.folder.mkdir(parents=True, exist_ok=True)
        whole = {"about": self.about, "pieces": self.records}
        self._replace("speed.json", json.dumps(whole, indent=1))
        self._replace("speed.md", self.markdown(title, pieces))

    def _replace(self, name: str, text: str) -> None:
        new = self.folder / f"{name}.new"
        new.write_text(text, encoding="utf-8")
        os.replace(new, self.folder / name)

    def markdown(self, title: str, pieces: list[Piece]) -> str:
        """All tables in the order of the pieces, and what is not measured."""
        found = [f"# Speed\n\n{title}"]
        missing = []
        for piece in pieces:
            record = self.records.get(piece.name, {})
            tables = [read(table) for table in record.get("tables", [])]
            if tables:
                took = f"({piece.name}: {record['seconds']:.0f} s)"
                found += [table.markdown() for table in tables] + [took]
            why = record.get("why") or ("" if record.get("done") else "not measured yet")
            if not record.get("done") and self.attempts(piece) >= ATTEMPTS:
                why = f"given up, as the process died {ATTEMPTS} times"
            if why:
                missing.append(f"- {piece.name}: {why}")
        if missing:
            found.insert(1, "Not measured:\n\n" + "\n".join(missing))
        return "\n\n".join(found) + "\n"

    @property
    def failed(self) -> list[str]:
        """Pieces of which something has failed by a fault."""
        return [name for name, record in self.records.items() if record.get("failed")]


def measure(piece: Piece, given: argparse.Namespace) -> Record:
    """A piece's record.

    Raises:
        OutOfTime: the time was up before its end.
    """
    started = time.monotonic()
    set_precision(piece.given.get("precision", given.precision))
    record: Record = {"done": True, "why": ""}
    try:
        tables = piece.run(given)
        record["tables"] = [table.plain() for table in tables]
        record["failed"] = any(table.failed for table in tables)
    except OutOfTime:
        raise
    except Exception as error:  # of what comes before any arm is made
        record["why"] = reason(error)
        record["failed"] = record["why"].startswith("failed")
    record["seconds"] = time.monotonic() - started
    return record


def lost(device: torch.device) -> bool:
    """Whether a fault has left the device unusable for this process."""
    try:
        return bool(torch.ones(1, device=device).item() != 1)
    except RuntimeError:
        return True


def main() -> None:
    """Measure what is not measured yet."""
    made = parser(__doc__)
    made.add_argument("--minutes", type=float, default=math.inf, help="no limit if left out")
    made.add_argument("--out", type=Path, required=True, help="folder for the figures")
    given = made.parse_args()
    began = time.monotonic()
    prepare(given)
    given.memory = True
    given.until = began + 60 * given.minutes
    settings = ("batch", "blocks", "repeats", "precision")
    about = facts(given.device) | {name: getattr(given, name) for name in settings}
    about["libmtl"] = "LibMTL" in sys.modules
    book, pieces = Book(given.out, about), all_pieces(given)
    words = shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]])
    title = f"`{words}`\n\n{described(given.device)}"
    left = sorted((p for p in pieces if not book.done(p)), key=book.attempts)
    for number, piece in enumerate(left, 1):
        attempts = book.attempts(piece)
        book.note(piece, {"attempts": attempts + 1}, title, pieces)
        print(f"{number} of {len(left)}: {piece.name} ...", flush=True)
        try:
            record = measure(piece, given)
        except OutOfTime:
            book.note(piece, {"attempts": attempts}, title, pieces)
            print(f"the time is up: {len(left) - number + 1} left; the same command resumes")
            raise SystemExit(UNFINISHED) from None
        book.note(piece, record | {"attempts": attempts + 1}, title, pieces)
        for table in record.get("tables", []):
            print(f"\n{read(table).markdown()}\n", flush=True)
        if record["failed"] and lost(given.device):
            raise SystemExit("error: the device is lost; the same command resumes after this piece")
        forget(given.device)
    book.write(title, pieces)
    print(f"{given.out / 'speed.md'}")
    if book.failed:
        raise SystemExit(f"error: something has failed in {', '.join(book.failed)}")


if __name__ == "__main__":
    main()
