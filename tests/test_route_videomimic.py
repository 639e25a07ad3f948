"""The route `videomimic` on a machine that has nothing of it: what it would run, and how."""

import argparse
import ast
import importlib
import os
import re
import shlex
import shutil

import pytest
import yaml

from conftest import ROOT
from pantograph.config import script_options
from standin_conda import Conda
from test_workflow import snakemake

CLIPS = 10
OTHERS = {"segment": "sam3", "scene": "align3r", "mesh": "poisson", "contact": "kinematic"}
SETTINGS = {
    "pattern": "clip",
    "start_idx": 1,
    "end_idx": CLIPS + 1,
    "start_frame": 5,
    "end_frame": 200,
    "stride": 2,
    "height": 1.7,
    "betas": "shapes.json",
    "robot_shape": "g1",
    "text": "dancer",
    "top_k": 3,
    "body_model": "body.pkl",
    "jax_cache": "elsewhere",
    "pathvars": {"results": "made", "logs": "said", "benchmarks": "took"},
}
"""Settings away from their defaults."""

KEPT = {"robot", "preview", "multihuman", "workers", "lengths", "keep", "shard", "groups"}
"""Settings that would leave jobs or videos out, do not touch methods, or have one value only."""

GIVEN = re.compile(r"(?<![\w-])--([a-z][a-z0-9-]*)")
RULES = {
    name: body
    for path in (ROOT / "rules").glob("*.smk")
    for name, body in re.findall(r"^rule (\w+):\n((?:[ \t]+.*\n|\n)*)", path.read_text(), re.M)
}


def other_value(words):
    """A value that an option may have, other than its default, from its add_argument call."""
    if "action" in words:
        return True
    default = ast.literal_eval(words["default"]) if "default" in words else None
    if "choices" in words:
        return next(item for item in ast.literal_eval(words["choices"]) if item != default)
    kind = getattr(words.get("type"), "id", "str")
    if kind == "str":
        return {"penetration_mm": 30} if default == "{}" else "other"
    return (default or 0) + {"int": 2, "float": 0.125}[kind]


def other_options(rule):
    """Every option of a rule's script that the rule itself does not give, away from its default."""
    given = set(GIVEN.findall(RULES[rule]))
    if "_arguments" in RULES[rule]:
        given |= set(GIVEN.findall((ROOT / "rules/common.smk").read_text()))
    options = script_options(str(ROOT / "scripts" / f"{rule}.py"))
    free = {name[2:]: words for name, words in options.items() if name[2:] not in given}
    # one setting gives it to every script
    free.pop("body-model", None)
    return {name: other_value(words) for name, words in free.items() if "required" not in words}


