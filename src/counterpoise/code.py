"""Digests of code: what a job executes, reduced to what can change its result.

A digest covers the modules that an entry imports, directly or not, and the ``__init__`` of every
package on the way (importing a module runs those too). Modules that a registry imports by name
are invisible to static analysis and must be named by the caller. Each module counts as its syntax
tree without docstrings, so that comments, layout and documentation change nothing.

Every job plans, and digests of syntax trees would be most of that work: they are remembered by the
content of their source beside Python's own compiled files, and trusted as these are.
"""

from __future__ import annotations

import atexit
import hashlib
import importlib.metadata
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path

import grimp

from counterpoise import syntax
from counterpoise.errors import UserError
from counterpoise.files import read_json, write_json
from counterpoise.syntax import syntax_digest

PACKAGE = "counterpoise"
REMEMBERED = Path(__file__).parent / "__pycache__" / f"digests.{sys.implementation.cache_tag}.json"
"""Where digests are kept from one process to the next."""
MOST = 5000
"""Sources that are remembered; with more, all is forgotten."""


@cache
def _graph() -> grimp.ImportGraph:
    try:
        return grimp.build_graph(PACKAGE, exclude_type_checking_imports=True, cache_dir=None)
    except grimp.exceptions.SourceSyntaxError as error:
        raise UserError(
            f"not valid Python: {(error.text or '').strip()}",
            where=f"{error.filename}:{error.lineno}",
            remedy="fix it; the code is part of what identifies results",
        ) from error
    except UnicodeError as error:
        raise UserError(
            f"a file of the package is not UTF-8 text ({error})",
            where=Path(__file__).parent,
            remedy="fix or remove it; the code is part of what identifies results",
        ) from error


@cache
def path_of(module: str) -> Path:
    """The source file of a module of this package."""
    root = Path(__file__).parent
    base = root.joinpath(*module.split(".")[1:])
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


@cache
def module_digest(module: str) -> str:
    """Digest of one module's syntax tree without docstrings."""
    path = path_of(module)
    content = path.read_bytes()
    known, key = _remembered(), hashlib.sha256(_rules() + content).hexdigest()
    if key not in known:
        try:
            known[key] = syntax_digest(content)
        except SyntaxError as error:
            raise UserError(
                f"not valid Python: {error.msg}", where=f"{path}:{error.lineno}"
            ) from error
    return known[key]


@cache
def _rules() -> bytes:
    """What makes digests: once it changes, no remembered one holds."""
    return Path(syntax.__file__).read_bytes()


@cache
def _remembered() -> dict[str, str]:
    """Digest of a syntax tree by that of its source; written when the process ends."""
    path = REMEMBERED
    known: dict[str, str] = {}
    with suppress(UserError):
        read = read_json(path)
        if isinstance(read, dict) and len(read) < MOST and all(map(_is_digest, read.values())):
            known.update(read)
    before = len(known)

    def save() -> None:
        if len(known) > before:
            with suppress(UserError, OSError):  # as on a disk that cannot be written
                write_json(path, known)

    atexit.register(save)
    return known


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{12}", value) is not None


@cache
def closure(module: str) -> frozenset[str]:
    """The module, all that it imports, and their parent packages."""
    found = {module, *_graph().find_upstream_modules(module)}
    for name in tuple(found):
        parts = name.split(".")
        found |= {".".join(parts[:n]) for n in range(1, len(parts))}
    return frozenset(found)


def code_digests(modules: Iterable[str], without: frozenset[str] = frozenset()) -> dict[str, str]:
    """Module name to digest, over the closures of all ``modules`` but those of ``without``."""
    names = frozenset().union(*(closure(module) for module in modules)) - without
    return {name: module_digest(name) for name in sorted(names)}


@cache
def library_version(name: str, *, optional: bool = False) -> str:
    """Installed version of a library, without a local build label such as ``+cu130``.

    Args:
        optional: it may be "absent".

    Raises:
        UserError: it is not installed, and should be.
    """
    try:
        return importlib.metadata.version(name).split("+")[0]
    except importlib.metadata.PackageNotFoundError as error:
        if optional:
            return "absent"
        raise UserError(f"{name} is not installed", remedy="run `make environment`") from error
