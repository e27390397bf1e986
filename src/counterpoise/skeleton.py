"""Skeletons of new files, for ``counterpoise new``: templates in ``skeletons``, filled in."""

from __future__ import annotations

import ast
import contextlib
import json
import keyword
import os
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import yaml
from jinja2 import Environment
from pydantic import ValidationError

from counterpoise import registry
from counterpoise.checks.catalogue import RENAME, misnamed
from counterpoise.errors import UserError, nearest
from counterpoise.files import write_text
from counterpoise.spec.dataset import Dataset
from counterpoise.spec.names import SINGLE_TASK
from counterpoise.spec.study import ALL
from counterpoise.templates import environment


@cache
def _environment() -> Environment:
    found = environment(Path(__file__).parent / "skeletons", html=False)
    found.filters["quoted"] = _quoted
    return found


def _filled(skeleton: str, /, **values: object) -> str:
    """A skeleton with its values put in; those that a user chose freely are quoted there."""
    return _environment().get_template(f"{skeleton}.j2").render(values)


def _as_name(root: Path, name: str, others: Iterable[str]) -> str:
    """A name for a file of the configuration, which no file of other folders has.

    Raises:
        UserError: it cannot be used, or is taken there.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,40}", name):
        raise UserError(
            f"{name!r} cannot be the name of a file",
            remedy="use lower-case letters, digits, - and _, starting with a letter",
        )
    if yaml.safe_load(name) != name:
        what = f"YAML does not read {name!r} as a name but as {yaml.safe_load(name)!r}"
        raise UserError(what, remedy="choose another name")
    _refuse_words(name)
    for folder in others:
        path = root / "config" / folder / f"{name}.yaml"
        if path.exists():
            what = f"{name!r} is taken: papers and studies of datasets cannot share a name"
            raise UserError(what, where=path, remedy="choose another name")
    return name


def _refuse_words(name: str) -> None:
    """Refuse what ``--config papers=NAME`` would not take for a name."""
    with contextlib.suppress(ValueError):
        float(name)  # inf, nan: to Snakemake a number
        raise UserError(f"{name!r} is read as a number", remedy="choose another name")
    if name == ALL:
        raise UserError(f"{name!r} means all that there are", remedy="choose another name")


def _quoted(text: str) -> str:
    """A text as YAML, on one line."""
    return json.dumps(text, ensure_ascii=False)


def _title(name: str) -> str:
    """A first title for what has a name."""
    return name.replace("_", " ").replace("-", " ").capitalize()


def new_dataset(root: Path, name: str, folder: str, table: str, labels: list[str]) -> Path:
    """Write the file of a dataset that is a folder of images with a table of labels.

    Raises:
        UserError: the name cannot be used, or is taken; a label is empty, given twice, no name of a
            task, or no column of the table, if that is there already.
    """
    path = root / "config" / "datasets" / f"{_as_name(root, name, ['papers'])}.yaml"
    for option, text in {
        "--folder": folder,
        "--table": table,
        "--labels": ",".join(labels),
    }.items():
        _check_text(option, text)
    wrong = [label for label in labels if not label or labels.count(label) > 1]
    if wrong:
        what = f"the label {wrong[0]!r} is given twice" if wrong[0] else "a label is empty"
        raise UserError(what, where="--labels", remedy="name each column once, separated by commas")
    _check_names(labels)
    _check_columns(root, folder, table, labels)
    taken = name in registry.names("datasets")
    if path.exists() or taken:
        raise UserError(
            f"there is already a dataset {name!r}",
            where=path,
            remedy=f"{'edit that file, or ' * path.exists()}choose another name",
        )
    title = _title(name)
    values = {"name": name, "title": title, "labels": labels, "folder": folder, "table": table}
    write_text(path, _filled("dataset.yaml", **values))
    return path


def _check_text(option: str, text: str) -> None:
    """Refuse what a file in UTF-8 cannot hold, such as a name of a file in another encoding."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        what, remedy = f"{text!r} is not UTF-8", "rename the folder, file or column"
        raise UserError(what, where=option, remedy=remedy) from error


def _check_names(labels: list[str]) -> None:
    """Look whether tasks can be called as the labels are."""
    module = registry.find("datasets", "image_folder")
    try:
        tasks = module.tasks(module.Options(labels=labels))
    except ValidationError as error:
        what = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise UserError(what, where="--labels", remedy=RENAME) from error
    for what in map(misnamed, tasks):
        if what:
            raise UserError(what, where="--labels", remedy=RENAME)


