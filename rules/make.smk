# how the shipped resources were made; `snakemake build/body.npz build/demo` makes them anew


rule make_body:
    output:
        body="build/body.npz",
    log:
        "<logs>/make_body.log",
    benchmark:
        "<benchmarks>/make_body.tsv"
    conda:
        "../envs/pantograph.yaml"
    threads: 1
    resources:
        mem_mb=mem(1000),
    params:
        script=script("make_body"),
    shell:
        "python {params.script:q} --out {output.body:q} >{log:q} 2>&1"


rule make_demo:
    output:
        clips=directory("build/demo"),
    log:
        "<logs>/make_demo.log",
    benchmark:
        "<benchmarks>/make_demo.tsv"
    conda:
        "../envs/pantograph.yaml"
    threads: 1
    resources:
        mem_mb=mem(3000),
    params:
        script=script("make_demo"),
    shell:
        "python {params.script:q} --out {output.clips:q} >{log:q} 2>&1"
