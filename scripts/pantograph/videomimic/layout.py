"""Where VideoMimic keeps what, under which names; common to reading and writing."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..conventions import SMPL_JOINTS
from ..errors import PantographError

CAMERA = "cam01"
"""The only camera that VideoMimic follows from its second stage on."""

FOLDERS = {
    "images": ("input_images",),
    "masks": ("input_masks",),
    "poses": ("input_2d_poses",),
    "meshes": ("input_3d_meshes",),
    "contacts": ("input_contacts",),
    "megasam": ("input_megasam",),
    "align3r": ("input_align3r", "input_monst3r", "input_align3r_apr21"),
    "hunter": ("output_smpl_and_points", "output_megahunter_human_and_points"),
    "calibrated": ("output_calib_mesh",),
}
"""Folder of each kind of file; the first is written, any of them is read."""

CLIP = "clip.json"
"""Our own file beside the pictures: what is known of the clip that the layout has no place for."""

NOTES = "pantograph"
"""Root attribute of HDF5 files with what the layout has no place for, as JSON."""

KEYPOINTS_FILE = "gravity_calibrated_keypoints.h5"
HUNTER_FILE = "gravity_calibrated_megahunter.h5"
MESH_FILE = "background_mesh.obj"
LESS_FILTERED = "background_less_filtered_colored_pointcloud.ply"
MORE_FILTERED = "background_more_filtered_colored_pointcloud.ply"

FRAMES = "our_pred_world_cameras_and_structure"
HUMANS = "our_pred_humans_smplx_params"
FRAME_LIST = "person_frame_info_list"

SMPL_45 = (
    *SMPL_JOINTS,
    *("nose", "right_eye", "left_eye", "right_ear", "left_ear"),
    *(f"{side}_{part}" for side in ("left", "right") for part in ("big_toe", "small_toe", "heel")),
    *(
        f"{side}_{finger}"
        for side in ("left", "right")
        for finger in ("thumb", "index", "middle", "ring", "pinky")
    ),
)
"""Joints of `gravity_calibrated_keypoints.h5`: those of SMPL and 21 points of its surface."""

SMPL_VERTICES = {
    "nose": 332,
    "right_eye": 6260,
    "left_eye": 2800,
    "right_ear": 4071,
    "left_ear": 583,
    "left_big_toe": 3216,
    "left_small_toe": 3226,
    "left_heel": 3387,
    "right_big_toe": 6617,
    "right_small_toe": 6624,
    "right_heel": 6787,
    "left_thumb": 2746,
    "left_index": 2319,
    "left_middle": 2445,
    "left_ring": 2556,
    "left_pinky": 2673,
    "right_thumb": 6191,
    "right_index": 5782,
    "right_middle": 5905,
    "right_ring": 6016,
    "right_pinky": 6133,
}
"""Vertices of SMPL's surface that the smplx package gives as joints 24 to 44."""

_STEM = re.compile(
    r"(?P<hunter>megahunter_)?(?P<method>megasam|align3r|monst3r)_reconstruction_results_"
    r"(?P<video>.+)_(?P<camera>cam\d+)_frame_(?P<start>\d+)_(?P<end>-?\d+)"
    r"_subsample_(?P<stride>\d+)"
)
TRAPS = ("_cam", "_results_", "_frame_", "_subsample_")
"""What VideoMimic's programs split file names at, so that no video may have it in its name."""


@dataclass(frozen=True)
class Stem:
    """The parts of a file name of stages 1 and 2: frames `start` to `end` in steps of `stride`."""

    method: str
    video: str
    start: int
    end: int
    stride: int

    @classmethod
    def parse(cls, text):
        """From the name without its ending, None where it is no such name.

        The last `_camNN_frame_` counts, so that a video's own name may hold the same words.
        """
        found = _STEM.fullmatch(text)
        if found is None:
            return None
        method = "megasam" if found["method"] == "megasam" else "align3r"
        numbers = (int(found[key]) for key in ("start", "end", "stride"))
        return cls(method, found["video"], *numbers)

    def __str__(self):
        return (
            f"{self.method}_reconstruction_results_{self.video}_{CAMERA}"
            f"_frame_{self.start}_{self.end}_subsample_{self.stride}"
        )


def frame_number(stem):
    """The number of a frame from its name: 1 of `00001`, `frame_00001` or `mask_00001`; or None."""
    last = str(stem).rsplit("_", 1)[-1]
    return int(last) if last.isdecimal() else None


def frame_name(index):
    """The name of a clip's frame, index from 0."""
    return f"{index + 1:05d}"


def safe_name(video):
    """The name of a video without what would break VideoMimic's parsing of names."""
    for trap in TRAPS:
        video = video.replace(trap, trap.replace("_", "-"))
    return video


@dataclass
class Files:
    """What there is of one video. Dictionaries are by frame number, paths may be None."""

    video: str
    images: dict[int, Path] = field(default_factory=dict)
    clip: Path | None = None
    masks: dict[int, Path] = field(default_factory=dict)
    labels: dict[int, Path] = field(default_factory=dict)
    ranking: Path | None = None
    poses: dict[int, Path] = field(default_factory=dict)
    meshes: dict[int, Path] = field(default_factory=dict)
    betas: Path | None = None
    contacts: dict[int, Path] = field(default_factory=dict)
    world: Path | None = None
    hunter: Path | None = None
    calibrated: Path | None = None
    stem: Stem | None = None
    notes: list[str] = field(default_factory=list)
    """What is there and is not read."""


