"""Digests of code: what a job executes, reduced to what can change its result.

A digest covers the modules that an entry imports, directly or not, and the ``__init__`` of every
package on the way (importing a module runs those too). Modules that a registry imports by name
are invisible to static analysis and must be named by the caller. Each module counts as its syntax
tree without docstrings, so that comments, layout and documentation change nothing.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import grimp

from counterpoise.errors import UserError

PACKAGE = "counterpoise"


@cache
def _graph() -> grimp.ImportGraph:
    return grimp.build_graph(PACKAGE, exclude_type_checking_imports=True, cache_dir=None)


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
    try:
        tree = ast.parse(path.read_bytes())
    except SyntaxError as error:
        raise UserError(f"not valid Python: {error.msg}", where=f"{path}:{error.lineno}") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            # A bare string statement does nothing, docstring or not.
            node.body = [s for s in node.body if not _is_text(s)] or [ast.Pass()]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:12]


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


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
def library_version(name: str) -> str:
    """Installed version of a library, without a local build label such as ``+cu130``."""
    try:
        return importlib.metadata.version(name).split("+")[0]
    except importlib.metadata.PackageNotFoundError as error:
        raise UserError(f"{name} is not installed", remedy="run `make environment`") from error
