"""Docstrings as the page shows them."""

from __future__ import annotations

from counterpoise.report.text import Block, blocks, linked_refs, prose, quoted

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


def test_numbers_have_true_minus_signs_and_names_keep_their_hyphens() -> None:
    told = prose("from -1.5 to -.5 (-2 %, [-3, 4]), ResNet-18, layer2[-1], `-1`, https://a.b/?c=-1")
    assert str(told) == (
        "from −1.5 to −.5 (−2 %, [−3, 4]), "
        "ResNet-18, layer2[-1], <code>-1</code>, "
        '<a href="https://a.b/?c=-1">https://a.b/?c=-1</a>'
    )


def test_reasons_and_sentences_show_their_emphasis() -> None:
    """A sentence stands in a link, where an address may not be another."""
    reason = linked_refs("the *initial* row t/a/b, not t/a/c", {"t/a/b": ("x", "first")}.get)
    assert str(reason) == 'the <em>initial</em> row <a href="#x">first</a>, not t/a/c'
    assert str(quoted("*all* of https://a.b & a*b")) == "<em>all</em> of https://a.b &amp; a*b"