def videos(root):
    """Names of the videos below `root`, sorted. Raises PantographError where there are none."""
    found = set()
    for kind in ("images", "masks", "poses", "meshes", "contacts"):
        for folder in _places(root, kind):
            found |= {item.name for item in folder.iterdir() if item.is_dir()}
    for kind in ("megasam", "align3r", "hunter", "calibrated"):
        for folder in _places(root, kind):
            stems = (Stem.parse(_bare(item)) for item in folder.iterdir())
            found |= {stem.video for stem in stems if stem is not None}
    if not found:
        raise PantographError(
            f"{root}: expected VideoMimic's folders (input_images, input_masks, ..., "
            "output_calib_mesh) with at least one video, found none"
        )
    return sorted(found)


def find(root, video, method="megasam"):
    """The `Files` of a video below `root`; method: megasam or align3r, which is preferred."""
    files = Files(video)
    images = _camera(root, "images", video, files.notes)
    if images is not None:
        files.images = _numbered(images, (".jpg", ".jpeg", ".png"))
        clip = images.parent / CLIP
        files.clip = clip if clip.is_file() else None
    masks = _camera(root, "masks", video, files.notes)
    if masks is not None:
        files.masks = _numbered(masks / "mask_data", (".npz",))
        files.labels = _numbered(masks / "json_data", (".json",))
        ranking = masks / "meta_data.json"
        files.ranking = ranking if ranking.is_file() else None
    poses = _camera(root, "poses", video, files.notes)
    if poses is not None:
        files.poses = _numbered(poses, (".json",))
    meshes = _camera(root, "meshes", video, files.notes)
    if meshes is not None:
        files.meshes = _numbered(meshes, (".pkl",))
        known = [meshes / name for name in ("known_betas.json", "optimized_smpl_shape.json")]
        files.betas = next((path for path in known if path.is_file()), None)
    contacts = _camera(root, "contacts", video, files.notes)
    if contacts is not None:
        files.contacts = _numbered(contacts, (".pkl",))
    _find_stages(root, video, method, files)
    return files


def _find_stages(root, video, method, files):
    preferred = [method, "align3r" if method == "megasam" else "megasam"]
    for kind in preferred:
        if files.world is None:
            files.world = _newest(root, kind, video, files)
    files.stem = files.stem or (files.world and Stem.parse(files.world.stem))
    files.hunter = _newest(root, "hunter", video, files)
    files.calibrated = _newest(root, "calibrated", video, files)
    for path in (files.hunter, files.calibrated):
        if path is not None and files.stem is None:
            files.stem = Stem.parse(_bare(path))


def _newest(root, kind, video, files):
    """The newest file (folder, of `calibrated`) of a kind that belongs to a video, or None."""
    found = []
    for folder in _places(root, kind):
        for item in sorted(folder.iterdir()):
            stem = Stem.parse(_bare(item))
            if stem is None or stem.video != video:
                continue
            if kind != "calibrated" and item.suffix != ".h5":
                files.notes.append(f"{item.name}: expected .h5, left out")
            elif files.stem is None or stem == files.stem:
                found.append(item)
    found.sort(key=lambda item: item.stat().st_mtime)
    if len(found) > 1:
        files.notes.append(f"{len(found)} results of {kind}: {found[-1].name} is the newest")
    if found and files.stem is None:
        files.stem = Stem.parse(_bare(found[-1]))
    return found[-1] if found else None


def _bare(path):
    return path.stem if path.suffix in (".h5", ".pkl") else path.name


def _places(root, kind):
    return [Path(root) / name for name in FOLDERS[kind] if (Path(root) / name).is_dir()]


def _camera(root, kind, video, notes):
    for folder in _places(root, kind):
        whole = folder / video
        if (whole / CAMERA).is_dir():
            others = sorted(p.name for p in whole.glob("cam*") if p.name != CAMERA)
            if others:
                notes.append(f"{folder.name}/{video}: only {CAMERA} is read, not {others[0]}")
            return whole / CAMERA
        if whole.is_dir():
            return whole
    return None


def _numbered(folder, suffixes):
    if not folder.is_dir():
        return {}
    found = {}
    for path in sorted(folder.iterdir()):
        number = frame_number(path.stem)
        if path.suffix.lower() in suffixes and number is not None:
            found.setdefault(number, path)
    return found


# ---------------------------------------------------------------------------------------------
# attributes of HDF5 files


def text(value):
    """A string of a file, which may be bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)


def attribute(h5, path):
    """The value at `a/b` of an open file, None where there is none.

    VideoMimic's earlier stages put it on the root as attribute `/a/b`, its last one on group `a`
    as `b`; lists of strings may be a dataset as well.
    """
    path = path.strip("/")
    group, _, name = path.rpartition("/")
    for key in (f"/{path}", path):
        if key in h5.attrs:
            return h5.attrs[key]
    owner = h5.get(group) if group else h5
    for key in (name, f"/{name}"):
        if owner is not None and key in owner.attrs:
            return owner.attrs[key]
    found = h5.get(path)
    return found[()] if hasattr(found, "dtype") else None


def strings(h5, path):
    """A list of strings as in `attribute`, None where there is none."""
    found = attribute(h5, path)
    return None if found is None else [text(item) for item in np.ravel(found)]


def write_attribute(h5, path, value):
    """Write a value in both spellings, `path` on its group and `/path` on the root."""
    group, _, name = path.rpartition("/")
    h5.attrs[f"/{path}"] = value
    (h5[group] if group else h5).attrs[name] = value


def read_notes(h5):
    """Our own notes in an open file; {} where it is not one of ours."""
    return json.loads(text(h5.attrs.get(NOTES, "{}")))


def write_notes(h5, notes):
    """Put notes into an open file, where VideoMimic's programs pass over them."""
    h5.attrs[NOTES] = json.dumps(notes, sort_keys=True)
