"""A user's own folder of images with a table of labels: nothing is generated or moved, only noted.

The table is copied; the images stay where they are, and the note ``folder.json`` says where that
is, where the table is that a person would correct, and its checksum. A different table, or images
with different names or sizes, give a different digest, so everything derived from the old ones is
made again.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from counterpoise.datasets._folder import NOTE, TABLE
from counterpoise.errors import UserError
from counterpoise.files import atomic, digest_of, sha256_file, write_json
from counterpoise.spec import base


class Options(base.Options):
    """Where the files are."""

    folder: str = "data/own"
    """Folder to which the file names in the table are relative. `~` is the user's home; a relative
    path starts from the checkout."""
    table: str = "labels.csv"
    """The table of labels, comma-separated with a header; a relative path starts from the
    folder."""


IMAGES = (".png", ".jpg", ".jpeg")
"""Extensions of the files that count for the identity; the table may name others, too."""


def _expanded(text: str) -> Path:
    """A path whose `~` is the home of a user.

    Raises:
        UserError: there is no such user.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise UserError(
            "begins with the home of a user who is not known here",
            where=text,
            remedy="write the whole path under the source's generator in the dataset's file "
            "(config/datasets)",
        ) from error


def folder_of(options: Options, root: Path) -> Path:
    """The folder, which need not be there.

    Raises:
        UserError: it is in the home of nobody.
    """
    return root.absolute() / _expanded(options.folder)


def places(options: Options, root: Path) -> tuple[Path, Path]:
    """The folder and the table.

    Raises:
        UserError: one of the two is missing.
    """
    folder = folder_of(options, root)
    table = folder / _expanded(options.table)
    for path, what in ((folder, "folder"), (table, "table")):
        if not (path.is_dir() if what == "folder" else path.is_file()):
            raise UserError(
                f"there is no such {what}",
                where=path,
                remedy=f"bring it back, write where it is now as `{what}` under the source's "
                "generator in the dataset's file (config/datasets), or delete the study that "
                "compares methods on it (config/studies)",
            )
    return folder, table


def identity(options: Options, root: Path) -> str:
    """Digest of the table and of the names and sizes of the images below the folder.

    Raises:
        UserError: they are missing. Planning as if there were none would make everything trained on
            them look like garbage. Or the name of one is no text.
    """
    images, table = places(options, root)
    found = sorted(
        (_named(path, images), path.stat().st_size)
        for path in images.rglob("*")
        if path.suffix.lower() in IMAGES and path.is_file()
    )
    return digest_of({"table": sha256_file(table), "images": found})


def _named(path: Path, images: Path) -> str:
    """The name of an image below the folder, which a table in UTF-8 could have.

    Raises:
        UserError: none could.
    """
    name = str(path.relative_to(images))
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"the name of the image {name!r} is not UTF-8",
            where=images,
            remedy="rename the file, or move it out of the folder",
        ) from error
    return name


def generate(folder: Path, options: Options) -> None:
    """Copy the table, and note where it and the folder are.

    Args:
        folder: ``data/raw/SOURCE-RAW`` of the checkout.

    Raises:
        UserError: they are not there.
    """
    images, table = places(options, folder.parents[2])
    with atomic(folder / TABLE) as temporary:
        shutil.copyfile(table, temporary)
    told = {"folder": str(images), "table": str(table), "sha256": sha256_file(folder / TABLE)}
    write_json(folder / NOTE, told)
