"""The files that stages hand to one another.

Each product is a dataclass whose array fields carry their dtype, shape, unit and meaning. One
HDF5 file holds one product of one stage, video and route; `video.json` is the only JSON one.
`read()` checks everything a later stage relies on and says what it expected and what it found;
`write()` is atomic. Shapes use these letters: T frames of the clip, J keypoints, L bodies of the
robot, A actuated joints, C contacts, N points, B support boxes, V vertices, F faces. Per-person
arrays always have T rows; `valid` says which of them mean something.

A product with `status == "rejected"` carries a `reason` and no arrays.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from . import __version__
from .errors import ContractError

ACCEPTED = "accepted"
REJECTED = "rejected"


def array(shape, dtype, doc, optional=False, limits=None, lazy=False):
    """A dataclass field for an array: `shape` as in "T,J,2", `dtype` one of f2 f4 f8 i4 u1 ?.

    limits: smallest and largest value allowed. lazy: `read()` gives `Frames` instead of values.
    """
    metadata = {"shape": tuple(shape.split(",")), "dtype": dtype, "doc": doc, "optional": optional}
    return field(default=None, metadata={**metadata, "limits": limits, "lazy": lazy})


def names(axis, doc):
    """A dataclass field for the names along one axis, a list of strings."""
    return field(default=None, metadata={"names": axis, "doc": doc, "optional": False})


class Frames:
    """A large array of a file, `(T, ...)`, of which indexing by frame reads the asked rows.

    The index is what selects rows of an array: an integer, a slice, or an array of integers or
    bools. Raises ContractError if rows hold values that are not finite or beyond the limits of
    their field.
    """

    def __init__(self, dataset, spec, where):
        self.shape, self.dtype = dataset.shape, dataset.dtype
        self._file, self._name = dataset.file.filename, dataset.name
        self._spec, self._where = spec, where

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, index):
        rows = np.arange(len(self))[index]
        with h5py.File(self._file, "r") as h5:
            data = h5[self._name]
            out = np.empty(rows.shape + self.shape[1:], self.dtype)
            for place in np.ndindex(rows.shape):
                out[place] = data[rows[place]]
        _check_values(out, self._spec, f"{self._where}: {self._spec.name}")
        return out

    def __array__(self, dtype=None, copy=None):
        return self[:].astype(dtype or self.dtype)


# ---------------------------------------------------------------------------------------------
# per-person parts


@dataclass
class PersonTrack:
    """One person found by `segment`."""

    visible: np.ndarray = array("T", "?", "the person was found in the frame")
    boxes: np.ndarray = array("T,4", "f4", "x0 y0 x1 y1, px of the video; zeros where not visible")
    score: np.ndarray = array("T", "f4", "detection confidence in [0, 1]")
    masks: np.ndarray = array(
        "T,H,W8", "u1", "mask, bits packed along x (numpy.packbits), at mask_width x mask_height"
    )
    regions: np.ndarray | None = array(
        "T,4",
        "f4",
        "crop of the landmark model: centre x, y, side, all px of the video, and rotation in rad",
        optional=True,
    )


@dataclass
class PersonKeypoints:
    """Keypoints of one person."""

    visible: np.ndarray = array("T", "?", "keypoints exist in the frame")
    xy: np.ndarray = array("T,J,2", "f4", "position, px of the video")
    score: np.ndarray = array("T,J", "f4", "confidence in [0, 1]; 0 outside the frame")
    landmarks3d: np.ndarray | None = array(
        "T,J,3",
        "f4",
        "metres, mid-hip at 0, in the axes of a camera that looks at the person's crop: x right, "
        "y down, z away; not yet turned by the viewing ray",
        optional=True,
    )


@dataclass
class PersonBody:
    """SMPL parameters of one person; the frame (camera or world) is that of the product."""

    valid: np.ndarray = array("T", "?", "the parameters describe this frame")
    confidence: np.ndarray = array("T", "f4", "in [0, 1]")
    global_orient: np.ndarray = array("T,3,3", "f4", "rotation of the pelvis")
    body_pose: np.ndarray = array("T,23,3,3", "f4", "rotations of joints 1 to 23 to their parents")
    betas: np.ndarray = array("10", "f4", "SMPL shape coefficients, one set for the clip")
    transl: np.ndarray = array("T,3", "f4", "position of the pelvis joint, m")
    joints: np.ndarray = array("T,24,3", "f4", "the 24 SMPL joints, m, in the same frame")
    reprojection: np.ndarray | None = array(
        "T", "f4", "mean distance of projected joints to keypoints, px of the video", optional=True
    )


@dataclass
class PersonContacts:
    """Contact of one person's feet with the scene."""

    valid: np.ndarray = array("T", "?", "contact was judged in the frame")
    contact: np.ndarray = array("T,C", "?", "touches and stays")
    probability: np.ndarray = array("T,C", "f4", "in [0, 1]")


