rule ingest:
    input:
        video_file,
        betas_file,
    output:
        video="<results>/{route}/{video}/video.json",
    log:
        "<logs>/{route}/{video}/ingest.log",
    benchmark:
        "<benchmarks>/{route}/{video}/ingest.tsv"
    priority: order("ingest")
    conda:
        "../envs/pantograph.yaml"
    threads: 1
    resources:
        mem_mb=mem(1000),
    params:
        method=method("ingest"),
        arguments=ingest_arguments,
        options=options("ingest"),
    shell:
        "python {params.method} {log:q}"
        " {params.arguments} --out {output.video:q} {params.options}"
