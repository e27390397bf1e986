"""Digest of one Python source: what it does, not how it is written, by any supported Python."""

from __future__ import annotations

import ast
import hashlib
import sys

# The printed tree must be the same by every Python, or results made by one would be called stale
# by another: 3.13 leaves empty lists out unless asked, 3.12 has parameters of types, and 3.12.1
# an empty text after a nested format.
_WHOLE = {"show_empty": True} if sys.version_info >= (3, 13) else {}


def syntax_digest(source: bytes) -> str:
    """Digest of the syntax tree without docstrings, comments and layout.

    Raises:
        SyntaxError: it is not valid Python.
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            # A bare string statement does nothing, docstring or not.
            node.body = [s for s in node.body if not _is_text(s)] or [ast.Pass()]
        if isinstance(node, ast.JoinedStr):
            node.values = [v for v in node.values if getattr(v, "value", None) != ""]
        if getattr(node, "type_params", None) == []:
            delattr(node, "type_params")
    return hashlib.sha256(ast.dump(tree, **_WHOLE).encode()).hexdigest()[:12]


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
