"""One cell: train all its seeds and predict, then score."""


rule train:
    input:
        ancient(prepared_of_cell),
        ancient(split_of_cell),
        ancient(preliminary_of_cell),
    output:
        weights="results/{tier}/cells/{cell}/{digest}/weights.safetensors",
        history="results/{tier}/cells/{cell}/{digest}/history.parquet",
        record="results/{tier}/cells/{cell}/{digest}/record.json",
        predictions="results/{tier}/cells/{cell}/{digest}/predictions.parquet",
    log:
        "logs/{tier}/train/{cell}-{digest}.log",
    resources:
        mem_mb=memory_of_cell,
        runtime=1440,
        gpu=GPUS_PER_JOB,
    shell:
        "counterpoise train {wildcards.cell}/{wildcards.digest} --tier {wildcards.tier}"
        " > {log} 2>&1 || (cat {log} >&2; exit 1)"


rule evaluate:
    input:
        ancient("results/{tier}/cells/{cell}/{digest}/predictions.parquet"),
        ancient("results/{tier}/cells/{cell}/{digest}/record.json"),
    output:
        "results/{tier}/cells/{cell}/{digest}/scores-{scoring}.json",
    log:
        "logs/{tier}/evaluate/{cell}-{digest}-{scoring}.log",
    resources:
        mem_mb=1000,
        runtime=10,
    shell:
        "counterpoise evaluate {wildcards.cell}/{wildcards.digest} --tier {wildcards.tier}"
        " > {log} 2>&1 || (cat {log} >&2; exit 1)"
