"""Tables of comma-separated values and lists of names, read with errors that name the line."""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterator
from pathlib import Path

from counterpoise.errors import UserError


def read_rows(
    path: Path, columns: tuple[str, ...], remedy: str = "take the file as NIH publishes it"
) -> Iterator[tuple[int, list[str]]]:
    """Line and requested fields of each row of a file with a header.

    A comma within brackets separates columns too, as in the header ``Bbox [x,y,w,h],,,`` of the
    release, and empty fields at the end do not count.

    Args:
        remedy: what helps if the file is not such a table.

    Raises:
        UserError: the file is missing or not such a table; the line is named.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            reader = csv.reader(handle, strict=True)
            header = [name.strip() for name in next(reader, [])]
            while header and not header[-1]:
                header.pop()
            if len(header) < 2:
                raise UserError(
                    "not a table of comma-separated values" if header else "is empty",
                    where=path,
                    remedy=remedy,
                )
            for column in columns:
                if column not in header:
                    close = difflib.get_close_matches(column, header, n=1, cutoff=0.0)[0]
                    raise UserError(
                        f"has no column {column!r}; the nearest that it has is {close[:60]!r}",
                        where=f"{path}:1",
                        remedy=remedy,
                    )
            places = [header.index(column) for column in columns]
            empty = True
            for row in filter(None, reader):
                empty = False
                if len(row) < len(header) or any(row[len(header) :]):
                    raise UserError(
                        f"{len(row)} fields where the header has {len(header)}",
                        where=f"{path}:{reader.line_num}",
                        remedy="correct the row, or fetch the file again",
                    )
                yield reader.line_num, [row[place].strip() for place in places]
            if empty:
                raise UserError("has a header and no rows", where=path, remedy=remedy)
    except FileNotFoundError as error:
        raise UserError("no such file", where=path, remedy=remedy) from error
    except csv.Error as error:
        raise UserError(
            f"not a row of comma-separated values ({error})",
            where=f"{path}:{reader.line_num}",
            remedy="correct the row, or fetch the file again",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"not a table of comma-separated values ({error})", where=path, remedy=remedy
        ) from error


def read_names(path: Path) -> dict[str, int]:
    """Names, one per line, and the line of each. The last line need not be terminated.

    Raises:
        UserError: the file is missing, empty or not text, or contains a name twice.
    """
    remedy = "take the file as NIH publishes it: one name of an image a line"
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise UserError("no such file", where=path, remedy=remedy) from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"not a text of names ({error})", where=path, remedy=remedy) from error
    lines: dict[str, int] = {}
    for line, name in enumerate(map(str.strip, text.splitlines()), 1):
        if name in lines:
            raise UserError(
                f"names {name!r} again after line {lines[name]}",
                where=f"{path}:{line}",
                remedy="remove one of the two lines",
            )
        if name:
            lines[name] = line
    if not lines:
        raise UserError("is empty", where=path, remedy=remedy)
    return lines
