"""Text of paper files and docstrings as HTML. Everything is escaped before it is marked up."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass

from markupsafe import Markup, escape

from counterpoise.report.numbers import signs

_CODE = re.compile(r"``(.+?)``|`([^`]+)`")
_ROLE = re.compile(r":[a-z]+:`~?([^`]+)`")
_EMPHASIS = re.compile(r"(?<![\w*])\*([^\s*](?:[^*]*[^\s*])?)\*(?![\w*])")
_ADDRESS = re.compile(r"(https://[^\s<>&;,)]+[^\s<>&;,.)])")
_INDEX = re.compile(
    r"(?<![A-Za-z])([A-Za-z\u0370-\u03ff])"
    r"(?:_(\{[^}]*\}|\w)(?![A-Za-z]))?(?:\^(\{[^}]*\}|[\w*]+))?"
)
_DELTA = re.compile(r"(?:\bDelta_|Δ_?)([mp])\b")
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")

NOTHING = Markup("")


@dataclass(frozen=True)
class Block:
    """A paragraph, a list with one entry per item, or lines that stay as they are."""

    items: tuple[Markup, ...]
    listed: bool = False
    literal: bool = False


def anchor(kind: str, *parts: str) -> str:
    """An identifier on the page. Names hold no colon, so two never meet."""
    return ":".join((kind, *parts))


def row_name(group: str, label: str) -> str:
    """A row's label with its group: rows of several groups may share one."""
    return f"{group}, {label}" if group else label


def label(text: str) -> Markup:
    """A label with the indices of its symbols: ``Δ_m``, ``R_k^{t+1}``."""

    def index(match: re.Match[str]) -> str:
        base, low, high = match.groups()
        below = f"<sub>{low.strip('{}')}</sub>" if low else ""
        above = f"<sup>{high.strip('{}')}</sup>" if high else ""
        return base + below + above

    return Markup(_INDEX.sub(index, _DELTA.sub(r"Δ_\1", str(escape(text)))))


def prose(text: str) -> Markup:
    """Running text with code, addresses, true minus signs and the one symbol that it spells out."""

    def code(match: re.Match[str]) -> str:
        return f"<code>{match[1] or match[2]}</code>"

    safe = _ROLE.sub(r"`\1`", str(escape(text)))
    parts = re.split(r"(``.+?``|`[^`]+`)", safe)
    for number, part in enumerate(parts):
        if number % 2:
            parts[number] = _CODE.sub(code, part)
        else:
            words = _ADDRESS.split(part)
            words[::2] = map(signs, words[::2])
            words[1::2] = (f'<a href="{address}">{address}</a>' for address in words[1::2])
            linked = _EMPHASIS.sub(r"<em>\1</em>", "".join(words))
            parts[number] = _DELTA.sub(r"Δ<sub>\1</sub>", linked)
    return Markup("".join(parts))


def quoted(text: str) -> Markup:
    """A paper's sentence, as it is but for its emphasis; it may stand in a link."""
    return Markup(_EMPHASIS.sub(r"<em>\1</em>", str(escape(text))))


def blocks(docstring: str | None) -> list[Block]:
    """A docstring as paragraphs, lists, and formulas: what is indented after ``::``."""
    found: list[Block] = []
    announced = False
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(docstring or "")):
        lines = paragraph.strip().splitlines()
        if not lines:
            continue
        if announced and paragraph.startswith("  "):
            kept = textwrap.dedent(paragraph).rstrip().splitlines()
            found.append(Block(tuple(escape(line) for line in kept), literal=True))
            continue
        if announced := lines[-1].endswith("::"):
            lines[-1] = lines[-1][:-1]
        items: list[str] = []
        listed = lines[0].startswith(("- ", "* "))
        for line in lines:
            if listed and line.startswith(("- ", "* ")):
                items.append(line[2:])
            elif items:
                items[-1] += f" {line.strip()}"
            else:
                items.append(line.strip())
        found.append(Block(tuple(prose(item) for item in items), listed))
    return found


def first_sentence(text: str) -> str:
    """The first sentence of a text."""
    return _SENTENCE.split(text.strip(), maxsplit=1)[0]


def linked_refs(text: str, resolve: Callable[[str], tuple[str, str] | None]) -> Markup:
    """Running text in which each ``table/row/column`` that ``resolve`` knows is a readable link."""
    parts = re.split(r"([a-z0-9_.-]+/[a-z0-9_.-]+/[a-z0-9_.-]*[a-z0-9_-])", text)
    shown = Markup()
    for number, part in enumerate(parts):
        target = resolve(part) if number % 2 else None
        if target is None:
            shown += prose(part)
        else:
            address, name = target
            shown += Markup('<a href="#{}">{}</a>').format(address, label(name))
    return shown
