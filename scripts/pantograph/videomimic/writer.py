"""Write the products of one video as VideoMimic's files of every stage."""

from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path

import cv2
import h5py
import numpy as np

from .. import camera, ground, landmarks, megasam, meshing, pointfilter
from ..contracts import (
    Body,
    Contacts,
    Gravity,
    Keypoints,
    Mesh,
    Motion,
    People,
    Scene,
    Video,
    World,
    atomic_write,
)
from ..conventions import COCO_WHOLEBODY
from ..errors import PantographError
from ..export import videomimic as replay
from ..export.trajectory import Trajectory
from ..video import frames
from . import layout, pictures
from .surface_points import joints45

FAR = 100.0
"""Depth of what a ray never meets, and the largest that VideoMimic writes."""

NEAR_PEOPLE = 4.0
"""How far from people the points of the more filtered cloud lie, m."""

OTHERS = {
    "left_mouth_corner": "mouth_left",
    "right_mouth_corner": "mouth_right",
}
"""What MediaPipe calls keypoints of COCO-WholeBody, beside `landmarks.OTHER_NAMES`."""


@dataclasses.dataclass
class Products:
    """What there is of a video, each None where a stage has not run or has rejected it."""

    video: Video
    people: People | None = None
    keypoints: Keypoints | None = None
    scene: Scene | None = None
    body: Body | None = None
    contacts: Contacts | None = None
    world: World | None = None
    gravity: Gravity | None = None
    mesh: Mesh | None = None
    motion: Motion | None = None

    @classmethod
    def read(cls, folder, robot="g1"):
        """From results/<route>/<video>; also why a stage is missing: (Products, notes).

        Raises PantographError where there is no video.json or it is rejected.
        """
        folder = Path(folder)
        video = Video.read(folder / "video.json")
        if video.rejected:
            raise PantographError(f"{folder.name}: the video was rejected: {video.reason}")
        found, notes = {"video": video}, []
        classes = (People, Keypoints, Scene, Body, Contacts, World, Gravity, Mesh, Motion)
        for product in classes:
            name = product.SCHEMA
            path = folder / (f"motion_{robot}.h5" if name == "motion" else f"{name}.h5")
            if not path.is_file():
                notes.append(f"{path.name} is not there")
                continue
            found[name] = product.read(path)
            if found[name].rejected:
                notes.append(f"{path.name} is rejected: {found[name].reason}")
                found[name] = None
        if found.get("world") is None:
            found.update(gravity=None, mesh=None, motion=None)
        elif found.get("gravity") is None:
            found.update(mesh=None, motion=None)
        return cls(**found), notes


