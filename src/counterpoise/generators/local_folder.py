"""A folder of images of one's own with a table of labels: nothing is made or moved, only noted.

The table is copied; of the images, which stay where they are, the note ``folder.json`` says where.
Another table has another digest, so that all that was made from the old one is made anew.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from counterpoise.datasets._folder import NOTE, TABLE
from counterpoise.errors import UserError
from counterpoise.files import atomic, sha256_file, write_json
from counterpoise.spec import base


class Options(base.Options):
    """Where the files are."""

    folder: str = "data/own"
    """Folder that the names of files in the table start from. `~` is one's home; what is not
    absolute starts from the checkout."""
    table: str = "labels.csv"
    """The table of labels, comma-separated with a header; what is not absolute starts from the
    folder."""


def places(options: Options) -> tuple[Path, Path]:
    """The folder and the table."""
    folder = Path(options.folder).expanduser().absolute()
    return folder, folder / Path(options.table).expanduser()


def identity(options: Options) -> str:
    """Digest of the table; empty where there is none, of which :func:`generate` tells."""
    _, table = places(options)
    return sha256_file(table) if table.is_file() else ""


def generate(folder: Path, options: Options) -> None:
    """Copy the table and note the folder.

    Raises:
        UserError: one of the two is not there.
    """
    images, table = places(options)
    for path, what in ((images, "folder"), (table, "table")):
        if not (path.is_dir() if what == "folder" else path.is_file()):
            raise UserError(
                f"there is no such {what}",
                where=path,
                remedy=f"write where it is as `{what}` under the source's generator in the "
                "dataset's file (config/datasets)",
            )
    with atomic(folder / TABLE) as temporary:
        shutil.copyfile(table, temporary)
    write_json(folder / NOTE, {"folder": str(images)})
