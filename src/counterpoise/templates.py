"""Environments of Jinja: for the report's page, tables for authors, skeletons of new files."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def environment(folder: Path, *, html: bool) -> Environment:
    """The templates of a folder, in which lines of tags leave none, and all names must be given.

    Args:
        html: what is filled in is escaped, and the parts of a page end without a newline. Other
            texts keep theirs, and need a filter of their own for what could break them.
    """
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=not html,
    )
