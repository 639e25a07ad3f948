rule segment_mediapipe:
    input:
        video="<results>/{route}/{video}/video.json",
    output:
        people=intermediate("<results>/{route}/{video}/people.h5"),
    log:
        "<logs>/{route}/{video}/segment_mediapipe.log",
    benchmark:
        "<benchmarks>/{route}/{video}/segment_mediapipe.tsv"
    wildcard_constraints:
        route=routes_with("segment", "mediapipe"),
    priority: order("segment")
    group:
        shared("reconstruct")
    conda:
        "../envs/pantograph.yaml"
    threads: 1
    resources:
        mem_mb=mem(1000),
    params:
        method=method("segment_mediapipe"),
        options=options("segment_mediapipe"),
    shell:
        "python {params.method} {log:q}"
        " --video {input.video:q} --out {output.people:q} --threads {threads} {params.options}"


rule segment_sam2:
    input:
        video="<results>/{route}/{video}/video.json",
    output:
        people=intermediate("<results>/{route}/{video}/people.h5"),
    log:
        "<logs>/{route}/{video}/segment_sam2.log",
    benchmark:
        "<benchmarks>/{route}/{video}/segment_sam2.tsv"
    wildcard_constraints:
        route=routes_with("segment", "sam2"),
    priority: order("segment")
    group:
        shared("reconstruct")
    conda:
        "../envs/vm1rs.yaml"
    threads: 4
    resources:
        mem_mb=mem(12000),
        gpu=1,
    params:
        method=method("segment_sam2", gpu=True),
        detector=weights("grounding-dino-tiny"),
        model=weights("sam2.1-hiera-large"),
        options=options("segment_sam2"),
    shell:
        "python {params.method} {log:q}"
        " --video {input.video:q} --out {output.people:q}"
        " --detector {params.detector:q} --model {params.model:q} {params.options}"


rule segment_sam3:
    input:
        video="<results>/{route}/{video}/video.json",
    output:
        people=intermediate("<results>/{route}/{video}/people.h5"),
    log:
        "<logs>/{route}/{video}/segment_sam3.log",
    benchmark:
        "<benchmarks>/{route}/{video}/segment_sam3.tsv"
    wildcard_constraints:
        route=routes_with("segment", "sam3"),
    priority: order("segment")
    group:
        shared("reconstruct")
    conda:
        "../envs/vm1rs.yaml"
    threads: 4
    resources:
        mem_mb=mem(12000),
        gpu=1,
    params:
        method=method("segment_sam3", gpu=True),
        model=weights("sam3"),
        options=options("segment_sam3"),
    shell:
        "python {params.method} {log:q}"
        " --video {input.video:q} --out {output.people:q}"
        " --model {params.model:q} {params.options}"
