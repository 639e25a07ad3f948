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
    conda:
        "../envs/pantograph.yaml"
    threads: 1
    resources:
        mem_mb=mem(2000),
    params:
        script=script("mesh_poisson"),
        options=options("mesh_poisson"),
    shell:
        "python {params.script:q}"
        " --gravity {input.gravity:q} --contacts {input.contacts:q}"
        " --out {output.mesh:q} --obj {output.obj:q} --ply {output.ply:q} {params.options}"
        " >{log:q} 2>&1"