class Writer:
    """Writes the layout below `root`; model: the BodyModel of the products.

    `notes` says what is missing or put in the place of something else.
    """

    def __init__(self, products, root, model, articulation=None):
        self.products, self.root, self.model = products, Path(root), model
        self.articulation = articulation
        self.notes = []
        self.name = layout.safe_name(products.video.name)
        if self.name != products.video.name:
            self.notes.append(
                f"named {self.name!r}: VideoMimic cannot parse {products.video.name!r}"
            )
        scene = products.scene
        method = "align3r" if scene is not None and scene.method == "align3r" else "megasam"
        count = products.video.frame_count
        self.stem = layout.Stem(method, self.name, 0, count, 1)
        self.factor = products.motion.world_scale if products.motion is not None else 1.0

    def write(self):
        """Write everything that the products allow; what was written, as folder names."""
        done = []
        parts = self.products
        steps = (
            ("images", True, self._pictures),
            ("masks", parts.people, self._masks),
            ("poses", parts.keypoints, self._poses),
            ("meshes", parts.body, self._meshes),
            ("contacts", parts.contacts, self._contacts),
            (self.stem.method, parts.scene, self._stages),
            ("calibrated", parts.gravity, self._calibrated),
        )
        for kind, product, step in steps:
            if product is not None and step() is not False:
                done.append(layout.FOLDERS[kind][0])
                if kind == self.stem.method and parts.world is not None:
                    done.append(layout.FOLDERS["hunter"][0])
        return done

    def _folder(self, kind, *parts):
        folder = self.root.joinpath(layout.FOLDERS[kind][0], *parts)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    # -- stage 0

    def _pictures(self):
        video = self.products.video
        folder = self._folder("images", self.name, layout.CAMERA)
        for k, rgb in frames(video):
            pictures.write_jpeg(folder / f"{layout.frame_name(k)}.jpg", rgb)
        video.write(folder.parent / layout.CLIP)

    def _masks(self):
        people, video = self.products.people, self.products.video
        folder = self._folder("masks", self.name, layout.CAMERA)
        for part in ("mask_data", "json_data"):
            (folder / part).mkdir(exist_ok=True)
        shape = (video.height, video.width)
        index = pictures.nearest((people.mask_height, people.mask_width), shape)
        areas, counts, scores = {}, {}, {}
        for k in range(people.frame_count):
            whole = np.zeros(shape, np.uint16)
            # the largest last, as VideoMimic's later people cover earlier ones
            for pid in people.ranking[::-1]:
                if people.people[pid].visible[k]:
                    whole[people.mask(pid, k)[index]] = pid
            labels = {}
            for pid in people.ranking:
                if not people.people[pid].visible[k]:
                    continue
                mask = whole == pid
                score = float(people.people[pid].score[k])
                labels[str(pid)] = _label(pid, mask, score, video.text)
                areas.setdefault(pid, {})[k] = int(mask.sum())
                counts[pid] = counts.get(pid, 0) + 1
                scores[pid] = max(scores.get(pid, 0.0), score)
            name = f"mask_{layout.frame_name(k)}"
            np.savez_compressed(folder / "mask_data" / f"{name}.npz", mask=whole)
            area = {pid: found[k] for pid, found in areas.items() if k in found}
            content = {
                "mask_name": f"{name}.npy",
                "mask_height": video.height,
                "mask_width": video.width,
                "promote_type": "mask",
                "labels": labels,
                "area_ranking": sorted(area, key=lambda pid: -area[pid]),
                "areas": {str(pid): value for pid, value in area.items()},
            }
            _write_json(folder / "json_data" / f"{name}.json", content)
        content = _ranking(people, areas, counts, scores)
        content[layout.NOTES] = {"mask_size": [people.mask_width, people.mask_height]}
        _write_json(folder / "meta_data.json", content)

    def _poses(self):
        keypoints, people = self.products.keypoints, self.products.people
        folder = self._folder("poses", self.name, layout.CAMERA)
        source, target = coco_columns(keypoints.keypoint_names)
        if list(keypoints.keypoint_names) != list(COCO_WHOLEBODY):
            self.notes.append(
                f"input_2d_poses: {len(target)} of 133 keypoints are known, the others are zeros"
            )
        for k in range(self.products.video.frame_count):
            found = {}
            for pid, person in keypoints.people.items():
                if not person.visible[k]:
                    continue
                rows = np.zeros((len(COCO_WHOLEBODY), 3))
                # pixel centres are at whole numbers there
                rows[target, :2] = person.xy[k, source] - 0.5
                rows[target, 2] = person.score[k, source]
                box = np.zeros(5)
                if people is not None and pid in people.people and people.people[pid].visible[k]:
                    track = people.people[pid]
                    # the far edges are inclusive there
                    box[:4] = track.boxes[k] - [0, 0, 1, 1]
                    box[4] = track.score[k]
                found[str(pid)] = {"bbox": box.tolist(), "keypoints": rows.tolist()}
            if found:
                _write_json(folder / f"pose_{layout.frame_name(k)}.json", found)

    def _meshes(self):
        body = self.products.body
        folder = self._folder("meshes", self.name, layout.CAMERA)
        if body.body_model == "builtin":
            self.notes.append(
                "betas are those of the built-in body, which VideoMimic's SMPL does not know; "
                "run with body_model for bodies of the same shape there"
            )
        for k in range(self.products.video.frame_count):
            found = {}
            for pid, person in body.people.items():
                if person.valid[k]:
                    found[pid] = {
                        "smpl_params": {
                            "global_orient": np.float32(person.global_orient[k][None]),
                            "body_pose": np.float32(person.body_pose[k]),
                            "betas": np.float32(person.betas),
                        },
                        "transl": np.float32(person.transl[k]),
                        "body_model": body.body_model,
                    }
            if found:
                _write_pickle(folder / f"smpl_params_{layout.frame_name(k)}.pkl", found)

    def _contacts(self):
        contacts, body = self.products.contacts, self.products.body
        folder = self._folder("contacts", self.name, layout.CAMERA)
        for k in range(self.products.video.frame_count):
            found = {}
            for pid, person in contacts.people.items():
                shown = body is not None and pid in body.people and body.people[pid].valid[k]
                if not person.valid[k] and not shown:
                    continue
                feet = {}
                for foot in ("left_foot", "right_foot"):
                    column = contacts.contact_names.index(foot)
                    feet[f"{foot}_contact"] = np.bool_(person.contact[k, column])
                    feet[f"{foot}_probability"] = float(person.probability[k, column])
                found[pid] = {
                    "frame_contact_vertices": np.zeros((6890, 1), np.float32),
                    **feet,
                    "judged": bool(person.valid[k]),
                }
            # a missing file would cost VideoMimic the contacts of the whole clip
            _write_pickle(folder / f"{layout.frame_name(k)}.pkl", found)

    # -- stages 1 to 3, frame by frame

    def _stages(self):
        parts = self.products
        depth = Depth.of(parts)
        if depth is None:
            self.notes.append(
                f"{layout.FOLDERS[self.stem.method][0]}: the scene has no depth maps, and "
                "without gravity.h5 and mesh.h5 none can be made from floor and supports"
            )
            return False
        if depth.of_supports:
            self.notes.append("depth maps are those of the floor and the supports of mesh.h5")
        folder = self._folder(self.stem.method)
        notes = {
            "camera_model": parts.scene.camera_model,
            "depth_of": "supports" if depth.of_supports else "scene",
        }
        worlds = [(folder / f"{self.stem}.h5", "monst3r_ga_output", np.float64, notes)]
        if parts.world is not None:
            folder = self._folder("hunter")
            path = folder / f"megahunter_{self.stem}.h5"
            worlds.append((path, layout.FRAMES, np.float64, self._world_notes(parts.world)))
        if parts.gravity is not None:
            path = self._calibrated_folder() / layout.HUNTER_FILE
            notes = {**self._world_notes(parts.gravity), "world_scale_factor": self.factor}
            worlds.append((path, layout.FRAMES, np.float32, notes))
        self._write_worlds(worlds, depth)

    def _world_notes(self, world):
        return {
            "scale": float(world.scale),
            "scale_source": world.scale_source,
            "camera_model": world.camera_model,
            "body_model": world.body_model,
        }

    def _calibrated_folder(self):
        return self._folder("calibrated", f"megahunter_{self.stem}")

    def _write_worlds(self, worlds, depth):
        partial = [path.with_name(f".{path.name}.part") for path, *_ in worlds]
        # with `track_order` an attribute may be longer than 64 KiB, as lists of frames are
        files = [h5py.File(path, "w", track_order=True) for path in partial]
        try:
            for k, rgb in frames(self.products.video):
                common = self._frame(k, rgb, depth)
                for stage, (h5, (_, tree, kind, _)) in enumerate(zip(files, worlds, strict=True)):
                    group = h5.create_group(f"{tree}/{layout.frame_name(k)}")
                    pose, unit = self._pose(stage, k, depth)
                    local = _backproject(common["depths"], common["intrinsic"]) * unit
                    group["pts3d"] = camera.to_world(pose, local).astype(kind)
                    group["cam2world"] = np.float32(pose)
                    for key, value in common.items():
                        group[key] = np.float32(value) if stage == 2 and _is_real(value) else value
            for stage, (h5, (*_, notes)) in enumerate(zip(files, worlds, strict=True)):
                layout.write_notes(h5, notes)
                if stage > 0:
                    self._write_humans(h5, stage)
        finally:
            for h5 in files:
                h5.close()
        for path, (target, *_) in zip(partial, worlds, strict=True):
            path.replace(target)

    def _frame(self, k, rgb, depth):
        """What is the same in every stage."""
        parts = self.products
        values = depth.at(k)
        height, width = values.shape
        size = (parts.video.width, parts.video.height)
        intrinsic = pointfilter.cell_intrinsics(parts.scene.intrinsics[k], size, (height, width))
        intrinsic[:2, 2] -= 0.5
        known = values > 0
        sure = np.ones(values.shape)
        if parts.scene.depth_confidence is not None:
            # DUSt3R's confidence, from 1 up
            sure = 1 / (1 - np.clip(np.float32(parts.scene.depth_confidence[k]), 0, 0.999))
        people = np.zeros(values.shape, bool)
        if parts.people is not None:
            people = pointfilter.person_mask(parts.people, k, values.shape)
        return {
            "rgbimg": cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA),
            "intrinsic": np.float32(intrinsic),
            "depths": np.where(known, np.clip(values, 1e-3, FAR), 0).astype(np.float16),
            "msk": known.astype(np.float16),
            "conf": np.where(known, sure, 0).astype(np.float16),
            "dynamic_msk": people,
            "affine_matrix": np.array([[size[0] / width, 0, 0], [0, size[1] / height, 0]]),
        }

    def _pose(self, stage, k, depth):
        """The camera's pose (4, 4) in the world of a stage, and its unit over that of the depth."""
        parts = self.products
        if stage == 0:
            return np.float64(parts.scene.cam2world[k]), 1.0
        if stage == 1:
            return np.float64(parts.world.cam2world[k]), depth.scale
        pose = np.float64(parts.gravity.cam2world[k])
        pose[:3, 3] = self._calibrate(pose[:3, 3])
        return pose, depth.scale * self.factor

    def _calibrate(self, points):
        """Points (..., 3) of our gravity world in VideoMimic's, whose origin is the first camera
        and whose unit is the robot's world."""
        return self.factor * (np.asarray(points, float) - self.products.gravity.translation)

    def _write_humans(self, h5, stage):
        world = self.products.world if stage == 1 else self.products.gravity
        h5.create_group(layout.FRAME_LIST)
        for pid, person in world.people.items():
            rows = np.flatnonzero(person.valid)
            if len(rows) == 0:
                continue
            transl = np.float64(person.transl[rows])
            transl = transl if stage == 1 else self._calibrate(transl)
            group = h5.create_group(f"{layout.HUMANS}/{pid}")
            group["body_pose"] = np.float32(person.body_pose[rows])
            group["global_orient"] = np.float32(person.global_orient[rows][:, None])
            group["root_transl"] = np.float32(transl[:, None])
            group["betas"] = np.float32(np.tile(person.betas, (len(rows), 1)))
            names = np.array([[layout.frame_name(k)] for k in rows], object)
            if stage == 1:
                strings = h5py.string_dtype()
                h5.attrs.create(f"/{layout.FRAME_LIST}/{pid}", names, dtype=strings)
            else:
                h5[layout.FRAME_LIST].create_dataset(
                    str(pid), data=names, dtype=h5py.string_dtype()
                )

    # -- the rest of stage 3, and stage 4

    def _calibrated(self):
        parts, folder = self.products, self._calibrated_folder()
        gravity = parts.gravity
        notes = {
            "translation": [float(v) for v in gravity.translation],
            "world_scale_factor": self.factor,
            "points": len(gravity.points),
        }
        if parts.mesh is not None:
            notes["boxes"] = np.asarray(parts.mesh.boxes, float).tolist()
            notes["box_names"] = list(parts.mesh.box_names)

        def save(temporary):
            with h5py.File(temporary, "w", track_order=True) as h5:
                for pid, person in gravity.people.items():
                    rows = np.flatnonzero(person.valid)
                    if len(rows) == 0:
                        continue
                    found = self._calibrate(joints45(self.model, person, rows))
                    h5[f"joints/{pid}"] = np.float32(found)
                    orient = person.global_orient[rows][:, None]
                    h5[f"root_orient/{pid}"] = np.float32(orient)
                h5["world_rotation"] = np.float32(gravity.rotation)
                layout.write_attribute(h5, "joint_names", list(layout.SMPL_45))
                layout.write_notes(h5, notes)

        atomic_write(folder / layout.KEYPOINTS_FILE, save)
        self.notes.append(
            "joints 24 to 44 are vertices of "
            + ("the built-in body" if self.model.name == "builtin" else f"SMPL {self.model.name}")
        )
        self._write_clouds(folder)
        if parts.mesh is not None:
            solid = dataclasses.replace(
                parts.mesh, vertices=self._calibrate(parts.mesh.vertices), box_names=[]
            )
            meshing.write_obj(solid, folder / layout.MESH_FILE, by_box=False)
        if parts.motion is not None:
            self._write_motion(folder)

    def _write_clouds(self, folder):
        import trimesh

        gravity, mesh = self.products.gravity, self.products.mesh
        points, colors = np.float64(gravity.points), np.asarray(gravity.colors)
        if len(points) == 0 and mesh is not None and len(mesh.vertices):
            points = np.float64(mesh.vertices)
            colors = np.full(points.shape, 160, np.uint8)
        ways = [p.transl[p.valid] for p in gravity.people.values()]
        near = np.zeros(len(points), bool)
        if len(points) and sum(map(len, ways)):
            from scipy.spatial import cKDTree

            near = cKDTree(np.concatenate(ways)).query(points)[0] < NEAR_PEOPLE
        for name, kept in (
            (layout.LESS_FILTERED, slice(None)),
            (layout.MORE_FILTERED, near),
        ):
            opaque = np.full((len(points[kept]), 1), 255, np.uint8)
            shades = np.concatenate([colors[kept], opaque], 1)
            cloud = trimesh.PointCloud(self._calibrate(points[kept]), colors=shades)
            content = cloud.export(file_type="ply")
            atomic_write(folder / name, lambda path, c=content: Path(path).write_bytes(c))

    def _write_motion(self, folder):
        motion, shift = self.products.motion, self.factor * self.products.gravity.translation
        order = [motion.contact_names.index(foot) for foot in replay.FEET]
        found, rows = {}, {}
        for pid, person in motion.people.items():
            rows[pid] = np.flatnonzero(person.valid)
            if len(rows[pid]) == 0:
                continue
            found[pid] = Trajectory(
                motion.fps,
                np.float64(person.root_pos[rows[pid]]) - shift,
                np.float64(person.root_quat[rows[pid]]),
                np.float64(person.joints[rows[pid]]),
                tuple(motion.joint_names),
                person.contact[rows[pid]][:, order],
            )
        if not found:
            return
        single = folder / f"retarget_poses_{motion.robot}.h5"
        first = next((pid for pid in self._ranking() if pid in found), min(found))
        replay.write(single, found[first], self.articulation)
        written = [(single, {first})]
        if len(found) > 1:
            several = folder / f"retarget_poses_{motion.robot}_multiperson.h5"
            replay.write_people(several, found, self.articulation)
            written.append((several, set(found)))
        for path, people in written:
            spans = {
                str(pid): [list(map(int, run)) for run in ground.runs(motion.people[pid].valid)]
                for pid in sorted(people)
            }
            with h5py.File(path, "a", track_order=True) as h5:
                layout.write_notes(h5, {"frames": spans, "world_scale": float(motion.world_scale)})
                for pid in people:
                    group = h5[f"persons/{pid}"] if "persons" in h5 else h5
                    group["error"] = np.float32(motion.people[pid].error[rows[pid]])

    def _ranking(self):
        return self.products.people.ranking if self.products.people is not None else []


