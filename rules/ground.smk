rule ground_plane:
    input:
        world="<results>/{route}/{video}/world.h5",
        contacts="<results>/{route}/{video}/contacts.h5",
        keypoints="<results>/{route}/{video}/keypoints.h5",
    output:
        gravity="<results>/{route}/{video}/gravity.h5",
    log:
        "<logs>/{route}/{video}/ground_plane.log",
    benchmark:
        "<benchmarks>/{route}/{video}/ground_plane.tsv"
    wildcard_constraints:
        route=routes_with("ground", "plane"),
    conda:
        "../envs/pantograph.yaml"
    threads: 1
    resources:
        mem_mb=mem(1000),
    params:
        script=script("ground_plane"),
        options=options("ground_plane"),
    shell:
        "python {params.script:q}"
        " --world {input.world:q} --contacts {input.contacts:q}"
        " --keypoints {input.keypoints:q} --out {output.gravity:q}"
        " {params.options}"
        " >{log:q} 2>&1"
