# Nothing of this is part of a run: `snakemake external_<route>` clones what the methods of a route
# call, `snakemake external_check` checks everything that lies below external/.


rule external_clone:
    output:
        stamp=clone_stamp("{repository}"),
    log:
        "<logs>/external/{repository}.log",
    wildcard_constraints:
        repository="[^/]+",
    conda:
        "../envs/pantograph.yaml"
    threads: 1
    resources:
        mem_mb=mem(500),
    params:
        script=script("external_clone"),
        arguments=clone_arguments,
    shell:
        "python {params.script:q}" " {params.arguments} --out {output.stamp:q}" " >{log:q} 2>&1"


rule external_check:
    log:
        "<logs>/external/check.log",
    conda:
        "../envs/pantograph.yaml"
    threads: 1
    resources:
        mem_mb=mem(500),
    params:
        script=script("external_check"),
        workflow=os.path.relpath(workflow.basedir),
    shell:
        "python {params.script:q}" " --workflow {params.workflow:q}" " 2>&1 | tee {log:q}"


for route in PLAN.routes:

    rule:
        name:
            f"external_{route}"
        input:
            clone_stamps(route),
