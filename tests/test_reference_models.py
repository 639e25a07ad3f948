"""The reference models' own classes, small, through the scripts and the workflow, on the CPU.

Fitted weights show that boxes, masks and keypoints come back to their places; they say nothing
about the accuracy of the real ones.
"""

import json
import os
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest

import ingest
import segment_sam2
import segment_sam3
from conftest import ROOT
from pantograph import landmarks, masks, truth
from pantograph.contracts import Keypoints, Motion, People, Video
from pantograph.conventions import COCO_WHOLEBODY
from pantograph.errors import PantographError
from pantograph.video import read_span

pytestmark = [pytest.mark.reference, pytest.mark.slow]

CLIP = ROOT / "resources" / "demo" / "sit_stand.mp4"
FRAMES = 45
SIZE = 427
"""Long side of the pictures that SAM 2 gets, px."""
ROUTE = """segment: {segment}
pose2d: vitpose
body: landmarks
contact: kinematic
scene: sfm
align: megahunter
ground: plane
mesh: poisson
retarget: trajectory
"""
SETTINGS = {
    "end_frame": FRAMES,
    "preview": False,
    "options": {
        "segment_sam2": {"size": SIZE, "detection_step": 15},
        "segment_sam3": {"size": SIZE, "score": 0, "window": 20, "min_seconds": 0.1},
        "pose2d_vitpose": {"batch_size": 16},
    },
}


class Project:
    """A copy of the workflow with small models in place of the real ones, and what a run made."""

    def __init__(self, folder):
        import tinymodels

        self.folder = folder
        for part in ("Snakefile", "config", "rules", "scripts", "resources", "envs", "external"):
            source = ROOT / part
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, folder / part)
        shutil.rmtree(folder / "external" / "weights", ignore_errors=True)
        for segment in ("sam2", "sam3"):
            route = folder / "config" / "routes" / f"tiny_{segment}.yaml"
            route.write_text(ROUTE.format(segment=segment))
        words = ["--path", CLIP, "--name", "clip", "--end", FRAMES, "--out", folder / "video.json"]
        ingest.main([str(word) for word in words])
        self.video = Video.read(folder / "video.json")
        self.truth = truth.inputs(truth.read(CLIP.with_suffix(".truth"), self.video), self.video)
        people, keypoints = self.truth["people"], self.truth["keypoints"]
        boxes = people.people[1].boxes
        mean = boxes.mean(0) / np.tile([self.video.width, self.video.height], 2)
        some = range(0, FRAMES, 4)
        small = read_span(self.video, 0, FRAMES - 1, SIZE)
        full = read_span(self.video, 0, FRAMES - 1)
        self.weights = folder / "external" / "weights"
        tinymodels.detector(
            self.weights / "grounding-dino-tiny", [*(mean[:2] + mean[2:]) / 2, *mean[2:] - mean[:2]]
        )
        tinymodels.sam2(
            self.weights / "sam2.1-hiera-large",
            [small[k] for k in some],
            np.stack([people.mask(1, k) for k in some]),
        )
        tinymodels.sam3(self.weights / "sam3")
        tinymodels.vitpose(
            self.weights / "vitpose" / "vitpose_huge_wholebody.pth",
            [full[k] for k in some],
            boxes[list(some)],
            keypoints.people[1].xy[list(some)],
        )

    def run(self, route, *targets):
        settings = self.folder / f"{route}.json"
        settings.write_text(json.dumps({**SETTINGS, "route": route, "videos": str(CLIP)}))
        words = [sys.executable, "-m", "snakemake", "-j1", "--resources", "gpu=1"]
        # more threads than free cores make PyTorch a hundred times slower
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [*words, "--configfile", settings, "--", *targets],
            **{"cwd": self.folder, "env": environment, "capture_output": True, "text": True},
        )

    def product(self, route, name):
        return self.folder / "results" / route / CLIP.stem / name


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    if os.environ.get("PANTOGRAPH_REFERENCE") != "1":
        pytest.skip("needs the environment that `make test-reference` makes")
    import torch

    torch.set_num_threads(1)
    return Project(tmp_path_factory.mktemp("reference"))


