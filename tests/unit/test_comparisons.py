"""Scores over seeds and items, and methods against methods."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW

from counterpoise.evaluation.comparisons import (
    difference_of,
    hedges_g,
    holm,
    paired,
    profile,
    ranking,
    ranks,
)
from counterpoise.evaluation.measured import (
    WITHOUT_ITEMS,
    WITHOUT_SPREAD,
    Draws,
    Measured,
    combined,
    gain_of,
    mean_of,
)
from counterpoise.evaluation.statistics import delta_m, interval_of, summarise
from counterpoise.project import Project
from counterpoise.report.comparisons import ranking_views
from counterpoise.report.inputs import PaperFiles
from counterpoise.reproduction.comparisons import rank_printed


def measured(values: list[float], draws: np.ndarray | None = None, units: float = 1e9) -> Measured:
    named = {str(seed): value for seed, value in enumerate(values)}
    return Measured(named, None if draws is None else Draws(draws, (1,), units))


def noisy(seeds: int, shared: float, own: float, *, seed: int = 0, size: int = 1000) -> np.ndarray:
    """Draws (1, seeds, R): what all seeds share, and what each has of its own."""
    rng = np.random.default_rng(seed)
    return shared * rng.normal(size=size) + own * rng.normal(size=(1, seeds, size))


# A score over seeds and items ----------------------------------------------------------------


def test_the_items_part_is_what_seeds_share() -> None:
    one = measured([0.1, 0.2, 0.3, 0.4], noisy(4, 0.5, 2.0, size=40_000))
    assert one.items is not None
    # The mean over seeds has 0.5^2 + 2^2 / 4 over resamples: the second part is in s^2 / n already.
    assert one.items.variance == pytest.approx(0.25, rel=0.1)


def test_of_one_seed_the_items_part_is_all_that_is_known() -> None:
    one = measured([0.1], noisy(1, 0.5, 2.0, size=40_000))
    assert one.items is not None and one.items.variance == pytest.approx(4.25, rel=0.05)
    assert one.parts == [one.items]


def test_few_units_widen_the_items_part() -> None:
    draws = noisy(3, 1.0, 0.0)
    many, few = (measured([1, 2, 3], draws, units).items for units in (1e9, 5))
    assert many is not None and few is not None
    assert (few.degrees, few.variance / many.variance) == (4, pytest.approx(5 / 4))


def test_an_interval_over_seeds_and_items() -> None:
    one = measured([1.0, 2.0, 4.0], noisy(3, 0.5, 0.0))
    assert one.items is not None and one.sample.part is not None
    assert one.interval() == interval_of(7 / 3, [one.sample.part, one.items])
    assert measured([1.0, 2.0]).interval() is None, "what the items add is not known"


def test_a_score_that_resamples_often_miss_has_no_items_part() -> None:
    draws = noisy(2, 1.0, 0.0)
    draws[0, 0, :51] = np.nan
    assert measured([1.0, 2.0], draws).items is None
    draws[0, 0, 50] = 0.0
    assert measured([1.0, 2.0], draws).items is not None


def test_variance_by_inclusion_and_exclusion_never_falls_below_that_of_the_items() -> None:
    whole, alone = noisy(3, 1.0, 0.0), noisy(3, 0.9, 0.0, seed=1)
    both = Draws(np.concatenate([whole, alone]), (1, -1), 1e9)
    found = Measured({"0": 1.0, "1": 2.0, "2": 3.0}, both).items
    assert found is not None and found.variance == pytest.approx(alone[0, 0].var(ddof=1))


def test_what_is_combined_sees_seeds_and_resamples_alike() -> None:
    one, other = measured([1, 2], noisy(2, 1.0, 0.5)), measured([4, 9], noisy(2, 1.0, 0.5, seed=1))
    found = combined([one, other], lambda v: v[0] * v[1])
    assert found.values == {"0": 4.0, "1": 18.0} and found.draws is not None
    assert one.draws is not None and other.draws is not None
    assert (found.draws.values == one.draws.values * other.draws.values).all()


def test_what_was_scored_on_other_items_is_combined_over_seeds_alone() -> None:
    one = measured([1, 2], noisy(2, 1.0, 0.5))
    other = Measured({"0": 1.0, "1": 1.0}, Draws(noisy(2, 1.0, 0.5), (1,), 50, "others"))
    found = difference_of(one, other)
    assert found.values == {"0": 0.0, "1": 1.0} and found.draws is None


def test_seeds_that_one_lacks_are_left_out() -> None:
    draws = noisy(3, 1.0, 0.5)
    other = Measured({"0": 1.0, "2": 5.0}, Draws(draws[:, [0, 2]], (1,), 50))
    found = difference_of(measured([1, 2, 3], draws), other)
    assert found.values == {"0": 0.0, "2": -2.0} and found.draws is not None
    assert found.draws.values == pytest.approx(np.zeros((1, 2, 1000)))


def test_a_mean_over_tasks_is_that_of_the_defined_ones() -> None:
    one, other = measured([1, 2], noisy(2, 1.0, 0.0)), measured([3, 4], noisy(2, 1.0, 0.0, seed=1))
    assert other.draws is not None
    other.draws.values[0, :, 0] = np.nan
    found = mean_of([one, other])
    assert (
        found.values == {"0": 2.0, "1": 3.0} and found.draws is not None and one.draws is not None
    )
    assert found.draws.values[0, 0, 0] == one.draws.values[0, 0, 0]
    both = (one.draws.values + other.draws.values)[0, 0, 1:] / 2
    assert found.draws.values[0, 0, 1:] == pytest.approx(both)


def test_tasks_on_the_same_items_are_not_taken_to_be_independent() -> None:
    """Fourteen findings of the same patients: their mean is as uncertain as one of them."""
    draws = noisy(3, 1.0, 0.0)
    found = mean_of([measured([1, 2, 3], draws)] * 14).items
    assert found is not None and found.variance == pytest.approx(draws[0, 0].var(ddof=1))


def test_gains_are_delta_m_of_each_seed() -> None:
    scores = [measured([0.9, 0.8]), measured([3.0, 5.0])]
    references = [measured([0.8, 0.9]), measured([4.0, 4.0])]
    found = gain_of(scores, references, [False, True])
    expected = [
        delta_m(s, r, [False, True]) for s, r in [([0.9, 3], [0.8, 4]), ([0.8, 5], [0.9, 4])]
    ]
    assert list(found.values.values()) == pytest.approx(expected)
    assert gain_of([measured([1.0])], [measured([0.0])], [True]).values == {}


# Differences ---------------------------------------------------------------------------------


def test_a_difference_over_seeds_alone_is_a_paired_t_test() -> None:
    rng = np.random.default_rng(3)
    one, other = rng.normal(size=6), rng.normal(0.5, 1, size=6)
    found = paired(difference_of(measured(one.tolist()), measured(other.tolist())))
    expected = stats.ttest_rel(one, other)
    assert found is not None and found.n == 6 and not found.items
    assert found.p == pytest.approx(expected.pvalue)
    assert found.interval == pytest.approx(tuple(expected.confidence_interval()))
    assert found.interval == pytest.approx(DescrStatsW(one - other).tconfint_mean())


def test_pairing_takes_off_what_seeds_and_items_share() -> None:
    shared = noisy(5, 3.0, 0.0)
    one = measured([1.0, 5.0, 9.0, 4.0, 7.0], shared)
    other = measured([0.9, 4.8, 9.0, 3.9, 6.9], shared + noisy(5, 0.01, 0.0, seed=1))
    found = paired(difference_of(one, other))
    assert found is not None and found.interval is not None and found.items
    assert found.difference == pytest.approx(0.1) and found.interval[1] - found.interval[0] < 0.25


@pytest.mark.parametrize(("seeds", "given"), [(1, False), (3, False), (4, False), (5, True)])
def test_no_p_value_below_five_seeds(seeds: int, given: bool) -> None:
    values = [1.0, 2.0, 3.0, 4.5, 5.0][:seeds]
    found = paired(measured(values, noisy(seeds, 0.5, 0.1)))
    assert found is not None and (found.p is not None) == given
    assert found.interval is not None


def test_no_test_where_nothing_differs_or_the_items_are_others() -> None:
    """Five equal differences have no error: a p-value of them would be zero."""
    same = paired(measured([0.3, 0.1 + 0.2, 0.3, 0.3, 0.3]))
    assert same is not None and same.p is None and same.open == WITHOUT_SPREAD
    one = measured([1.0, 2.0, 3.0, 4.0, 5.5], noisy(5, 0.1, 0.1))
    other = Measured(dict.fromkeys("01234", 0.0), Draws(noisy(5, 0.1, 0.1), (1,), 50, "others"))
    apart = paired(difference_of(one, other))
    assert apart is not None and apart.p is None and apart.open == WITHOUT_ITEMS
    assert mean_of([difference_of(one, other), measured([1.0] * 5)]).lacks_items, "it is kept"
    plain = paired(measured([1.0, 2.0, 3.0, 4.0, 5.5]))
    assert plain is not None and plain.p is not None and not plain.open, "seeds are all there is"


@pytest.mark.parametrize("size", [0.7, 500.0, 3e7])
def test_the_last_digits_of_scores_are_no_spread(size: float) -> None:
    """Differences that are the same but for what their scores cannot hold, whatever their size."""
    scores = [size * (1 + n / 7) for n in range(6)]
    one = Measured({str(n): score + 1e-5 * size for n, score in enumerate(scores)})
    other = Measured({str(n): score for n, score in enumerate(scores)})
    found = paired(difference_of(one, other).scaled(100.0))
    assert found is not None
    assert (found.p, found.effect, found.open) == (None, None, WITHOUT_SPREAD)
    apart = Measured({str(n): score * (1 + 1e-9 * n) for n, score in enumerate(scores)})
    assert not difference_of(apart, other).undecided


def test_methods_without_a_seed_in_common_are_not_compared() -> None:
    other = Measured({"7": 1.0})
    assert paired(difference_of(measured([1.0, 2.0]), other)) is None


def test_the_effect_is_hedges_g() -> None:
    sample = summarise([1.0, 2.0, 4.0, 3.0, 2.5])
    assert sample.sd is not None
    # J(4) = Gamma(2) / (sqrt(2) Gamma(1.5)) = 0.79788
    assert hedges_g(measured([1.0, 2.0, 4.0, 3.0, 2.5])) == pytest.approx(
        0.797885 * 2.5 / sample.sd, rel=1e-5
    )
    many = np.random.default_rng(0).normal(1.0, 2.0, 400)
    large = hedges_g(measured(many.tolist()))
    assert large == pytest.approx(
        (1 - 3 / (4 * 399 - 1)) * many.mean() / many.std(ddof=1), rel=1e-5
    )
    assert hedges_g(measured([1.0, 3.0])) is None


def test_differences_alike_but_for_their_last_digits_have_no_effect() -> None:
    """They are 0.039 in each seed, of which the binary digits make a spread of 2e-17."""
    ours, theirs = measured([0.139, 0.239, 0.339]), measured([0.1, 0.2, 0.3])
    difference = difference_of(ours, theirs)
    assert difference.sample.sd is not None and 0 < difference.sample.sd < 1e-15
    assert hedges_g(difference) is None


def test_holm_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.03, 0.2: times 4, 3, 2, 1, and never falling.
    assert holm([0.02, 0.01, 0.2, 0.03]) == pytest.approx([0.06, 0.04, 0.2, 0.06])
    assert holm([0.02, None, 0.01]) == [pytest.approx(0.02), None, pytest.approx(0.02)]
    assert holm([None]) == [None] and holm([]) == []


@pytest.mark.parametrize("size", [1, 2, 7, 30])
def test_holm_is_that_of_statsmodels(size: int) -> None:
    values = (np.random.default_rng(size).random(size) ** 3).tolist()
    assert holm(values) == pytest.approx(multipletests(values, method="holm")[1].tolist())


# Descriptions --------------------------------------------------------------------------------


def test_ranks_know_which_side_is_better() -> None:
    scores = np.array([[0.9, 3.0], [0.8, 1.0], [0.9, 2.0]])
    assert ranks(scores, [False, True]).tolist() == [[1.5, 3], [3, 1], [1.5, 2]]


def test_a_profile_counts_tasks_and_seeds() -> None:
    assert profile(np.array([-0.1, 0.0, 0.2, 0.3]), [-0.2, 0.0, 0.25, 1.0]) == [1, 0.75, 0.25, 0]


def test_rankings_need_five_datasets() -> None:
    scores = np.random.default_rng(0).normal(size=(4, 5))
    assert ranking(scores[:, :4], [False] * 4) is None
    assert ranking(scores[:2], [False] * 5) is None
    found = ranking(scores, [False] * 5)
    assert found is not None and sum(found.mean_ranks) == pytest.approx(10)
    assert found.p == pytest.approx(stats.friedmanchisquare(*scores).pvalue)


@pytest.mark.parametrize(("methods", "quantile"), [(3, 2.343), (5, 2.728), (10, 3.164)])
def test_the_critical_difference_has_demsars_constants(methods: int, quantile: float) -> None:
    """Demsar, JMLR 7, 2006, Table 5a."""
    scores = np.random.default_rng(1).normal(size=(methods, 12))
    found = ranking(scores, [True] * 12)
    expected = quantile * math.sqrt(methods * (methods + 1) / (6 * 12))
    assert found is not None and found.critical == pytest.approx(expected, rel=5e-4)


def test_without_a_method_in_common_nothing_is_ranked(project: Project) -> None:
    paper = project.papers["db-mtl"]
    names = [ref.partition("/")[0] for ref in paper.rankings[0].over]
    first = next(table for table in paper.tables if table.id == names[0])
    rows = tuple(row.model_copy(update={"id": f"{row.id}-x"}) for row in first.rows)
    apart = first.model_copy(update={"rows": rows})
    tables = tuple(apart if table.id == first.id else table for table in paper.tables)
    assert rank_printed(paper.model_copy(update={"tables": tables}), paper.rankings[0]) is None


def test_a_ranked_row_is_called_as_in_the_tables_that_are_ranked(project: Project) -> None:
    paper = project.papers["db-mtl"]
    first = next(t for t in paper.tables if t.id == paper.rankings[0].over[0].partition("/")[0])
    rows = tuple(row.model_copy(update={"label": "otherwise"}) for row in first.rows)
    other = first.model_copy(update={"id": "another", "rows": rows})
    paper = paper.model_copy(update={"tables": (*paper.tables, other)})
    ranked = rank_printed(paper, paper.rankings[0])
    assert ranked is not None
    (view,) = ranking_views(paper, PaperFiles({}, {}, {}, rankings=[ranked]))
    assert {name for name, _, _ in view.methods} <= {row.label for row in first.rows}


def test_the_printed_methods_of_db_mtl_over_five_datasets(project: Project) -> None:
    """With five data sets and 21 methods only the far end is told apart from the first."""
    paper = project.papers["db-mtl"]
    found = rank_printed(paper, paper.rankings[0])
    assert found is not None and found["datasets"] == 5
    ranked = {entry["row"]: entry["mean_rank"] for entry in found["methods"]}
    assert len(ranked) == 21 and "moco" not in ranked, "it has no number on Office"
    assert sum(ranked.values()) == pytest.approx(21 * 11)
    assert [found["methods"][n]["row"] for n in (0, 1)] == ["db-mtl", "stl"]
    apart = [entry["row"] for entry in found["methods"] if entry["apart"]]
    assert 0 < len(apart) < 10 and "nash-mtl" not in apart
    assert found["critical"] == pytest.approx(13.9, abs=0.3)
