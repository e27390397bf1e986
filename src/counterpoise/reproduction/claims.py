"""Whether a paper's sentences hold: against its own numbers, and against our runs.

Each claim ends with one word (holds, does not hold, inconclusive, not testable) and its basis.
The paper's own numbers settle a claim that speaks of them, and any claim that they contradict;
that they agree with a claim about methods does not make it hold. Numbers at second hand, or read
off a plot, settle nothing alone. Otherwise our runs decide, over
differences in pairs (the same seeds and items) with a 95 % interval. A sentence holds where all its
comparisons come out; it does not where one clearly comes out the other way, with intervals so wide
(Bonferroni) that of many comparisons none does so by chance more often than one in twenty times.
Claims that answer one question together, such as which of several methods to trust on one's own
data, share that error in the same way. Times are measured once a job and decide only where they
are far apart.
Runs on stand-in data, with a reduced protocol or on a split that leaks show a tendency and leave
the claim inconclusive.

The trend that a paper states of a figure is judged in the same way.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterpoise.files import read_json, write_sealed
from counterpoise.reproduction.by_printed import evidence_of_printed
from counterpoise.reproduction.by_runs import evidence_of_runs
from counterpoise.reproduction.evidence import Evidence, Numbers, resamples_of
from counterpoise.reproduction.ours import Scores
from counterpoise.reproduction.timing import jobs_apart
from counterpoise.spec.claim import (
    ChangeTest,
    Claim,
    ClaimTest,
    CorrelationTest,
    LimitTest,
    StatedTest,
    Word,
)
from counterpoise.spec.paper import Paper
from counterpoise.spec.study import EXPERIMENT

if TYPE_CHECKING:
    from counterpoise.plan import Plan

ARGUMENT, PRINTED, FULL, REDUCED, DEMO, LEAKING, FAILED, NONE = (
    "argument",
    "the paper's own numbers",
    "our full runs",
    "our reduced runs",
    "our runs on stand-in data",
    "our runs on a leaking split",
    "our runs, which failed",
    "no runs yet",
)

TENDENCY = {"demo": DEMO, "reduced": REDUCED, "leaking": LEAKING}
"""Marks of runs that show a tendency only, each with what it makes the basis; the first counts."""


def judge_claim(claim: Claim, numbers: Numbers) -> dict[str, Any]:
    """The word for a claim, its basis, and what each source of numbers says."""
    return {"id": claim.id, **judge_test(claim.test, numbers)}


def judge_test(test: ClaimTest, numbers: Numbers) -> dict[str, Any]:
    """The same for a test, of a claim or of a figure's trend."""
    nothing = Evidence(None)
    if isinstance(test, StatedTest):
        return _result(test.word, ARGUMENT, test.reason, nothing, nothing)
    printed = evidence_of_printed(test, numbers)
    word = printed.word or "not testable"
    if isinstance(test, LimitTest):  # arithmetic on how frequent the labels are
        return _result(word, ARGUMENT, _reason(printed), printed, nothing)
    by_print = not isinstance(test, CorrelationTest) and test.settled_by == "printed"
    # What ours come to stands beside a change, whatever settles it.
    asked = not by_print or isinstance(test, ChangeTest)
    runs = evidence_of_runs(test, numbers) if asked else nothing
    first_hand = evidence_of_printed(test, numbers.first_hand)
    if by_print and printed.word in (None, first_hand.word):
        return _result(word, PRINTED, _reason(printed), printed, runs)
    if by_print:
        told = _told(printed).removeprefix("; ")
        return _result("inconclusive", PRINTED, told, printed, runs)
    if first_hand.word == "does not hold":
        reason = "the paper's own numbers contradict the sentence"
        return _result("does not hold", PRINTED, reason, printed, runs)
    if runs.word is None:
        basis, reason = NONE, "the rows it needs are not run"
        if any(map(numbers.failed, runs.missing)):
            basis, reason = FAILED, "a run it needs has failed"
        reason += _told(printed)
        return _result("inconclusive", basis, reason, printed, runs)
    lesser = tendency(runs.marks)
    if lesser:
        reason = f"only a tendency ({', '.join(lesser)}): {runs.word}"
        return _result("inconclusive", TENDENCY[lesser[0]], reason, printed, runs)
    reason = _reason(runs)
    if "calibrated" in runs.marks:
        told = "the protocol was calibrated on one of its rows"
        reason = f"{reason}; {told}" if reason else told
    return _result(runs.word, FULL, reason, printed, runs)


def _told(printed: Evidence) -> str:
    """What printed numbers that do not settle a sentence say of it, in words."""
    if printed.word not in ("holds", "does not hold"):
        return ""
    says = "agree with" if printed.word == "holds" else "contradict"
    origin = ", some second-hand or read off a plot," if printed.marks else ""
    part = ", as far as they are printed" if printed.missing else ""
    return f"; the paper's own numbers{origin} {says} the sentence{part}"


def tendency(marks: Collection[str]) -> list[str]:
    """Those of the marks of runs for which they show a tendency only."""
    return [mark for mark in TENDENCY if mark in marks]


def _reason(evidence: Evidence) -> str:
    return evidence.steps[0] if len(evidence.steps) == 1 else ""


def _result(
    word: Word, basis: str, reason: str, printed: Evidence, runs: Evidence
) -> dict[str, Any]:
    return {
        "word": word,
        "basis": basis,
        "reason": reason,
        "printed": asdict(printed),
        "runs": asdict(runs),
    }


def judge_trends(paper: Paper, numbers: Numbers) -> dict[str, dict[str, Any]]:
    """The words for the trends of a paper's figures, by figure."""
    return {
        figure.id: judge_test(figure.test, numbers)
        for figure in paper.figures
        if figure.test is not None
    }


def sharing(plan: Plan, paper: Paper) -> int:
    """How many comparisons share one error in twenty.

    All with equal weights on one's own data do, as in the view of the same: they answer one
    question, which method to trust. A paper's claims are questions of their own.
    """
    studied = paper.id in plan.project.studies
    return len(paper.experiments[EXPERIMENT].runs) - 1 if studied else 1


def make_claims(root: Path, plan: Plan, paper_name: str) -> None:
    """Write the words for all claims of a paper, and for the trends of its figures."""
    made = plan.paper(paper_name)
    tables = read_json(root / made.tables)["tables"]
    scores = Scores(root, plan)
    numbers = Numbers(
        tables,
        resamples_of(scores, made.paper),
        shared_by=sharing(plan, made.paper),
        jobs_apart=jobs_apart(scores, [cell.key for cell in plan.cells_of(paper_name)]),
    )
    claims = [judge_claim(claim, numbers) for claim in made.paper.claims]
    trends = judge_trends(made.paper, numbers)
    write_sealed(root / made.claims, {"paper": paper_name, "claims": claims, "figures": trends})
