rule retarget_trajectory:
    input:
        video="<results>/{route}/{video}/video.json",
        gravity="<results>/{route}/{video}/gravity.h5",
        contacts="<results>/{route}/{video}/contacts.h5",
        mesh="<results>/{route}/{video}/mesh.h5",
    output:
        motion="<results>/{route}/{video}/motion_{robot}.h5",
    log:
        "<logs>/{route}/{video}/retarget_trajectory_{robot}.log",
    benchmark:
        "<benchmarks>/{route}/{video}/retarget_trajectory_{robot}.tsv"
    wildcard_constraints:
        route=routes_with("retarget", "trajectory"),
    priority: order("retarget")
    group:
        shared("motion")
    conda:
        "../envs/pantograph.yaml"
    threads: 1
    resources:
        mem_mb=mem(2000),
    params:
        method=method("retarget_trajectory"),
        options=options("retarget_trajectory"),
    shell:
        "python {params.method} {log:q}"
        " --video {input.video:q} --gravity {input.gravity:q} --contacts {input.contacts:q}"
        " --mesh {input.mesh:q} --robot {wildcards.robot:q}"
        " --out {output.motion:q} {params.options}"
