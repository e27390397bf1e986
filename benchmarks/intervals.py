"""How often intervals contain the truth, and how often tests and verdicts err, on simulated data.

    python benchmarks/intervals.py [quantiles] [coverage] [errors] [verdicts] [--sets SETS]

Each simulated data set has ten seeds; the rows for three and five use the first of them. Every item
is right or wrong (or has a score, for AUROC) by a normal variable that is the sum of effects of the
seed, of the item's unit (a patient, or each of two digits), of the item, of the method, and of
chance; so the truth is known exactly. Intervals, p-values and verdicts are those of the package.
Prints Markdown tables; a rate is followed by its Monte Carlo standard error. The table of quantiles
is not simulated: it is worked out by integration over normal data whose variance has two parts.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import ndtr
from scipy.stats import chi2

from counterpoise.evaluation.comparisons import difference_of
from counterpoise.evaluation.measured import Draws, Measured, gain_of, mean_of
from counterpoise.evaluation.resampling import item_weights, schemes_of
from counterpoise.evaluation.statistics import (
    LEVEL,
    MOST_DEGREES,
    Part,
    degrees_of_sum,
    interval_of,
    p_value,
    quantile_of_difference,
    quantile_of_sum,
    summarise,
    t_quantile,
)
from counterpoise.metrics import METRICS
from counterpoise.reproduction.verdicts import judge
from counterpoise.spec.paper import parse_printed

MOST, SEEDS = 10, (3, 5, 10)
SETS = 2000


@dataclass(frozen=True)
class World:
    """Where data sets are drawn from: standard deviations of the effects, and sizes.

    Chance, different for each seed and item, has deviation one. What a method adds is drawn anew
    for each of its items (``method``) and seeds (``method_seed``), with mean zero: methods are
    equally good.
    """

    name: str
    seed: float = 0.0
    unit: float = 0.0
    item: float = 0.0
    method: float = 0.0
    method_seed: float = 0.0
    items: int = 400
    per_unit: int = 1
    pairs: int = 0
    """Digits that items are pairs of; 0 where an item has one unit."""
    level: float = 1.0
    """Mean of the variable, in units of its deviation: 84 % are right."""

    @property
    def total(self) -> float:
        """Deviation of the variable."""
        units = self.unit**2 * (2 if self.pairs else 1)
        own = self.method**2 + self.method_seed**2
        return math.sqrt(1 + self.seed**2 + units + self.item**2 + own)

    @property
    def truth(self) -> float:
        """Share that is right over all seeds and items."""
        return float(ndtr(self.level))


@cache
def _weights(world: World) -> tuple[np.ndarray, list[np.ndarray], tuple[int, ...]]:
    """Units (N, U), weights (R, N) of each scheme, and factors."""
    rng = np.random.default_rng(99)
    if world.pairs:
        left = np.concatenate(
            [rng.permutation(world.pairs) for _ in range(-(-world.items // world.pairs))]
        )[: world.items]
        units = np.stack([left, rng.integers(world.pairs, size=world.items)], axis=1)
    else:
        units = (np.arange(world.items) // world.per_unit)[:, None]
    schemes = schemes_of(units, "test")
    weights = [np.concatenate(list(item_weights(scheme))) for scheme in schemes]
    return units, weights, tuple(scheme.factor for scheme in schemes)


def _variables(world: World, rng: np.random.Generator, methods: int) -> np.ndarray:
    """The variable (methods, seeds, N) of one data set, with mean zero and deviation one."""
    units, _, _ = _weights(world)
    of_units = world.unit * rng.normal(size=int(units.max()) + 1)
    shared = of_units[units].sum(axis=1) + world.item * rng.normal(size=world.items)
    shared = shared + world.seed * rng.normal(size=(MOST, 1))
    own = world.method * rng.normal(size=(methods, 1, world.items))
    own = own + world.method_seed * rng.normal(size=(methods, MOST, 1))
    return (shared + own + rng.normal(size=(methods, MOST, world.items))) / world.total


def _measured(values: np.ndarray, draws: list[np.ndarray], world: World, units: int) -> Measured:
    named = {str(seed): float(value) for seed, value in enumerate(values)}
    return Measured(named, Draws(np.stack(draws), _weights(world)[2], units), largest=1.0)


def accuracies(world: World, rng: np.random.Generator, methods: int = 1) -> list[Measured]:
    """Share of right items of each method on one data set."""
    units, weights, _ = _weights(world)
    right = (_variables(world, rng, methods) + world.level > 0).astype(np.float64)
    count = len(np.unique(units))
    sums = [w.sum(axis=1) for w in weights]
    return [
        _measured(
            one.mean(axis=1), [one @ w.T / n for w, n in zip(weights, sums, strict=True)],
            world, count,
        )
        for one in right
    ]  # fmt: skip


SHIFT, POSITIVE = 1.5, 0.15


def auroc(world: World, rng: np.random.Generator) -> Measured:
    """AUROC of a score that positives have higher by :data:`SHIFT`.

    The seed moves the shift, since a shift of all scores leaves the AUROC alone.
    """
    _, weights, _ = _weights(world)
    positive = rng.random(world.items) < POSITIVE
    noise = _variables(world, rng, 1)[0]
    steps = SHIFT + world.seed * rng.normal(size=(MOST, 1))
    logits = noise + steps * positive
    weighted = METRICS["auroc"].weighted
    assert weighted is not None
    everything = np.concatenate([np.ones((1, world.items)), weights[0]])
    found = np.stack([weighted(row[:, None], positive, everything) for row in logits])
    return _measured(
        found[:, 0], [found[:, 1:]], world, int(min(positive.sum(), (~positive).sum()))
    )


def auroc_truth(world: World) -> float:
    """Expected AUROC over seeds and items."""
    spread = 1 - (world.seed / world.total) ** 2  # of the items' scores within a seed
    return float(ndtr(SHIFT / math.sqrt(2 * spread + world.seed**2)))


def first(measured: Measured, seeds: int) -> Measured:
    """The same with the first seeds alone."""
    names = list(measured.values)[:seeds]
    values = {name: measured.values[name] for name in names}
    assert measured.draws is not None
    held = Draws(measured.draws.values[:, :seeds], measured.draws.factors, measured.draws.units)
    return Measured(values, held, measured.largest)


def plain_interval(measured: Measured) -> tuple[float, float] | None:
    """s^2 / n plus the bootstrap variance of the mean over seeds: the rule that is not used."""
    assert measured.draws is not None and measured.sample.part is not None
    drawn = measured.draws.values[0].mean(axis=0).var(ddof=1)
    parts = [measured.sample.part, Part(float(drawn), measured.draws.units - 1)]
    return interval_of(measured.sample.mean, parts, LEVEL, measured.largest)


def satterthwaite_interval(measured: Measured) -> tuple[float, float] | None:
    """The parts that are used, symmetric, with Satterthwaite's degrees of freedom."""
    error = math.sqrt(math.fsum(part.variance for part in measured.parts))
    half = satterthwaite(measured.parts, LEVEL) * error if error > 0 else 0.0
    return measured.sample.mean - half, measured.sample.mean + half


