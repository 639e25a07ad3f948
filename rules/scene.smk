rule scene_sfm:
    input:
        video="<results>/{route}/{video}/video.json",
        people="<results>/{route}/{video}/people.h5",
    output:
        scene=intermediate("<results>/{route}/{video}/scene.h5"),
    log:
        "<logs>/{route}/{video}/scene_sfm.log",
    benchmark:
        "<benchmarks>/{route}/{video}/scene_sfm.tsv"
    wildcard_constraints:
        route=routes_with("scene", "sfm"),
    priority: order("scene")
    group:
        shared("reconstruct")
    conda:
        "../envs/pantograph.yaml"
    threads: 1
    resources:
        mem_mb=mem(2000),
    params:
        method=method("scene_sfm"),
        options=options("scene_sfm"),
    shell:
        "python {params.method} {log:q}"
        " --video {input.video:q} --people {input.people:q}"
        " --out {output.scene:q} {params.options}"


rule scene_megasam:
    input:
        video="<results>/{route}/{video}/video.json",
        people="<results>/{route}/{video}/people.h5",
    output:
        scene=intermediate("<results>/{route}/{video}/scene.h5"),
    log:
        "<logs>/{route}/{video}/scene_megasam.log",
    benchmark:
        "<benchmarks>/{route}/{video}/scene_megasam.tsv"
    wildcard_constraints:
        route=routes_with("scene", "megasam"),
    priority: order("scene")
    group:
        shared("reconstruct")
    conda:
        "../envs/vm1recon.yaml"
    threads: 1
    resources:
        mem_mb=mem(24000),
        gpu=1,
    params:
        method=method("scene_megasam", gpu=True),
        options=options("scene_megasam"),
        repository=repository("megasam"),
        dino=repository("dinov2"),
        unidepth=weights("unidepth-v2old-vitl14"),
        depth_anything=weights("depth-anything-vitl14"),
        raft=weights("raft-things"),
        weights=weights("megasam"),
    shell:
        "python {params.method} {log:q}"
        " --video {input.video:q} --people {input.people:q}"
        " --repository {params.repository:q} --dino {params.dino:q}"
        " --unidepth {params.unidepth:q} --depth-anything {params.depth_anything:q}"
        " --raft {params.raft:q} --weights {params.weights:q}"
        " --out {output.scene:q} {params.options}"


rule scene_align3r:
    input:
        video="<results>/{route}/{video}/video.json",
        people="<results>/{route}/{video}/people.h5",
    output:
        scene=intermediate("<results>/{route}/{video}/scene.h5"),
    log:
        "<logs>/{route}/{video}/scene_align3r.log",
    benchmark:
        "<benchmarks>/{route}/{video}/scene_align3r.tsv"
    wildcard_constraints:
        route=routes_with("scene", "align3r"),
    priority: order("scene")
    group:
        shared("reconstruct")
    conda:
        "../envs/vm1rs.yaml"
    threads: 1
    resources:
        mem_mb=mem(32000),
        gpu=1,
    params:
        method=method("scene_align3r", gpu=True),
        options=options("scene_align3r"),
        repository=repository("monst3r"),
        croco=repository("croco"),
        depth_pro=weights("depth-pro"),
        raft=weights("raft-tartan"),
        weights=weights("align3r-depthpro"),
    shell:
        "python {params.method} {log:q}"
        " --video {input.video:q} --people {input.people:q}"
        " --repository {params.repository:q} --croco {params.croco:q}"
        " --depth-pro {params.depth_pro:q} --raft {params.raft:q} --weights {params.weights:q}"
        " --out {output.scene:q} {params.options}"
