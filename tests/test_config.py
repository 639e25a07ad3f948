import shlex
import shutil

import pytest
import yaml

from conftest import ROOT
from pantograph.config import ConfigError, job_environment, plan
from pantograph.worker import alive

SHIPPED = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())


@pytest.fixture
def settings(tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("walk.mp4", "Tänze 2.MOV", "notes.txt"):
        (folder / name).touch()
    return {**SHIPPED, "videos": str(folder)}


def table(tmp_path, text):
    path = tmp_path / "videos.tsv"
    path.write_text(text.replace("|", "\t"), encoding="utf-8")
    return str(path)


def test_the_shipped_settings_are_valid():
    run = plan({**SHIPPED, "videos": str(ROOT / SHIPPED["videos"])}, ROOT)
    assert list(run.clips) == ["walk_turn", "sit_stand", "two_people"]
    assert not run.refused


def test_a_folder_gives_its_videos(settings):
    run = plan(settings, ROOT)
    assert list(run.clips) == ["Tänze 2", "walk"]
    assert run.targets() == [("cpu", "Tänze 2"), ("cpu", "walk")]


def test_a_single_video_is_a_run(settings, tmp_path):
    settings.update(videos=str(tmp_path / "clips" / "walk.mp4"), height=1.75)
    clip = plan(settings, ROOT).clips["walk"]
    assert (clip.heights, clip.start, clip.end, clip.people) == ((1.75,), 0, None, 0)


@pytest.mark.parametrize(("pattern", "names"), [("WALK", ["walk"]), ("tÄNZE", ["Tänze 2"])])
def test_the_pattern_ignores_case(settings, pattern, names):
    assert list(plan({**settings, "pattern": pattern}, ROOT).clips) == names


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"route": "gpu"}, "route: unknown route 'gpu' (did you mean 'cpu'?); known: cpu"),
        ({"route": ["cpu", "x"]}, "route: unknown route 'x'; known: cpu"),
        ({"route": []}, "route: expected the name of a route, or a list of names, got []"),
        ({"patern": "x"}, "unknown key 'patern' (did you mean 'pattern'?)"),
        ({"start_idx": -3}, "start_idx: expected a whole number, 0 or more, got -3"),
        ({"start_idx": "abc"}, "start_idx: expected a whole number, 0 or more, got 'abc'"),
        ({"end_idx": -2}, "end_idx: expected a whole number, 1 or more, or -1 for all"),
        ({"start_idx": 2, "end_idx": 2}, "end_idx: expected more than start_idx 2, got 2"),
        ({"start_idx": 99}, "start_idx: expected less than"),
        ({"end_frame": -1}, "end_frame: expected a whole number, 1 or more, or null"),
        ({"stride": 0}, "stride: expected a whole number, 1 or more, got 0"),
        ({"height": 175}, "height: expected metres between 0.5 and 2.5"),
        ({"preview": "maybe"}, "preview: expected true or false, got 'maybe'"),
        ({"top_k": True}, "top_k: expected a whole number, 0 or more, got True"),
        ({"robot_shape": "g2"}, "robot_shape: unknown robot 'g2' (did you mean 'g1'?)"),
        ({"robot": "g2"}, "robot: unknown robot 'g2' (did you mean 'g1'?)"),
        ({"body_model": "no.pkl"}, "body_model: expected an SMPL file, but 'no.pkl' is none"),
        ({"videos": "nowhere.tsv"}, "'nowhere.tsv' does not exist"),
        ({"pattern": "swim"}, "pattern: 'swim' is in none of the 2 names"),
        ({"options": {"ingst": {}}}, "options: unknown script 'ingst' (did you mean 'ingest'?)"),
        (
            {"options": {"ingest": {"min-frame": 3}}},
            "options.ingest: unknown option 'min-frame' (did you mean 'min-frames'?)",
        ),
        (
            {"options": {"ingest": {"min-frames": 3.5}}},
            "options.ingest.min-frames: expected a whole number, got 3.5",
        ),
        ({"options": {"ingest": {"fps": "x"}}}, "options.ingest.fps: expected a number, got 'x'"),
        ({"options": {"ingest": {"fps": [1, 2]}}}, "expected one value, got [1, 2]"),
        ({"options": {"ingest": {"out": "x"}}}, "options.ingest: unknown option 'out'"),
        ({"pathvars": {"result": "x"}}, "pathvars: unknown key 'result' (did you mean 'results'?)"),
    ],
)
def test_a_mistake_in_the_settings_is_one_line(settings, change, message):
    with pytest.raises(ConfigError) as error:
        plan({**settings, **change}, ROOT)
    assert str(error.value).startswith("config: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_key_is_named(settings):
    del settings["stride"]
    with pytest.raises(ConfigError, match="stride is missing, expected a whole number"):
        plan(settings, ROOT)


def test_text_of_the_command_line_has_its_type(settings):
    settings.update(preview="false", end_frame="null", height=["1.75", "1.6"], top_k="3")
    settings["options"] = {"ingest": {"fps": "12.5"}}
    run = plan(settings, ROOT)
    clip = run.clips["walk"]
    assert (clip.end, clip.heights, clip.people) == (None, (1.75, 1.6), 3)
    assert (run.settings["preview"], run.options["ingest"]) == (False, "--fps=12.5")


def test_options_become_arguments(settings):
    settings["options"] = {
        "ingest": {"min-frames": 3, "fps": 12.5},
        "quality": {"thresholds": {"slide": None}},
    }
    options = plan(settings, ROOT).options
    assert shlex.split(options["ingest"]) == ["--min-frames=3", "--fps=12.5"]
    assert shlex.split(options["quality"]) == ['--thresholds={"slide": null}']


def test_one_body_model_serves_every_stage(settings, tmp_path):
    (tmp_path / "my body.pkl").touch()
    settings["body_model"] = str(tmp_path / "my body.pkl")
    options = plan(settings, ROOT).options
    expected = [f"--body-model={tmp_path}/my body.pkl"]
    assert shlex.split(options["body_landmarks"]) == expected
    assert shlex.split(options["align_megahunter"]) == expected
    assert "ingest" not in options


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("dance|a.mp4|20|10||", "end 10 is before start 20"),
        ("dance|a.mp4|20|20||", "end 20 is not after start 20"),
        ("dance|a.mp4|-5|||", "start: expected a whole number, 0 or more, got -5"),
        ("dance|a.mp4|x|||", "start: expected a whole number, 0 or more, got 'x'"),
        ("dance|a.mp4||-1||", "end: expected a whole number, 1 or more, got -1"),
        ("dance|a.mp4|||175|", "height.0: expected"),
        ("dance|a.mp4|||1.75, tall|", "height.1: expected"),
        ("dance|a.mp4||||gvhmr2", "route: unknown route 'gvhmr2'; known: cpu"),
        ("dance|||||", "path is missing, expected the path of a video file"),
        ("|a.mp4||||", "video is missing, expected a name"),
        ("a/dance|a.mp4||||", "video: expected a name without /"),
        ("..|a.mp4||||", "video: expected a name"),
        ("{dance}|a.mp4||||", "video: expected a name"),
        ("good|b.mp4||||", "the name is taken by videos.tsv line 3"),
        ("dance|a.mp4|||||||7", "expected 6 cells, got 9"),
    ],
)
def test_a_mistake_in_a_row_leaves_the_others(settings, tmp_path, line, reason):
    text = (
        f"# clips\nvideo|path|start|end|height|route\ngood|good.mp4||||\n\n{line}\nlast|z.mp4||||\n"
    )
    run = plan({**settings, "videos": table(tmp_path, text)}, ROOT)
    assert list(run.clips) == ["good", "last"]
    (refused,) = run.refused
    assert refused.where == "videos.tsv line 5"
    assert reason in refused.reason
    assert str(refused).endswith("; row skipped")


