rule contact_kinematic:
    input:
        video="<results>/{route}/{video}/video.json",
        keypoints="<results>/{route}/{video}/keypoints.h5",
        body="<results>/{route}/{video}/body.h5",
        scene="<results>/{route}/{video}/scene.h5",
    output:
        contacts="<results>/{route}/{video}/contacts.h5",
    log:
        "<logs>/{route}/{video}/contact_kinematic.log",
    benchmark:
        "<benchmarks>/{route}/{video}/contact_kinematic.tsv"
    wildcard_constraints:
        route=routes_with("contact", "kinematic"),
    conda:
        "../envs/pantograph.yaml"
    threads: 1
    resources:
        mem_mb=mem(1000),
    params:
        script=script("contact_kinematic"),
        options=options("contact_kinematic"),
    shell:
        "python {params.script:q}"
        " --video {input.video:q} --keypoints {input.keypoints:q}"
        " --body {input.body:q} --scene {input.scene:q}"
        " --out {output.contacts:q} {params.options}"
        " >{log:q} 2>&1"
