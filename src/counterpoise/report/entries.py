"""One cell of a table as the page shows it, and what became of a printed number."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from counterpoise.report.legend import NUMBERS, Term, mark
from counterpoise.report.numbers import decimals_for, decimals_of, fixed, signed, split_printed
from counterpoise.report.text import anchor
from counterpoise.reproduction.ours import CONSTANT, ONCE
from counterpoise.reproduction.verdicts import NO_VERDICT
from counterpoise.spec.paper import Paper

NOT_RUN = "not run"
WITHOUT_RUN = (NOT_RUN, "missing")


@dataclass(frozen=True)
class Number:
    """One cell.

    Attributes:
        verdict: shown in the cell; None where it goes without saying.
        toward: "higher" or "lower" where ours clearly differs.
        own_interval: 95 % interval of ours, over seeds and resampled items.
        interval: 95 % interval of the difference.
        rule: the rule that decided.
        note: letter of a footnote.
    """

    printed: str
    printed_spread: str
    ours: str = ""
    ours_spread: str = ""
    seeds: int = 0
    from_means: str = ""
    own_interval: str = ""
    difference: str = ""
    interval: str = ""
    margin: str = ""
    verdict: Term | None = None
    toward: str = ""
    rule: str = ""
    note: str = ""
    run: str = ""


def state_of(entry: dict[str, Any]) -> str | None:
    """What became of a printed number: a key of :data:`NUMBERS`; None where none is printed."""
    if entry["printed"] is None:
        return None
    if entry["verdict"] in NUMBERS:
        return str(entry["verdict"])
    return "marked"


def count_states(entries: dict[str, Any]) -> dict[str, int]:
    """Printed numbers of a table by what became of them, in the legend's order."""
    found = Counter(
        state for row in entries.values() for entry in row.values() if (state := state_of(entry))
    )
    return {key: found[key] for key in NUMBERS}


def rule_text(rule: str) -> str:
    """A deciding rule with its marks in the words of the legend."""
    if not rule.startswith(NO_VERDICT):
        return rule
    names = rule.removeprefix(NO_VERDICT).split(", ")
    return NO_VERDICT + ", ".join(mark(name).word for name in names)


def number_view(paper: Paper, entry: dict[str, Any], note: str) -> Number:
    """The view of one entry; ``note`` is the letter of its footnote."""
    printed, printed_spread = split_printed(entry["printed"])
    ours = entry["ours"]
    state = state_of(entry)
    shown = NUMBERS[state] if state and state not in WITHOUT_RUN else None
    if entry["verdict"] in ("failed", "missing", "undefined"):
        shown = NUMBERS[entry["verdict"]]
    run = anchor("run", paper.id, *entry["run"].split("/")) if entry["run"] else ""
    number = Number(
        printed, printed_spread, verdict=shown, rule=rule_text(entry["rule"]), note=note, run=run
    )
    if ours is None:
        return number
    decimals = decimals_of(entry["printed"])
    if decimals is None:
        decimals = decimals_for(ours["mean"], ours["sd"])
    own = ours.get("interval")
    difference, interval, margin = entry["difference"], entry["interval"], entry["margin"]
    return replace(
        number,
        ours=fixed(ours["mean"], decimals),
        ours_spread=f"±{fixed(ours['sd'], decimals)}" if ours["sd"] is not None else "",
        seeds=0 if ours["values"].keys() & {CONSTANT, ONCE} else ours["n"],
        # Of one seed it is the same number again.
        from_means=fixed(ours["from_means"], decimals)
        if ours["from_means"] is not None and ours["n"] > 1
        else "",
        own_interval=f"{fixed(own[0], decimals)} to {fixed(own[1], decimals)}" if own else "",
        difference=signed(difference, decimals) if difference is not None else "",
        interval=f"{signed(interval[0], decimals)} to {signed(interval[1], decimals)}"
        if interval
        else "",
        margin=f"{margin:.6g}" if margin is not None else "",
        toward=("higher" if difference > 0 else "lower") if entry["verdict"] == "differs" else "",
    )
