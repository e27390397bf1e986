"""Prepared data that a command line names, found in the plans of all tiers."""

from __future__ import annotations

from counterpoise.errors import UserError
from counterpoise.layout import Data
from counterpoise.plan import make_plan
from counterpoise.project import Project


def find_data(project: Project, folder: str) -> Data:
    """The data that a folder's name, or the digest at its end, stands for.

    Args:
        project: its configured tier, with the papers chosen for it, is looked in before all others,
            which are then not planned for nothing.
        folder: below ``data/prepared/SOURCE``, such as ``multimnist-0123456789ab``.

    Raises:
        UserError: no tier uses them; or the first cannot be planned, and no other has them.
    """
    digest, first = folder.rpartition("-")[2], project.config.tier
    unplanned: dict[str, UserError] = {}
    for tier in sorted(project.tiers.tiers, key=lambda tier: tier != first):
        try:
            papers = project.config.papers if tier == first else "all"
            cells = make_plan(project, tier, papers).every.values()
        except UserError as error:  # its data may be the ones
            unplanned[tier] = error
            continue
        for training in cells:
            if training.data.digest == digest:
                return training.data
    if first in unplanned:
        raise unplanned[first]
    others = "".join(
        f"; tier {tier} cannot be planned: {told.where}: {told.what}"
        for tier, error in unplanned.items()
        for told in error.errors[:1]
    )
    raise UserError(
        f"no tier uses data {folder!r}",
        remedy="name a folder in data/prepared/SOURCE, such as multimnist-0123456789ab; "
        f"`snakemake -n -- data` shows those that a tier needs{others}",
    )