@dataclass
class PersonMotion:
    """Robot motion that follows one person."""

    valid: np.ndarray = array("T", "?", "frames that belong to the motion")
    root_pos: np.ndarray = array("T,3", "f4", "root body, world, m")
    root_quat: np.ndarray = array("T,4", "f4", "root body, world, wxyz")
    joints: np.ndarray = array("T,A", "f4", "rad, in the order of joint_names")
    link_pos: np.ndarray = array("T,L,3", "f4", "every body, world, m")
    link_quat: np.ndarray = array("T,L,4", "f4", "every body, world, wxyz")
    contact: np.ndarray = array("T,C", "?", "foot contact that the motion was asked to keep")
    error: np.ndarray = array("T", "f4", "mean distance to the scaled human, m, valid frames only")


# ---------------------------------------------------------------------------------------------
# products


@dataclass
class Product:
    """What every file says about itself."""

    status: str = ACCEPTED
    reason: str = ""
    method: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    source_sha256: str = ""
    dropped: dict[str, str] = field(default_factory=dict)
    """People (or parts) left out so far, with the reason, e.g. {"3": "seen in 4 frames"}."""
    stats: dict[str, Any] = field(default_factory=dict)
    """Numbers worth showing; each key ends with its unit, e.g. `angle_deg`."""

    SCHEMA = "product"
    VERSION = 1
    PERSON = None

    @property
    def rejected(self):
        return self.status == REJECTED

    @classmethod
    def rejection(cls, reason, **meta):
        """A product that says why there is none."""
        return cls(status=REJECTED, reason=str(reason), **meta)

    def write(self, path):
        """Check and write atomically to `path`."""
        self.validate(str(path))
        atomic_write(path, self._write_h5)

    @classmethod
    def read(cls, path):
        """Read and check `path`.

        Raises ContractError if the file is missing, is of another schema or version, or holds
        an array with another shape or dtype, or with values that are not finite.
        """
        path = Path(path)
        if not path.is_file():
            raise ContractError(f"{path}: no such file; run the stage that makes it first")
        try:
            with h5py.File(path, "r") as h5:
                product = cls._read_h5(h5, str(path))
        except OSError as error:
            raise ContractError(
                f"{path}: not a readable HDF5 file ({error}); delete it and run again"
            ) from error
        product.validate(str(path))
        return product

    # -- checks

    def validate(self, where):
        """Raise ContractError unless all arrays have their shape, dtype and finite values."""
        if self.status not in (ACCEPTED, REJECTED):
            raise ContractError(
                f"{where}: expected status accepted or rejected, found {self.status!r}"
            )
        if self.rejected:
            if not self.reason:
                raise ContractError(f"{where}: a rejected product needs a reason")
            return
        sizes: dict[str, int] = {}
        _check_fields(self, where, "", sizes)
        for pid in sorted(getattr(self, "people", {}) or {}):
            person = self.people[pid]
            if not isinstance(pid, int):
                raise ContractError(f"{where}: person id {pid!r} is not an integer")
            _check_fields(person, where, f"people/{pid}/", sizes)

    # -- storage

    def _write_h5(self, path):
        # `track_order` and no time stamps: the same product gives the same bytes
        with h5py.File(path, "w", track_order=True) as h5:
            h5.attrs["schema"] = self.SCHEMA
            h5.attrs["schema_version"] = self.VERSION
            h5.attrs["pantograph_version"] = __version__
            for key, value in self._meta().items():
                h5.attrs[key] = json.dumps(value, sort_keys=True) if _is_json(value) else value
            if self.rejected:
                return
            _write_fields(h5, self)
            for pid in sorted(getattr(self, "people", {}) or {}):
                _write_fields(h5.create_group(f"people/{pid}"), self.people[pid])

    @classmethod
    def _read_h5(cls, h5, where):
        schema = h5.attrs.get("schema")
        if schema != cls.SCHEMA:
            raise ContractError(f"{where}: expected schema {cls.SCHEMA!r}, found {schema!r}")
        version = int(h5.attrs.get("schema_version", 0))
        if version != cls.VERSION:
            raise ContractError(
                f"{where}: expected version {cls.VERSION} of {cls.SCHEMA!r}, found {version}; "
                "delete the file and run again"
            )
        values = {}
        for spec in _meta_fields(cls):
            if spec.name in h5.attrs:
                raw = h5.attrs[spec.name]
                values[spec.name] = _from_attr(raw, spec)
        product = cls(**values)
        if not product.rejected:
            _read_fields(h5, product, where)
            if cls.PERSON is not None:
                group = h5.get("people", {})
                product.people = {}
                for pid in sorted(group, key=int):
                    person = cls.PERSON()
                    _read_fields(group[pid], person, f"{where}: people/{pid}")
                    product.people[int(pid)] = person
        return product

    def _meta(self):
        return {spec.name: getattr(self, spec.name) for spec in _meta_fields(type(self))}


