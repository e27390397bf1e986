"""YAML files into models: every error at once, with file, line and the nearest valid key."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from counterpoise.errors import UserError, UserErrors, nearest

M = TypeVar("M", bound=BaseModel)
Path_ = tuple[str | int, ...]

MAX_BYTES = 4_000_000
MAX_DEPTH = 24


class Document:
    """Plain data of one YAML file, with the line of every key and value."""

    def __init__(self, path: Path, data: Any, lines: dict[Path_, int]) -> None:
        self.path, self.data, self.lines = path, data, lines

    def where(self, location: Path_) -> str:
        """``file:line`` of the deepest part of ``location`` that the file holds."""
        found: Path_ = ()
        for part in location:  # parts that are not in the file are names of union members
            if (*found, part) in self.lines:
                found = (*found, part)
        line = self.lines.get(found, 1)
        return f"{self.path}:{line}" if line else "command line"


# YAML 1.2's core schema: no `on`/`no` booleans, no sexagesimal numbers, and 1e-3 is a number.
_SCALARS: tuple[tuple[re.Pattern[str], Any], ...] = (
    (re.compile(r"~|null|Null|NULL|"), lambda _: None),
    (re.compile(r"true|True|TRUE"), lambda _: True),
    (re.compile(r"false|False|FALSE"), lambda _: False),
    (re.compile(r"[-+]?[0-9]+"), int),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
    (re.compile(r"[-+]?\.(inf|Inf|INF)"), lambda s: -math.inf if s[0] == "-" else math.inf),
    (re.compile(r"\.(nan|NaN|NAN)"), lambda _: math.nan),
)


def _scalar(node: yaml.ScalarNode) -> Any:
    if not node.style:  # unquoted: None, or empty from the C parser
        for pattern, convert in _SCALARS:
            if pattern.fullmatch(node.value):
                return convert(node.value)
    return node.value


def _build(node: yaml.Node, path: Path, at: Path_, lines: dict[Path_, int]) -> Any:
    line = node.start_mark.line + 1
    lines.setdefault(at, line)
    if isinstance(node, yaml.ScalarNode):
        try:
            return _scalar(node)
        except ValueError as error:
            raise UserError("too long for a number", where=f"{path}:{line}") from error
    if isinstance(node, yaml.SequenceNode):
        return [_build(item, path, (*at, i), lines) for i, item in enumerate(node.value)]
    assert isinstance(node, yaml.MappingNode)
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key_line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise UserError("a key must be a plain word", where=f"{path}:{key_line}")
        key = key_node.value
        if key in result:
            raise UserError(f"key {key!r} appears twice", where=f"{path}:{key_line}")
        lines[(*at, key)] = key_line
        result[key] = _build(value_node, path, (*at, key), lines)
    return result


def _refuse(text: str, path: Path) -> None:
    """Look for what is not allowed before the document is built.

    Raises:
        UserError: an alias, an explicit tag, or too many levels.
    """
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        place = f"{path}:{event.start_mark.line + 1 if event.start_mark else 1}"
        if isinstance(event, yaml.AliasEvent):
            remedy = "write the value out"
            raise UserError("aliases (*name) are not allowed", where=place, remedy=remedy)
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise UserError(f"tag {tag} is not allowed", where=place, remedy="leave it out")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise UserError("nested too deeply", where=place)


def read_yaml(path: Path) -> Document:
    """Parse one YAML file without constructing anything but plain data.

    Aliases are refused: a few lines of them can stand for gigabytes.

    Raises:
        UserError: the file is missing, too large, not YAML, or uses what is not allowed.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"cannot read: {error.strerror}", where=path, remedy="check the name and permissions"
        ) from error
    if len(raw) > MAX_BYTES:
        raise UserError(f"larger than {MAX_BYTES} bytes", where=path)
    try:
        text = raw.decode("utf-8-sig")
        _refuse(text, path)
        node = yaml.compose(text, Loader=yaml.CSafeLoader)
    except UnicodeDecodeError as error:
        raise UserError("not UTF-8", where=path, remedy="save the file as UTF-8") from error
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UserError(f"not valid YAML: {problem}", where=place) from error
    lines: dict[Path_, int] = {}
    data = _build(node, path, (), lines) if node is not None else {}
    return Document(path, data, lines)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


def _keys_at(model: type[BaseModel], location: Path_) -> list[str]:
    """Valid keys of the models that may stand at ``location``."""
    current = [model]
    for part in location:
        inner = [
            m
            for c in current
            if part in c.model_fields
            for m in _models_in(c.model_fields[str(part)].annotation)
        ]
        current = inner or current
    return sorted({key for c in current for key in c.model_fields})


def validation_errors(
    error: ValidationError, model: type[BaseModel], document: Document, prefix: Path_ = ()
) -> list[UserError]:
    """One :class:`UserError` for each problem that pydantic found."""
    errors = []
    for item in error.errors(include_url=False):
        location = item["loc"]
        key = ".".join(str(part) for part in (*prefix, *location)) or "the file"
        remedy = ""
        if item["type"] == "extra_forbidden":
            what = f"unknown key {key!r}"
            known = _keys_at(model, location[:-1])
            remedy = nearest(str(location[-1]), known) if known else "nothing can be chosen here"
        elif item["type"] == "missing":
            what = f"key {key!r} is missing"
        else:
            shown = repr(item["input"])
            shown = shown if len(shown) <= 60 else shown[:57] + "..."
            what = f"{key}: {item['msg']} (got {shown})"
        errors.append(UserError(what, where=document.where((*prefix, *location)), remedy=remedy))
    return errors


def parse(model: type[M], document: Document) -> M:
    """Validate a document against a model.

    Raises:
        UserErrors: all problems, each with file and line.
    """
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        raise UserErrors(validation_errors(error, model, document)) from error