@dataclasses.dataclass
class Depth:
    """Depth maps for VideoMimic's files: those of the scene, or of its floor and supports.

    scale: m of the human's world over the unit of the depth.
    """

    parts: Products
    shape: tuple
    scale: float
    of_supports: bool

    @classmethod
    def of(cls, parts):
        """The depth of `Products`; None where there is nothing to make it from."""
        from ..surface import depth_scale

        scene, video = parts.scene, parts.video
        if scene.depth is not None:
            scale = parts.world.scale if parts.world is not None else 1.0
            metric = scene.metric or scene.camera_model == "sfm"
            if parts.gravity is not None and parts.people is not None and not metric:
                try:
                    scale = depth_scale(video, parts.people, scene, parts.gravity)
                except PantographError:
                    scale = parts.world.scale
            return cls(parts, scene.depth.shape[1:], float(scale), False)
        if parts.gravity is None or parts.mesh is None or parts.world is None:
            return None
        size = megasam.picture_size(video.width, video.height)
        return cls(parts, size[::-1], float(parts.world.scale), True)

    def at(self, k):
        """The depth map (h, w) of a frame, 0 where unknown."""
        if not self.of_supports:
            return np.float32(self.parts.scene.depth[k])
        gravity, video = self.parts.gravity, self.parts.video
        size = (video.width, video.height)
        intrinsics = pointfilter.cell_intrinsics(gravity.intrinsics[k], size, self.shape)
        rays = pointfilter.backproject(np.ones(self.shape), intrinsics)
        pose = np.float64(gravity.cam2world[k])
        met = ray_depth(rays @ pose[:3, :3].T, pose[:3, 3], self.parts.mesh.boxes)
        return np.minimum(met / self.scale, FAR)


