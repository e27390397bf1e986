"""Skeletons of new files, for ``counterpoise new``."""

from __future__ import annotations

import csv
import json
import keyword
import re
from collections.abc import Iterable
from pathlib import Path

import yaml
from pydantic import ValidationError

from counterpoise import registry
from counterpoise.checks.catalogue import RENAME, misnamed
from counterpoise.errors import UserError, nearest
from counterpoise.files import write_text
from counterpoise.spec.dataset import Dataset
from counterpoise.spec.names import SINGLE_TASK

METHOD = '''"""{label}: what it does, in one line.

Author et al., "Title" (venue and year, arXiv number), equations (1) to (3). With l_k the loss of
task k of K:

    omega_k = ...

Explain the symbols here, and every difference from the paper or its public code; this text becomes
the method's card in the report. Cost: that of uniform weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from counterpoise.lazy import torch
from counterpoise.methods._base import Combined, Method, Signal, State
from counterpoise.spec import base

if TYPE_CHECKING:
    from counterpoise.methods._base import Shape


class {kind}(Method):
    """omega_k = scale, for now."""

    label = "{label}"
    signal = "losses"
    properties = frozenset({{"weighted_loss", "equal_tasks_equal_weights"}})
    variants = ({{"scale": 2.0}},)

    class Options(base.Options):
        """Hyper-parameters; each says where its default comes from."""

        scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
        """Weight of every task (ours, as an example)."""

    def __init__(self, options: Options, shape: Shape) -> None:
        super().__init__(options, shape)
        self.rule = options

    def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
        """Weights of this step, and the state for the next."""
        return Combined(torch.full_like(signal.losses, self.rule.scale)), state
'''


DATASET = """\
# yaml-language-server: $schema=../schema/dataset.json
id: {name}
title: {title}
reader: image_folder
card:
  what: What the images show, where they are from, and who labelled them.
  counts: How many images and patients there are.
  labels: What the labels mean, how they were made, and how many are unknown.
  known_biases: What a reader must know before trusting a number from these data.
# What the columns of the table mean; docs/data.md lists everything that can be set here.
options:
  size: 224
  labels: [{labels}]
  file: file
  patient: patient
  uncertain: unknown
sources:
  {name}-folder:
    title: {title}
    description: Read from a folder on this machine.
    licence: as stated by the owner
    generator: {{name: local_folder, options: {{folder: {folder}, table: {table}}}}}
"""

PAPER = """\
# yaml-language-server: $schema=../schema/paper.json
# A paper as data. It runs as it is; the others here show figures, searches, readings and more.
id: {name}
title: {title}
short: {title}
authors: [First Author, Second Author]
year: {year}
source:
  url: https://arxiv.org/abs/0000.00000
  version: which version was read
  read: full text
bibtex: |
  @misc{{{name},
    title = {{Title}},
    author = {{Author, First and Author, Second}},
    year = {{{year}}}
  }}
summary: What the paper proposes and tests, in a few sentences.

# The run of the paper's own method, with which the others in each table are compared.
own: proposed
experiments:
  main:
    title: What is compared on which data
    dataset: multimnist
    network: {{name: lenet, options: {{size: reduced}}}}
    # As published; a tier (config/tiers.yaml) may only reduce it, and what is reduced is marked.
    protocol:
      epochs: 150
      batch_size: 1024
      optimizer: adam
      learning_rate: 0.001
      loss_normalisation: first_batch
      selection: best_validation
    repeats: 10
    runs:
      single_task: {{method: single_task, label: single task}}
      uniform: {{method: uniform, label: uniform}}
      proposed: {{method: famo, label: FAMO}}

tables:
  - id: table-1
    title: What the table says
    place: Table 1
    experiment: main
    baseline: single_task
    repeats: 10
    columns:
      - {{label: Left, task: left, metric: accuracy, percent: true, better: higher}}
      - {{label: Sum, task: sum, metric: mse, better: lower}}
      - {{label: Δ_m, id: delta_m, metric: delta_m, better: higher}}
    # Copy numbers with their precision, as "96.40 ±00.17", and never compute them; "-" means none.
    rows:
      - {{label: single task, run: single_task, printed: ["-", "-", "-"]}}
      - {{label: uniform, run: uniform, printed: ["-", "-", "-"]}}
      - {{label: FAMO, id: proposed, run: proposed, printed: ["-", "-", "-"]}}

claims:
  - id: better-than-uniform
    sentence: The sentence as printed.
    place: Section 1
    reading: What would have to be seen for it to hold, in terms of the table.
    test:
      kind: compare
      comparisons:
        - {{left: table-1/proposed/delta_m, right: table-1/uniform/delta_m, expect: better}}

assumptions:
  - id: widths
    topic: Where the paper is silent, or its text and code disagree
    paper_says: What it says about it.
    choice: What is done here.
    reason: Why; never because a number then agrees.
    alternatives: [What else could be meant.]
"""

STUDY = """\
# yaml-language-server: $schema=../schema/study.json
# Which balancing method should I trust on {title}? Run it with `counterpoise compare {name}`.
id: {name}
title: {title}
dataset: {name}
source: {source}
network: {{name: resnet, options: {{depth: 18}}}}
protocol:
  epochs: 20
  batch_size: 32
  optimizer: adam
  learning_rate: 0.0003
  selection: best_validation
  augment: {{crop: 0.0714, flip: 0.5}}
seeds: 3
# Equal weights always run. Any method in src/counterpoise/methods may be named, with options.
methods:
  uw: {{method: uw, label: uncertainty weighting}}
  dwa: {{method: dwa, label: dynamic weight average}}
  gradnorm: {{method: gradnorm, label: GradNorm}}
  famo: {{method: famo, label: FAMO}}
  deepchest: {{method: deepchest, label: DeepChest}}
  db_mtl: {{method: db_mtl, label: DB-MTL}}
"""


