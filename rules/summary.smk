localrules:
    summary,


rule summary:
    input:
        quality=per_clip("quality.json"),
    output:
        table=report(
            "<results>/summary.tsv",
            category="Summary",
            labels={"table": "all videos"},
        ),
    log:
        "<logs>/summary.log",
    benchmark:
        "<benchmarks>/summary.tsv"
    priority: order("summary")
    conda:
        "../envs/pantograph.yaml"
    threads: 1
    resources:
        mem_mb=mem(500),
    params:
        method=method("summary"),
        refused=refused_arguments(),
        options=options("summary"),
    shell:
        "python {params.method} {log:q}"
        " --quality {input.quality:q} {params.refused} --out {output.table:q} {params.options}"
