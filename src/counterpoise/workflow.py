"""What the Snakefile needs besides the plan: settings that travel by the environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from counterpoise.spec.tier import Config


def job_environment(config: Config) -> dict[str, str]:
    """Environment variables for the jobs.

    Where data come from, what computes and what is left out of a report are no part of a result.
    They go by the environment, because a change of a rule's ``params`` would ask for everything
    again. The interpreter that runs Snakemake runs the jobs, whether or not its folder is on the
    PATH.
    """
    variables = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "COUNTERPOISE_WORKFLOW": str(os.getpid()),  # a job can tell whether it still runs
    }
    for name in ("mirror", "device", "methods", "papers"):
        value = getattr(config, name)
        if value is not None:
            words = value if isinstance(value, str) else ",".join(value)
            variables[f"COUNTERPOISE_{name.upper()}"] = words
    return variables
