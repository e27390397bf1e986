"""A paper as data: its protocol, runs, printed tables, figures, claims and what it leaves open."""

from __future__ import annotations

import itertools
import re
from decimal import Decimal
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, model_validator

from counterpoise.spec.base import Model, Name, Text
from counterpoise.spec.claim import Claim
from counterpoise.spec.experiment import Experiment
from counterpoise.spec.explanation import Explanation, Localisation
from counterpoise.spec.figure import Figure, HistoryQuantity

Better = Literal["higher", "lower"]
Mark = Literal["second_hand", "plot_read"]

_PRINTED = re.compile(
    r"(?P<about>≈)?(?P<value>[-+]?\d*\.?\d+(e[-+]?\d+)?)(\s*±\s*(?P<spread>\d*\.?\d+))?"
)


class Printed(Model):
    """A number as it stands in a paper: its text is kept, with the precision that it shows."""

    text: str
    value: Decimal
    spread: Decimal | None = None

    @property
    def last_digit(self) -> float:
        """One unit of the last digit that is printed."""
        exponent = self.value.as_tuple().exponent
        return 10.0 ** int(exponent)


def parse_printed(text: str) -> Printed | None:
    """Read ``"93.50 ±0.47"``; ``"-"`` and the empty string mean that nothing is printed."""
    stripped = text.strip()
    if stripped in {"", "-", "–"}:
        return None
    match = _PRINTED.fullmatch(stripped)
    if match is None:
        raise ValueError(
            f"{text!r} is not a printed number such as '93.50', '93.50 ±0.47' or '-' for none"
        )
    spread = match["spread"]
    return Printed(
        text=stripped, value=Decimal(match["value"]), spread=Decimal(spread) if spread else None
    )


def _is_printed(text: str) -> str:
    parse_printed(text)
    return text


PrintedText = Annotated[str, AfterValidator(_is_printed)]


def slug(label: str) -> str:
    """An identifier from a label: ``"gradnorm Z"`` becomes ``"gradnorm-z"``."""
    return re.sub(r"[^a-z0-9_.]+", "-", label.lower().replace("<", "under-")).strip("-.") or "x"


class Source(Model):
    """Where the paper is, and which version of it was read."""

    url: Annotated[str, Field(pattern=r"^https://")] | None
    """Null for a comparison on data of one's own, which no paper stands behind."""
    version: Text
    read: Literal["full text", "abstract", "second-hand note"]
    """How much of the paper was at hand when its numbers were copied."""
    note: str = ""


class Assumption(Model):
    """A choice that the paper leaves open, or where its text and code disagree."""

    id: Name
    topic: Text
    paper_says: Text
    choice: Text
    reason: Text
    alternatives: tuple[Text, ...] = ()


class Deviation(Model):
    """Something that is knowingly done in another way than the paper does it."""

    what: Text
    why: Text
    effect: Text


Spread = Literal["norm_spread", "weighted_norm_spread"]
"""Of the tasks' gradient norms at the shared representation, as they are or times their weights:
the standard deviation over tasks of the logarithm of each one's mean."""

SPREADS = get_args(Spread)


class Quantity(Model):
    """What a table's cell measures. Table, row and column each give a part of it."""

    experiment: Name | None = None
    run: Name | None = None
    task: Name | None = None
    """A task of the dataset, or ``all`` for the mean over its tasks."""
    metric: Name | None = None
    predictor: Literal["network", "constant"] | None = None
    """Whose score: the run's, or that of always answering the training part's mean, scored on the
    same items."""
    better: Better | None = None
    percent: bool | None = None
    """The paper prints this quantity times one hundred."""
    margin: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Largest difference that counts as agreement, in printed units, declared before the runs."""
    history: HistoryQuantity | Spread | None = None
    """A quantity of training in place of a score: the mean over the second half of the epochs; or
    how far the tasks' gradient norms are apart there."""
    epoch: Literal["first", "half", "last"] | None = None
    """The epoch at which a quantity of training is read, in place of that mean; *half* is the last
    of the first half."""
    cost: Literal["seconds_per_step", "peak_memory_mib", "training_seconds"] | None = None
    """What training cost in place of a score: wall time of a step, peak memory of the process, or
    wall time of one seed with all that was trained to choose its options."""
    explanation: Name | None = None
    """Whose maps are scored, in place of a run's answers."""
    maps: Text | None = None
    """Which of them: a way, with ``untrained/`` before it that of networks with weights drawn anew,
    ``centre`` or ``random``."""
    localisation: Localisation | None = None
    """How they are scored: pointing game, energy inside the region, intersection over union; or how
    many are empty."""
    test_items: Literal["same", "other"] | None = None
    """Whether the paper's test items are ours (if absent) or others of the same kind. Of others,
    the interval of a difference covers both samples."""
    unavailable: Text | None = None
    """Why this project cannot measure it."""

    @property
    def measured(self) -> str | None:
        """Name of what is measured."""
        return self.metric or self.history or self.cost or self.localisation


class Column(Quantity):
    """A column of a table."""

    label: Text
    id: Name = ""

    @model_validator(mode="before")
    @classmethod
    def _name_it(cls, data: Any) -> Any:
        return _with_id(data)