@pytest.fixture(scope="module")
def finished(project):
    """The route with GroundingDINO, SAM 2 and ViTPose, run to its motion."""
    run = project.run("tiny_sam2")
    assert run.returncode == 0, run.stdout + run.stderr
    return project


def test_sam2_masks_the_person(finished):
    people = People.read(finished.product("tiny_sam2", "people.h5"))
    exact = finished.truth["people"]
    assert people.method == "sam2" and people.ranking == [1]
    assert people.people[1].visible.all() and (people.people[1].score > 0.25).all()
    size = (people.mask_width, people.mask_height)
    overlap = [
        masks.iou(people.mask(1, k), cv2.resize(exact.mask(1, k).astype(np.uint8), size) > 0)
        for k in range(FRAMES)
    ]
    print(f"overlap of masks with the truth: median {np.median(overlap):.2f}")
    assert np.median(overlap) > 0.55
    away = np.abs(people.people[1].boxes - exact.people[1].boxes)
    assert np.median(away) < 0.1 * finished.video.height


def test_vitpose_finds_the_keypoints(finished):
    keypoints = Keypoints.read(finished.product("tiny_sam2", "keypoints.h5"))
    exact = finished.truth["keypoints"]
    assert tuple(keypoints.keypoint_names) == COCO_WHOLEBODY
    found, true = keypoints.people[1], exact.people[1]
    named = [landmarks.find(COCO_WHOLEBODY, name) for name in landmarks.NAMES]
    there = [exact.keypoint_names.index(name) for name in landmarks.NAMES]
    away = np.linalg.norm(found.xy[:, named] - true.xy[:, there], axis=-1)[found.visible]
    print(f"{found.visible.mean():.2f} of the frames, median error {np.median(away):.1f} px")
    assert found.visible.mean() > 0.8 and np.median(away) < 0.04 * finished.video.height
    assert found.score.min() >= 0 and found.score.max() <= 1


def test_the_route_ends_with_a_motion_of_the_g1(finished):
    motion = Motion.read(finished.product("tiny_sam2", "motion_g1.h5"))
    quality = json.loads(finished.product("tiny_sam2", "quality.json").read_text())
    assert not motion.rejected, motion.reason
    assert motion.robot == "g1" and motion.people[1].valid.sum() > 0.8 * FRAMES
    print(f"verdict {quality['status']}, {int(motion.people[1].valid.sum())} frames")
    assert list(finished.product("tiny_sam2", "export").iterdir())


def test_the_same_input_gives_the_same_bytes(finished, tmp_path):
    for name in ("first", "second"):
        segment_sam2.main(
            [f"--video={finished.folder / 'video.json'}", f"--out={tmp_path / name}"]
            + [f"--detector={finished.weights / 'grounding-dino-tiny'}", f"--size={SIZE}"]
            + [f"--model={finished.weights / 'sam2.1-hiera-large'}", "--device=cpu"]
        )
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_sam3_gives_a_valid_product(project):
    run = project.run("tiny_sam3", f"results/tiny_sam3/{CLIP.stem}/people.h5")
    assert run.returncode == 0, run.stdout + run.stderr
    people = People.read(project.product("tiny_sam3", "people.h5"))
    assert people.method == "sam3"
    # random weights take anything for a person once no score is asked for
    assert not people.rejected and people.frame_count == FRAMES
    for track in people.people.values():
        assert track.visible.any() and track.masks[track.visible].any((1, 2)).all()


def test_a_model_that_sees_nobody_is_a_rejection(project, tmp_path):
    segment_sam3.main(
        [f"--video={project.folder / 'video.json'}", f"--out={tmp_path / 'people.h5'}"]
        + [f"--model={project.weights / 'sam3'}", "--score=0.99", "--window=20", "--size=224"]
    )
    assert People.read(tmp_path / "people.h5").reason == f"nobody found in {FRAMES} frames"


def test_a_folder_without_the_right_files_is_one_line(project, tmp_path):
    words = [f"--video={project.folder / 'video.json'}", f"--out={tmp_path / 'people.h5'}"]
    words += [f"--detector={project.weights / 'grounding-dino-tiny'}", f"--model={tmp_path}"]
    with pytest.raises(PantographError, match="expected the files of Sam2VideoModel") as error:
        segment_sam2.main(words)
    assert len(str(error.value).splitlines()) == 1