_IMPORTS = [line.split(" import ")[1] for line in METHOD.splitlines() if " import " in line]
_WORDS = frozenset(word for words in _IMPORTS for word in words.split(", "))
"""Names that a method's file imports."""


def _as_name(root: Path, name: str, others: Iterable[str]) -> str:
    """A name for a file of the configuration, which no file of other folders has.

    Raises:
        UserError: it cannot be used, or is taken there.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,40}", name):
        raise UserError(
            f"{name!r} cannot be the name of a file",
            remedy="use lower-case letters, digits, - and _, starting with a letter",
        )
    if yaml.safe_load(name) != name:
        what = f"YAML does not read {name!r} as a name but as {yaml.safe_load(name)!r}"
        raise UserError(what, remedy="choose another name")
    for folder in others:
        path = root / "config" / folder / f"{name}.yaml"
        if path.exists():
            what = f"{name!r} is taken: papers and studies of datasets cannot share a name"
            raise UserError(what, where=path, remedy="choose another name")
    return name


def _quoted(text: str) -> str:
    """A text as YAML, on one line."""
    return json.dumps(text, ensure_ascii=False)


def new_dataset(root: Path, name: str, folder: str, table: str, labels: list[str]) -> Path:
    """Write the file of a dataset that is a folder of images with a table of labels.

    Raises:
        UserError: the name cannot be used, or is taken; a label is empty, given twice, no name of a
            task, or no column of the table, if that is there already.
    """
    path = root / "config" / "datasets" / f"{_as_name(root, name, ['papers'])}.yaml"
    wrong = [label for label in labels if not label or labels.count(label) > 1]
    if wrong:
        what = f"the label {wrong[0]!r} is given twice" if wrong[0] else "a label is empty"
        raise UserError(what, where="--labels", remedy="name each column once, separated by commas")
    _check_names(labels)
    _check_columns(root, folder, table, labels)
    taken = name in registry.names("datasets")
    if path.exists() or taken:
        raise UserError(
            f"there is already a dataset {name!r}",
            where=path,
            remedy=f"{'edit that file, or ' * path.exists()}choose another name",
        )
    text = DATASET.format(
        name=name,
        title=_quoted(name.replace("_", " ").replace("-", " ").capitalize()),
        labels=", ".join(map(_quoted, labels)),
        folder=_quoted(folder),
        table=_quoted(table),
    )
    write_text(path, text)
    return path


def _check_names(labels: list[str]) -> None:
    """Look whether tasks can be called as the labels are."""
    module = registry.find("datasets", "image_folder")
    try:
        tasks = module.tasks(module.Options(labels=labels))
    except ValidationError as error:
        what = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise UserError(what, where="--labels", remedy=RENAME) from error
    for what in map(misnamed, tasks):
        if what:
            raise UserError(what, where="--labels", remedy=RENAME)


def _check_columns(root: Path, folder: str, table: str, labels: list[str]) -> None:
    """Look for the labels in the table's first line; one that cannot be read is told later."""
    try:
        path = root.absolute() / Path(folder).expanduser() / Path(table).expanduser()
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = next(csv.reader(file), [])
    except (OSError, RuntimeError, UnicodeError, csv.Error):
        return
    known = [column.strip() for column in header]
    for label in labels:
        if label not in known:
            what = f"has no column {label!r}"
            raise UserError(what, where=f"{path}:1", remedy=nearest(label, known))


def new_paper(root: Path, name: str, year: int) -> Path:
    """Write the file of a paper: an experiment that runs, a table, a claim and an assumption.

    Raises:
        UserError: the name cannot be used, or is taken.
    """
    taken = _as_name(root, name, ["studies", "datasets"])
    path = root / "config" / "papers" / f"{taken}.yaml"
    if path.exists():
        what = f"there is already a paper {name!r}"
        raise UserError(what, where=path, remedy="choose another name")
    title = _quoted(name.replace("_", " ").replace("-", " ").capitalize())
    write_text(path, PAPER.format(name=name, title=title, year=year))
    return path


def new_study(root: Path, dataset: Dataset) -> Path:
    """Write a comparison of methods on a dataset, from its first source, unless there is one."""
    path = root / "config" / "studies" / f"{dataset.id}.yaml"
    if not path.exists():
        source = next(iter(dataset.sources))
        title = _quoted(dataset.title)
        write_text(path, STUDY.format(name=dataset.id, title=title, source=source))
    return path


def new_method(root: Path, name: str) -> Path:
    """Write the skeleton of a method beside the others of a checkout.

    Raises:
        UserError: the name cannot be used, or is taken.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,40}", name):
        raise UserError(
            f"{name!r} cannot be the name of a file",
            remedy="use lower-case letters, digits and underscores, starting with a letter",
        )
    path = root / "src" / "counterpoise" / "methods" / f"{name}.py"
    if name == SINGLE_TASK or path.exists():
        what = f"there is already a method {name!r}"
        raise UserError(what, where=path, remedy="choose another name")
    words = name.split("_")
    kind = "".join(word.capitalize() for word in words)
    if keyword.iskeyword(kind) or kind in _WORDS:
        what = f"{name!r} would give a class {kind!r}, which already has a meaning in the file"
        raise UserError(what, remedy="choose another name")
    write_text(path, METHOD.format(kind=kind, label=" ".join(words).capitalize()))
    return path
