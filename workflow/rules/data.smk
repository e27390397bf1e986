"""Raw files, prepared arrays, splits. Their content is settled by digests, not by file times."""


localrules:
    download,


rule download:
    output:
        "data/raw/{source}-{raw}/source.json",
    log:
        "logs/download/{source}-{raw}.log",
    resources:
        mem_mb=1000,
        runtime=2880,  # tens of gigabytes over a home line
    shell:
        "counterpoise download {wildcards.source} > {log} 2>&1 || (cat {log} >&2; exit 1)"


rule prepare:
    input:
        ancient(raw_of_data),
    output:
        "data/prepared/{source}/{dataset}-{digest}/prepared.json",
    log:
        "logs/prepare/{source}-{dataset}-{digest}.log",
    resources:
        mem_mb=2000,
        runtime=60,
    shell:
        "counterpoise prepare {wildcards.digest} > {log} 2>&1 || (cat {log} >&2; exit 1)"


rule split:
    input:
        ancient("data/prepared/{source}/{dataset}-{digest}/prepared.json"),
    output:
        "data/prepared/{source}/{dataset}-{digest}/split.parquet",
        "data/prepared/{source}/{dataset}-{digest}/summary.json",
    log:
        "logs/split/{source}-{dataset}-{digest}.log",
    resources:
        mem_mb=1000,
        runtime=10,
    shell:
        "counterpoise split {wildcards.digest} > {log} 2>&1 || (cat {log} >&2; exit 1)"
