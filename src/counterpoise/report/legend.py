"""The words of the report, each with its icon, its colour and what it means. One place for all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Term:
    """A word that the report uses for a number, a claim or a mark.

    Attributes:
        key: what it is called in the tables and claims that the report reads.
        word: how it is shown.
        icon: symbol of the page's sprite.
        tone: class that gives it its colour; the word and the icon tell it apart without colour.
        meaning: its explanation in the legend.
    """

    key: str
    word: str
    icon: str
    tone: str
    meaning: str


def _index(*terms: Term) -> dict[str, Term]:
    return {term.key: term for term in terms}


NUMBERS = _index(
    Term(
        "agrees", "agrees", "check", "good",
        "The 95 % interval of the difference lies inside the margin.",
    ),
    Term(
        "differs", "differs", "cross", "bad",
        "The 95 % interval excludes zero and the difference is larger than the margin.",
    ),
    Term(
        "inconclusive", "inconclusive", "wave", "unsure",
        "Neither of the two, fewer than three seeds, or no spread of ours where none is printed.",
    ),
    Term(
        "failed", "failed", "bang", "failed",
        "A run behind our number has diverged or could not go on.",
    ),
    Term(
        "missing", "missing", "hole", "missing",
        "Our number is planned in this tier, but the job that makes it has failed or has not run.",
    ),
    Term(
        "marked", "no verdict", "flag", "marked",
        "We have a number; its marks say why it cannot be judged against the printed one.",
    ),
    Term(
        "undefined", "undefined", "void", "none",
        "We have a run, but it does not yield this number; the reason is given.",
    ),
    Term("not run", "not run", "dash", "none", "We have no number; the reason is given."),
)  # fmt: skip
"""What may become of a printed number, in the order of the bars."""

CLAIMS = _index(
    Term("holds", "holds", "check", "good", "The evidence agrees with the sentence."),
    Term(
        "does not hold", "does not hold", "cross", "bad",
        "The paper's own numbers, an argument or our full runs contradict the sentence.",
    ),
    Term(
        "inconclusive", "inconclusive", "wave", "unsure",
        "The evidence so far does not decide. Runs on stand-in data, with a reduced protocol or "
        "on a split that leaks show only a tendency and leave a claim inconclusive.",
    ),
    Term(
        "not testable", "not testable", "question", "none",
        "The sentence names nothing that could be measured here.",
    ),
    Term("missing", "missing", "hole", "missing", "The job that judges the claim has not run."),
)  # fmt: skip
"""What may become of a claim, in the order of the bars."""

MARKS = _index(
    Term(
        "demo", "stand-in data", "flask", "marked",
        "Made on generated or substitute data. It shows that the pipeline works and says nothing "
        "about the paper.",
    ),
    Term(
        "reduced", "reduced", "half", "marked",
        "Real data, but fewer epochs, seeds or items than the paper's protocol, or other settings.",
    ),
    Term(
        "other_network", "other network", "fork", "marked",
        "A network that this tier can afford stands in for the paper's; the run's card names both.",
    ),
    Term(
        "leaking", "leaking", "flag", "marked",
        "The split is by image, not by patient, so test images have near duplicates in training. "
        "Scores are too good and say nothing about new patients.",
    ),
    Term(
        "partial", "partial mean", "half", "marked",
        "A mean over findings that leaves out those without a score on these items.",
    ),
    Term(
        "calibrated", "calibrated", "target", "marked",
        "The printed number helped to settle a choice that the paper leaves open, so our number "
        "does not test it.",
    ),
    Term(
        "sensitivity", "other reading", "fork", "marked",
        "The paper allows several readings. This is not the one declared primary before the runs.",
    ),
    Term(
        "second_hand", "second-hand", "quote", "marked",
        "The printed number was not read in the paper itself, or is not its authors' measurement.",
    ),
    Term(
        "stale", "stale", "clock", "marked",
        "Made with older code or settings than this checkout's.",
    ),
    Term(
        "pulled", "pulled", "inbox", "none",
        "There is no log of its training here: it was pulled or copied from elsewhere, or trained "
        "by hand. Its record names the commit and the machine.",
    ),
    Term("plot_read", "read off a plot", "plot", "marked", "The printed number is approximate."),
)  # fmt: skip
"""Marks of a number."""

RUNS = _index(
    Term("finished", "finished", "check", "good", "All seeds have finished."),
    Term("failed", "failed", "bang", "failed", "A seed has diverged or was left without a score."),
    Term(
        "stale",
        "stale",
        "clock",
        "marked",
        "There is no result of this code and these settings; an older one is shown.",
    ),
    Term("missing", "missing", "hole", "missing", "There is no result, or only part of one."),
)
"""States of a run."""


def common(several: Iterable[Sequence[T]]) -> tuple[T, ...]:
    """What all of several have, such as marks, in the first one's order; nothing of none."""
    first, *others = [*several] or [()]
    return tuple(one for one in first if all(one in other for other in others))


def mark(name: str) -> Term:
    """A mark by name; one that the legend lacks shows by its own name."""
    return MARKS.get(name) or Term(name, name.replace("_", " "), "flag", "marked", "")
