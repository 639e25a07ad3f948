"""SMPL pose and shape of people with VIMO, the video network of TRAM, batched.

VIMO (Wang et al., "TRAM: Global Trajectory and Motion of 3D Humans from in-the-wild Videos", 2024)
takes 16 crops of a person at a time. What its `HMR_VIMO.inference` does, and what differs here:

- A frame takes its result from place 8 of a window around it, the first 8 and the last 7 frames
  of a stretch from its first and last window. As there; `windows` says which.
- There, the backbone runs on all 16 crops of each window, so on every crop 16 times, and one
  window of one person at a time. Here each crop passes it once, and windows of all people go
  through the rest in batches.
- There, a caller without frame numbers has gaps in a track taken for steps of one frame, and
  stretches of fewer than 16 frames are dropped (a clip of fewer crashes VideoMimic's script).
  Here a stretch ends where a person is out of view for longer than `max_gap` frames, shorter
  gaps are bridged with interpolated boxes, and a short stretch is extended by its first and last
  crop on both sides.
- There, without a camera the focal length is sqrt(width^2 + height^2), 1.3 to 1.6 times that of a
  phone that films 16:9, and the network takes where a crop lies and how large it is in units of
  it. Here the scene's camera is the default.
- Crops are placed to a fraction of a pixel; there, corners are cut to whole pixels.
- The network's SMPL layer only makes joints for its training losses: it is left out, so that no
  body model, nor the code that a pickle of it may carry, is needed to run the network.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import tempfile
import types
from dataclasses import dataclass

import numpy as np

from . import crops, foreign, gpu, ground, placement, shape
from .body import stature
from .contracts import Body
from .errors import PantographError, Rejected
from .video import frames

LENGTH = 16
"""Frames of a window."""
CENTRE = 8
"""The place in a window that a frame takes its result from where it can."""
CROP = 256
"""Side of a crop, px; the network looks at its middle 192 columns."""
DILATE = 1.2
"""Side of a crop over the longer side of the person's box."""

ARCHITECTURE = {
    "IMG_RES": CROP,
    "SMPL_DATA_PATH": "",
    "MODEL": types.SimpleNamespace(
        ST_MODULE=True,
        ST_HDIM=512,
        ST_NLAYER=6,
        MOTION_MODULE=True,
        MOTION_HDIM=384,
        MOTION_NLAYER=6,
    ),
}
"""What `HMR_VIMO` reads of its configuration, for the published checkpoint."""

# ---------------------------------------------------------------------------------------------
# which frames go together


@dataclass
class Stretch:
    """Frames of one person that belong together: `first` and the n - 1 after it.

    centres (n, 2) and sides (n,) of the crops, px of the video; windows (W, 16) frames of the
    stretch; window (n,) and place (n,) where each frame's result comes from.
    """

    person: int
    first: int
    centres: np.ndarray
    sides: np.ndarray
    windows: np.ndarray
    window: np.ndarray
    place: np.ndarray


def fill_boxes(boxes, visible):
    """Boxes (n, 4), interpolated linearly where the person is not visible (n,)."""
    every, seen = np.arange(len(boxes)), np.flatnonzero(visible)
    return np.stack([np.interp(every, seen, boxes[seen, i]) for i in range(4)], 1)


def windows(count, step=1):
    """How `count` frames are cut into windows of 16.

    step: frames from one window to the next; 1 puts every frame at place 8 of a window where it
    has 8 frames before it and 7 behind it.

    Returns the windows (W, 16), indices of frames; and for every frame the window (count,) and
    the place in it (count,) that give its result: those with the place nearest to 8. Where there
    are fewer than 16 frames the one window repeats the first and the last of them on both sides.
    """
    if count < LENGTH:
        before = (LENGTH - count) // 2
        repeated = np.clip(np.arange(LENGTH) - before, 0, count - 1)
        return repeated[None], np.zeros(count, int), np.arange(count) + before
    starts = np.unique(np.append(np.arange(0, count - LENGTH + 1, step), count - LENGTH))
    place = np.arange(count)[:, None] - starts
    distance = np.where((place >= 0) & (place < LENGTH), np.abs(place - CENTRE), LENGTH)
    window = distance.argmin(1)
    return starts[:, None] + np.arange(LENGTH), window, place[np.arange(count), window]


def plan(people, max_gap=8, step=1):
    """The stretches (list of Stretch) of {id: PersonTrack}."""
    found = []
    for pid, track in people.items():
        for start, end in placement.spans(track.visible, max_gap):
            boxes = fill_boxes(track.boxes[start:end].astype(float), track.visible[start:end])
            centres, sides = crops.squares(boxes, DILATE)
            found.append(Stretch(pid, start, centres, sides, *windows(end - start, step)))
    return found


def guessed_camera(width, height):
    """Focal length and principal point (2,) that upstream takes where it knows no camera, px."""
    return float(np.hypot(width, height)), np.array([width / 2, height / 2])


# ---------------------------------------------------------------------------------------------
# the network