@dataclass
class People(Product):
    """`people.h5`: who is where. Persons are ranked by their average mask area."""

    frame_count: int = 0
    mask_width: int = 0
    mask_height: int = 0
    ranking: list[int] = field(default_factory=list)
    people: dict[int, PersonTrack] = field(default_factory=dict)
    SCHEMA = "people"
    PERSON = PersonTrack

    def mask(self, pid, frame):
        """The mask of a person in a frame, bool (mask_height, mask_width)."""
        bits = np.unpackbits(self.people[pid].masks[frame], axis=-1)
        return bits[:, : self.mask_width].astype(bool)


@dataclass
class Keypoints(Product):
    """`keypoints.h5`: named keypoints per person and frame."""

    keypoint_names: list[str] = names("J", "names along axis J")
    people: dict[int, PersonKeypoints] = field(default_factory=dict)
    SCHEMA = "keypoints"
    PERSON = PersonKeypoints


@dataclass
class Body(Product):
    """`body.h5`: SMPL per person in the frame of each frame's own camera."""

    body_model: str = "builtin"
    intrinsics: np.ndarray = array("3,3", "f4", "camera matrix that transl was solved with, px")
    people: dict[int, PersonBody] = field(default_factory=dict)
    SCHEMA = "body"
    PERSON = PersonBody


@dataclass
class Contacts(Product):
    """`contacts.h5`."""

    contact_names: list[str] = names("C", "names along axis C")
    people: dict[int, PersonContacts] = field(default_factory=dict)
    SCHEMA = "contacts"
    PERSON = PersonContacts


