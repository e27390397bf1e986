"""A paper as data: its protocol, runs, printed tables, figures, claims and what it leaves open."""

from __future__ import annotations

import copy
import itertools
import math
import re
from decimal import Decimal
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, model_validator

from counterpoise.spec.base import Model, Name, Text
from counterpoise.spec.cell import Component, Protocol, Variation

Better = Literal["higher", "lower"]
Mark = Literal["second_hand", "plot_read"]
Word = Literal["holds", "does not hold", "inconclusive", "not testable"]
Finite = Annotated[float, Field(allow_inf_nan=False)]

SINGLE_TASK = "single_task"
"""Not a method but a plan: one network per task, each trained alone."""

DELTA_M = "delta_m"

ALL_TASKS = "all"
"""In place of a task: the mean over all of them."""

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


MOST_POINTS = 64


class GridSearch(Model):
    """Options of a method that are chosen on the validation part, before the run itself is trained.

    Every point of the grid is a cell of its own, so that its cost is counted and points that two
    searches share are trained once. The point with the lowest validation loss wins: the mean over
    tasks of the unweighted (normalised) loss of the weights that are kept, averaged over seeds. One
    that diverges never does, and the test part has no say.
    """

    grid: Annotated[dict[str, Annotated[tuple[Any, ...], Field(min_length=1)]], Field(min_length=1)]
    """Option to the values that are tried; all combinations are. ``weights.left`` is the entry
    *left* of the option *weights*."""
    epochs: Annotated[int, Field(ge=1)] | None = None
    """Epochs of each candidate: at most the experiment's, which it is if absent."""
    seeds: Annotated[int, Field(ge=1)] = 1
    """Seeds of each candidate: at most the experiment's."""

    @model_validator(mode="after")
    def _is_small(self) -> GridSearch:
        count = math.prod(len(values) for values in self.grid.values())
        if count > MOST_POINTS:
            raise ValueError(f"the grid has {count} points, more than {MOST_POINTS}")
        return self

    def points(self, options: dict[str, Any]) -> list[dict[str, Any]]:
        """All combinations, each with the run's other options."""
        found = []
        for values in itertools.product(*self.grid.values()):
            point = copy.deepcopy(options)
            for name, value in zip(self.grid, values, strict=True):
                option, _, entry = name.partition(".")
                if entry:
                    point.setdefault(option, {})[entry] = value
                else:
                    point[option] = value
            found.append(point)
        return found


class Run(Model):
    """One row's training: a method with its options, on the experiment's data and network."""

    method: Name
    options: dict[str, Any] = {}
    weighting: Component | None = None
    """A method of losses, whose weights the losses have before the method above sees them and their
    gradients: `scale_invariant` takes logarithms, `deepchest` is added to a gradient method."""
    search: GridSearch | None = None
    """Options that are searched on the validation part instead of given."""
    protocol: Variation = Variation()
    """What differs from the experiment's protocol."""
    label: str = ""
    role: Literal["primary", "sensitivity"] = "primary"
    """Only the primary reading of a paper gets verdicts."""
    calibrated: bool = False
    """The printed numbers of this row helped to fix the protocol; it gets no verdict."""
    may_diverge: bool = False
    """A bad end is expected here (the paper says so), and does not fail the gate."""


class Experiment(Model):
    """Runs that share data, network and protocol, so that their seeds can be compared in pairs."""

    title: Text
    dataset: Name
    dataset_options: dict[str, Any] = {}
    tasks: Annotated[tuple[Name, ...], Field(min_length=1)] | None = None
    """Those of the dataset's tasks that are trained, in its order; all if absent."""
    network: Component
    protocol: Protocol
    repeats: Annotated[int, Field(ge=1)] = 1
    """Training runs (seeds) of each row: the paper's number, or ours where it gives none."""
    runs: dict[Name, Run]
    views: tuple[Name, ...] | None = None
    """Runs whose trade-offs the report draws, beside single-task networks; all if absent."""

    def shows(self, run: str) -> bool:
        """Whether a run is part of the drawings of trade-offs."""
        return self.views is None or run in self.views or self.runs[run].method == SINGLE_TASK


Way = Literal["grad_cam", "grad_cam_pp", "smooth_grad", "shap"]
"""How a saliency map is made."""


CENTRE, RANDOM = "centre", "random"
"""Maps that know nothing of the network: a blob in the middle of the picture, and noise."""
UNTRAINED = "untrained/"
"""Before the name of a way: maps of the network with weights drawn anew."""


class Explanation(Model):
    """Where a run's network looks: maps of example pictures, and how often they find the region."""

    experiment: Name
    run: Name
    label: str = ""
    """Its network's name in figures; the run's if absent."""
    tasks: Annotated[tuple[Name, ...], Field(min_length=1)]
    """Findings of which an example is kept: the first test picture with the label and a box."""
    ways: Annotated[tuple[Way, ...], Field(min_length=1)] = (
        "grad_cam", "grad_cam_pp", "smooth_grad", "shap",
    )  # fmt: skip
    most: Annotated[int, Field(ge=1)] = 50
    """Pictures a finding that are scored, at most."""
    untrained: Annotated[int, Field(ge=1)] = 3
    """Networks with weights drawn anew, to be scored beside."""

    @property
    def maps(self) -> tuple[str, ...]:
        """All maps that it scores."""
        return (*self.ways, CENTRE, RANDOM, *(f"{UNTRAINED}{way}" for way in self.ways))


