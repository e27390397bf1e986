"""Whether configuration files fit together and name what exists. Every problem has its line."""

from counterpoise.checks.catalogue import check_dataset, check_options
from counterpoise.checks.paper import check_paper
from counterpoise.checks.study import check_sources, check_study
from counterpoise.checks.tiers import check_config, check_tiers

__all__ = [
    "check_config",
    "check_dataset",
    "check_options",
    "check_paper",
    "check_sources",
    "check_study",
    "check_tiers",
]