@dataclass
class Scene(Product):
    """`scene.h5`: the cameras and what stands still, in the axes of the first camera.

    camera_model is "static", "rotation" (turns on the spot) or "sfm" (travels); only the last
    has points, and its unit is arbitrary unless `metric`.

    Depth maps cover the whole picture, people included, with h x w cells. Cell (row, column) is
    at pixel ((column + 0.5) width / w, (row + 0.5) height / h), so that its camera matrix is
    `intrinsics` with the first row times w / width and the second times h / height. A value z is
    the point z K^-1 (x, y, 1) in the camera's axes, in the unit of `cam2world`. `read()` leaves
    depth in the file (`Frames`).
    """

    camera_model: str = ""
    metric: bool = False
    intrinsics: np.ndarray = array("T,3,3", "f4", "camera matrix per frame, px of the video")
    cam2world: np.ndarray = array("T,4,4", "f4", "camera pose per frame")
    points: np.ndarray = array("N,3", "f4", "static points, world")
    colors: np.ndarray = array("N,3", "u1", "RGB of the points")
    depth: np.ndarray | Frames | None = array(
        "T,h,w",
        "f2",
        "distance along the camera's z; 0 where unknown",
        optional=True,
        limits=(0, 65504),
        lazy=True,
    )
    depth_confidence: np.ndarray | Frames | None = array(
        "T,h,w", "f2", "in [0, 1]", optional=True, limits=(0, 1), lazy=True
    )
    SCHEMA = "scene"


@dataclass
class World(Product):
    """`world.h5`: people, cameras and points in one metric world.

    Axes are those of `scene.h5` (first camera). `scale` is metres per unit of the scene.
    """

    camera_model: str = ""
    scale: float = 1.0
    scale_source: str = ""
    """What fixed the scale: "height", "betas", "robot" (its size) or "landmarks"."""
    body_model: str = "builtin"
    intrinsics: np.ndarray = array("T,3,3", "f4", "camera matrix per frame, px of the video")
    cam2world: np.ndarray = array("T,4,4", "f4", "camera pose per frame, m")
    points: np.ndarray = array("N,3", "f4", "static points, m")
    colors: np.ndarray = array("N,3", "u1", "RGB of the points")
    people: dict[int, PersonBody] = field(default_factory=dict)
    SCHEMA = "world"
    PERSON = PersonBody


@dataclass
class Gravity(World):
    """`gravity.h5`: the same as `world.h5`, turned so that +Z is up and the floor is z = 0.

    x_gravity = rotation @ x_world + translation.
    """

    rotation: np.ndarray = array("3,3", "f4", "from world to gravity world")
    translation: np.ndarray = array("3", "f4", "from world to gravity world, m")
    SCHEMA = "gravity"


@dataclass
class Mesh(Product):
    """`mesh.h5`: a watertight collision mesh, in the gravity world."""

    vertices: np.ndarray = array("V,3", "f4", "m")
    faces: np.ndarray = array("F,3", "i4", "outward, counter-clockwise")
    boxes: np.ndarray = array(
        "B,7", "f4", "support boxes: centre x y z, full sizes x y z (m), yaw (rad)"
    )
    box_names: list[str] = names("B", "what each box supports, e.g. floor, seat, step")
    SCHEMA = "mesh"


@dataclass
class Motion(Product):
    """`motion_<robot>.h5`: what the robot does, in the gravity world."""

    robot: str = ""
    fps: float = 0.0
    world_scale: float = 1.0
    """Robot world over gravity world: multiply the human's scene by it before placing the robot."""
    joint_names: list[str] = names("A", "names along axis A")
    body_names: list[str] = names("L", "names along axis L")
    contact_names: list[str] = names("C", "names along axis C")
    people: dict[int, PersonMotion] = field(default_factory=dict)
    SCHEMA = "motion"
    PERSON = PersonMotion


