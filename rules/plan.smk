localrules:
    plan_lengths,


rule plan_lengths:
    input:
        video=per_clip("video.json"),
    output:
        lengths=update("<results>/lengths.json"),
    log:
        "<logs>/plan_lengths.log",
    benchmark:
        "<benchmarks>/plan_lengths.tsv"
    priority: order("plan")
    conda:
        "../envs/pantograph.yaml"
    threads: 1
    resources:
        mem_mb=mem(500),
    params:
        method=method("plan_lengths"),
        options=options("plan_lengths"),
    shell:
        "python {params.method} {log:q}"
        " --video {input.video:q} --out {output.lengths:q} {params.options}"
