"""``counterpoise compare``: the study that a name stands for, written where there is none."""

from __future__ import annotations

from pathlib import Path

from counterpoise.errors import UserError, UserErrors, nearest
from counterpoise.plan import make_plan
from counterpoise.project import Project, load_project
from counterpoise.skeleton import new_study
from counterpoise.spec.study import OWN


def find_study(root: Path, name: str) -> Path:
    """The file of a study, or else of the study of a dataset, which is written if there is none.

    It can be planned, so that its mistakes are told before Snakemake starts. A new one that cannot
    be planned is not left behind, where it would stop every other command.

    Raises:
        UserError: there is neither such a study nor such a dataset, or it cannot be compared.
    """
    project = load_project(root)
    path = root / "config" / "studies" / f"{name}.yaml"
    if name in project.studies:
        make_plan(project, OWN, [name])
        return path
    if name not in project.datasets:
        raise UserError(
            f"no study and no dataset is called {name!r}",
            where=root / "config",
            remedy=f"{nearest(name, {*project.studies, *project.datasets})} (or write a dataset: "
            "`counterpoise new dataset`)",
        )
    planned = False
    try:
        new_study(root, project.datasets[name], _source_of_others(project, name))
        make_plan(load_project(root), OWN, [name])
        planned = True
    except UserErrors as error:
        raise UserError(
            f"its tasks do not suit a comparison: {error.errors[0].what}",
            where=root / "config" / "datasets" / f"{name}.yaml",
            remedy="`compare` is for labels that are present or absent; for other tasks write an "
            "experiment in config/papers (`counterpoise new paper`)",
        ) from error
    finally:
        if not planned:
            path.unlink(missing_ok=True)
    return path


def _source_of_others(project: Project, dataset: str) -> str | None:
    """The source that studies of a dataset share; None where there are none yet."""
    own = project.tiers.tiers.get(OWN)
    return own.datasets[dataset].source if own and dataset in own.datasets else None