def _check_columns(root: Path, folder: str, table: str, labels: list[str]) -> None:
    """Look for the labels in the table's first line; one that cannot be read is told later."""
    module = registry.find("datasets", "image_folder")
    if (places := _places(root, folder, table)) is None:
        return
    path = places[1]
    header = module.header_of(path)
    if header is None:
        return
    if not header:
        what, remedy = (
            "is empty",
            "write a header with the names of the columns, and a row an image",
        )
        raise UserError(what, where=path, remedy=remedy)
    for label in labels:
        if label not in header:
            what = f"has no column {label!r}"
            raise UserError(what, where=f"{path}:1", remedy=nearest(label, header))
    module.check_once(header, [*labels, *_COLUMNS], path)


_COLUMNS = ("file", "patient")
"""Those that a table has besides its labels, as the dataset's file names them at first."""


def _places(root: Path, folder: str, table: str) -> tuple[Path, Path] | None:
    """The folder and the table; None if they are in the home of nobody."""
    try:
        images = root.absolute() / Path(folder).expanduser()
        return images, images / Path(table).expanduser()
    except RuntimeError:
        return None


def folder_from_here(root: Path, folder: str) -> str:
    """A folder as the dataset's file has it: from the checkout, where it was typed below that."""
    here = Path.cwd()
    found = Path(os.path.normpath(here / folder))
    if here == root or Path(folder).is_absolute() or not found.is_dir():
        return folder
    return str(found.relative_to(root) if found.is_relative_to(root) else found)


def still_to_do(root: Path, folder: str, table: str) -> Iterator[str]:
    """What a new dataset lacks before methods can be compared on it, a line each."""
    images, path = _places(root, folder, table) or (Path(folder), Path(table))
    if not images.is_dir():
        yield f"there is no such folder yet: {images}"
    elif not path.is_file():
        yield f"there is no such table yet: {path}"
    else:
        header = registry.find("datasets", "image_folder").header_of(path) or []
        for column in _COLUMNS:
            if column not in header:
                yield (
                    f"{path}:1 has no column {column!r}: write another one's name after "
                    f"`{column}:` under `options`"
                )


def new_paper(root: Path, name: str, year: int) -> Path:
    """Write the file of a paper: an experiment that runs, a table, a claim and an assumption.

    Raises:
        UserError: the name cannot be used, or is taken.
    """
    taken = _as_name(root, name, ["studies", "datasets"])
    path = root / "config" / "papers" / f"{taken}.yaml"
    if path.exists():
        what = f"there is already a paper {name!r}"
        raise UserError(what, where=path, remedy="choose another name")
    write_text(path, _filled("paper.yaml", name=name, title=_title(name), year=year))
    return path


def new_study(root: Path, dataset: Dataset, source: str | None = None) -> Path:
    """Write a comparison of methods on a dataset, unless there is one.

    Args:
        source: of the dataset; its first if absent.
    """
    path = root / "config" / "studies" / f"{dataset.id}.yaml"
    if not path.exists():
        chosen = source or next(iter(dataset.sources))
        text = _filled("study.yaml", name=dataset.id, title=dataset.title, source=chosen)
        write_text(path, text)
    return path


def new_method(root: Path, name: str) -> Path:
    """Write the skeleton of a method beside the others of a checkout.

    Raises:
        UserError: the name cannot be used, or is taken.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,40}", name):
        raise UserError(
            f"{name!r} cannot be the name of a file",
            remedy="use lower-case letters, digits and underscores, starting with a letter",
        )
    _refuse_words(name)
    path = root / "src" / "counterpoise" / "methods" / f"{name}.py"
    if name == SINGLE_TASK or path.exists():
        what = f"there is already a method {name!r}"
        raise UserError(what, where=path, remedy="choose another name")
    words = name.split("_")
    kind = "".join(word.capitalize() for word in words)
    text = _filled("method.py", kind=kind, label=" ".join(words).capitalize())
    if keyword.iskeyword(kind) or kind in _imported(text):
        what = f"{name!r} would give a class {kind!r}, which already has a meaning in the file"
        raise UserError(what, remedy="choose another name")
    write_text(path, text)
    return path


def _imported(text: str) -> set[str]:
    """Names that a file imports from others."""
    imports = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)]
    return {one.name for node in imports for one in node.names}