def test_rows_come_before_the_defaults(settings, tmp_path):
    text = (
        "\ufeffvideo|path|start|end|stride|height|people|route|text\r\n"
        "Sänger 1_cam01|my clips/ä b.mp4|3|9|2|1.75,1.6|2|cpu|dancer\r\n"
        "plain|p.mp4||||||||\r\n"
    )
    settings.update(videos=table(tmp_path, text), start_frame=5, multihuman=False, height=1.8)
    clips = plan(settings, ROOT).clips
    first, second = clips["Sänger 1_cam01"], clips["plain"]
    assert (first.start, first.end, first.stride, first.people) == (3, 9, 2, 2)
    assert (first.path, first.heights, first.text) == ("my clips/ä b.mp4", (1.75, 1.6), "dancer")
    assert (second.start, second.end, second.stride, second.people) == (5, None, 1, 1)
    assert (second.heights, second.text) == ((1.8,), "person")


def test_a_part_of_the_list_is_chosen(settings, tmp_path):
    text = "video|path\n" + "".join(f"{name}|x.mp4\n" for name in ("a1", "b1", "a2", "a3"))
    settings.update(videos=table(tmp_path, text), pattern="A", start_idx=1)
    assert list(plan(settings, ROOT).clips) == ["a2", "a3"]
    settings.update(start_idx=0, end_idx=2)
    assert list(plan(settings, ROOT).clips) == ["a1", "a2"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the table is empty"),
        ("video\n", "column 'path' is missing"),
        ("video|path|hight\n", "unknown column 'hight' (did you mean 'height'?)"),
        ("video,path\na,b\n", "unknown column 'video,path'"),
    ],
)
def test_a_table_without_its_header_ends_the_run(settings, tmp_path, text, message):
    with pytest.raises(ConfigError) as error:
        plan({**settings, "videos": table(tmp_path, text)}, ROOT)
    assert message in str(error.value)


