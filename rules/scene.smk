rule scene_sfm:
    input:
        video="<results>/{route}/{video}/video.json",
        people="<results>/{route}/{video}/people.h5",
    output:
        scene="<results>/{route}/{video}/scene.h5",
    log:
        "<logs>/{route}/{video}/scene_sfm.log",
    benchmark:
        "<benchmarks>/{route}/{video}/scene_sfm.tsv"
    wildcard_constraints:
        route=routes_with("scene", "sfm"),
    conda:
        "../envs/pantograph.yaml"
    threads: 1
    resources:
        mem_mb=mem(2000),
    params:
        script=script("scene_sfm"),
        options=options("scene_sfm"),
    shell:
        "python {params.script:q}"
        " --video {input.video:q} --people {input.people:q}"
        " --out {output.scene:q} {params.options}"
        " >{log:q} 2>&1"
