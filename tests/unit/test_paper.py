"""Printed numbers, tables and the references between them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from counterpoise.spec.paper import Paper, Table, parse_printed, slug

DIGITS = st.text("0123456789", min_size=1, max_size=8)
numbers = st.builds(
    lambda sign, whole, part: f"{sign}{whole}{'.' + part if part is not None else ''}",
    st.sampled_from(["", "-", "+"]),
    DIGITS,
    st.none() | DIGITS,
)
spreads = st.builds(lambda whole, part: f"{whole}.{part}", DIGITS, DIGITS)


def places(text: str) -> int:
    return len(text.partition(".")[2])


@given(value=numbers, spread=spreads, gaps=st.tuples(*[st.sampled_from(["", " ", "  "])] * 4))
def test_what_is_printed_is_read_exactly(
    value: str, spread: str, gaps: tuple[str, str, str, str]
) -> None:
    found = parse_printed(f"{gaps[0]}{value}{gaps[1]}±{gaps[2]}{spread}{gaps[3]}")
    assert found is not None
    assert (found.value, found.spread) == (Decimal(value), Decimal(spread))
    assert found.last_digit == pytest.approx(10.0 ** -places(value))


@given(value=numbers)
def test_a_number_may_stand_without_spread(value: str) -> None:
    found = parse_printed(value)
    assert found is not None and found.spread is None
    assert found.text == value and found.value == Decimal(value)


@pytest.mark.parametrize(
    ("text", "value", "last_digit"),
    [
        ("89.46 ±00.57", "89.46", 0.01), (".1031", ".1031", 0.0001), ("+0.37", "0.37", 0.01),
        ("≈0.5", "0.5", 0.1), ("1e-3", "0.001", 0.001), ("1.50e-3", "0.0015", 1e-5),
        ("17", "17", 1.0), ("1.0", "1.0", 0.1),
    ],
)  # fmt: skip
def test_last_digit(text: str, value: str, last_digit: float) -> None:
    found = parse_printed(text)
    assert found is not None
    assert found.value == Decimal(value)
    assert found.last_digit == pytest.approx(last_digit)


@pytest.mark.parametrize("text", ["-", "–", "", "  "])
def test_nothing_printed(text: str) -> None:
    assert parse_printed(text) is None


@pytest.mark.parametrize(
    "text",
    ["1,5", "1.2.3", "0.5 ±", "± 0.1", "0.5 ± -0.1", "0.5 +/- 0.1", "n/a", "50 %", "1e", "--"],
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a printed number"):
        parse_printed(text)


@given(st.text(max_size=12))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = parse_printed(text)
    except ValueError:
        return
    assert found is None or found.value.is_finite()


@pytest.mark.parametrize(
    ("label", "name"),
    [("gradnorm Z", "gradnorm-z"), ("single task", "single-task"), ("<11.25", "under-11.25"),
     ("F1-Score", "f1-score"), ("Δ", "x")],
)  # fmt: skip
def test_slug(label: str, name: str) -> None:
    assert slug(label) == name


def table(**changes: Any) -> dict[str, Any]:
    return {
        "id": "t",
        "title": "Title",
        "place": "Table 1",
        "columns": [{"label": "Left"}, {"label": "Right"}],
        "rows": [{"label": "one", "printed": ["1.0", "-"]}],
        **changes,
    }


def test_a_cell_takes_from_its_column_then_row_then_table() -> None:
    made = Table(
        **table(
            metric="accuracy", experiment="all", margin=1.0,
            columns=[{"label": "Left", "task": "left", "metric": "mse"}, {"label": "Right"}],
            rows=[{"label": "one", "run": "uniform", "margin": 2.0, "task": "row",
                   "printed": ["1", "2"]}],
        )
    )  # fmt: skip
    (row,), (left, right) = made.rows, made.columns
    one = made.quantity(row, left)
    assert (one.experiment, one.run, one.task, one.metric) == ("all", "uniform", "left", "mse")
    assert one.margin == 2.0
    other = made.quantity(row, right)
    assert (other.task, other.metric, other.better) == ("row", "accuracy", None)


def test_false_is_a_value_and_not_a_gap() -> None:
    made = Table(**table(percent=True, rows=[{"label": "a", "percent": False,
                                              "printed": ["1", "2"]}]))  # fmt: skip
    assert made.quantity(made.rows[0], made.columns[0]).percent is False


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rows": [{"label": "one", "printed": ["1"]}]}, "1 printed numbers for 2 columns"),
        ({"rows": [{"label": "one", "printed": ["1", "2", "3"]}]}, "3 printed numbers for 2"),
        ({"columns": [{"label": "Same"}, {"label": "same"}]}, "same twice"),
        (
            {"rows": [{"label": "A b", "printed": ["1", "2"]}, {"label": "a-b", "printed": ["1", "2"]}]},
            "a-b twice",
        ),
        ({"rows": [{"label": "one", "printed": ["1 pm 2", "-"]}]}, "not a printed number"),
        ({"margin": 0}, "greater than 0"),
    ],
    ids=["too few", "too many", "column twice", "row twice", "no number", "no margin"],
)  # fmt: skip
def test_a_table_that_cannot_be_right_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Table(**table(**changes))


def paper(**changes: Any) -> dict[str, Any]:
    source = {"url": "https://example.org/", "version": "1", "read": "full text"}
    return {
        "id": "p", "title": "T", "short": "T", "authors": ["A"], "year": 2020, "source": source,
        "bibtex": "@misc{x}", "summary": "S", **changes,
    }  # fmt: skip


CLAIM = {"id": "c", "sentence": "s", "place": "p",
         "test": {"kind": "stated", "word": "holds", "reason": "r"}}  # fmt: skip
FIGURE = {"id": "f", "title": "t", "place": "p", "content": {"kind": "schematic"}}


@pytest.mark.parametrize(
    ("key", "entry"), [("tables", table()), ("claims", CLAIM), ("figures", FIGURE)]
)
def test_two_entries_of_one_name_are_refused(key: str, entry: dict[str, Any]) -> None:
    """One of them would silently be lost: results are kept by name."""
    assert len(getattr(Paper(**paper(**{key: [entry]})), key)) == 1
    with pytest.raises(ValidationError, match="twice"):
        Paper(**paper(**{key: [entry, entry]}))


def test_a_reference_finds_its_cell_and_what_is_printed_there() -> None:
    rows = [{"label": row, "printed": [*p]} for row, p in (("one", "1-"), ("two", "23"))]
    made = Paper(**paper(tables=[table(id="s"), table(rows=rows)], figures=[FIGURE]))
    found, row, column = made.at("t/two/right")
    assert found is made.tables[1] and (row.label, column.label) == ("two", "Right")
    told = [(r.id, c.id, found.printed(r, c)) for r, c in found.cells()]
    assert [(r, c, p and int(p.value)) for r, c, p in told] == [
        ("one", "left", 1), ("one", "right", None), ("two", "left", 2), ("two", "right", 3),
    ]  # fmt: skip
    assert made.figure("f") is made.figures[0]
