rule mesh_poisson:
    input:
        gravity="<results>/{route}/{video}/gravity.h5",
        contacts="<results>/{route}/{video}/contacts.h5",
    output:
        mesh="<results>/{route}/{video}/mesh.h5",
        obj="<results>/{route}/{video}/scene.obj",
        ply="<results>/{route}/{video}/scene.ply",
    log:
        "<logs>/{route}/{video}/mesh_poisson.log",
    benchmark:
        "<benchmarks>/{route}/{video}/mesh_poisson.tsv"
    wildcard_constraints:
        route=routes_with("mesh", "poisson"),
    priority: order("mesh")
    group:
        shared("reconstruct")
    conda:
        "../envs/pantograph.yaml"
    threads: 1
    resources:
        mem_mb=mem(2000),
    params:
        method=method("mesh_poisson"),
        options=options("mesh_poisson"),
    shell:
        "python {params.method} {log:q}"
        " --gravity {input.gravity:q} --contacts {input.contacts:q}"
        " --out {output.mesh:q} --obj {output.obj:q} --ply {output.ply:q} {params.options}"


rule mesh_nksr:
    input:
        video="<results>/{route}/{video}/video.json",
        people="<results>/{route}/{video}/people.h5",
        scene="<results>/{route}/{video}/scene.h5",
        gravity="<results>/{route}/{video}/gravity.h5",
        contacts="<results>/{route}/{video}/contacts.h5",
    output:
        mesh="<results>/{route}/{video}/mesh.h5",
        obj="<results>/{route}/{video}/scene.obj",
        ply="<results>/{route}/{video}/scene.ply",
    log:
        "<logs>/{route}/{video}/mesh_nksr.log",
    benchmark:
        "<benchmarks>/{route}/{video}/mesh_nksr.tsv"
    wildcard_constraints:
        route=routes_with("mesh", "nksr"),
    priority: order("mesh")
    group:
        shared("reconstruct")
    conda:
        "../envs/vm1recon.yaml"
    threads: 1
    resources:
        mem_mb=mem(12000),
        gpu=1,
    params:
        method=method("mesh_nksr", gpu=True),
        options=options("mesh_nksr"),
        weights=weights("nksr"),
    shell:
        "python {params.method} {log:q}"
        " --video {input.video:q} --people {input.people:q} --scene {input.scene:q}"
        " --gravity {input.gravity:q} --contacts {input.contacts:q}"
        " --weights {params.weights:q}"
        " --out {output.mesh:q} --obj {output.obj:q} --ply {output.ply:q} {params.options}"