def test_a_binary_file_is_no_table(settings, tmp_path):
    (tmp_path / "videos.xlsx").write_bytes(b"PK\x03\x04\xff\xfe\x80")
    with pytest.raises(ConfigError, match="not a table in UTF-8"):
        plan({**settings, "videos": str(tmp_path / "videos.xlsx")}, ROOT)


def test_two_files_of_one_name_keep_the_first(settings, tmp_path):
    (tmp_path / "clips" / "walk.avi").touch()
    run = plan(settings, ROOT)
    assert run.clips["walk"].path.endswith("walk.avi")
    assert [str(row) for row in run.refused] == [
        "walk.mp4 (walk): the name is taken by walk.avi; row skipped"
    ]


def test_truth_lies_beside_the_video(settings, tmp_path):
    (tmp_path / "clips" / "walk.truth").mkdir()
    clips = plan(settings, ROOT).clips
    assert clips["walk"].truth == str(tmp_path / "clips" / "walk.truth")
    assert clips["Tänze 2"].truth is None


def test_a_route_names_methods_that_exist(settings, tmp_path):
    for part in ("config/schemas", "config/routes", "scripts", "resources/robots"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    route = yaml.safe_load((ROOT / "config/routes/cpu.yaml").read_text())
    for change, message in [
        ({**route, "pose2d": "mediapip"}, "pose2d: unknown method 'mediapip' (did you mean"),
        ({**route, "pose3d": "x"}, "unknown key 'pose3d' (did you mean 'pose2d'?)"),
        ({"segment": "mediapipe"}, "is missing, expected the name of a method"),
    ]:
        (tmp_path / "config/routes/other.yaml").write_text(yaml.safe_dump(change))
        with pytest.raises(ConfigError) as error:
            plan(settings, tmp_path)
        assert str(error.value).startswith("config/routes/other.yaml: ")
        assert message in str(error.value)


def test_a_route_may_leave_stages_out(settings, tmp_path):
    for part in ("config/schemas", "scripts", "resources/robots"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "config/routes").mkdir()
    (tmp_path / "config/routes/short.yaml").write_text("body: landmarks\nretarget: trajectory\n")
    run = plan({**settings, "route": "short"}, tmp_path)
    assert run.routes == {"short": {"body": "landmarks", "retarget": "trajectory"}}


def test_jobs_find_python_and_one_cache(settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    environment = job_environment({**settings, "jax_cache": "cache"}, 4)
    assert environment["PANTOGRAPH_JAX_CACHE"] == str(tmp_path / "cache")
    assert shutil.which("python", path=environment["PATH"]) is not None
    assert alive(environment["PANTOGRAPH_OWNER"])
    assert environment["PANTOGRAPH_WORKERS"] == "0"
    assert job_environment({**settings, "workers": True}, 4)["PANTOGRAPH_WORKERS"] == "4"


def test_shards_take_every_video_once(settings, tmp_path):
    names = [f"v{k}" for k in range(7)]
    for name in names:
        (tmp_path / f"{name}.mp4").touch()
    settings = {**settings, "videos": str(tmp_path)}
    taken = [
        video
        for k in (1, 2, 3)
        for _, video in plan({**settings, "shard": f"{k}/3"}, ROOT).targets()
    ]
    assert sorted(taken) == names
    for wrong in ("0/3", "4/3", "1", "a/b"):
        with pytest.raises(ConfigError, match="shard: expected"):
            plan({**settings, "shard": wrong}, ROOT)


def test_shapes_are_given_per_video_or_for_all(settings, tmp_path):
    text = "video|path|betas|robot_shape\na|a.mp4|a.json|g1\nb|b.mp4||\nc|c.mp4||h2\n"
    settings.update(videos=table(tmp_path, text), betas="all.yaml")
    found = plan(settings, ROOT)
    chosen = [(clip.betas, clip.robot_shape) for clip in found.clips.values()]
    assert chosen == [("a.json", "g1"), ("all.yaml", None)]
    assert "unknown robot 'h2'" in found.refused[0].reason
