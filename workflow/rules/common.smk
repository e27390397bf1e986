"""The plan, and the words that every command needs."""

import os
from pathlib import Path

from snakemake.exceptions import WorkflowError

from counterpoise import warm
from counterpoise.devices import count_gpus
from counterpoise.errors import UserError
from counterpoise.files import to_json, write_if_changed
from counterpoise.orders import write_orders
from counterpoise.plan import load_plan
from counterpoise.reference import standings
from counterpoise.workflow import job_environment, memory_mb, report_of_a_failed_run

try:
    # config/config.yaml is read there, with errors that name its lines; here are its overrides.
    PLAN = load_plan(Path.cwd(), dict(config))
    # The report depends on this list, which changes only when something that it is made of does.
    shown = {**PLAN.digests, "references": standings(Path.cwd(), PLAN)}
    write_if_changed(Path(PLAN.plan_file), to_json(shown))
    write_orders(Path.cwd(), PLAN.tier_name, PLAN.every.values())
except UserError as error:
    raise WorkflowError(str(error))

TIER = PLAN.tier_name
SETTINGS = PLAN.project.config

os.environ.update(job_environment(SETTINGS))


wildcard_constraints:
    source=r"[a-z0-9_.-]+",
    dataset=r"[a-z0-9_.-]+",
    raw=r"[0-9a-f]{8}",
    digest=r"[0-9a-f]{12}",
    scoring=r"[0-9a-f]{8}",
    cell=r"[a-z0-9_.-]+",
    paper=r"[a-z0-9_.-]+",
    figure=r"[a-z0-9_.-]+",
    explanation=r"[a-z0-9_.-]+",


def training_of(wildcards):
    return PLAN.training(wildcards.cell, wildcards.digest)


def split_of_cell(wildcards):
    return training_of(wildcards).data.split


def prepared_of_cell(wildcards):
    return training_of(wildcards).data.prepared


def preliminary_of_cell(wildcards):
    return training_of(wildcards).preliminary


def raw_of_data(wildcards):
    return PLAN.data(wildcards.digest).raw


def scores_of_paper(wildcards):
    return [training.scores for training in PLAN.cells_of(wildcards.paper)]


def records_of_paper(wildcards):
    return [training.file("record.json") for training in PLAN.cells_of(wildcards.paper)]


def maps_of_tables(wildcards):
    return PLAN.papers[wildcards.paper].tabled


def tables_of_paper(wildcards):
    return PLAN.papers[wildcards.paper].tables


def inputs_of_explanation(wildcards):
    training = PLAN.explained(wildcards.paper, wildcards.explanation)
    return [training.file("weights.safetensors"), training.data.split]


def inputs_of_figure(wildcards):
    return PLAN.inputs_of_figure(wildcards.paper, wildcards.figure)


# Committed results of larger runs, which the report shows beside the tier's own.
REFERENCES = sorted(str(path) for path in Path("reports/reference").rglob("*.json"))


def inputs_of_views(wildcards):
    return PLAN.inputs_of_views(wildcards.paper)


# A job that may use a GPU holds one; Snakemake counts them only where a limit is set.
GPUS = count_gpus() if SETTINGS.device in ("auto", "cuda") else 0
GPUS_PER_JOB = min(GPUS, 1)
if workflow.local_exec:
    workflow.global_resources.setdefault("gpu", GPUS)


def memory_of_cell(wildcards):
    return memory_mb(training_of(wildcards).cell, gpu=GPUS_PER_JOB > 0)
