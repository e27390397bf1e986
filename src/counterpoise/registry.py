"""The catalogue: one module a method, network, dataset or generator, found by its file name.

Dropping a file into ``methods/`` is all it takes to add a method. Modules whose name starts
with an underscore are helpers and do not count.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

from counterpoise.errors import UserError, nearest

if TYPE_CHECKING:
    from counterpoise.methods._base import Method

Kind = Literal["methods", "networks", "datasets", "generators"]


def names(kind: Kind) -> list[str]:
    """Names of all entries, sorted."""
    package = importlib.import_module(f"counterpoise.{kind}")
    return sorted(m.name for m in pkgutil.iter_modules(package.__path__) if m.name[0] != "_")


def module_name(kind: Kind, name: str) -> str:
    """Dotted name of the entry's module."""
    own = _READERS.get(name, name) if kind == "datasets" else name
    return f"counterpoise.{kind}.{own}"


_READERS: dict[str, str] = {}
"""Dataset of the configuration to the module that reads it, where that has another name."""


def set_readers(readers: dict[str, str]) -> None:
    """Say which modules read the datasets of a configuration.

    Args:
        readers: name of a dataset to that of its module.
    """
    _READERS.clear()
    _READERS.update({name: reader for name, reader in readers.items() if name != reader})


def find(kind: Kind, name: str) -> ModuleType:
    """The entry's module.

    Raises:
        UserError: there is none of that name; the nearest is suggested.
    """
    return _find(kind, _READERS.get(name, name) if kind == "datasets" else name)


@cache
def _find(kind: Kind, name: str) -> ModuleType:
    if name not in names(kind):
        raise UserError(f"unknown {kind[:-1]} {name!r}", remedy=nearest(name, names(kind)))
    return importlib.import_module(f"counterpoise.{kind}.{name}")


def leak_of(dataset: str, options: dict[str, Any]) -> bool:
    """Whether a dataset with these options has what belongs together on both sides of its split."""
    module = find("datasets", dataset)
    return hasattr(module, "leaks") and bool(module.leaks(module.Options(**options)))


@cache
def method(name: str) -> type[Method]:
    """The method class that the module of this name defines."""
    from counterpoise.methods._base import Method

    module = find("methods", name)
    own = [
        member
        for _, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, Method) and member.__module__ == module.__name__
    ]
    if len(own) != 1:
        raise UserError(
            f"a method file defines exactly one subclass of Method, this one {len(own)}",
            where=str(module.__file__),
        )
    return own[0]