HistoryQuantity = Literal[
    "validation_metric", "training_loss", "weight", "gradient_norm", "cosine", "learning_rate"
]


Spread = Literal["norm_spread", "weighted_norm_spread"]
"""Of the tasks' gradient norms at the shared representation, as they are or times their weights:
the standard deviation over tasks of the logarithm of each one's mean."""

SPREADS = get_args(Spread)

Localisation = Literal[
    "pointing", "energy", "overlap.0.25", "overlap.0.5", "overlap.0.75", "empty"
]  # fmt: skip
"""How well maps find the region of a finding, and how many are empty
(:mod:`counterpoise.explain.localisation`)."""


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


Ref = Annotated[str, Field(pattern=r"^[a-z0-9_.-]+/[a-z0-9_.-]+/[a-z0-9_.-]+$")]
"""``table/row/column``."""


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


class SchematicFigure(Model):
    """A drawing without data."""

    kind: Literal["schematic"]


class UnavailableFigure(Model):
    """A figure whose runs this project cannot make."""

    kind: Literal["unavailable"]
    reason: Text


class HistoryFigure(Model):
    """A quantity of training over epochs, one panel a task, one line a run."""

    kind: Literal["history"]
    experiment: Name
    runs: Annotated[tuple[Name, ...], Field(min_length=1)]
    quantity: HistoryQuantity


class Line(Model):
    """A run, of any experiment of the paper."""

    experiment: Name
    run: Name
    label: str = ""
    """Its name in the figure; the run's if absent."""


class CoursesFigure(Model):
    """A quantity of training over epochs, the mean over tasks; one line a run of any experiment."""

    kind: Literal["courses"]
    lines: Annotated[tuple[Line, ...], Field(min_length=1)]
    quantity: HistoryQuantity


class ReliabilityFigure(Model):
    """Share of positives by predicted probability, all findings together; one panel a run."""

    kind: Literal["reliability"]
    lines: Annotated[tuple[Line, ...], Field(min_length=1)]


class TrajectoriesFigure(Model):
    """Paths of the outputs over the landscape of each toy loss."""

    kind: Literal["trajectories"]
    experiment: Name
    runs: Annotated[tuple[Name, ...], Field(min_length=1)]


class DecisionFigure(Model):
    """Predicted classes of a toy classifier over its plane of inputs."""

    kind: Literal["decision"]
    experiment: Name
    runs: Annotated[tuple[Name, ...], Field(min_length=1)]


class RocFigure(Model):
    """Receiver operating characteristics, one panel a task, one line a run."""

    kind: Literal["roc"]
    experiment: Name
    runs: Annotated[tuple[Name, ...], Field(min_length=1)]


class ActivationsFigure(Model):
    """What an early, a middle and the last convolutional stage make of an example picture."""

    kind: Literal["activations"]
    explanation: Name
    task: Name
    layers: tuple[Text, Text, Text] | None = None
    """Early, middle and last: stages, or with ``[0]`` the first block of one; if absent, the first,
    the middle and the last stage."""


class SaliencyFigure(Model):
    """Saliency maps over an example picture, its region outlined."""

    kind: Literal["saliency"]
    explanation: Name
    task: Name


class LocalisationFigure(Model):
    """How often maps find the region, with intervals, beside maps that know nothing."""

    kind: Literal["localisation"]
    explanations: Annotated[tuple[Name, ...], Field(min_length=1)]


class BarsFigure(Model):
    """A table as grouped bars: printed beside ours."""

    kind: Literal["bars"]
    table: Name


RunsFigure = HistoryFigure | TrajectoriesFigure | DecisionFigure | RocFigure
"""A figure of some runs of one experiment."""

LinesFigure = CoursesFigure | ReliabilityFigure
"""A figure of runs of any experiments."""

ExplainedFigure = ActivationsFigure | SaliencyFigure | LocalisationFigure
"""A figure of what networks look at."""

FigureContent = Annotated[
    SchematicFigure | UnavailableFigure | RunsFigure | LinesFigure | ExplainedFigure | BarsFigure,
    Field(discriminator="kind"),
]


class Figure(Model):
    """A figure of the paper, or one of ours that the paper lacks (``place`` says which)."""

    id: Name
    title: Text
    place: Text
    trend: str = ""
    """What the paper says that the figure shows."""
    test: ClaimTest | None = None
    """How the trend is held against numbers: as a claim is."""
    content: FigureContent

    @property
    def lines(self) -> list[tuple[str, str]]:
        """Experiment and run of all that a figure of runs shows; nothing of other figures."""
        if isinstance(self.content, LinesFigure):
            return [(line.experiment, line.run) for line in self.content.lines]
        if isinstance(self.content, RunsFigure):
            return [(self.content.experiment, run) for run in self.content.runs]
        return []

    @property
    def explanations(self) -> tuple[str, ...]:
        """Those that it is drawn from."""
        if isinstance(self.content, LocalisationFigure):
            return self.content.explanations
        if isinstance(self.content, ActivationsFigure | SaliencyFigure):
            return (self.content.explanation,)
        return ()


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
