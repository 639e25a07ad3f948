rule export_motion:
    input:
        motion=motion,
    output:
        folder=directory("<results>/{route}/{video}/export"),
    log:
        "<logs>/{route}/{video}/export_motion.log",
    benchmark:
        "<benchmarks>/{route}/{video}/export_motion.tsv"
    priority: order("export")
    group:
        shared("motion")
    conda:
        "../envs/pantograph.yaml"
    threads: 1
    resources:
        mem_mb=mem(1000),
    params:
        method=method("export_motion"),
        options=options("export_motion"),
    shell:
        "python {params.method} {log:q}"
        " --motion {input.motion:q} --out-dir {output.folder:q} {params.options}"
