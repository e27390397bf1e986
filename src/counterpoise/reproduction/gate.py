"""The last rule: the report is built, now say whether all is well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from counterpoise.errors import UserError, UserErrors
from counterpoise.files import read_json, write_json
from counterpoise.plan import Plan


def problems(root: Path, plan: Plan) -> list[UserError]:
    """Runs that are missing or have come to a bad end that nobody expected."""
    found = []
    for run in plan.runs.values():
        for key in dict.fromkeys(run.cells.values()):
            training = plan.trainings[key]
            where = f"{run.paper}/{run.experiment}/{run.run}"
            path = root / training.file("record.json")
            if not path.is_file():
                found.append(
                    UserError(
                        f"cell {key} has no result",
                        where=where,
                        remedy=f"see logs/{plan.tier_name}/train/{key.replace('/', '-')}.log",
                    )
                )
                continue
            for seed, state in read_json(path)["seeds"].items():
                if state["trouble"] and not run.may_diverge:
                    found.append(
                        UserError(
                            f"seed {seed} of {key}: {state['trouble']['what']} at step "
                            f"{state['trouble']['step']}",
                            where=where,
                            remedy="look at its learning rate; or declare `may_diverge: true` "
                            "if the paper expects this",
                        )
                    )
    return found


def check_gate(root: Path, plan: Plan) -> None:
    """Write the gate's file, or fail with all problems.

    Raises:
        UserErrors: runs are missing or have failed.
    """
    found = problems(root, plan)
    if found:
        raise UserErrors(found)
    summary: dict[str, Any] = {"tier": plan.tier_name, "cells": len(plan.trainings)}
    write_json(root / plan.gate, summary)