@dataclass
class Video(Product):
    """`video.json`: the clip as later stages see it: upright, at a constant frame rate.

    Frame k of the clip is decoded frame `source_frames[k]` of the file, shown at
    `source_times[k]` seconds; a variable frame rate is resampled to `fps` by picking, for each
    tick, the frame on show.
    """

    name: str = ""
    path: str = ""
    fps: float = 0.0
    width: int = 0
    height: int = 0
    rotation: int = 0
    """Clockwise turn, degrees, that makes the stored picture upright."""
    variable_frame_rate: bool = False
    source_fps: float = 0.0
    source_frames: list[int] = field(default_factory=list)
    source_times: list[float] = field(default_factory=list)
    focal_px: float = 0.0
    """0 where the user gave none."""
    person_height: list[float] = field(default_factory=list)
    """Known statures, m, of the people by rank; empty where unknown."""
    person_betas: list[list[float]] = field(default_factory=list)
    """Known SMPL shapes (10 numbers each) of the people by rank; empty where unknown."""
    people_limit: int = 0
    """How many people to keep; 0 for all."""
    text: str = ""
    SCHEMA = "video"

    @property
    def frame_count(self):
        return len(self.source_frames)

    def validate(self, where):
        if self.rejected:
            return super().validate(where)
        if not (self.fps > 0 and self.width > 0 and self.height > 0 and self.source_frames):
            raise ContractError(
                f"{where}: expected fps, width, height > 0 and at least one frame, found "
                f"{self.fps}, {self.width}, {self.height} and {len(self.source_frames)}"
            )
        if len(self.source_times) != len(self.source_frames):
            raise ContractError(
                f"{where}: expected {len(self.source_frames)} source_times, "
                f"found {len(self.source_times)}"
            )
        if np.any(np.diff(self.source_times) < 0):
            raise ContractError(f"{where}: source_times go back in time")

    def write(self, path):
        self.validate(str(path))
        content = {"schema": self.SCHEMA, "schema_version": self.VERSION}
        content["pantograph_version"] = __version__
        content.update(self._meta())
        text = json.dumps(content, indent=1, ensure_ascii=False)
        atomic_write(path, lambda temporary: Path(temporary).write_text(text, encoding="utf-8"))

    @classmethod
    def read(cls, path):
        path = Path(path)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ContractError(f"{path}: not a readable video.json ({error})") from error
        if not isinstance(content, dict):
            raise ContractError(f"{path}: not a readable video.json (expected an object)")
        if content.get("schema") != cls.SCHEMA or content.get("schema_version") != cls.VERSION:
            raise ContractError(
                f"{path}: expected schema 'video' version {cls.VERSION}, "
                f"found {content.get('schema')!r} version {content.get('schema_version')!r}"
            )
        known = {spec.name for spec in _meta_fields(cls)}
        video = cls(**{key: value for key, value in content.items() if key in known})
        video.validate(str(path))
        return video


PRODUCTS = {
    cls.SCHEMA: cls
    for cls in (Video, People, Keypoints, Body, Contacts, Scene, World, Gravity, Mesh, Motion)
}


# ---------------------------------------------------------------------------------------------
# helpers


def atomic_write(path, write):
    """Call `write(temporary_path)`, flush it to disk and move it to `path`.

    A reader sees the old file or the new one, never a part; an interrupted write leaves no trace
    under the final name. What a killed process left of it is removed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path)
    handle, temporary = tempfile.mkstemp(dir=str(path.parent), prefix=unfinished(path))
    os.close(handle)
    try:
        write(temporary)
        with open(temporary, "rb") as stream:
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


def unfinished(path):
    """How the names of unfinished versions of a file or folder start: they tell who writes them."""
    return f".{Path(path).name}.{platform.node()}-{os.getpid()}."


def sweep(path):
    """Remove unfinished versions of a file or folder whose writers, on this machine, are gone."""
    path = Path(path)
    start = f".{path.name}."
    for entry in os.scandir(str(path.parent)):
        if not entry.name.startswith(start):
            continue
        node, _, pid = entry.name[len(start) :].rpartition(".")[0].rpartition("-")
        if node != platform.node() or not pid.isdigit() or _runs(int(pid)):
            continue
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, ignore_errors=True)
        elif os.path.exists(entry.path):
            os.unlink(entry.path)


def _runs(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def sha256(path):
    """Hex digest of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def pack_mask(mask):
    """Pack a bool mask (H, W) into the bytes stored in `PersonTrack.masks`, (H, ceil(W / 8))."""
    return np.packbits(np.asarray(mask, bool), axis=-1)


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _array_fields(instance):
    return [f for f in dataclasses.fields(instance) if "shape" in f.metadata]


def _name_fields(instance):
    return [f for f in dataclasses.fields(instance) if "names" in f.metadata]


def _meta_fields(cls):
    return [
        f
        for f in dataclasses.fields(cls)
        if "shape" not in f.metadata and "names" not in f.metadata and f.name != "people"
    ]


