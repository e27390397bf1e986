"""One paper: tables, claims and figures; then the report over all papers, then the gate."""


rule tables:
    input:
        scores=ancient(scores_of_paper),
        records=ancient(records_of_paper),
        maps=ancient(maps_of_tables),
    output:
        "results/{tier}/papers/{paper}/tables-{digest}.json",
    log:
        "logs/{tier}/tables/{paper}-{digest}.log",
    resources:
        mem_mb=1000,
        runtime=10,
    shell:
        "counterpoise tables {wildcards.paper} --tier {wildcards.tier}"
        " > {log} 2>&1 || (cat {log} >&2; exit 1)"


rule claims:
    input:
        tables_of_paper,
        ancient(scores_of_paper),
        ancient(maps_of_tables),
    output:
        "results/{tier}/papers/{paper}/claims-{digest}.json",
    log:
        "logs/{tier}/claims/{paper}-{digest}.log",
    resources:
        mem_mb=1000,
        runtime=10,
    shell:
        "counterpoise claims {wildcards.paper} --tier {wildcards.tier}"
        " > {log} 2>&1 || (cat {log} >&2; exit 1)"


rule explain:
    input:
        ancient(inputs_of_explanation),
    output:
        "results/{tier}/papers/{paper}/explanations/{explanation}-{digest}.parquet",
        "results/{tier}/papers/{paper}/explanations/{explanation}-{digest}.npz",
        "results/{tier}/papers/{paper}/explanations/{explanation}-{digest}.json",
    log:
        "logs/{tier}/explain/{paper}-{explanation}-{digest}.log",
    resources:
        mem_mb=3000 + 3000 * GPUS_PER_JOB,
        runtime=240,
        gpu=GPUS_PER_JOB,
    shell:
        "counterpoise explain {wildcards.paper} {wildcards.explanation} --tier {wildcards.tier}"
        " > {log} 2>&1 || (cat {log} >&2; exit 1)"


rule figures:
    input:
        ancient(inputs_of_figure),
    output:
        report(
            "results/{tier}/papers/{paper}/figures/{figure}-{digest}.svg",
            caption="../report/figure.rst",
            category="Figures",
            subcategory="{paper}",
            labels={"figure": "{figure}", "tier": "{tier}"},
        ),
        "results/{tier}/papers/{paper}/figures/{figure}-{digest}.json",
    log:
        "logs/{tier}/figures/{paper}-{figure}-{digest}.log",
    resources:
        mem_mb=1000,
        runtime=10,
    shell:
        "counterpoise figure {wildcards.paper} {wildcards.figure} --tier {wildcards.tier}"
        " > {log} 2>&1 || (cat {log} >&2; exit 1)"


rule views:
    input:
        ancient(inputs_of_views),
    output:
        report(
            directory("results/{tier}/papers/{paper}/views-{digest}"),
            patterns=["{experiment}-{view}.svg"],
            caption="../report/view.rst",
            category="Trade-offs",
            subcategory="{paper}",
            labels={"experiment": "{experiment}", "view": "{view}", "tier": "{tier}"},
        ),
    log:
        "logs/{tier}/views/{paper}-{digest}.log",
    resources:
        mem_mb=1000,
        runtime=10,
    shell:
        "counterpoise views {wildcards.paper} --tier {wildcards.tier}"
        " > {log} 2>&1 || (cat {log} >&2; exit 1)"


rule report:
    input:
        PLAN.exhibits,
        PLAN.plan_file,
        REFERENCES,
    output:
        report(
            PLAN.report,
            caption="../report/page.rst",
            category="Report",
            labels={"what": "page", "tier": TIER},
        ),
        report(
            PLAN.results,
            caption="../report/results.rst",
            category="Report",
            labels={"what": "numbers and claims for machines", "tier": TIER},
        ),
        report(
            directory(PLAN.csv_folder),
            patterns=["{table}.csv"],
            caption="../report/table.rst",
            category="Tables",
            labels={"table": "{table}", "tier": TIER},
        ),
        PLAN.metrics,
        directory(PLAN.plots_folder),
    log:
        f"logs/{TIER}/report.log",
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        tier=TIER,
    shell:
        "counterpoise report --tier {params.tier} > {log} 2>&1 || (cat {log} >&2; exit 1)"


rule gate:
    input:
        PLAN.results,
        PLAN.cell_files,
    output:
        PLAN.gate,
    log:
        f"logs/{TIER}/gate.log",
    resources:
        mem_mb=500,
        runtime=10,
    params:
        tier=TIER,
    shell:
        "counterpoise gate --tier {params.tier} > {log} 2>&1 || (cat {log} >&2; exit 1)"
