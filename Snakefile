"""counterpoise: rebuild the tables, figures and claims of five papers.

    snakemake --cores all                                    the demo: offline, minutes
    snakemake --cores all --config tier=mnist-reduced        real data, reduced
    snakemake --cores all --config tier=paper                the published protocols

Everything that these rules know comes from counterpoise.plan; they only declare.
"""

from snakemake.utils import min_version

min_version("9.9")


# With --software-deployment-method apptainer; built by the Containerfile beside the rules.
container: "workflow/counterpoise.sif"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/cells.smk"
include: "workflow/rules/papers.smk"


rule all:
    default_target: True
    input:
        PLAN.cell_files,
        PLAN.exhibits,
        PLAN.report,
        PLAN.results,
        PLAN.gate,


rule data:
    input:
        PLAN.data_files,


rule results:
    input:
        PLAN.cell_files,
        PLAN.exhibits,


rule report_only:
    input:
        PLAN.report,
        PLAN.results,


onstart:
    if workflow.local_exec:
        os.environ.update(warm.start())
        # With its default limit of 100 jobs a second, Snakemake looks for jobs to start once more
        # per second for every job that has ended, until that alone takes a third of a core.
        limiter = getattr(workflow.scheduler, "job_rate_limiter", None)
        if limiter and limiter.max_jobs == 100:
            workflow.scheduler.job_rate_limiter = None


onsuccess:
    if Path(PLAN.report).is_file():
        print(f"The report: {PLAN.report}")


onerror:
    if Path(f"logs/{TIER}/train").is_dir():
        with report_of_a_failed_run(Path(PLAN.results), Path(PLAN.gate)):
            shell(
                "counterpoise report --tier {TIER} > logs/{TIER}/report-of-a-failed-run.log || true"
            )
