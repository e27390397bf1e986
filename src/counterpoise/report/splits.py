"""What the parts of prepared data hold: items, patients, prevalence and co-occurrence of labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from counterpoise.layout import Data
from counterpoise.prepared import PARTS
from counterpoise.report.numbers import count, plural
from counterpoise.reproduction.runs import tasks_of


@dataclass(frozen=True)
class Portion:
    """A count, its share of a whole as text, and the share for shading (0 to 1)."""

    count: str
    percent: str
    value: float


@dataclass(frozen=True)
class LabelRow:
    """One label: how often in each part, and together with every label.

    Attributes:
        parts: shares of the items whose label is known.
        published: of all that are published, where that is declared.
        together: of the items with this label, the share that have each label, among those where
            that one is known; None on itself or where there are none.
    """

    label: str
    parts: tuple[Portion, ...]
    published: Portion | None
    together: tuple[Portion | None, ...]


@dataclass(frozen=True)
class SplitView:
    """The parts of one prepared dataset."""

    folder: str
    options: str
    parts: tuple[tuple[str, str], ...] = ()
    """Name of a part and what it holds."""
    rows: tuple[LabelRow, ...] = ()
    short: tuple[str, ...] = ()
    none: str = ""
    people: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """What is told of whose items these are, and its text for each part."""
    leak: str = ""
    """How much of the test part was trained on, where patients are in several parts."""
    own: str = ""
    """Those of its options in which it differs from others of the same source."""


def split_view(
    data: Data,
    options: str,
    summary: dict[str, Any] | None,
    published: dict[str, int] | None = None,
) -> SplitView:
    """The view of one summary; without one, only where the data are.

    Args:
        published: number of images, and of positives by task, of all that is published.
    """
    published = published or {}
    if summary is None:
        return SplitView(data.folder, options)
    parts = {name: summary["parts"][name] for name in PARTS}
    held = tuple((name, _held(part)) for name, part in parts.items())
    leak = _leak(summary["leak"]) if "leak" in summary else ""
    if "labels" not in summary:
        return SplitView(data.folder, options, held, leak=leak)
    names = {task.name: task.label for task in tasks_of(data.dataset, data.options)}
    together = summary["together"]
    compared = summary.get("compared") or [[row[k]] * len(row) for k, row in enumerate(together)]
    order = sorted(range(len(together)), key=lambda k: -together[k][k])
    keys = summary["labels"]
    rows = tuple(
        LabelRow(
            names[keys[k]],
            tuple(
                _portion(
                    p["positives"][keys[k]], p["known"][keys[k]] if "known" in p else p["items"]
                )
                for p in parts.values()
            ),
            _portion(published[keys[k]], published["images"]) if keys[k] in published else None,
            tuple(
                _portion(together[k][j], compared[k][j]) if j != k and compared[k][j] else None
                for j in order
            ),
        )
        for k in order
    )
    total = summary.get("complete", sum(part["items"] for part in parts.values()))
    what = "images whose labels are all known" if "complete" in summary else "images"
    none = _portion(summary["none"], total)
    return SplitView(
        data.folder,
        options,
        parts=held,
        rows=rows,
        short=tuple(names[keys[k]] for k in order),
        none=f"{none.count} of {count(total)} {what} ({none.percent}) have none of these labels.",
        people=_people(summary.get("people", {})),
        leak=leak,
    )


def _people(people: dict[str, Any]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """One row a column: words with their shares, or quartiles."""
    columns = list(next(iter(people.values()), {}))
    return tuple(
        (column, tuple(_told(people[part][column]) for part in PARTS)) for column in columns
    )


def _told(told: dict[str, Any]) -> str:
    if "quartiles" in told:
        low, middle, high = (f"{value:g}" for value in told["quartiles"])
        return f"median {middle}, quartiles {low} and {high}"
    total = sum(told.values())
    return ", ".join(
        f"{word or 'not given'} {_portion(n, total).percent}" for word, n in told.items()
    )


def _leak(leak: dict[str, int]) -> str:
    seen = _portion(leak["seen"], leak["test"])
    return (
        f"This split leaks. {count(leak['patients'])} patients are in more than one part; "
        f"{seen.count} of {count(leak['test'])} test images ({seen.percent}) are of patients who "
        "also have images in the training part."
    )


def _held(part: dict[str, Any]) -> str:
    patients = f" of {plural(part['patients'], 'patient')}" if "patients" in part else ""
    return f"{plural(part['items'], 'item')}{patients}"


def _portion(number: int, whole: int) -> Portion:
    value = number / whole if whole else 0.0
    percent = f"{100 * value:.1f}" if value < 0.0995 else f"{100 * value:.0f}"
    return Portion(count(number), f"{percent} %", round(value, 3))