def _is_json(value):
    return isinstance(value, (dict, list, tuple))


def _from_attr(raw, spec):
    default = spec.default if spec.default is not dataclasses.MISSING else spec.default_factory()
    if isinstance(default, (dict, list)):
        return json.loads(raw)
    if isinstance(raw, bytes):
        raw = raw.decode()
    return type(default)(raw)


def _check_fields(owner, where, prefix, sizes):
    for spec in _name_fields(owner):
        value = getattr(owner, spec.name)
        if value is None:
            raise ContractError(f"{where}: {prefix}{spec.name} is missing")
        _check_size(sizes, spec.metadata["names"], len(value), f"{where}: {prefix}{spec.name}")
    for spec in _array_fields(owner):
        value = getattr(owner, spec.name)
        label = f"{where}: {prefix}{spec.name}"
        if value is None:
            if spec.metadata["optional"]:
                continue
            raise ContractError(f"{label} is missing")
        if not isinstance(value, Frames):
            value = np.asarray(value)
        expected = spec.metadata["shape"]
        text = "(" + ", ".join(expected) + ")"
        if len(value.shape) != len(expected):
            raise ContractError(f"{label}: expected shape {text}, found {value.shape}")
        for axis, letter in enumerate(expected):
            size = value.shape[axis]
            if letter.isdigit():
                if size != int(letter):
                    raise ContractError(f"{label}: expected shape {text}, found {value.shape}")
            else:
                _check_size(sizes, letter, size, label)
        dtype = np.dtype(spec.metadata["dtype"])
        if value.dtype.kind != dtype.kind and not (dtype.kind == "f" and value.dtype.kind in "iu"):
            raise ContractError(f"{label}: expected dtype {dtype}, found {value.dtype}")
        if not isinstance(value, Frames):
            _check_values(value, spec, label)


def _check_values(value, spec, label):
    if value.dtype.kind == "f" and not np.all(np.isfinite(value)):
        count = int(np.size(value) - np.isfinite(value).sum())
        raise ContractError(f"{label}: expected finite values, found {count} that are not")
    if spec.metadata["limits"] and value.size:
        low, high = spec.metadata["limits"]
        if value.min() < low or value.max() > high:
            raise ContractError(
                f"{label}: expected values from {low} to {high}, "
                f"found {value.min():g} to {value.max():g}"
            )


def _check_size(sizes, letter, size, label):
    expected = sizes.setdefault(letter, size)
    if size != expected:
        raise ContractError(f"{label}: expected {letter} = {expected}, found {size}")


def _write_fields(group, owner):
    for spec in _name_fields(owner):
        group.attrs[spec.name] = json.dumps(list(getattr(owner, spec.name)))
    for spec in _array_fields(owner):
        value = getattr(owner, spec.name)
        if value is None:
            continue
        dtype = np.dtype(spec.metadata["dtype"])
        options: dict[str, Any] = {"shape": value.shape, "dtype": dtype, "track_times": False}
        if int(np.prod(value.shape)) * dtype.itemsize > 4096:
            options.update(compression="gzip", compression_opts=4, shuffle=True)
            if spec.name == "masks" or spec.metadata["lazy"]:
                options["chunks"] = (1,) + tuple(value.shape[1:])
        if spec.metadata["lazy"]:
            dataset = group.create_dataset(spec.name, **options)
            for t in range(len(value)):
                dataset[t] = value[t]
        else:
            value = np.ascontiguousarray(np.asarray(value, dtype=dtype))
            group.create_dataset(spec.name, data=value, **options)


def _read_fields(group, owner, where):
    for spec in _name_fields(owner):
        if spec.name not in group.attrs:
            raise ContractError(f"{where}: {spec.name} is missing")
        setattr(owner, spec.name, json.loads(group.attrs[spec.name]))
    for spec in _array_fields(owner):
        if spec.name in group:
            stored = group[spec.name]
            lazy = spec.metadata["lazy"]
            setattr(owner, spec.name, Frames(stored, spec, where) if lazy else stored[...])
