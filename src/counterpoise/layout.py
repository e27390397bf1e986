"""What a plan is made of, and where each part lies: the identity of a result is in its path."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from counterpoise.files import digest_of
from counterpoise.spec.cell import Cell
from counterpoise.spec.paper import Paper
from counterpoise.spec.weights import Published

RunMark = Literal["demo", "reduced"]

CELL_FILES = ("weights.safetensors", "history.parquet", "record.json", "predictions.parquet")
"""What the training of a cell gives."""

WEIGHTS = "weights."
"""Begins the name of the source that holds a network's published weights."""


def raw_marker(source: str, digest: str) -> str:
    """Marker of the files of a source, downloaded or generated."""
    return f"data/raw/{source}-{digest}/source.json"


def weights_marker(name: str, published: Published) -> str:
    """Marker of the published weights of a network."""
    return raw_marker(f"{WEIGHTS}{name}", digest_of(published.identity, length=8))


@dataclass(frozen=True)
class Data:
    """Prepared data: a dataset, from one of its sources, with its options."""

    dataset: str
    source: str
    options: dict[str, Any]
    seed: int
    raw_digest: str
    digest: str
    identity: dict[str, Any]
    """What the digest covers."""
    counts: dict[str, int] = field(default_factory=dict)
    """What the source's file declares."""

    @property
    def raw(self) -> str:
        """Marker of the downloaded or generated source."""
        return raw_marker(self.source, self.raw_digest)

    @property
    def folder(self) -> str:
        """Folder of the prepared arrays."""
        return f"data/prepared/{self.source}/{self.dataset}-{self.digest}"

    @property
    def prepared(self) -> str:
        """Marker of the prepared arrays."""
        return f"{self.folder}/prepared.json"

    @property
    def split(self) -> str:
        """Items of each part."""
        return f"{self.folder}/split.parquet"

    @property
    def summary(self) -> str:
        """What the parts hold, for the dataset's card."""
        return f"{self.folder}/summary.json"


@dataclass(frozen=True)
class Training:
    """One cell with its place on disk."""

    tier: str
    name: str
    digest: str
    cell: Cell
    data: Data
    scoring: str
    identity: dict[str, Any]
    """What the digest covers besides the cell: data, libraries, code."""
    scoring_code: dict[str, str]
    """What the digest in its scores' name covers."""
    weights: str | None = None
    """Marker of the published weights that it starts from."""

    @property
    def key(self) -> str:
        """``name/digest``."""
        return f"{self.name}/{self.digest}"

    @property
    def folder(self) -> str:
        """Folder of its results."""
        return f"results/{self.tier}/cells/{self.key}"

    @property
    def work(self) -> str:
        """Folder of its resumable state."""
        return f"work/{self.tier}/{self.key}"

    @property
    def scores(self) -> str:
        """Its scores, named by the digest of the code that computes them."""
        return f"{self.folder}/scores-{self.scoring}.json"

    @property
    def preliminary(self) -> list[str]:
        """Files that its options and weights come from: of the same tier's cells, or published."""
        keys = [*(point.key for point in self.cell.candidates), *self.cell.single_task.values()]
        folder = f"results/{self.tier}/cells"
        files = [f"{folder}/{k}/{n}" for k in keys for n in ("history.parquet", "record.json")]
        if (before := self.cell.pretraining) is not None:
            files += [f"{folder}/{before}/{n}" for n in ("weights.safetensors", "record.json")]
        return files + ([self.weights] if self.weights is not None else [])

    def file(self, name: str) -> str:
        """A file of its results."""
        return f"{self.folder}/{name}"

    def log(self, step: str) -> str:
        """The log of one of its steps: ``train`` or ``evaluate``."""
        scoring = f"-{self.scoring}" if step == "evaluate" else ""
        return f"logs/{self.tier}/{step}/{self.name}-{self.digest}{scoring}.log"


@dataclass(frozen=True)
class RunPlan:
    """A run of a paper: which cell gives each task."""

    paper: str
    experiment: str
    run: str
    cells: dict[str, str]
    """Task to cell key; a multi-task run has one cell for all."""
    mark: RunMark | None
    reductions: tuple[str, ...]
    may_diverge: bool
    other_network: bool
    """The tier trains another network in place of the paper's."""
    leaks: bool = False
    """Its split has the same patients on both sides, because it was asked for by name."""

    @property
    def name(self) -> str:
        """``experiment/run``, by which a paper's runs are told apart."""
        return f"{self.experiment}/{self.run}"

    @property
    def keys(self) -> list[str]:
        """Its cells, each once: several where each task has a network of its own."""
        return list(dict.fromkeys(self.cells.values()))

    @property
    def first(self) -> str:
        """The first of its cells, and the only one where all tasks share a network."""
        return next(iter(self.cells.values()))

    @property
    def marks(self) -> list[str]:
        """What every number of the run is marked with."""
        found: list[str] = [self.mark] if self.mark else []
        return found + ["leaking"] * self.leaks + ["other_network"] * self.other_network


@dataclass(frozen=True)
class PaperPlan:
    """What is made for one paper in one tier."""

    paper: Paper
    tier: str
    tables_digest: str
    claims_digest: str
    figure_digests: dict[str, str]
    views_digest: str = ""
    explanation_digests: dict[str, str] = field(default_factory=dict)
    viewed: tuple[str, ...] = ()
    """Experiments with enough runs for views of their trade-offs."""

    @property
    def folder(self) -> str:
        """Folder of its tables, claims and figures."""
        return f"results/{self.tier}/papers/{self.paper.id}"

    @property
    def tables(self) -> str:
        """All its tables."""
        return f"{self.folder}/tables-{self.tables_digest}.json"

    @property
    def claims(self) -> str:
        """All its claims."""
        return f"{self.folder}/claims-{self.claims_digest}.json"

    @property
    def views(self) -> str:
        """Folder of the views of its experiments' trade-offs."""
        return f"{self.folder}/views-{self.views_digest}"

    def explanation(self, name: str) -> str:
        """Localisation scores of one of its explanations; the maps lie beside as NPZ."""
        return f"{self.folder}/explanations/{name}-{self.explanation_digests[name]}.parquet"

    @property
    def explanations(self) -> list[str]:
        """All its explanations that can be made."""
        return [self.explanation(name) for name in self.explanation_digests]

    @property
    def tabled(self) -> list[str]:
        """Those whose scores stand in its tables."""
        return [self.explanation(n) for n in self.paper.tabled if n in self.explanation_digests]

    def figure(self, figure: str) -> str:
        """One of its figures as SVG; the numbers behind it lie beside as JSON."""
        return f"{self.folder}/figures/{figure}-{self.figure_digests[figure]}.svg"

    @property
    def figures(self) -> list[str]:
        """All its figures that can be drawn."""
        return [self.figure(name) for name in self.figure_digests]

    def log(self, what: str, figure: str = "") -> str:
        """The log of the job that makes its ``tables``, ``claims``, ``views``, or one figure."""
        made = {
            "tables": self.tables_digest,
            "claims": self.claims_digest,
            "views": self.views_digest,
        }
        name = f"{figure}-{self.figure_digests[figure]}" if figure else made[what]
        return f"logs/{self.tier}/{what}/{self.paper.id}-{name}.log"
