rule segment_mediapipe:
    input:
        video="<results>/{route}/{video}/video.json",
    output:
        people="<results>/{route}/{video}/people.h5",
    log:
        "<logs>/{route}/{video}/segment_mediapipe.log",
    benchmark:
        "<benchmarks>/{route}/{video}/segment_mediapipe.tsv"
    wildcard_constraints:
        route=routes_with("segment", "mediapipe"),
    conda:
        "../envs/pantograph.yaml"
    threads: 1
    resources:
        mem_mb=mem(1000),
    params:
        script=script("segment_mediapipe"),
        options=options("segment_mediapipe"),
    shell:
        "python {params.script:q}"
        " --video {input.video:q} --out {output.people:q} --threads {threads} {params.options}"
        " >{log:q} 2>&1"