class Planned:
    """A dry run of the route, and of one with the methods that fit as well, over ten videos."""

    def __init__(self, folder):
        flow = folder / "flow"
        flow.mkdir()
        for name in ("Snakefile", "rules", "scripts", "profiles", "resources", "envs"):
            (flow / name).symlink_to(ROOT / name)
        shutil.copytree(ROOT / "config", flow / "config")
        (flow / "external").mkdir()
        shutil.copy(ROOT / "external/manifest.yaml", flow / "external")
        route = yaml.safe_load((ROOT / "config/routes/videomimic.yaml").read_text())
        self.routes = {"videomimic": route, "others": {**route, **OTHERS}}
        (flow / "config/routes/others.yaml").write_text(yaml.safe_dump(self.routes["others"]))
        rows = [f"clip_{number}\tclips/{number}.mp4" for number in range(CLIPS + 1)]
        (folder / "videos.tsv").write_text("\n".join(["video\tpath", *rows, "walk\tx.mp4"]) + "\n")
        (folder / "body.pkl").touch()
        (folder / "shapes.json").write_text("[1, 0, 0, 0, 0, 0, 0, 0, 0, 0]")
        rules = {f"{stage}_{name}" for r in self.routes.values() for stage, name in r.items()}
        self.rules = rules | {"ingest", "export_motion", "quality", "preview"}
        self.options = {rule: other_options(rule) for rule in self.rules}
        settings = {
            **SETTINGS,
            "route": list(self.routes),
            "videos": "videos.tsv",
            "options": {rule: values for rule, values in self.options.items() if values},
        }
        (folder / "mine.yaml").write_text(yaml.safe_dump(settings))
        # the folder of the workflow that `snakemake` names comes first, this one after it
        self.run = snakemake(
            folder,
            *("-s", flow / "Snakefile", "-n", "-p", "--use-conda"),
            *("--configfile", folder / "mine.yaml"),
            env=Conda(folder / "conda").environment,
        )
        self.text = self.run.stdout + self.run.stderr

    def command(self, rule, route):
        """The words of the command that the rule would run for one video."""
        for line in self.text.splitlines():
            words = line.split()
            mine = rule in words or any(word.endswith(f"/{rule}.py") for word in words)
            if "python" in words and mine and f"made/{route}/clip_3/" in line:
                words = shlex.split(line.partition(" >")[0])
                # what comes before the first option of the script is how it is started
                start = next(
                    i
                    for i, word in enumerate(words)
                    if word == rule or word.endswith(f"/{rule}.py")
                )
                options = words[start + 1 :]
                return options[next(i for i, word in enumerate(options) if word[:2] == "--") :]
        return None


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    return Planned(tmp_path_factory.mktemp("bare"))


def test_every_stage_is_planned_for_every_video(planned):
    assert planned.run.returncode == 0, planned.text
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", planned.text, re.M))
    both = {rule: 2 * CLIPS for rule in ("ingest", "export_motion", "quality", "preview")}
    for stages in planned.routes.values():
        for stage, method in stages.items():
            rule = f"{stage}_{method}"
            both[rule] = both.get(rule, 0) + CLIPS
    del jobs["total"]
    expected = {**both, "summary": 1, "all": 1}
    assert {rule: int(count) for rule, count in jobs.items()} == expected


def test_every_setting_is_away_from_its_default():
    shipped = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    assert set(shipped) == {key for key in SETTINGS if key in shipped} | KEPT | {
        "route",
        "videos",
        "options",
    }
    assert all(SETTINGS[key] != shipped.get(key) for key in SETTINGS)


def test_every_environment_would_be_made(planned):
    listed = set(re.findall(r"Conda environment \S*?envs/(\S+)\.yaml", planned.text))
    assert listed == {"pantograph", "vm1rs", "vm1recon"}


def test_jobs_on_the_gpu_run_one_at_a_time(planned):
    methods = {f"{stage}_{name}" for stage, name in planned.routes["videomimic"].items()}
    on_gpu = {rule for rule in methods if re.search(r"\bgpu=1\b", RULES[rule])}
    assert on_gpu == methods - {"align_megahunter", "retarget_trajectory"}


def test_every_option_reaches_its_script(planned, monkeypatch):
    class Parsed(Exception):
        pass

    parse = argparse.ArgumentParser.parse_args

    def stop(parser, argv=None, namespace=None):
        raise Parsed(vars(parse(parser, argv, namespace)), parser)

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    for rule in sorted(planned.rules):
        only_others = any(rule == f"{stage}_{method}" for stage, method in OTHERS.items())
        argv = planned.command(rule, "others" if only_others else "videomimic")
        assert argv, f"{rule} is not among the commands"
        with pytest.raises(Parsed) as parsed:
            importlib.import_module(rule).main(argv)
        values, parser = parsed.value.args
        for name in planned.options[rule]:
            key = name.replace("-", "_")
            assert values[key] != parser.get_default(key), f"{rule} --{name}"
        assert str(values.get("body_model", "body.pkl")) == "body.pkl", rule


def test_paths_of_weights_need_not_exist(planned):
    argv = planned.command("segment_sam2", "videomimic")
    path = argv[argv.index("--model") + 1]
    assert path.endswith("external/weights/sam2.1-hiera-large") and not os.path.exists(path)
