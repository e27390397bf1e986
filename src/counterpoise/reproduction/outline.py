"""Path data of SVG in few letters: relative steps, without points that lie on a straight line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

Point = tuple[float, float]
Step = tuple[str, list[float]]

_TOKEN = re.compile(r"[A-Za-z]|[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_WRITTEN = {"M": 2, "L": 2, "C": 6, "Q": 4, "Z": 0}
"""Commands that matplotlib writes, with the numbers that each takes; all are absolute."""


def shorten(data: str, decimals: int, slack: float = 0.0) -> str:
    """The same outline, rounded. Data with commands that matplotlib does not write stay.

    Every step is the difference of two rounded places, so that errors do not add up.

    Args:
        data: the attribute ``d``.
        decimals: of a coordinate.
        slack: how far a point that is left out may lie from the line that is drawn instead.
    """
    steps = _read(data)
    return data if steps is None else _write(_thin(steps, slack), 10**decimals)


def _read(data: str) -> list[Step] | None:
    tokens = _TOKEN.findall(data)
    steps: list[Step] = []
    place = 0
    while place < len(tokens):
        letter = tokens[place].upper()
        if letter not in _WRITTEN or (tokens[place].islower() and letter != "Z"):
            return None
        count = _WRITTEN[letter]
        steps.append((letter, [float(token) for token in tokens[place + 1 : place + 1 + count]]))
        place += 1 + count
    return steps


def _thin(steps: Sequence[Step], slack: float) -> Iterator[Step]:
    """Leave out points of each run of lines that lie within ``slack`` of what remains."""
    line: list[Point] = []
    for letter, numbers in steps:
        if letter == "L":
            line.append((numbers[0], numbers[1]))
            continue
        yield from (("L", [*point]) for point in _kept(line, slack)[1:])
        line = [(numbers[-2], numbers[-1])] if numbers else line[:1]
        yield letter, numbers
    yield from (("L", [*point]) for point in _kept(line, slack)[1:])


def _kept(points: Sequence[Point], slack: float) -> list[Point]:
    """Ramer's and Douglas and Peucker's selection of a line's points."""
    if slack <= 0 or len(points) < 3:
        return list(points)
    kept, open_ = {0, len(points) - 1}, [(0, len(points) - 1)]
    while open_:
        first, last = open_.pop()
        far, place = max(
            (
                (_distance(points[k], points[first], points[last]), k)
                for k in range(first + 1, last)
            ),
            default=(0.0, 0),
        )
        if far > slack:
            kept.add(place)
            open_ += [(first, place), (place, last)]
    return [points[k] for k in sorted(kept)]


def _distance(point: Point, start: Point, end: Point) -> float:
    """Of a point from a stretch of line."""
    along = (end[0] - start[0], end[1] - start[1])
    off = (point[0] - start[0], point[1] - start[1])
    length = along[0] ** 2 + along[1] ** 2
    share = 0.0 if length == 0 else (off[0] * along[0] + off[1] * along[1]) / length
    share = min(1.0, max(0.0, share))
    x, y = off[0] - share * along[0], off[1] - share * along[1]
    return float((x**2 + y**2) ** 0.5)


def _write(steps: Iterator[Step], scale: int) -> str:
    """Steps as text. A first ``m`` is absolute, and pairs that follow an ``m`` are lines."""
    here = start = (0, 0)
    text, last = "", ""
    for letter, numbers in steps:
        if letter == "Z":
            text, last, here = f"{text}z", "z", start
            continue
        units = [round(number * scale) for number in numbers]
        end = (units[-2], units[-1])
        off = [unit - here[k % 2] for k, unit in enumerate(units)]
        kind = letter.lower()
        if kind == "l" and not any(off) and last not in ("m", "z"):
            continue  # a point at most half a step away from the one before
        if kind == "l" and 0 in off and any(off):
            kind, off = ("v", [off[1]]) if off[0] == 0 else ("h", [off[0]])
        implied = kind == last or (kind == "l" and last == "m")
        text += (
            _joined(text, off, scale) if implied and kind != "m" else kind + _joined("", off, scale)
        )
        last, here = kind, end
        if letter == "M":
            start = end
    return text


def _joined(before: str, units: Sequence[int], scale: int) -> str:
    """Numbers with a space where nothing else keeps them apart."""
    texts = [before[-12:], *(_number(unit, scale) for unit in units)]
    joined = ""
    for left, right in pairwise(texts):
        apart = not left or left[-1].isalpha() or right.startswith("-")
        # "1.5.5" reads as two numbers, "15.5" would not.
        tail = re.split(r"[a-z -]", left)[-1]
        apart = apart or (right.startswith(".") and "." in tail)
        joined += right if apart else f" {right}"
    return joined


def _number(unit: int, scale: int) -> str:
    text = f"{abs(unit) / scale:.6f}".rstrip("0").rstrip(".")
    if text.startswith("0."):
        text = text[1:]
    return f"-{text}" if unit < 0 else text
