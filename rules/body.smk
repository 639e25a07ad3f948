rule body_landmarks:
    input:
        video="<results>/{route}/{video}/video.json",
        people="<results>/{route}/{video}/people.h5",
        keypoints="<results>/{route}/{video}/keypoints.h5",
        scene="<results>/{route}/{video}/scene.h5",
    output:
        body=intermediate("<results>/{route}/{video}/body.h5"),
    log:
        "<logs>/{route}/{video}/body_landmarks.log",
    benchmark:
        "<benchmarks>/{route}/{video}/body_landmarks.tsv"
    wildcard_constraints:
        route=routes_with("body", "landmarks"),
    priority: order("body")
    group:
        shared("reconstruct")
    conda:
        "../envs/pantograph.yaml"
    threads: 1
    resources:
        mem_mb=mem(2000),
    params:
        method=method("body_landmarks"),
        options=options("body_landmarks"),
    shell:
        "python {params.method} {log:q}"
        " --video {input.video:q} --people {input.people:q} --keypoints {input.keypoints:q}"
        " --scene {input.scene:q} --out {output.body:q} {params.options}"


rule body_vimo:
    input:
        video="<results>/{route}/{video}/video.json",
        people="<results>/{route}/{video}/people.h5",
        keypoints="<results>/{route}/{video}/keypoints.h5",
        scene="<results>/{route}/{video}/scene.h5",
    output:
        body=intermediate("<results>/{route}/{video}/body.h5"),
    log:
        "<logs>/{route}/{video}/body_vimo.log",
    benchmark:
        "<benchmarks>/{route}/{video}/body_vimo.tsv"
    wildcard_constraints:
        route=routes_with("body", "vimo"),
    priority: order("body")
    group:
        shared("reconstruct")
    conda:
        "../envs/vm1rs.yaml"
    threads: 2
    resources:
        mem_mb=mem(12000),
        gpu=1,
    params:
        method=method("body_vimo", gpu=True),
        repository=repository("vimo"),
        weights=weights("vimo"),
        options=options("body_vimo"),
    shell:
        "python {params.method} {log:q}"
        " --video {input.video:q} --people {input.people:q}"
        " --keypoints {input.keypoints:q} --scene {input.scene:q} --out {output.body:q}"
        " --repository {params.repository:q} --weights {params.weights:q} {params.options}"