def seeds_interval(measured: Measured) -> tuple[float, float] | None:
    """Seeds alone."""
    assert measured.sample.part is not None
    return interval_of(measured.sample.mean, [measured.sample.part], LEVEL, measured.largest)


def satterthwaite(parts: Sequence[Part], level: float) -> float:
    """Student's quantile with Satterthwaite's degrees of freedom."""
    return t_quantile(level, degrees_of_sum(parts))


Quantile = Callable[[Sequence[Part], float], float]
QUANTILES: dict[str, Quantile] = {
    "of scores (Welch's series)": quantile_of_sum,
    "of differences (weighted tails)": quantile_of_difference,
    "Satterthwaite": satterthwaite,
}


def misses(
    rule: Quantile, seeds: int, share: float, level: float = LEVEL, points: int = 400
) -> float:
    """Share of the intervals that miss the truth, of a normal mean.

    Seeds are ``share`` of its variance, estimated from ``seeds`` of them; the rest is known.
    """
    degrees = seeds - 1
    drawn = share * chi2.ppf((np.arange(points) + 0.5) / points, degrees) / degrees
    missed = [
        2
        * ndtr(
            -rule([Part(v, degrees), Part(1 - share, MOST_DEGREES)], level)
            * math.sqrt(v + 1 - share)
        )
        for v in drawn.tolist()
    ]
    return float(np.mean(missed))


RULES: dict[str, Callable[[Measured], tuple[float, float] | None]] = {
    "used": Measured.interval,
    "Satterthwaite": satterthwaite_interval,
    "plain sum": plain_interval,
    "seeds alone": seeds_interval,
}

