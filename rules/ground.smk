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
    priority: order("ground")
    group:
        shared("reconstruct")
    conda:
        "../envs/pantograph.yaml"
    threads: 1
    resources:
        mem_mb=mem(1000),
    params:
        method=method("ground_plane"),
        options=options("ground_plane"),
    shell:
        "python {params.method} {log:q}"
        " --world {input.world:q} --contacts {input.contacts:q}"
        " --keypoints {input.keypoints:q} --out {output.gravity:q}"
        " {params.options}"


rule ground_geocalib:
    input:
        video="<results>/{route}/{video}/video.json",
        world="<results>/{route}/{video}/world.h5",
        contacts="<results>/{route}/{video}/contacts.h5",
        keypoints="<results>/{route}/{video}/keypoints.h5",
    output:
        gravity="<results>/{route}/{video}/gravity.h5",
    log:
        "<logs>/{route}/{video}/ground_geocalib.log",
    benchmark:
        "<benchmarks>/{route}/{video}/ground_geocalib.tsv"
    wildcard_constraints:
        route=routes_with("ground", "geocalib"),
    priority: order("ground")
    group:
        shared("reconstruct")
    conda:
        "../envs/vm1recon.yaml"
    threads: 1
    resources:
        mem_mb=mem(6000),
        gpu=1,
    params:
        method=method("ground_geocalib", gpu=True),
        options=options("ground_geocalib"),
        repository=repository("geocalib"),
        weights=weights("geocalib-pinhole"),
    shell:
        "python {params.method} {log:q}"
        " --video {input.video:q} --world {input.world:q} --contacts {input.contacts:q}"
        " --keypoints {input.keypoints:q}"
        " --repository {params.repository:q} --weights {params.weights:q}"
        " --out {output.gravity:q} {params.options}"
