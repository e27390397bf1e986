"""JSON that anybody may have written: whatever it holds, what comes of it is a message."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from counterpoise.errors import UserError
from counterpoise.files import is_sealed, read_json


def read_foreign(path: Path) -> Any:
    """Read JSON, also where it is valid and Python cannot hold it.

    Raises:
        UserError: the file is missing or damaged, nested too deeply, or has a number of thousands
            of digits.
    """
    try:
        return read_json(path)
    except (RecursionError, ValueError) as error:
        raise UserError(
            f"damaged file ({error})", where=path, remedy="delete it and run `snakemake` again"
        ) from error


def is_as_written(value: Any) -> bool:
    """Whether JSON as read is sealed; what is nested too deeply to tell is not."""
    try:
        return is_sealed(value)
    except RecursionError:
        return False
