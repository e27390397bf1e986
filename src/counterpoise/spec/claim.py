"""A claim of a paper, and how it is held against the numbers of tables."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from counterpoise.spec.base import Model, Name, Text

Word = Literal["holds", "does not hold", "inconclusive", "not testable"]
Finite = Annotated[float, Field(allow_inf_nan=False)]

Ref = Annotated[str, Field(pattern=r"^[a-z0-9_.-]+/[a-z0-9_.-]+/[a-z0-9_.-]+$")]
"""``table/row/column``."""


class Comparison(Model):
    """``left`` against ``right``: two printed numbers, or one and a constant."""

    left: Ref
    right: Ref | Finite
    expect: Literal["better", "worse", "higher", "lower", "similar", "not_worse"]
    """Similar, and not worse, are within the margin of ``left``."""
    times: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """The right number is multiplied by this: "three times as fast" is below a third."""


class CompareTest(Model):
    """Every comparison must come out as the sentence says."""

    kind: Literal["compare"]
    comparisons: Annotated[tuple[Comparison, ...], Field(min_length=1)]
    settled_by: Literal["printed", "runs"] = "runs"
    """Whether the sentence speaks of the paper's own numbers, or needs new runs."""


class TrendTest(Model):
    """Along ``along`` the number must get steadily better or worse.

    That is, never the wrong way from step to step, and the right way from end to end; of our runs,
    clearly so.
    """

    kind: Literal["trend"]
    along: Annotated[tuple[Ref, ...], Field(min_length=3)]
    expect: Literal["better", "worse"]
    settled_by: Literal["printed", "runs"] = "runs"


class CorrelationTest(Model):
    """Rank correlation (Spearman) of two numbers over settings, each with both of them."""

    kind: Literal["correlation"]
    across: Annotated[tuple[Ref, ...], Field(min_length=7)]
    """One number of each setting. Over fewer, intervals by drawing settings anew are too short."""
    up: Annotated[tuple[Ref, ...], Field(min_length=7)]
    """The other, in the same order."""
    expect: Literal["strong", "strong_negative", "weak"]
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """From which size on a correlation is strong (a half: Cohen's "large"). *Weak* is what is below
    it: no order in common, be it none at all or the opposite."""
    rival: Annotated[tuple[Ref, ...], Field(min_length=7)] | None = None
    """A third number, whose correlation with ``up`` has to be the weaker."""

    @model_validator(mode="after")
    def _has_pairs(self) -> CorrelationTest:
        if len({len(refs) for refs in (self.across, self.up, self.rival or self.up)}) > 1:
            raise ValueError("`across`, `up` and `rival` name one number a setting each")
        return self


class ChangeTest(Model):
    """A change between two numbers has the stated size."""

    kind: Literal["change"]
    start: Ref
    end: Ref
    claimed: Finite
    """Percent (relative) or printed units (absolute); positive is an improvement."""
    reading: Literal["relative", "absolute"] = "relative"
    tolerance: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.5
    """Largest difference from what is claimed, in its unit."""
    settled_by: Literal["printed", "runs"] = "printed"
    """Whether the sentence speaks of the paper's own numbers, beside which ours are shown, or of
    what the paper does not print."""


class LimitTest(Model):
    """A claimed gain against the room that is left above a trivial predictor."""

    kind: Literal["limit"]
    claimed: Finite
    trivial: Annotated[tuple[Ref, ...], Field(min_length=1)]
    """Numbers whose mean, as a share of one, is what the trivial predictor gets wrong."""


class StatedTest(Model):
    """Settled by an argument rather than by a number."""

    kind: Literal["stated"]
    word: Word
    reason: Text


ClaimTest = Annotated[
    CompareTest | TrendTest | CorrelationTest | ChangeTest | LimitTest | StatedTest,
    Field(discriminator="kind"),
]


def references(test: ClaimTest) -> list[str]:
    """All table cells that a claim's test reads."""
    if isinstance(test, CompareTest):
        sides = [side for c in test.comparisons for side in (c.left, c.right)]
        return [side for side in sides if isinstance(side, str)]
    if isinstance(test, TrendTest):
        return list(test.along)
    if isinstance(test, CorrelationTest):
        return [*test.across, *test.up, *(test.rival or ())]
    if isinstance(test, ChangeTest):
        return [test.start, test.end]
    if isinstance(test, LimitTest):
        return list(test.trivial)
    return []


class Claim(Model):
    """A sentence of the paper that can be held against numbers."""

    id: Name
    sentence: Text
    """Quoted word for word."""
    place: Text
    reading: str = ""
    """How the sentence is understood here."""
    condition: str = ""
    """What must be true for the word to stand."""
    comment: str = ""
    part_of: Name | None = None
    """The claim whose sentence holds this one. It is judged by itself and not counted again."""
    test: ClaimTest
