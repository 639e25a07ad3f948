from snakemake.utils import min_version

min_version("9.19")


configfile: f"{workflow.basedir}/config/config.yaml"


pathvars:
    results="results",
    logs="logs",
    benchmarks="logs/benchmarks",


include: "rules/common.smk"
include: "rules/ingest.smk"
include: "rules/plan.smk"
include: "rules/segment.smk"
include: "rules/pose2d.smk"
include: "rules/scene.smk"
include: "rules/body.smk"
include: "rules/contact.smk"
include: "rules/align.smk"
include: "rules/ground.smk"
include: "rules/mesh.smk"
include: "rules/retarget.smk"
include: "rules/export.smk"
include: "rules/quality.smk"
include: "rules/preview.smk"
include: "rules/summary.smk"
include: "rules/external.smk"


rule all:
    default_target: True
    input:
        targets(),


onstart:
    plan_lengths_ahead()


onsuccess:
    show_summary(rules.summary.log[0])
