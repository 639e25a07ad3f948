"""Errors of the route `cpu` on a short rendered clip stay within bounds, stage by stage.

The bounds lie well above what was measured, so that only a loss of accuracy breaks them.
"""

import importlib.util

import pytest

from conftest import ROOT

pytestmark = pytest.mark.slow

CLIP, FRAMES = "two_people", 48
LARGEST = {
    "segment": {"id_switches": 0},
    "pose2d": {"error_px": 9, "limbs3d_mm": 85},
    "scene": {"ate_mm": 1, "rotation_deg": 0.1, "focal_percent": 4},
    "body": {"mpjpe_mm": 80, "pa_mpjpe_mm": 52, "acceleration_m_s2": 8, "stature_percent": 14},
    "align": {"wa_mpjpe_mm": 72, "rte_percent": 4, "scale_percent": 10},
    "ground": {"gravity_deg": 3.5, "floor_mm": 60, "jitter_10m_s3": 20},
    "mesh": {"chamfer_mm": 90},
    "retarget": {
        "position_mm": 25,
        "direction_deg": 13,
        "penetration_cm": 1,
        "float_cm": 1,
        "slide_cm_s": 2,
        "jitter_10m_s3": 20,
        "limit_percent": 0,
    },
}
"""Of the whole chain: largest size of each error."""
LEAST = {
    "segment": {"mask_iou": 0.82, "recall_percent": 85},
    "pose2d": {"pck_percent": 92},
    "scene": {"camera_correct": 1},
    "contact": {"f1": 0.92},
}
ALONE = {
    "body": {"mpjpe_mm": 10, "pa_mpjpe_mm": 8, "acceleration_m_s2": 3.5, "stature_percent": 1.5},
    "contact": {},
    "align": {"wa_mpjpe_mm": 10, "rte_percent": 0.6, "scale_percent": 1.5},
    "ground": {"gravity_deg": 1.8, "floor_mm": 30},
    "mesh": {"chamfer_mm": 40},
    "retarget": {"position_mm": 20, "direction_deg": 3, "penetration_cm": 0.5, "slide_cm_s": 1},
}
"""Of single stages that get the truth of the stages before."""
LEAST_ALONE = {"contact": {"f1": 0.94}}


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    spec = importlib.util.spec_from_file_location("benchmark", ROOT / "benchmarks" / "accuracy.py")
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    clips = benchmark.find_clips(ROOT / "resources" / "demo", [CLIP])
    run = benchmark.Run("cpu", clips, tmp_path_factory.mktemp("accuracy"), end=FRAMES)
    figures = run.measure(tuple(ALONE))
    print(benchmark.text(benchmark.table(figures)))
    return figures["scenarios"][CLIP]["people"]


def beyond(people, key, largest, least):
    """Every figure that is missing or out of its bound, as text."""
    found = []
    for pid, person in people.items():
        for bounds, sign in ((largest, 1), (least, -1)):
            for stage, names in bounds.items():
                for name, bound in names.items():
                    value = person[key][stage].get(name)
                    size = value if value is None or sign < 0 else abs(value)
                    if size is None or sign * size > sign * bound:
                        found.append(f"person {pid}: {stage} {name} {value}, bound {bound}")
    return found


def test_the_chain_keeps_its_accuracy(people):
    assert len(people) == 2
    assert beyond(people, "chain", LARGEST, LEAST) == []


def test_each_stage_keeps_its_own_accuracy(people):
    assert beyond(people, "from_truth", ALONE, LEAST_ALONE) == []
