"""The last rule: the report is built, now say whether all is well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from counterpoise.errors import UserError, UserErrors
from counterpoise.files import read_json, write_json
from counterpoise.layout import RunPlan, Training
from counterpoise.plan import Plan


def problems(root: Path, plan: Plan) -> list[UserError]:
    """Runs that are missing, have come to an unexpected bad end, or show a broken pipeline."""
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
            found += _skill_problems(root, plan, run, training)
    return found


def _skill_problems(root: Path, plan: Plan, run: RunPlan, training: Training) -> list[UserError]:
    """What is wrong if even equal weighting learns nothing from real data.

    Then the pipeline is broken for this dataset and network, and no comparison of methods on
    them means anything. Formulas and stand-ins may be made so that equal weighting fails.
    """
    cell = training.cell
    source = plan.project.datasets[cell.dataset].sources[cell.source]
    real = bool(source.files) and not source.stand_in
    if not real or cell.method.name != "uniform" or len(cell.tasks) < 2 or run.may_diverge:
        return []
    if cell.protocol.loss.kind != "bce":  # skill is cross-entropy, which others do not minimise
        return []
    where = f"{run.paper}/{run.experiment}/{run.run}"
    path = root / training.scores
    if not path.is_file():
        return [
            UserError(
                f"cell {training.key} has no scores",
                where=where,
                remedy=f"see logs/{plan.tier_name}/evaluate/"
                f"{training.key.replace('/', '-')}-{training.scoring}.log",
            )
        ]
    skill = read_json(path)["skill"]["validation"]
    if skill is None or skill["interval"][0] > 0:
        return []
    low, high = skill["interval"]
    return [
        UserError(
            f"the pipeline is broken for {cell.dataset} with {cell.network.name}: on validation, "
            f"cell {training.key} is not better than a constant answer (cross-entropy lower by "
            f"{skill['difference']:.4g}, 95 % interval {low:.4g} to {high:.4g})",
            where=where,
            remedy="look at its training loss in the report; then at the pictures and labels that "
            "it is given, its learning rate and its number of epochs",
        )
    ]


def check_gate(root: Path, plan: Plan) -> None:
    """Write the gate's file, or fail with all problems.

    Raises:
        UserErrors: runs are missing or have failed, or a pipeline is broken.
    """
    found = problems(root, plan)
    if found:
        raise UserErrors(found)
    summary: dict[str, Any] = {"tier": plan.tier_name, "cells": len(plan.trainings)}
    write_json(root / plan.gate, summary)
