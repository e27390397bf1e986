"""A comparison of methods on data of one's own, read as a paper without printed numbers."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from counterpoise.spec.base import Model, Name, Text
from counterpoise.spec.cell import Component, Protocol
from counterpoise.spec.experiment import Run
from counterpoise.spec.names import SINGLE_TASK
from counterpoise.spec.paper import Paper
from counterpoise.spec.tier import Reduction, Tier

OWN = "own"
"""The tier of all studies."""
ALL = "all"
"""What asks for all studies, and the folder of a report on several."""
EXPERIMENT = "methods"
TABLE = "methods"
BASELINE = "uniform"
ALWAYS = "always"
MEASURES: tuple[tuple[str, str, str], ...] = (
    ("AUROC", "auroc", "higher"),
    ("AUPRC", "auprc", "higher"),
    ("F1", "f1", "higher"),
    ("Accuracy", "accuracy", "higher"),
    ("BCE", "bce", "lower"),
)
"""Label, metric and which direction is better of each column."""


class Study(Model):
    """Methods trained on one dataset alike, and compared with equal weights."""

    id: Name
    title: Text
    dataset: Name
    source: Name
    """Of the dataset."""
    dataset_options: dict[str, Any] = {}
    network: Component = Component(name="resnet", options={"depth": 18})
    protocol: Protocol
    seeds: Annotated[int, Field(ge=1)] = 3
    """Trainings of each method; below three nothing is decided."""
    methods: Annotated[dict[Name, Run], Field(min_length=1)]
    """Besides equal weights, which always run."""

    def paper(self) -> Paper:
        """The same as a paper: one experiment, one table, a claim for each method."""
        runs = {BASELINE: Run(method="uniform", label="equal weights"), **self.methods}
        others = [name for name in runs if name != BASELINE]
        multi = [name for name in others if runs[name].method != SINGLE_TASK]
        labels = {name: run.label or name.replace("_", " ") for name, run in runs.items()}
        none = ["-"] * len(MEASURES)
        always = {"label": "always the prevalence", "id": ALWAYS, "run": BASELINE}
        rows: list[dict[str, Any]] = [{**always, "predictor": "constant", "printed": none}]
        rows += [{"label": labels[name], "id": name, "run": name, "printed": none} for name in runs]
        columns = [
            {"label": label, "id": metric, "metric": metric, "better": better}
            for label, metric, better in MEASURES
        ]
        table = {
            "id": TABLE, "title": f"Methods on {self.title}", "place": "ours",
            "experiment": EXPERIMENT, "task": "all", "columns": columns, "rows": rows,
            "note": "Means over all labels on the test part. The first row answers every image "
            "with the training part's prevalence; a network that is not better than it in AUROC "
            "and BCE has learned nothing.",
        }  # fmt: skip
        claims = [
            {
                "id": name,
                "sentence": f"{labels[name]} is better than equal weights on {self.title}.",
                "place": "ours",
                "reading": "The mean AUROC over all labels on the test part is higher.",
                "test": {
                    "kind": "compare",
                    "comparisons": [
                        {
                            "left": f"{TABLE}/{name}/auroc",
                            "right": f"{TABLE}/{BASELINE}/auroc",
                            "expect": "better",
                        }
                    ],
                },
            }
            for name in multi
        ]
        return Paper.model_validate(
            {
                "id": self.id,
                "title": f"Which balancing method should I trust on {self.title}?",
                "short": self.title,
                "authors": ["you"],
                "year": 2026,  # reports on one's own data leave these two out
                "source": {
                    "url": None,
                    "version": f"config/studies/{self.id}.yaml",
                    "read": "full text",
                    "note": "Data of your own: nothing is printed, all numbers are measured here.",
                },
                "bibtex": f"% {self.id}: data of one's own, nothing to cite",
                "summary": "Each method is trained alike, from the same initial weights and with "
                "the same order of images. A method is to be trusted on these data if it is better "
                "than equal weights beyond what seeds and patients explain, with intervals so wide "
                "that of all methods here none is found better or worse by chance more often than "
                "one time in twenty; where the words below "
                "say that it is not or that the evidence does not decide, equal weights are the "
                "cheaper choice.",
                "own": BASELINE,
                "experiments": {
                    EXPERIMENT: {
                        "title": f"{self.title}, {self.network.name}",
                        "dataset": self.dataset,
                        "dataset_options": self.dataset_options,
                        "network": self.network.model_dump(),
                        "protocol": self.protocol.model_dump(),
                        "repeats": self.seeds,
                        "runs": {n: run.model_dump(exclude_unset=True) for n, run in runs.items()},
                    }
                },
                "tables": [table],
                "claims": claims,
            }
        )


def tier_of(studies: list[Study]) -> Tier:
    """The tier in which all studies run."""
    return Tier(
        title="Own data",
        description="Comparisons on data of one's own, as config/studies says.",
        datasets={study.dataset: Reduction(source=study.source) for study in studies},
    )
