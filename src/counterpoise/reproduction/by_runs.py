"""What our runs say of a sentence."""

from __future__ import annotations

from itertools import pairwise

from counterpoise.evaluation.comparisons import difference_of
from counterpoise.evaluation.measured import WITHOUT_SPREAD, Measured, combined
from counterpoise.evaluation.ranks import RankCorrelation, rank_correlation
from counterpoise.evaluation.statistics import LEVEL, difference_interval
from counterpoise.reproduction.changes import our_change
from counterpoise.reproduction.evidence import (
    Evidence,
    Numbers,
    beyond,
    combine,
    gather,
    in_pairs,
    near,
    right_side,
    sides_of,
    undecidable,
    wanted,
)
from counterpoise.reproduction.verdicts import FEWEST_SEEDS
from counterpoise.spec.claim import (
    ChangeTest,
    CompareTest,
    Comparison,
    CorrelationTest,
    TrendTest,
    Word,
)
from counterpoise.wording import plural


def _difference(numbers: Numbers, comparison: Comparison) -> Measured | None:
    """Left minus right by seed and resample; None where we have no number."""
    left = numbers.ours(comparison.left)
    if left is None:
        return None
    if not isinstance(comparison.right, str):
        constant = comparison.times * comparison.right
        return combined([left], lambda values: values[0] - constant)
    right = numbers.ours(comparison.right)
    if right is None:
        return None
    return difference_of(*in_pairs(left, right), comparison.times)


def _our_comparison(
    numbers: Numbers, comparison: Comparison, difference: Measured | None, family: int
) -> tuple[Word | None, str]:
    """The word of one comparison out of ``family``, and what it rests on."""
    if difference is None:
        return None, ""
    text = f"{comparison.left} minus {right_side(comparison)}: "
    if not difference.values:
        return "inconclusive", f"{text}no seed in common"
    sample, parts = difference.sample, difference.parts
    text += f"{sample.mean:+.3g}"
    if why := undecidable(difference):
        return "inconclusive", f"{text} ({why})"
    error = (1 - LEVEL) / numbers.shared_by
    interval = difference_interval(sample.mean, parts, 1 - error)
    strict = difference_interval(sample.mean, parts, 1 - error / family)
    assert interval is not None and strict is not None, "several seeds have a spread"
    over = "paired seeds and items" if difference.items is not None else "paired seeds"
    text += f" [{interval[0]:.3g}, {interval[1]:.3g}] over {sample.n} {over}"
    if numbers.shared_by > 1:
        together = f"for {numbers.shared_by} comparisons together"
        text += f" (an interval at {100 * (1 - error):.1f} %, {together})"
    text += f", expected {comparison.expect.replace('_', ' ')}"
    word: Word
    if comparison.expect == "similar":
        word = near(interval, strict, numbers.margin(comparison.left))
    else:
        bound = 0.0
        if comparison.expect == "not_worse":
            margin = numbers.margin(comparison.left)
            bound, text = -margin, f"{text} by more than {margin:g}"
        way = wanted(numbers, comparison)
        low, high = min(way * end for end in interval), max(way * end for end in strict)
        word = beyond(low, high, bound)
    # Measured once, numbers may be near enough, but neither ahead of each other nor too far apart.
    within = comparison.expect in ("similar", "not_worse") and word == "holds"
    if difference.undecided == WITHOUT_SPREAD and not within:
        return "inconclusive", f"{text}, {WITHOUT_SPREAD}"
    if word != "inconclusive" and (why := _as_between_jobs(numbers, comparison)):
        return "inconclusive", f"{text}, {why}"
    return word, text


def _as_between_jobs(numbers: Numbers, comparison: Comparison) -> str:
    """Why a time, as that of one job, tells nothing here; empty where it may."""
    why = numbers.of_one_job(comparison.left)
    if not (why and isinstance(comparison.right, str)):
        return why
    left, right = numbers.ours(comparison.left), numbers.ours(comparison.right)
    assert left is not None and right is not None, "there is a difference"
    one, other = left.sample.mean, comparison.times * right.sample.mean
    if max(one, other) > numbers.jobs_apart * min(one, other):
        return ""
    return f"but times less than {numbers.jobs_apart:.3g} apart decide nothing"


def _step(numbers: Numbers, comparison: Comparison, family: int) -> tuple[Word | None, str]:
    """The word of one step of a trend, None where it is in order.

    Neighbouring rows may be too close to tell apart, but the step has to be known and its mean must
    not go the wrong way.
    """
    difference = _difference(numbers, comparison)
    word, text = _our_comparison(numbers, comparison, difference, family)
    if difference is None or word == "does not hold":
        return word, text
    known = not undecidable(difference)
    forward = known and wanted(numbers, comparison) * difference.sample.mean >= 0
    return (None if forward else "inconclusive"), text


