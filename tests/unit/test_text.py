"""Docstrings as the page shows them."""

from __future__ import annotations

from counterpoise.report.text import Block, blocks

TOLD = """With a < b::

        x_k <- max(x_k, 1)    if a
               x_k & 2        otherwise

    - one *thing*
      on two lines
    - `code`

    The end::
    """


def test_what_is_announced_keeps_its_lines_and_its_text() -> None:
    first, formula, points, end = blocks(TOLD)
    assert [str(item) for item in first.items] == ["With a &lt; b:"]
    assert formula.literal and [str(line) for line in formula.items] == [
        "x_k &lt;- max(x_k, 1)    if a",
        "       x_k &amp; 2        otherwise",
    ]
    assert points.listed and not points.literal
    assert [str(p) for p in points.items] == [
        "one <em>thing</em> on two lines",
        "<code>code</code>",
    ]
    assert end == Block((end.items[0],)) and str(end.items[0]) == "The end:"


def test_nothing_said_shows_nothing() -> None:
    assert blocks(None) == blocks("") == []