WORLDS = (
    World("seeds dominate", seed=0.15, unit=0.3, items=2000),
    World("seeds dominate, 5 points apart", seed=0.25, unit=0.3, items=1000),
    World("seeds and patients alike", seed=0.15, unit=0.8),
    World("patients dominate", seed=0.02, unit=1.5),
    World("patients of four images", seed=0.1, unit=1.0, per_unit=4),
    World("chance of seed and item dominates", seed=0.0, unit=0.1),
    World("40 patients", seed=0.15, unit=0.8, items=40),
    World("pairs of 360 digits", seed=0.1, unit=0.7, pairs=360, items=1000),
    World("pairs of 1000 digits", seed=0.05, unit=0.3, item=1.0, pairs=1000, items=1000),
)
AUROCS = (
    World("AUROC, about 45 positives of 300", seed=0.15, unit=1.0, items=300),
    World("AUROC, about 15 positives of 100", seed=0.15, unit=1.0, items=100),
)
TASKS = 14
METHODS = 8


def mean_over_tasks(world: World, rng: np.random.Generator) -> Measured:
    """Mean share of right items over tasks whose items are the same patients."""
    return mean_of(accuracies(world, rng, TASKS))


def gain(world: World, rng: np.random.Generator) -> Measured:
    """Delta_m over five tasks, of networks as good as the single-task ones."""
    found = accuracies(world, rng, 10)
    return gain_of(found[:5], found[5:], [False] * 5)


def rate(hits: int, count: int) -> str:
    """A share in percent with its Monte Carlo standard error."""
    share = hits / count
    return f"{100 * share:.1f} ± {100 * math.sqrt(share * (1 - share) / count):.1f}"


Draw = Callable[[World, np.random.Generator], Measured]


def coverage(
    world: World, draw: Draw, truth: float, sets: int, seed: int = 0
) -> dict[tuple[str, int], int]:
    """How many of the intervals hold the truth, by rule and number of seeds."""
    rng = np.random.default_rng([seed, *world.name.encode()])
    hits = dict.fromkeys([(rule, n) for rule in RULES for n in SEEDS], 0)
    for _ in range(sets):
        whole = draw(world, rng)
        for n in SEEDS:
            measured = first(whole, n)
            for rule, interval in RULES.items():
                low, high = interval(measured) or (math.inf, -math.inf)
                hits[rule, n] += low <= truth <= high
    return hits


def _one(world: World, rng: np.random.Generator) -> Measured:
    return accuracies(world, rng)[0]


def settings() -> Iterator[tuple[World, Draw, float]]:
    """Everything whose coverage is measured."""
    for world in WORLDS:
        yield world, _one, world.truth
    for world in AUROCS:
        yield world, auroc, auroc_truth(world)
    world = World("mean over 14 findings", seed=0.1, unit=0.8, method=0.5, method_seed=0.1)
    yield world, mean_over_tasks, world.truth
    world = World("Δm of 5 tasks", seed=0.1, unit=0.8, method=0.5, method_seed=0.15)
    yield world, gain, math.nan  # worked out when its turn comes


def gain_truth(world: World, sets: int = 4000) -> float:
    """Expected Delta_m, by simulation: a ratio's mean is not the ratio of means."""
    rng = np.random.default_rng(7)
    found = []
    for _ in range(sets):
        share = (_variables(world, rng, 10) + world.level > 0).mean(axis=2)
        found.append(np.mean((share[:5] - share[5:]) / share[5:]))
    return float(np.mean(found))


EQUAL = (
    World("methods differ by seed", seed=0.1, unit=0.8, method_seed=0.15),
    World("methods differ by item", seed=0.1, unit=0.8, method=0.7),
    World("both", seed=0.1, unit=0.8, method=0.5, method_seed=0.1),
    World("nothing but chance", seed=0.1, unit=0.8),
)


def false_positives(world: World, sets: int, seed: int = 0) -> dict[int, tuple[int, int]]:
    """Errors of the first kind, by number of seeds.

    Comparisons of two equal methods with p < 5 %, and families of seven of which at least one is
    below a seventh of that, as Holm's smallest and a claim's strict interval must be.
    """
    rng = np.random.default_rng([seed, *world.name.encode(), 1])
    counts = {n: [0, 0] for n in SEEDS}
    for _ in range(sets):
        methods = accuracies(world, rng, METHODS)
        for n, found in counts.items():
            own, *others = (first(one, n) for one in methods)
            differences = [difference_of(other, own) for other in others]
            values = [p_value(one.sample.mean, one.parts) for one in differences]
            found[0] += values[0] < 0.05
            found[1] += len(values) * min(values) < 0.05
    return {n: (single, family) for n, (single, family) in counts.items()}


