"""How far apart the times of jobs are that do the same work.

    python benchmarks/jobs.py [--tier TIER]

All seeds of a cell are timed in one job, so that their spread leaves out what else the machine did
then. For each group of a finished tier's cells that do the same work this prints how far their mean
times of a step are apart, and in how many of the pairs the interval over seeds alone calls them
different. Claims on times ask for more than that.
"""

from __future__ import annotations

import argparse
from itertools import combinations
from pathlib import Path

from counterpoise.evaluation.comparisons import difference_of, paired
from counterpoise.plan import load_plan
from counterpoise.reproduction.ours import Scores
from counterpoise.reproduction.timing import jobs_alike


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tier", default="chest-reduced")
    root, tier = Path.cwd(), parser.parse_args().tier
    plan = load_plan(root, {"tier": tier, "papers": "all", "methods": "all"})
    scores = Scores(root, plan)
    print("| the first cell | cells | milliseconds a step | most / least | pairs told apart |")
    print("|---|---|---|---|---|")
    for name, jobs in jobs_alike(scores, plan.trainings).items():
        means = sorted(1000 * job.sample.mean for job in jobs)
        pairs = [paired(difference_of(*pair)) for pair in combinations(jobs, 2)]
        ends = [pair.interval for pair in pairs if pair is not None and pair.interval is not None]
        apart = sum(low > 0 or high < 0 for low, high in ends)
        span = f"{means[0]:.1f} to {means[-1]:.1f} | {means[-1] / means[0]:.2f}"
        print(f"| `{name}` | {len(jobs)} | {span} | {apart} of {len(ends)} |")


if __name__ == "__main__":
    main()
