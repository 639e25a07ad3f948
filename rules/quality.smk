rule quality:
    input:
        video="<results>/{route}/{video}/video.json",
        keypoints="<results>/{route}/{video}/keypoints.h5",
        scene="<results>/{route}/{video}/scene.h5",
        gravity="<results>/{route}/{video}/gravity.h5",
        contacts="<results>/{route}/{video}/contacts.h5",
        mesh="<results>/{route}/{video}/mesh.h5",
        motion=motion,
        truth=truth,
    output:
        quality="<results>/{route}/{video}/quality.json",
    log:
        "<logs>/{route}/{video}/quality.log",
    benchmark:
        "<benchmarks>/{route}/{video}/quality.tsv"
    priority: order("quality")
    group:
        shared("motion")
    conda:
        "../envs/pantograph.yaml"
    threads: 1
    resources:
        mem_mb=mem(1000),
    params:
        method=method("quality"),
        truth=truth_argument,
        options=options("quality"),
    shell:
        "python {params.method} {log:q}"
        " --video {input.video:q} --keypoints {input.keypoints:q} --scene {input.scene:q}"
        " --gravity {input.gravity:q} --contacts {input.contacts:q} --mesh {input.mesh:q}"
        " --motion {input.motion:q} {params.truth} --out {output.quality:q} {params.options}"
