import os
import pathlib
import re
import shlex
import sys
import time

sys.path.insert(0, f"{workflow.basedir}/scripts")

from pantograph.config import ConfigError, job_environment, plan
from pantograph.external import read_manifest

try:
    PLAN = plan(config, workflow.basedir)
except ConfigError as error:
    sys.exit(f"error: {error}")

if workflow.is_main_process:
    for row in PLAN.refused:
        print(row, file=sys.stderr)

os.environ.update(job_environment(PLAN.settings, workflow.resource_settings.cores or 1))
STARTED = time.time()


wildcard_constraints:
    route="[^/]+",
    video="[^/]+",
    robot="[^/]+",


def routes_with(stage, method):
    """A regular expression for the routes whose `stage` is done by `method`."""
    found = [re.escape(name) for name, route in PLAN.routes.items() if route.get(stage) == method]
    return "|".join(found) or "(?!)"


def script(name):
    """A program of scripts/, relative, so that moving the project does not start it anew."""
    return os.path.relpath(f"{workflow.basedir}/scripts/{name}.py")


def method(name, gpu=False):
    """The launcher's words for a program of scripts/; its log and its arguments follow."""
    launcher = os.path.relpath(f"{workflow.basedir}/scripts/pantograph/launch.py")
    return shlex.join([launcher, *(["--gpu"] if gpu else []), name])


def weights(name):
    """Where weights of external/manifest.yaml belong, relative; in a command with :q."""
    return external_path("file", name)


def repository(name):
    """Where the clone of a repository of the manifest belongs, relative; in a command with :q."""
    return external_path("repository", name)


def external_path(kind, name):
    return os.path.relpath(f"{workflow.basedir}/{external(kind, name).path}")


def external(kind, name):
    try:
        return getattr(read_manifest(workflow.basedir), kind)(name)
    except ConfigError as error:
        sys.exit(f"error: {error}")


def clone_stamp(name):
    """The file that says that the clone of a repository was made, and goes with it."""
    return os.path.relpath(f"{workflow.basedir}/external/repos/{name}/.git/pantograph")


def clone_stamps(route):
    """The stamps of every repository that the methods of a route call."""
    manifest = read_manifest(workflow.basedir)
    rules = [f"{stage}_{method}" for stage, method in PLAN.routes[route].items()]
    names = {item.name: None for name in rules for item in manifest.needs(name)[0]}
    return [clone_stamp(name) for name in names]


def clone_arguments(wildcards):
    """What the manifest says about a repository, as shell words."""
    item = external("repository", wildcards.repository)
    words = ["--url", item.url, "--commit", item.commit, "--path", repository(item.name)]
    words += ["--submodules"] if item.submodules else []
    return shlex.join(words)


STAGES = (
    *("ingest", "plan", "segment", "pose2d", "scene", "body", "contact", "align", "ground"),
    *("mesh", "retarget", "quality", "export", "preview", "summary"),
)


def order(stage):
    """The priority of a stage's jobs.

    Warm workers serve one stage for all videos and then the next; without them nothing is gained
    by that, and one video after another is finished.
    """
    later = STAGES.index(stage) + 1
    return len(STAGES) - later if PLAN.settings["workers"] else later


def intermediate(path):
    """A product that no user asked for, removed after its last use where only results stay."""
    return temp(path) if PLAN.settings["keep"] == "results" else path


def options(name):
    """The settings under `options:` for a script, as shell words."""
    return PLAN.options.get(name, "")


def shared(name):
    """The group of a rule, whose jobs share a SLURM job; none where `groups` is off."""
    return name if PLAN.settings["groups"] else None


def mem(megabytes):
    """Memory of a job, more at each attempt."""
    settings = workflow.execution_settings
    if settings is None or not settings.retries:
        # planning a run would call a function for each of its jobs
        return megabytes

    def mem_mb(wildcards, attempt):
        return megabytes * attempt

    return mem_mb


