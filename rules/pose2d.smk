rule pose2d_mediapipe:
    input:
        video="<results>/{route}/{video}/video.json",
        people="<results>/{route}/{video}/people.h5",
    output:
        keypoints=intermediate("<results>/{route}/{video}/keypoints.h5"),
    log:
        "<logs>/{route}/{video}/pose2d_mediapipe.log",
    benchmark:
        "<benchmarks>/{route}/{video}/pose2d_mediapipe.tsv"
    wildcard_constraints:
        route=routes_with("pose2d", "mediapipe"),
    priority: order("pose2d")
    group:
        shared("reconstruct")
    conda:
        "../envs/pantograph.yaml"
    threads: 1
    resources:
        mem_mb=mem(1000),
    params:
        method=method("pose2d_mediapipe"),
        options=options("pose2d_mediapipe"),
    shell:
        "python {params.method} {log:q}"
        " --video {input.video:q} --people {input.people:q}"
        " --out {output.keypoints:q} --threads {threads} {params.options}"


rule pose2d_vitpose:
    input:
        video="<results>/{route}/{video}/video.json",
        people="<results>/{route}/{video}/people.h5",
    output:
        keypoints=intermediate("<results>/{route}/{video}/keypoints.h5"),
    log:
        "<logs>/{route}/{video}/pose2d_vitpose.log",
    benchmark:
        "<benchmarks>/{route}/{video}/pose2d_vitpose.tsv"
    wildcard_constraints:
        route=routes_with("pose2d", "vitpose"),
    priority: order("pose2d")
    group:
        shared("reconstruct")
    conda:
        "../envs/vm1rs.yaml"
    threads: 4
    resources:
        mem_mb=mem(12000),
        gpu=1,
    params:
        method=method("pose2d_vitpose", gpu=True),
        model=weights("vitpose-huge-wholebody"),
        options=options("pose2d_vitpose"),
    shell:
        "python {params.method} {log:q}"
        " --video {input.video:q} --people {input.people:q} --out {output.keypoints:q}"
        " --model {params.model:q} {params.options}"