@functools.lru_cache(maxsize=1)
def load(repository, weights, device):
    """The network in evaluation mode.

    repository: folder of the clone, "" for an installed package; weights: the checkpoint, a
    dictionary with the parameters under "model". Raises PantographError where one of them is
    missing or does not fit.
    """
    import torch

    weights = os.path.abspath(weights)
    gpu.check_files(weights, "the checkpoint of VIMO")
    package = foreign.module("vimo.models.hmr_vimo", repository)
    state = foreign.load_checkpoint(weights)
    if not isinstance(state, dict) or "model" not in state:
        raise PantographError(f"{weights}: expected a dictionary with 'model', found none")
    with _without_body(package), _mean_parameters():
        network = package.HMR_VIMO(types.SimpleNamespace(**ARCHITECTURE))
    # `initialized` is a flag of the training; the mean pose, shape and camera must be there
    foreign.load_parameters(network, state["model"], needless=("smpl.", "initialized"))
    return network.to(torch.device(device)).eval()


@contextlib.contextmanager
def _without_body(package):
    from torch import nn

    class NoBody(nn.Module):
        def __init__(self, *_, **__):
            super().__init__()

        def query(self, output):
            return types.SimpleNamespace(joints=output["pred_cam"].new_zeros(1, 1, 3))

    original, package.SMPL = package.SMPL, NoBody
    try:
        yield
    finally:
        package.SMPL = original


@contextlib.contextmanager
def _mean_parameters():
    """Be in a folder that has the file which the network's head reads from the working directory.

    Its values are placeholders: they are parameters of the checkpoint too, which replaces them.
    """
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.makedirs(f"{folder}/body_models/smpl")
        zeros = {"pose": np.zeros(144), "shape": np.zeros(10), "cam": np.zeros(3)}
        np.savez(f"{folder}/body_models/smpl/smpl_mean_params.npz", **zeros)
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


class Estimator:
    """Runs the network on crops as they come, in batches, and keeps what is still needed.

    camera: function from a frame to its focal length and principal point (2,), px.
    After `finish`, `rotations[s]` (n, 24, 3, 3) and `betas[s]` (n, 10) are the results of stretch
    s: rotation of the pelvis in the camera's axes (OpenCV) and of joints 1 to 23 to their parents.
    """

    def __init__(self, network, stretches, camera, device, crop_batch=32, window_batch=8):
        self.network, self.stretches, self.camera = network, stretches, camera
        self.device, self.crop_batch, self.window_batch = device, crop_batch, window_batch
        self.rotations = [np.zeros((len(s.sides), 24, 3, 3), np.float32) for s in stretches]
        self.betas = [np.zeros((len(s.sides), 10), np.float32) for s in stretches]
        self._crops, self._features, self._ready = [], {}, []
        self._next = [0] * len(stretches)

    def wanted(self, frame):
        """The stretches that have a frame."""
        return [
            (index, s)
            for index, s in enumerate(self.stretches)
            if s.first <= frame < s.first + len(s.sides)
        ]

    def add(self, frame, rgb):
        """Take the next frame of the clip, uint8 (H, W, 3) of the video's size."""
        for index, s in self.wanted(frame):
            k = frame - s.first
            crop = crops.cut(rgb, s.centres[k], s.sides[k], CROP)
            self._crops.append((index, k, crop))
        if len(self._crops) >= self.crop_batch:
            self._encode()

    def finish(self):
        """Run what is left."""
        self._encode()
        self._solve(everything=True)

    def _encode(self):
        import torch

        while self._crops:
            part, self._crops = self._crops[: self.crop_batch], self._crops[self.crop_batch :]
            images = torch.from_numpy(crops.normalise([crop for _, _, crop in part]))
            images = images.to(self.device)[:, :, :, 32:-32]
            with torch.no_grad(), torch.autocast("cuda", enabled=images.is_cuda):
                features = self.network.backbone(images)
            for (index, k, _), feature in zip(part, features.float(), strict=True):
                self._features[index, k] = feature
                self._line_up(index, k)
        self._solve()

    def _line_up(self, index, last):
        windows = self.stretches[index].windows
        while self._next[index] < len(windows) and windows[self._next[index]].max() <= last:
            self._ready.append((index, self._next[index]))
            self._next[index] += 1

    def _solve(self, everything=False):
        while len(self._ready) >= self.window_batch or (everything and self._ready):
            batch = self._ready[: self.window_batch]
            self._ready = self._ready[self.window_batch :]
            self._forward(batch)
        waiting = {}
        for index, window in self._ready:
            waiting.setdefault(index, self.stretches[index].windows[window].min())
        for index, k in list(self._features):
            s = self.stretches[index]
            oldest = waiting.get(index)
            if oldest is None and self._next[index] < len(s.windows):
                oldest = s.windows[self._next[index]].min()
            if oldest is None or k < oldest:
                del self._features[index, k]

    def _forward(self, batch):
        import torch

        items = [
            (index, k) for index, window in batch for k in self.stretches[index].windows[window]
        ]
        cameras = [self.camera(self.stretches[index].first + k) for index, k in items]
        part = {
            "center": [self.stretches[index].centres[k] for index, k in items],
            "scale": [self.stretches[index].sides[k] / 200 for index, k in items],
            "img_focal": [focal for focal, _ in cameras],
            "img_center": [centre for _, centre in cameras],
        }
        part = {
            name: torch.tensor(np.array(values), dtype=torch.float32, device=self.device)
            for name, values in part.items()
        }
        # the backbone has run: it is replaced by what it gave, and its input by an empty one
        part["img"] = torch.zeros(len(items), 1, 1, 64, device=self.device)
        features = torch.stack([self._features[item] for item in items])
        backbone = self.network.backbone
        self.network.backbone = _given(features)
        try:
            with torch.no_grad():
                output, _ = self.network(part)
        finally:
            self.network.backbone = backbone
        rotations = output["pred_rotmat"].float().cpu().numpy().reshape(-1, LENGTH, 24, 3, 3)
        betas = output["pred_shape"].float().cpu().numpy().reshape(-1, LENGTH, 10)
        for (index, window), turned, shaped in zip(batch, rotations, betas, strict=True):
            s = self.stretches[index]
            own = np.flatnonzero(s.window == window)
            self.rotations[index][own] = turned[s.place[own]]
            self.betas[index][own] = shaped[s.place[own]]