def trackable(path):
    """`path` as an input, unless Snakemake would take its braces for wildcards."""
    return [] if set("{}<>") & set(path) else [path]


def video_file(wildcards):
    """The video, unless it does not exist: then `ingest` says so in its product."""
    path = PLAN.clips[wildcards.video].path
    return trackable(path) if os.path.isfile(path) else []


def betas_file(wildcards):
    """The file of known shapes, where the clip has one that exists: else `ingest` says so."""
    path = PLAN.clips[wildcards.video].betas
    return trackable(path) if path and os.path.isfile(path) else []


def robot_shape_argument(wildcards):
    """The option that names the robot whose size people get, as shell words."""
    robot = PLAN.clips[wildcards.video].robot_shape
    return shlex.join(["--robot-shape", robot]) if robot else ""


def ingest_arguments(wildcards):
    """What the table says about a video, as shell words."""
    clip = PLAN.clips[wildcards.video]
    words = ["--path", clip.path, "--name", clip.name, "--start", clip.start]
    words += [] if clip.end is None else ["--end", clip.end]
    words += ["--stride", clip.stride, "--people", clip.people, "--text", clip.text]
    words += ["--height", ",".join(map(str, clip.heights))] if clip.heights else []
    words += ["--betas", clip.betas] if clip.betas else []
    return shlex.join(map(str, words))


def results():
    """The folder of all products."""
    return PLAN.settings.get("pathvars", {}).get("results", "results")


LENGTHS = {"none": "", "plan": f"{results()}/lengths.json"}.get(
    PLAN.settings["lengths"], PLAN.settings["lengths"]
)
"""The file of planned padded lengths. It is no input: any of them serves any video, and jobs below
an input that is made anew either run anew or, with `ancient`, may be left out of a run. For the same
reason jobs find it in their environment, as they find the cache of compiled code."""
os.environ.update(PANTOGRAPH_LENGTHS=LENGTHS and os.path.abspath(LENGTHS))


def plan_lengths_ahead():
    """Add the lengths that the videos of the run need to those planned before."""
    if PLAN.settings["lengths"] == "plan":
        from pantograph import collection, lengths

        clips = {name for _, name in PLAN.targets()}
        counts = collection.frame_counts(PLAN, results())
        found = [count for name, count in counts.items() if name in clips and count]
        lengths.add(LENGTHS, found)


def truth(wildcards):
    """The folder with a clip's ground truth, where it has one."""
    folder = PLAN.clips[wildcards.video].truth
    return trackable(folder) if folder else []


def truth_argument(wildcards):
    """The option that names a clip's ground truth, as shell words."""
    folder = PLAN.clips[wildcards.video].truth
    return shlex.join(["--truth", folder]) if folder else ""


def motion(wildcards):
    """The motion of the run's robot."""
    return f"<results>/{wildcards.route}/{wildcards.video}/motion_{PLAN.settings['robot']}.h5"


def refused_arguments():
    """The rows of the table that are not run, as shell words."""
    words = [("--refused", row.name, f"{row.where}: {row.reason}") for row in PLAN.refused]
    return shlex.join(word for words_of_row in words for word in words_of_row)


def per_clip(product, stage=None):
    """The paths of a product for every video and every route of the run (that has `stage`)."""
    return [
        f"<results>/{route}/{video}/{product}"
        for route, video in PLAN.targets()
        if stage is None or stage in PLAN.routes[route]
    ]


def targets():
    """Everything that a run makes; the summary is left to a run over all videos."""
    paths = per_clip("quality.json")
    paths += per_clip("scene.obj", "mesh")
    paths += per_clip("export", "retarget")
    if PLAN.settings["preview"]:
        paths += per_clip("preview.mp4", "retarget")
    return paths if PLAN.shard else ["<results>/summary.tsv", *paths]


def show_summary(table):
    """Print the table at the end of a run that made it."""
    if os.path.isfile(table) and os.path.getmtime(table) >= STARTED:
        print(pathlib.Path(table).read_text(encoding="utf-8"))