def verdicts(
    n: int, repeats: int, shift: float, spread: bool, margin: float, sets: int, seed: int = 0
) -> dict[str, int]:
    """Verdicts on a printed number whose truth is ``shift`` deviations below ours."""
    rng = np.random.default_rng([seed, n, repeats, round(10 * shift), spread])
    found = dict.fromkeys(["agrees", "differs", "inconclusive"], 0)
    for _ in range(sets):
        theirs, mine = rng.normal(0.0, 1.0, repeats), rng.normal(shift, 1.0, n)
        text = f"{theirs.mean():.8f}" + (f" ±{theirs.std(ddof=1):.8f}" if spread else "")
        ours = summarise(mine.tolist())
        found[str(judge(parse_printed(text), repeats, ours, margin=margin).verdict)] += 1
    return found


PARTS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Shares of the seeds in the variance that the table of quantiles goes over."""


def print_quantiles(_: int) -> None:
    """Table of the least and largest share of intervals that miss, over shares of the seeds."""
    print("\nIntervals that miss the truth in percent, least to most over the seeds' share\n")
    levels = {"95 %": LEVEL, "99.29 % (one of seven)": 1 - 0.05 / 7, "99.75 % (of twenty)": 0.9975}
    print("| quantile | seeds | " + " | ".join(levels) + " |")
    print("|---|---|" + "---|" * len(levels))
    for name, rule in QUANTILES.items():
        for seeds in SEEDS:
            found = [
                [100 * misses(rule, seeds, p, level) for p in PARTS] for level in levels.values()
            ]
            cells = " | ".join(f"{min(row):.2f} to {max(row):.2f}" for row in found)
            print(f"| {name} | {seeds} | {cells} |", flush=True)


def print_coverage(sets: int) -> None:
    """Table of coverage by data and rule."""
    print(f"Coverage of 95 % intervals in percent, {sets} data sets a row\n")
    print("| data | rule | " + " | ".join(f"{n} seeds" for n in SEEDS) + " |")
    print("|---|---|" + "---|" * len(SEEDS))
    for world, draw, truth in settings():
        known = gain_truth(world) if math.isnan(truth) else truth
        hits = coverage(world, draw, known, sets)
        for rule in RULES:
            if rule == "plain sum" and world.pairs:
                continue  # it has no second scheme to take off
            cells = " | ".join(rate(hits[rule, n], sets) for n in SEEDS)
            print(f"| {world.name} | {rule} | {cells} |", flush=True)


def print_errors(sets: int) -> None:
    """Table of false positives."""
    print(f"\nEqual methods called different in percent, {sets} data sets a row\n")
    seeds = " | ".join(f"{n} seeds" for n in SEEDS)
    print(f"| data | one comparison, {seeds} | any of seven, {seeds} |")
    print("|---|" + "---|" * 2 * len(SEEDS))
    for world in EQUAL:
        found = false_positives(world, sets)
        cells = [rate(found[n][which], sets) for which in (0, 1) for n in found]
        print(f"| {world.name} | {' | '.join(cells)} |", flush=True)


def print_verdicts(sets: int) -> None:
    """Table of verdicts by how far the truths are apart."""
    print(f"\nVerdicts in percent; the margin is two deviations; {sets} printed numbers a row\n")
    print("| truths apart by | paper's runs | spread printed | ours | agrees | differs | open |")
    print("|---|---|---|---|---|---|---|")
    for shift in (0.0, 2.0, 4.0, 8.0):
        for repeats, spread in ((10, True), (3, True), (3, False), (1, False)):
            for n in SEEDS:
                made = verdicts(n, repeats, shift, spread, 2.0, sets)
                cells = " | ".join(rate(count, sets) for count in made.values())
                told = f"{shift:g} deviations | {repeats} | {'yes' if spread else 'no'}"
                print(f"| {told} | {n} | {cells} |", flush=True)


TABLES = {
    "quantiles": print_quantiles,
    "coverage": print_coverage,
    "errors": print_errors,
    "verdicts": print_verdicts,
}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("tables", nargs="*", help=f"any of {', '.join(TABLES)}; all if left out")
    parser.add_argument("--sets", type=int, default=SETS, help="simulated data sets per row")
    given = parser.parse_args()
    for name in given.tables or TABLES:
        TABLES[name](given.sets)


if __name__ == "__main__":
    main()