def ray_depth(rays, origin, boxes):
    """Where rays first meet boxes, in lengths of the ray; infinite where they meet none.

    rays: (h, w, 3) directions, origin: (3,), boxes: (B, 7) as in contracts.Mesh, all in one world.
    Method of slabs (Kay and Kajiya, 1986).
    """
    nearest = np.full(rays.shape[:2], np.inf)
    for box in np.asarray(boxes, float).reshape(-1, 7):
        cos, sin = np.cos(box[6]), np.sin(box[6])
        turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
        local, start = rays @ turn, (origin - box[:3]) @ turn
        with np.errstate(divide="ignore", invalid="ignore"):
            ends = np.stack([(side * box[3:6] / 2 - start) / local for side in (-1, 1)])
        enter, leave = np.nanmin(ends, 0).max(-1), np.nanmax(ends, 0).min(-1)
        hit = (enter < leave) & (leave > 0)
        nearest = np.where(hit, np.minimum(nearest, np.maximum(enter, 0)), nearest)
    return nearest


def coco_columns(names):
    """Columns of keypoint `names`, and the keypoints of COCO-WholeBody that they are, both (n,)."""
    names = list(names)
    if names == list(COCO_WHOLEBODY):
        return np.arange(len(names)), np.arange(len(names))
    parts = {other: part for part, other in landmarks.OTHER_NAMES.items()}
    pairs = []
    for target, name in enumerate(COCO_WHOLEBODY):
        side, _, part = name.partition("_")
        known = (name, OTHERS.get(name), f"{side}_{parts.get(part)}")
        source = next((names.index(item) for item in known if item in names), None)
        if source is not None:
            pairs.append((source, target))
    source, target = zip(*pairs, strict=True) if pairs else ((), ())
    return np.array(source, int), np.array(target, int)


