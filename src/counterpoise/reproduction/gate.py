"""The last rule: the report is built, now say whether all is well."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterpoise.errors import UserError, UserErrors
from counterpoise.files import read_json, write_json
from counterpoise.layout import RunPlan, Training
from counterpoise.reproduction.ours import Scores
from counterpoise.reproduction.words import trouble_text

if TYPE_CHECKING:
    from counterpoise.plan import Plan


LOCAL_FOLDER = "local_folder"
"""What reads images of the user's own."""


def problems(root: Path, plan: Plan) -> list[UserError]:
    """Runs that are missing, have come to an unexpected bad end, or show a broken pipeline."""
    found, scores = [], Scores(root, plan)
    learned: dict[tuple[str, str], list[tuple[str, str, Any]]] = {}
    for run in plan.runs.values():
        for key in run.keys:
            training = plan.trainings[key]
            where = f"{run.paper}/{run.name}"
            path = root / training.file("record.json")
            if not path.is_file():
                found.append(
                    UserError(
                        f"cell {key} has no result",
                        where=where,
                        remedy=f"see {training.log('train')}",
                    )
                )
                continue
            for seed, state in scores.record(key)["seeds"].items():
                if state["trouble"] and not run.may_diverge:
                    found.append(
                        UserError(
                            f"cell {key}, {trouble_text(seed, state['trouble'])}",
                            where=where,
                            remedy="look at its learning rate; or declare `may_diverge: true` "
                            "if the paper expects this",
                        )
                    )
            if not _must_learn(plan, run, training):
                continue
            path = root / training.scores
            if not path.is_file():
                found.append(
                    UserError(
                        f"cell {training.key} has no scores",
                        where=where,
                        remedy=f"see {training.log('evaluate')}",
                    )
                )
            elif (skill := read_json(path)["skill"]["validation"]) is not None:
                group = training.cell.dataset, training.cell.network.name
                learned.setdefault(group, []).append((where, training.key, skill))
    for group, cells in learned.items():
        # Once is enough: an experiment may ask what too few images or epochs do.
        if all(skill["interval"][0] <= 0 for _, _, skill in cells):
            found += [_broken(group, *cell) for cell in cells]
    return found


def _must_learn(plan: Plan, run: RunPlan, training: Training) -> bool:
    """Whether equal weighting has to learn something here: several tasks of real data.

    Where it never does, the pipeline is broken for that dataset and network, and no comparison of
    methods on them means anything. Formulas and stand-ins may be made so that it fails.
    """
    cell = training.cell
    source = plan.project.datasets[cell.dataset].sources[cell.source]
    # Formulas and pictures that are generated have no files; a user's own folder is read by name.
    read = source.generator is not None and source.generator.name == LOCAL_FOLDER
    real = (bool(source.files) or read) and not source.stand_in
    if not real or cell.method.name != "uniform" or len(cell.tasks) < 2 or run.may_diverge:
        return False
    # Nothing is expected as initialised; skill is cross-entropy, which other losses do not lower.
    return cell.protocol.epochs > 0 and cell.protocol.loss.kind == "bce"


def _broken(group: tuple[str, str], where: str, key: str, skill: Any) -> UserError:
    dataset, network = group
    low, high = skill["interval"]
    return UserError(
        f"the pipeline is broken for {dataset} with {network}: on validation, cell {key} is not "
        f"better than a constant answer (cross-entropy lower by {skill['difference']:.4g}, 95 % "
        f"interval {low:.4g} to {high:.4g})",
        where=where,
        remedy="look at its training loss in the report; then at the pictures and labels that "
        "it is given, its learning rate and its number of epochs",
    )


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