def _given(features):
    from torch import nn

    class Given(nn.Module):
        def forward(self, _):
            return features

    return Given()


# ---------------------------------------------------------------------------------------------
# from the network to a product


def find_bodies(
    video,
    people,
    keypoints,
    scene,
    model,
    network,
    device,
    focal="scene",
    max_gap=8,
    step=1,
    crop_batch=32,
    window_batch=8,
):
    """The `Body` of the people of a clip, in the cameras' frames.

    video, people, keypoints, scene: contracts; model: BodyModel that the joints come from;
    network: as from `load`, on `device`; focal: the camera told to the network, "scene" or
    "guess" (upstream's); max_gap: longest gap in a track that is bridged, frames; step: frames
    from one window to the next; crop_batch: crops, window_batch: windows at a time.

    Positions are solved with the scene's camera by `placement.place_person`. Known statures and
    shapes of the video go to the people by rank. Raises Rejected if nobody is left.
    """
    count = video.frame_count
    tracks = {pid: people.people[pid] for pid in people.ranking if pid in keypoints.people}
    dropped = {str(p): "no keypoints" for p in people.people if p not in keypoints.people}
    guess = guessed_camera(video.width, video.height)

    def camera(frame):
        k = scene.intrinsics[frame].astype(float)
        return guess if focal == "guess" else (np.sqrt(k[0, 0] * k[1, 1]), k[:2, 2])

    stretches = plan(tracks, max_gap, step)
    estimator = Estimator(network, stretches, camera, device, crop_batch, window_batch)
    advice = f"lower --crop-batch (now {crop_batch}) or --window-batch (now {window_batch})"
    with gpu.memory(advice):
        for frame, rgb in frames(video):
            estimator.add(frame, rgb)
            if frame % 200 == 0:
                print(f"frame {frame} of {count}", file=sys.stderr)
        estimator.finish()

    bodies, numbers = {}, {}
    for pid in tracks:
        own = [(i, s) for i, s in enumerate(stretches) if s.person == pid]
        known = np.zeros(count, bool)
        rotations = np.tile(np.eye(3), (count, 24, 1, 1))
        betas = np.zeros((count, 10))
        for i, s in own:
            part = slice(s.first, s.first + len(s.sides))
            known[part] = True
            rotations[part], betas[part] = estimator.rotations[i], estimator.betas[i]
        seen = known & tracks[pid].visible
        rank = people.ranking.index(pid)
        fitted = placement.clip_betas(model, betas[seen])
        given = shape.given(model, video, rank, fitted)
        fitted = fitted if given is None else given
        body = placement.place_person(
            *(model, fitted, rotations[:, 0], rotations[:, 1:], known),
            *(keypoints.people[pid], keypoints.keypoint_names, scene.intrinsics, max_gap),
        )
        if not body.valid.any():
            dropped[str(pid)] = "no frame has keypoints enough to place the body"
            continue
        bodies[pid] = body
        for start, end in ground.runs(~body.valid):
            dropped[f"{pid}/{start}-{end - 1}"] = (
                f"not placed for {(end - start) / video.fps:.2f} s"
            )
        numbers[f"person{pid}"] = {
            "stretches": len(own),
            "stretches_under_16_frames": sum(len(s.sides) < LENGTH for _, s in own),
            "bridged_frames": int((known & ~tracks[pid].visible).sum()),
            "network_betas": [round(float(v), 4) for v in placement.mean_betas(betas[seen])],
            "stature_m": round(stature(model, fitted), 4),
            "reprojection_px": round(float(np.median(body.reprojection[body.confidence > 0])), 2),
        }
    if not bodies:
        raise Rejected("nobody can be placed: no track has keypoints in its frames")
    if model.name == "builtin":
        numbers["note"] = (
            "joints are those of the built-in body: the network's shape coefficients are SMPL's "
            "and were not used; set body_model for exact joints"
        )
    return Body(
        people=bodies,
        body_model=model.name,
        intrinsics=scene.intrinsics[0],
        dropped=dropped,
        stats=numbers,
    )