def _backproject(depth, intrinsic):
    """Points (h, w, 3) in the camera's axes; pixel centres at whole numbers."""
    centred = np.array(intrinsic, float)
    centred[:2, 2] += 0.5
    return pointfilter.backproject(np.float64(depth), centred)


def _is_real(value):
    return np.issubdtype(value.dtype, np.floating)


def _label(pid, mask, score, text):
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = [0, 0, 0, 0]
    if len(rows):
        box = [int(v) for v in (columns[0], rows[0], columns[-1], rows[-1])]
    return {
        "instance_id": int(pid),
        "class_name": text or "person",
        **dict(zip(("x1", "y1", "x2", "y2"), box, strict=True)),
        "logit": 0.0,
        "score": score,
    }


def _ranking(people, areas, counts, scores):
    total = {pid: sum(found.values()) for pid, found in areas.items()}
    mean = {pid: total[pid] / counts[pid] for pid in total}
    content = {
        "all_instance_ids": sorted(int(pid) for pid in total),
        # our own ranking, which is by the average over the clip
        "sorted_by_avg_area": [int(pid) for pid in people.ranking if pid in total],
        "avg_areas": {str(pid): mean[pid] for pid in total},
        "frame_counts": {str(pid): counts[pid] for pid in total},
        "total_areas": {str(pid): total[pid] for pid in total},
    }
    if total:
        content["most_persistent_id"] = int(max(counts, key=counts.get))
        content["largest_area_id"] = int(max(total, key=total.get))
        content["highest_confidence_id"] = int(max(scores, key=scores.get))
    return content


def _write_json(path, content):
    text = json.dumps(content, indent=1)
    atomic_write(path, lambda temporary: Path(temporary).write_text(text))


def _write_pickle(path, content):
    def save(temporary):
        with open(temporary, "wb") as stream:
            pickle.dump(content, stream, protocol=4)

    atomic_write(path, save)