def _steps(test: TrendTest) -> list[Comparison]:
    """Each row of the trend against the row before."""
    return [
        Comparison(left=after, right=before, expect=test.expect)
        for before, after in pairwise(test.along)
    ]


def _sizes(words: str, found: RankCorrelation) -> str:
    if found.interval is None:
        return f"{words} {found.value:+.2f}"
    return f"{words} {found.value:+.2f} [{found.interval[0]:.2f}, {found.interval[1]:.2f}]"


def _correlation(test: CorrelationTest, numbers: Numbers) -> Evidence:
    """What our runs say of a rank correlation over settings, seeds averaged."""
    every = [test.across, test.up, *([test.rival] if test.rival else [])]
    refs = list(dict.fromkeys(ref for side in every for ref in side))
    numbers_of = {ref: numbers.ours(ref) for ref in refs}
    missing = [ref for ref, found in numbers_of.items() if found is None or not found.values]
    marks = numbers.marks(ref for ref in refs if ref not in missing)
    settings = [refs for refs in zip(*every, strict=True) if not set(refs) & set(missing)]
    if not settings:
        return Evidence(None, [], marks, missing)
    samples = {ref: found.sample for ref, found in numbers_of.items() if found and found.values}
    sides = [[samples[ref].mean for ref in side] for side in zip(*settings, strict=True)]
    found, ahead = rank_correlation(*sides)
    if found.value is None:
        return Evidence("inconclusive", ["too few distinct settings"], marks, missing)
    seeds = min(samples[ref].n for refs in settings for ref in refs)
    first = f"{test.across[0]} with {test.up[0]} and so on"
    text = _sizes(f"rank correlation of {first}, over {len(settings)} settings:", found)
    steps = [f"{text}, expected {test.expect.replace('_', ' ')}, threshold {test.threshold:g}"]
    if found.interval is None or seeds < FEWEST_SEEDS or missing:
        text = f"{steps[0]} ({plural(seeds, 'seed')})"
        return Evidence("inconclusive", [text], marks, missing)
    words = [_strength(test, found.value, found.interval)]
    if ahead is not None and ahead.value is not None and ahead.interval is not None:
        steps.append(_sizes(f"stronger than that of {test.rival[0]} by", ahead))  # type: ignore[index]
        words.append(beyond(*ahead.interval))
    elif ahead is not None:
        words.append("inconclusive")
    return Evidence(combine(words), steps, marks, missing)


def _strength(test: CorrelationTest, value: float, interval: tuple[float, float]) -> Word:
    """The word for one correlation.

    Strong: its interval is on the right side of zero and its size reaches the threshold; it is not,
    if all of the interval is short of it. Weak: all of the interval is below the threshold; it is
    not, if all of it is above.
    """
    sign = -1.0 if test.expect == "strong_negative" else 1.0
    low, high = sorted(sign * bound for bound in interval)
    if test.expect == "weak":
        return beyond(-high, -low, -test.threshold)
    if low > 0 and sign * value >= test.threshold:
        return "holds"
    return "does not hold" if high < test.threshold else "inconclusive"


def evidence_of_runs(
    test: CompareTest | TrendTest | ChangeTest | CorrelationTest, numbers: Numbers
) -> Evidence:
    """What our runs say."""
    results: list[tuple[Word | None, str]]
    if isinstance(test, CorrelationTest):
        return _correlation(test, numbers)
    if isinstance(test, TrendTest):
        # The ends must differ clearly, and no step may go the wrong way.
        comparisons = _steps(test)
        ends = Comparison(left=test.along[-1], right=test.along[0], expect=test.expect)
        family = len(comparisons) + 1
        results = [_our_comparison(numbers, ends, _difference(numbers, ends), family)]
        results += [_step(numbers, comparison, family) for comparison in comparisons]
        refs = list(test.along)
    elif isinstance(test, ChangeTest):
        refs = [test.start, test.end]
        start, end = (numbers.ours(ref) for ref in refs)
        results = [] if start is None or end is None else [our_change(test, numbers, start, end)]
    else:
        # Numbers on data that this project does not have are left to the paper's own.
        ours = [c for c in test.comparisons if all(map(numbers.measurable, sides_of(c)))]
        if not ours:
            ours = list(test.comparisons)
        results = [_our_comparison(numbers, c, _difference(numbers, c), len(ours)) for c in ours]
        refs = [side for c in ours for side in sides_of(c)]
    refs = list(dict.fromkeys(refs))
    missing = [ref for ref in refs if numbers.ours(ref) is None]
    found = gather(results, missing)
    marks = numbers.marks(ref for ref in refs if ref not in missing)
    return Evidence(found.word, found.steps, marks, missing)
