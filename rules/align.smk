rule align_megahunter:
    input:
        video="<results>/{route}/{video}/video.json",
        keypoints="<results>/{route}/{video}/keypoints.h5",
        body="<results>/{route}/{video}/body.h5",
        contacts="<results>/{route}/{video}/contacts.h5",
        scene="<results>/{route}/{video}/scene.h5",
    output:
        world=intermediate("<results>/{route}/{video}/world.h5"),
    log:
        "<logs>/{route}/{video}/align_megahunter.log",
    benchmark:
        "<benchmarks>/{route}/{video}/align_megahunter.tsv"
    wildcard_constraints:
        route=routes_with("align", "megahunter"),
    priority: order("align")
    group:
        shared("reconstruct")
    conda:
        "../envs/pantograph.yaml"
    threads: 1
    resources:
        mem_mb=mem(2000),
    params:
        method=method("align_megahunter"),
        robot_shape=robot_shape_argument,
        options=options("align_megahunter"),
    shell:
        "python {params.method} {log:q}"
        " --video {input.video:q} --keypoints {input.keypoints:q}"
        " --body {input.body:q} --contacts {input.contacts:q}"
        " --scene {input.scene:q} --out {output.world:q}"
        " {params.robot_shape} {params.options}"
