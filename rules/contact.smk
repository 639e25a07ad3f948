rule contact_kinematic:
    input:
        video="<results>/{route}/{video}/video.json",
        keypoints="<results>/{route}/{video}/keypoints.h5",
        body="<results>/{route}/{video}/body.h5",
        scene="<results>/{route}/{video}/scene.h5",
    output:
        contacts=intermediate("<results>/{route}/{video}/contacts.h5"),
    log:
        "<logs>/{route}/{video}/contact_kinematic.log",
    benchmark:
        "<benchmarks>/{route}/{video}/contact_kinematic.tsv"
    wildcard_constraints:
        route=routes_with("contact", "kinematic"),
    priority: order("contact")
    group:
        shared("reconstruct")
    conda:
        "../envs/pantograph.yaml"
    threads: 1
    resources:
        mem_mb=mem(1000),
    params:
        method=method("contact_kinematic"),
        options=options("contact_kinematic"),
    shell:
        "python {params.method} {log:q}"
        " --video {input.video:q} --keypoints {input.keypoints:q}"
        " --body {input.body:q} --scene {input.scene:q}"
        " --out {output.contacts:q} {params.options}"


rule contact_bstro:
    input:
        video="<results>/{route}/{video}/video.json",
        people="<results>/{route}/{video}/people.h5",
    output:
        contacts=intermediate("<results>/{route}/{video}/contacts.h5"),
    log:
        "<logs>/{route}/{video}/contact_bstro.log",
    benchmark:
        "<benchmarks>/{route}/{video}/contact_bstro.tsv"
    wildcard_constraints:
        route=routes_with("contact", "bstro"),
    priority: order("contact")
    group:
        shared("reconstruct")
    conda:
        "../envs/vm1rs.yaml"
    threads: 2
    resources:
        mem_mb=mem(8000),
        gpu=1,
    params:
        method=method("contact_bstro", gpu=True),
        repository=repository("bstro"),
        weights=weights("bstro"),
        body=weights("smpl"),
        segmentation=weights("smpl-segmentation"),
        options=options("contact_bstro"),
    shell:
        "python {params.method} {log:q}"
        " --video {input.video:q} --people {input.people:q} --out {output.contacts:q}"
        " --repository {params.repository:q} --weights {params.weights:q}"
        " --template {params.body:q}/SMPL_NEUTRAL.pkl"
        " --segmentation {params.segmentation:q} {params.options}"