class Row(Quantity):
    """A row of a table, with its printed numbers in the order of the columns."""

    label: Text
    id: Name = ""
    group: str = ""
    printed: tuple[PrintedText, ...]
    mark: Mark | None = None
    """These numbers are not the authors' own measurement, or were read off a plot."""
    origin: str = ""
    """Where marked numbers come from."""
    note: str = ""

    @model_validator(mode="before")
    @classmethod
    def _name_it(cls, data: Any) -> Any:
        return _with_id(data)


def _with_id(data: Any) -> Any:
    if isinstance(data, dict) and "id" not in data and isinstance(data.get("label"), str):
        return {**data, "id": slug(data["label"])}
    return data


class Family(Model):
    """Which methods of a table are compared in pairs, and which p-values are corrected together."""

    own: Name
    """The run that the others are compared with."""
    others: Annotated[tuple[Name, ...], Field(min_length=1)] | None = None
    """Runs that are compared with it; all others of the table if absent."""
    together: Literal["metric", "quantity", "table"] = "metric"
    """What Holm's correction is taken over: all comparisons of the table in one metric, in one
    metric of one task, or all of them."""


class Table(Quantity):
    """A table of the paper, or numbers that the paper gives in a plot or in its text."""

    id: Name
    title: Text
    place: Text
    """Where it stands in the paper."""
    note: str = ""
    baseline: Name | None = None
    """The run that Delta_m is relative to."""
    repeats: Annotated[int, Field(ge=1)] | None = None
    """Training runs behind a printed mean and spread, where the paper says so."""
    family: Family | None = None
    """Comparisons between its methods; if absent, each with the paper's own, by metric."""
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    @model_validator(mode="after")
    def _is_rectangular(self) -> Table:
        for row in self.rows:
            if len(row.printed) != len(self.columns):
                raise ValueError(
                    f"row {row.label!r} of {self.id} has {len(row.printed)} printed numbers "
                    f"for {len(self.columns)} columns"
                )
        for axis in (self.rows, self.columns):
            ids = [entry.id for entry in axis]
            twice = sorted({name for name in ids if ids.count(name) > 1})
            if twice:
                raise ValueError(f"{self.id} uses {', '.join(twice)} twice; give each an own `id`")
        return self

    def quantity(self, row: Row, column: Column) -> Quantity:
        """The full specification of one cell: column over row over table."""
        merged: dict[str, Any] = {}
        for part in (self, row, column):
            for key in Quantity.model_fields:
                value = getattr(part, key)
                if value is not None:
                    merged[key] = value
        return Quantity(**merged)

    def row(self, name: str) -> Row:
        """One of its rows."""
        return next(row for row in self.rows if row.id == name)

    def column(self, name: str) -> Column:
        """One of its columns."""
        return next(column for column in self.columns if column.id == name)

    def cells(self) -> list[tuple[Row, Column]]:
        """Row and column of each cell, row by row."""
        return list(itertools.product(self.rows, self.columns))

    def printed(self, row: Row, column: Column) -> Printed | None:
        """The number that the paper prints in a cell, if it does."""
        return parse_printed(row.printed[self.columns.index(column)])


class Ranking(Model):
    """Printed numbers of the same methods on several data sets, to be ranked."""

    id: Name
    title: Text
    over: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[a-z0-9_.-]+/[a-z0-9_.-]+$")], ...],
        Field(min_length=5),
    ]
    """``table/column``, one a data set; below five, ranks over data sets say nothing. Methods are
    the rows that all these tables have."""


class Paper(Model):
    """One paper."""

    id: Name
    title: Text
    short: Text
    """Name used in running text."""
    authors: tuple[Text, ...]
    year: Annotated[int, Field(ge=1950, le=2100)]
    source: Source
    bibtex: Text
    summary: Text
    own: Name | None = None
    """Run of the paper's own method, with which the others of a table are compared."""
    experiments: dict[Name, Experiment] = {}
    explanations: dict[Name, Explanation] = {}
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    rankings: tuple[Ranking, ...] = ()
    claims: tuple[Claim, ...] = ()
    assumptions: tuple[Assumption, ...] = ()
    deviations: tuple[Deviation, ...] = ()

    def run_of(self, quantity: Quantity) -> tuple[str, str]:
        """Experiment and run that a quantity is of; "None" where the file names none."""
        if quantity.explanation is not None:
            spec = self.explanations[quantity.explanation]
            return spec.experiment, spec.run
        return str(quantity.experiment), str(quantity.run)

    def table(self, name: str) -> Table:
        """One of its tables."""
        return next(table for table in self.tables if table.id == name)

    def figure(self, name: str) -> Figure:
        """One of its figures."""
        return next(figure for figure in self.figures if figure.id == name)

    def at(self, ref: str) -> tuple[Table, Row, Column]:
        """What ``table/row/column`` refers to."""
        name, row, column = ref.split("/")
        table = self.table(name)
        return table, table.row(row), table.column(column)

    @property
    def tabled(self) -> tuple[str, ...]:
        """Explanations whose scores stand in tables."""
        found = (t.quantity(r, c).explanation for t in self.tables for r in t.rows
                 for c in t.columns)  # fmt: skip
        return tuple(dict.fromkeys(name for name in found if name is not None))

    @model_validator(mode="after")
    def _names_are_unique(self) -> Paper:
        for kind in ("tables", "figures", "claims", "assumptions"):
            names = [entry.id for entry in getattr(self, kind)]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{kind} use {', '.join(twice)} twice; give each an own `id`")
        return self
