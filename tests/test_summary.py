import csv

import pytest

import summary
from pantograph.errors import ContractError
from pantograph.quality import METRICS, TRUTH_METRICS, Quality


def judged(metrics, **values):
    return {
        metric.name: {
            "value": values.get(metric.name),
            "threshold": metric.threshold,
            "unit": metric.unit,
            "verdict": "warn" if metric.name == "robot_float_cm" else "pass",
            "meaning": metric.meaning,
        }
        for metric in metrics
        if metric.name in values
    }


def person(verdict="accepted", reasons=(), truth=None, **values):
    return {
        "verdict": verdict,
        "reasons": list(reasons),
        "metrics": judged(METRICS, **values),
        "truth": judged(TRUTH_METRICS, **(truth or {})),
    }


def write(results, route, name, **fields):
    path = results / route / name / "quality.json"
    video = {} if "status" in fields else {"name": name, "frame_count": 90}
    Quality(video=video, method="quality", camera_model="sfm", **fields).write(path)
    return str(path)


@pytest.fixture
def run(tmp_path, capsys):
    def call(*paths, refused=()):
        words = [word for row in refused for word in ("--refused", *row)]
        summary.main(["--quality", *paths, *words, "--out", str(tmp_path / "summary.tsv")])
        printed = capsys.readouterr().out.splitlines()
        with open(tmp_path / "summary.tsv") as stream:
            return printed, list(csv.DictReader(stream, delimiter="\t"))

    return call


def test_every_person_and_every_refused_row_has_a_line(tmp_path, run):
    good = write(
        tmp_path,
        "cpu",
        "walk",
        people={
            "1": person(reprojection_px=4.26, retarget_error_mm=51.2),
            "2": person("rejected", ["flip_percent 9 % (max 5)"], reprojection_px=30.0),
        },
    )
    bad = write(tmp_path, "cpu", "tree", status="rejected", reason="nobody in the video")
    lines, table = run(good, bad, refused=[("gone", "videos.tsv line 4: no such file")])
    assert [(r["video"], r["person"], r["verdict"]) for r in table] == [
        ("walk", "1", "accepted"),
        ("walk", "2", "rejected"),
        ("tree", "", "rejected"),
        ("gone", "", "rejected"),
    ]
    assert table[0]["reprojection_px"] == "4.26" and table[0]["root_error_mm"] == ""
    assert table[0]["frames"] == "90" and table[0]["people"] == "2"
    assert [r["note"] for r in table[1:]] == [
        "flip_percent 9 % (max 5)",
        "nobody in the video",
        "videos.tsv line 4: no such file",
    ]
    assert lines[-1] == "1 of 4 accepted"
    assert "route" not in lines[2] and "root" not in lines[0]


def test_columns_are_aligned(tmp_path, run):
    paths = [
        write(tmp_path, "cpu", name, people={"1": person(reprojection_px=value)})
        for name, value in (("a", 4.0), ("longer name", 123.4))
    ]
    lines, _ = run(*paths)
    end = lines[1].index("jection") + len("jection")
    assert lines[4][:end].endswith("  4.0") and lines[5][:end].endswith("  123.4")


def test_errors_against_the_truth_are_shown_where_known(tmp_path, run):
    known = {"root_error_mm": 43.21, "scale_error_percent": -2.04, "pa_mpjpe_mm": 61.0}
    with_truth = write(tmp_path, "cpu", "demo", people={"1": person(truth=known)})
    without = write(tmp_path, "cpu", "real", people={"1": person()})
    lines, table = run(with_truth, without)
    assert table[0]["root_error_mm"] == "43.21" and table[1]["root_error_mm"] == ""
    assert lines[4].split()[:8] == ["demo", "1", "90", "1", "sfm", "43", "-2.0", "61"]


def test_warnings_are_noted(tmp_path, run):
    path = write(tmp_path, "cpu", "demo", people={"1": person(robot_float_cm=4.5)})
    _, table = run(path)
    assert table[0]["note"] == "warning: robot_float_cm 4.5 (threshold 3)"


def test_routes_stand_side_by_side(tmp_path, run):
    paths = [write(tmp_path, r, "demo", people={"1": person()}) for r in ("cpu", "gvhmr")]
    lines, table = run(*paths)
    assert [row["route"] for row in table] == ["cpu", "gvhmr"]
    assert lines[2].startswith("route")


def test_a_run_without_videos_is_a_table(run):
    lines, table = run()
    assert table == [] and lines[-1] == "0 of 0 accepted"


def test_a_broken_quality_is_an_error(tmp_path, run):
    (tmp_path / "quality.json").write_text("{}")
    with pytest.raises(ContractError, match="expected schema 'quality'"):
        run(str(tmp_path / "quality.json"))
