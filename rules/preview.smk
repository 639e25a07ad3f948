rule preview:
    input:
        video="<results>/{route}/{video}/video.json",
        people="<results>/{route}/{video}/people.h5",
        keypoints="<results>/{route}/{video}/keypoints.h5",
        gravity="<results>/{route}/{video}/gravity.h5",
        mesh="<results>/{route}/{video}/mesh.h5",
        motion=motion,
    output:
        preview=report(
            "<results>/{route}/{video}/preview.mp4",
            category="Previews",
            subcategory="{route}",
            labels={"video": "{video}", "route": "{route}"},
        ),
    log:
        "<logs>/{route}/{video}/preview.log",
    benchmark:
        "<benchmarks>/{route}/{video}/preview.tsv"
    priority: order("preview")
    group:
        shared("motion")
    conda:
        "../envs/pantograph.yaml"
    threads: 1
    resources:
        mem_mb=mem(1000),
    params:
        method=method("preview"),
        options=options("preview"),
    shell:
        "python {params.method} {log:q}"
        " --video {input.video:q} --people {input.people:q} --keypoints {input.keypoints:q}"
        " --gravity {input.gravity:q} --mesh {input.mesh:q} --motion {input.motion:q}"
        " --out {output.preview:q} {params.options}"
