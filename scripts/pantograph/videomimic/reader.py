"""Read VideoMimic's files of one video, whatever stages there are, as our products."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import pickle
import zipfile
from pathlib import Path

import h5py
import numpy as np

from .. import body as bodies
from .. import camera, ground, masks, meshing, pickles, placement, reconstruction, shape
from ..contracts import (
    Body,
    Contacts,
    Keypoints,
    Mesh,
    Motion,
    People,
    PersonBody,
    PersonContacts,
    PersonKeypoints,
    PersonMotion,
    Scene,
    Video,
    World,
)
from ..conventions import COCO_WHOLEBODY, CONTACTS
from ..errors import PantographError
from ..export import videomimic as replay
from ..maskvideo import stored_shape
from . import layout, pictures

FPS = 30.0
"""Frames per second of the pictures, which VideoMimic takes for granted."""

SAMPLES = 5000
"""Points that a unit is measured on."""


@contextlib.contextmanager
def opened(path):
    """An HDF5 file, open for reading. Raises PantographError where it, or what is read of it, is
    not as in VideoMimic's layout."""
    try:
        with h5py.File(path, "r") as h5:
            yield h5
    except (OSError, KeyError, ValueError) as error:
        reason = str(error).strip("'\"")
        raise PantographError(f"{path}: not a file of VideoMimic's layout ({reason})") from error


class Reader:
    """What there is of one video, as products; one that is not there is None.

    files: layout.Files; model: the BodyModel that people get; folder: where the video is made from
    the pictures; fps: of the pictures, 1/s; robot: name of the motion's robot.
    `notes` says what was left out or assumed.
    """

    def __init__(self, files, model, folder, fps=FPS, robot="g1"):
        self.files, self.model, self.folder = files, model, Path(folder)
        self.rate, self.robot = fps, robot
        self.notes = list(files.notes)
        self.numbers, self.step = self._numbers()
        self.index = {number: k for k, number in enumerate(self.numbers)}

    # -- the clip

    def _numbers(self):
        """Numbers of the clip's frames, holes filled, and their step in the pictures."""
        stride = self.files.stem.stride if self.files.stem else 1
        if self._world_files():
            path, tree = self._world_files()[0]
            numbers = [layout.frame_number(name) for name in self._frame_names(path, tree)]
        else:
            kinds = ("images", "masks", "labels", "poses", "meshes", "contacts")
            numbers = next((sorted(found) for k in kinds if (found := getattr(self.files, k))), [])
        if not numbers or None in numbers:
            raise PantographError(
                f"{self.files.video}: expected frames such as 00001, found {numbers[:3] or 'none'}"
            )
        whole = list(range(numbers[0], numbers[-1] + 1, stride))
        if set(numbers) <= set(whole):
            holes = len(whole) - len(numbers)
            if holes:
                self.notes.append(f"{holes} frames are missing between the first and the last")
            return whole, stride
        self.notes.append(f"frames are not every {stride}. one; taken as if they were")
        return numbers, stride

    def _world_files(self):
        """Files with cameras and depth that are there: (path, name of the tree), stage 1 first."""
        files = self.files
        found = [(files.world, "monst3r_ga_output"), (files.hunter, layout.FRAMES)]
        if files.calibrated is not None:
            found.append((files.calibrated / layout.HUNTER_FILE, layout.FRAMES))
        return [(path, tree) for path, tree in found if path is not None and path.is_file()]

    def _frame_names(self, path, tree):
        with opened(path) as h5:
            return sorted(h5[tree], key=lambda name: (layout.frame_number(name) or 0, name))

    @functools.cached_property
    def clip(self):
        """Our own record of the clip, None for files that we did not write."""
        path = self.files.clip
        if path is None:
            return None
        found = Video.read(path)
        return found if found.frame_count == len(self.numbers) else None

    @functools.cached_property
    def video(self):
        """The `Video`; a file of the pictures is made below `folder` unless the clip's own file
        is still where it was."""
        if self.clip is not None and Path(self.clip.path).is_file():
            return self.clip
        fps = self.clip.fps if self.clip is not None else self.rate / self.step
        width, height = self._size()
        out = (self.folder / f"{self.files.video}.mov").absolute()
        times = self._pack(out, fps)
        video = dataclasses.replace(self.clip) if self.clip is not None else Video()
        video.name, video.path, video.fps = self.files.video, str(out), fps
        video.width, video.height, video.rotation = width, height, 0
        video.variable_frame_rate, video.source_fps = False, fps
        video.source_frames = list(range(len(self.numbers)))
        video.source_times = [round(float(t), 6) for t in times]
        video.method = "videomimic"
        video.parameters = {"stride": 1}
        return video

    def _size(self):
        """(width, height) of the pictures that pixels refer to."""
        if self.clip is not None:
            return self.clip.width, self.clip.height
        if self.files.images:
            return pictures.size(next(iter(self.files.images.values())))
        if self.files.labels:
            label = _read_json(next(iter(self.files.labels.values())))
            return int(label["mask_width"]), int(label["mask_height"])
        if self.files.masks:
            return _read_mask(next(iter(self.files.masks.values()))).shape[::-1]
        if self._world_files():
            path, tree = self._world_files()[0]
            with opened(path) as h5:
                group = next(iter(h5[tree].values()))
                height, width = group["rgbimg"].shape[:2]
                scale = np.diag(group["affine_matrix"][:, :2]) if "affine_matrix" in group else 1
                return tuple(int(round(v)) for v in np.array([width, height]) * scale)
        raise PantographError(
            f"{self.files.video}: expected input_images, input_masks or a reconstruction to know "
            "the size of the pictures, found none"
        )

    def _pack(self, out, fps):
        """Make the video from the pictures; the time of every frame of the clip, s."""
        every = np.arange(len(self.numbers)) / fps
        there = [k for k, number in enumerate(self.numbers) if number in self.files.images]
        if there:
            shown = [self.files.images[self.numbers[k]] for k in there]
        elif self._world_files():
            path, tree = self._world_files()[0]
            there, shown = [], []
            with opened(path) as h5:
                for number, name in sorted(self._names(path, tree).items()):
                    there.append(self.index[number])
                    shown.append(pictures.as_png(h5[tree][name]["rgbimg"][()]))
            self.notes.append("no input_images: the video is made of the reconstruction's pictures")
        else:
            self.notes.append(
                "no pictures: expected input_images; stages that look at the video cannot run"
            )
            return every
        from ..video import probe

        pictures.pack(shown, every[there], out)
        times = probe(out).times
        if len(times) != len(there):
            raise PantographError(
                f"{out}: expected {len(there)} pictures to be readable, found {len(times)}"
            )
        # where a picture is missing, the one before is on show
        return times[np.maximum(np.searchsorted(there, np.arange(len(every)), "right") - 1, 0)]

    def _names(self, path, tree):
        """Names of a file's frames by number, those outside the clip left out."""
        found = {layout.frame_number(name): name for name in self._frame_names(path, tree)}
        found = {number: name for number, name in found.items() if number in self.index}
        if not found:
            raise PantographError(f"{path}: expected frames of the clip in {tree}, found none")
        return found

    def _frames(self, files):
        """(place in the clip, path) of files by number, those outside the clip left out."""
        return [(self.index[n], files[n]) for n in sorted(files) if n in self.index]

    # -- stage 0

    @functools.cached_property
    def people(self):
        """The `People`, ranked as in meta_data.json; where that is missing, by average area."""
        if not self.files.masks:
            return None
        video, count = self.video, len(self.numbers)
        meta = _read_json(self.files.ranking) if self.files.ranking is not None else {}
        own = meta.get(layout.NOTES, {}).get("mask_size")
        shape = stored_shape(video) if own is None else tuple(own[::-1])
        tracks, areas = {}, {}
        for k, path in self._frames(self.files.masks):
            mask = _read_mask(path)
            if mask.shape != (video.height, video.width):
                raise PantographError(
                    f"{path}: expected a mask of {video.width} x {video.height}, found "
                    f"{mask.shape[1]} x {mask.shape[0]}"
                )
            small = mask[pictures.nearest(mask.shape, shape)]
            labels = self._labels(k)
            factor = np.array([video.width / shape[1], video.height / shape[0]])
            for pid in (int(pid) for pid in np.unique(small) if pid):
                track = tracks.setdefault(pid, masks.empty_track(count, shape))
                masks.put(track, k, small == pid, labels.get(pid, 1.0), factor)
                if own is None:
                    track.boxes[k] = masks.box(mask == pid)
                areas[pid] = areas.get(pid, 0.0) + float((mask == pid).sum())
        if not tracks:
            return People.rejection("no mask holds anybody")
        ranking = sorted(tracks, key=lambda pid: -areas[pid])
        listed = [int(pid) for pid in meta.get("sorted_by_avg_area", []) if int(pid) in tracks]
        ranking = listed + [pid for pid in ranking if pid not in listed]
        return People(
            frame_count=count,
            mask_width=shape[1],
            mask_height=shape[0],
            ranking=ranking,
            people=tracks,
        )

    def _labels(self, k):
        """Scores of the people in a frame, by id."""
        path = self.files.labels.get(self.numbers[k])
        found = _read_json(path).get("labels", {}) if path is not None else {}
        return {
            int(pid): float(np.clip(item.get("score", 1.0), 0, 1)) for pid, item in found.items()
        }

    @functools.cached_property
    def keypoints(self):
        """The `Keypoints`, 133 of COCO-WholeBody."""
        if not self.files.poses:
            return None
        video, count = self.video, len(self.numbers)
        people = {}
        for k, path in self._frames(self.files.poses):
            for pid, item in _read_json(path).items():
                rows = np.asarray(item.get("keypoints"), float)
                if rows.shape != (len(COCO_WHOLEBODY), 3):
                    raise PantographError(
                        f"{path}: expected 133 keypoints of x, y, score for person {pid}, found "
                        f"{rows.shape}"
                    )
                person = people.setdefault(int(pid), _no_keypoints(count))
                xy, score = rows[:, :2] + 0.5, np.clip(rows[:, 2], 0, 1)
                outside = (xy < 0).any(1) | (xy >= [video.width, video.height]).any(1)
                person.visible[k], person.xy[k] = True, xy
                person.score[k] = np.where(outside, 0, score)
        if not people:
            return Keypoints.rejection("no file holds keypoints of anybody")
        return Keypoints(keypoint_names=list(COCO_WHOLEBODY), people=people)

    @functools.cached_property
    def betas(self):
        """Known shape of everybody (10,), or None."""
        if self.files.betas is None:
            return None
        if self.model.name == "builtin":
            self.notes.append(f"{self.files.betas.name}: shapes of SMPL need --body-model")
            return None
        return np.array(shape.read_betas(self.files.betas)[0])

    @functools.cached_property
    def body(self):
        """The `Body`. Its files say no positions: those that the keypoints give, in the scene's
        camera; our own files say them."""
        if not self.files.meshes or self.keypoints is None or self.keypoints.rejected:
            return None
        count = len(self.numbers)
        raw, known_as = {}, set()
        for k, path in self._frames(self.files.meshes):
            for pid, item in _read_pickle(path).items():
                entry = raw.setdefault(int(pid), {})
                try:
                    entry[k] = (
                        np.asarray(item["smpl_params"]["global_orient"], float).reshape(3, 3),
                        np.asarray(item["smpl_params"]["body_pose"], float).reshape(23, 3, 3),
                        np.asarray(item["smpl_params"]["betas"], float).reshape(10),
                        item.get("transl"),
                    )
                except (KeyError, TypeError, ValueError) as error:
                    raise PantographError(
                        f"{path}: expected smpl_params with global_orient (1, 3, 3), body_pose "
                        f"(23, 3, 3) and betas (10,) for person {pid} ({error})"
                    ) from error
                known_as.add(item.get("body_model"))
        self._check_model(known_as - {None}, self.files.meshes)
        own = self.model.name in known_as
        scene = self.scene
        intrinsics = np.tile(camera.prior_intrinsics(self.video), (count, 1, 1))
        intrinsics = intrinsics if scene is None or scene.rejected else scene.intrinsics
        people, dropped = {}, {}
        for pid, entry in raw.items():
            known = np.zeros(count, bool)
            orient, pose = np.tile(np.eye(3), (count, 1, 1)), np.tile(np.eye(3), (count, 23, 1, 1))
            transl, shapes = np.zeros((count, 3)), []
            for k, (turn, joints, betas, place) in entry.items():
                known[k], orient[k], pose[k] = True, _rotations(turn), _rotations(joints)
                shapes.append(betas)
                transl[k] = np.nan if place is None else place
            betas = np.mean(shapes, 0) if own else placement.clip_betas(self.model, shapes)
            betas = betas if self.betas is None else self.betas
            if np.isfinite(transl).all():
                people[pid] = self._placed(known, orient, pose, betas, transl, pid)
            elif pid not in self.keypoints.people:
                dropped[str(pid)] = "no keypoints"
            else:
                person = placement.place_person(
                    *(self.model, betas, orient, pose, known),
                    *(self.keypoints.people[pid], self.keypoints.keypoint_names, intrinsics),
                )
                if person.valid.any():
                    people[pid] = person
                else:
                    dropped[str(pid)] = "no frame has keypoints enough to place the body"
        if not people:
            return Body.rejection("nobody can be placed", dropped=dropped)
        return Body(
            people=people,
            body_model=self.model.name,
            intrinsics=intrinsics[0],
            dropped=dropped,
        )

    def _check_model(self, names, where):
        wrong = sorted(name for name in names if name != self.model.name)
        if wrong:
            option = "without --body-model" if wrong[0] == "builtin" else "with its --body-model"
            raise PantographError(
                f"{self.files.video}: expected the body {self.model.name!r}, found shapes of "
                f"{wrong[0]!r}; import {option}"
            )

    def _placed(self, valid, orient, pose, betas, transl, pid):
        """A PersonBody whose place is known; zeros and identities where it is not valid."""
        where = valid[:, None]
        transl = np.where(where, transl, 0.0)
        joints = bodies.joints(self.model, betas, orient, pose, transl)
        return PersonBody(
            valid=valid,
            confidence=np.where(valid, self._trust(pid), 0.0),
            global_orient=orient,
            body_pose=pose,
            betas=betas,
            transl=transl,
            joints=np.where(where[..., None], joints, 0.0),
        )

    def _trust(self, pid):
        """Mean score (T,) of a person's keypoints of body and feet; 1 where none are known."""
        keypoints = self.keypoints
        if keypoints is None or keypoints.rejected or pid not in keypoints.people:
            return np.ones(len(self.numbers))
        return keypoints.people[pid].score[:, 5:23].mean(1)

    @functools.cached_property
    def contacts(self):
        """The `Contacts`. The files say yes or no: probability 1 or 0, where they are not ours."""
        if not self.files.contacts:
            return None
        count = len(self.numbers)
        people = {}
        for k, path in self._frames(self.files.contacts):
            for pid, item in _read_pickle(path).items():
                person = people.setdefault(
                    int(pid),
                    PersonContacts(
                        valid=np.zeros(count, bool),
                        contact=np.zeros((count, 2), bool),
                        probability=np.zeros((count, 2)),
                    ),
                )
                person.valid[k] = bool(item.get("judged", True))
                for column, foot in enumerate(CONTACTS):
                    try:
                        touches = bool(item[f"{foot}_contact"])
                    except (KeyError, TypeError) as error:
                        raise PantographError(
                            f"{path}: expected left_foot_contact and right_foot_contact for "
                            f"person {pid} ({error})"
                        ) from error
                    person.contact[k, column] = touches
                    sure = item.get(f"{foot}_probability", float(touches))
                    person.probability[k, column] = np.clip(float(sure), 0, 1)
        if not people:
            return Contacts.rejection("no file holds contacts of anybody")
        return Contacts(
            contact_names=list(CONTACTS), people=people, stats={"fps_hz": self.video.fps}
        )

    # -- stage 1

    @functools.cached_property
    def scene(self):
        """The `Scene` of stage 1."""
        path = self.files.world
        if path is None or self.people is None or self.people.rejected:
            return None
        kind = layout.Stem.parse(path.stem).method
        notes = self._notes(path)
        names = self._names(path, "monst3r_ga_output")
        # a clip as long as the file, which has no frames for holes
        there = dataclasses.replace(
            self.video, source_frames=[0] * len(names), source_times=[0.0] * len(names)
        )
        found = reconstruction.read_h5(path, there, kind)
        rows = self._rows(names)
        found = dataclasses.replace(
            found,
            depth=found.depth[rows],
            intrinsics=found.intrinsics[rows],
            cam2world=found.cam2world[rows],
            confidence=None if found.confidence is None else found.confidence[rows],
        )
        if notes.get("depth_of") == "supports":
            return self._bare_scene(found, notes)
        least = 0.33 if kind == "align3r" else 0.0
        model = notes.get("camera_model", "auto")
        return reconstruction.to_scene(found, self.video, self.people, model=model, least=least)

    def _rows(self, names):
        """For every frame of the clip the row of the file that it, or else the one before, has."""
        there = np.array(sorted(self.index[number] for number in names))
        return np.maximum(np.searchsorted(there, np.arange(len(self.numbers)), "right") - 1, 0)

    def _bare_scene(self, found, notes):
        """A scene without depth, for files whose depth was made from floor and supports."""
        poses = np.linalg.inv(np.float64(found.cam2world[0])) @ np.float64(found.cam2world)
        points, colors = self._points()
        return Scene(
            camera_model=notes["camera_model"],
            metric=notes["camera_model"] != "sfm",
            intrinsics=reconstruction.video_intrinsics(found.intrinsics, found.window),
            cam2world=poses,
            points=points / self.scale if len(points) else points,
            colors=colors,
        )

    @functools.lru_cache(maxsize=4)  # noqa: B019  (a reader lives as long as its import)
    def _notes(self, path):
        with opened(path) as h5:
            return layout.read_notes(h5)

    # -- stages 2 and 3

    @functools.cached_property
    def calibrated(self):
        """Poses of the first camera before and after gravity: a `_Calibration`, or None."""
        folder = self.files.calibrated
        if folder is None:
            return None
        hunter, keypoints = folder / layout.HUNTER_FILE, folder / layout.KEYPOINTS_FILE
        if not hunter.is_file() or not keypoints.is_file():
            self.notes.append(
                f"{folder.name}: expected {layout.KEYPOINTS_FILE} and {layout.HUNTER_FILE}, "
                "found one or none; left out"
            )
            return None
        with opened(keypoints) as h5:
            notes = layout.read_notes(h5)
            turned = np.asarray(h5["world_rotation"], float)
            people = {int(pid): h5["joints"][pid][:, :24].astype(float) for pid in h5["joints"]}
        first = self._first_pose(hunter, layout.FRAMES)
        factor = notes.get("world_scale_factor")
        if factor is None:
            factor = 1.0
            if self.files.hunter is not None:
                factor = self._ratio((self.files.hunter, layout.FRAMES), (hunter, layout.FRAMES))
                factor = 1.0 if abs(factor - 1) < 1e-3 else factor
        return _Calibration(hunter, notes, turned, first, people, float(factor))

    def _first_pose(self, path, tree):
        with opened(path) as h5:
            return h5[tree][self._frame_names(path, tree)[0]]["cam2world"][()].astype(float)

    def _ratio(self, before, after):
        """Size of the points of one file over those of another."""
        sums = []
        for path, tree in (before, after):
            with opened(path) as h5:
                points = h5[tree][self._frame_names(path, tree)[0]]["pts3d"][()]
            points = points.reshape(-1, 3)[:: max(1, points.size // 3 // SAMPLES)]
            sums.append(float(np.linalg.norm(points.astype(float), axis=1).sum()))
        return sums[1] / sums[0]

    @functools.cached_property
    def scale(self):
        """Metres per unit of stage 1: |points after| / |points before|; where stage 1 is missing,
        of the points' distance from the camera over their depth, which keeps its unit."""
        source, found = self._aligned()
        notes = self._notes(source)
        if "scale" in notes:
            return float(notes["scale"])
        if self.files.world is not None and source == self.files.hunter:
            return self._ratio((self.files.world, "monst3r_ga_output"), (source, layout.FRAMES))
        with opened(source) as h5:
            group = h5[layout.FRAMES][self._frame_names(source, layout.FRAMES)[0]]
            points, depth = group["pts3d"][()].astype(float), group["depths"][()].astype(float)
            local = camera.to_camera(group["cam2world"][()].astype(float), points)
        far = depth > 0
        return float(np.median(local[far][:, 2] / depth[far])) / found

    def _aligned(self):
        """The file of stage 2, and its unit over metres; the calibrated one where it is missing."""
        if self.files.hunter is not None:
            return self.files.hunter, 1.0
        return self.calibrated.path, self.calibrated.factor

    @functools.cached_property
    def world(self):
        """The `World` in the axes of the first camera."""
        if self.files.hunter is None and self.calibrated is None:
            return None
        path, unit = self._aligned()
        notes = self._notes(path)
        self._check_model({notes["body_model"]} if "body_model" in notes else set(), path)
        names = self._names(path, layout.FRAMES)
        rows = self._rows(names)
        order = [names[n] for n in sorted(names)]
        with opened(path) as h5:
            frames = h5[layout.FRAMES]
            poses = np.stack([frames[name]["cam2world"][()].astype(float) for name in order])[rows]
            matrices = np.stack([frames[name]["intrinsic"][()] for name in order])[rows]
            cells = frames[order[0]]["depths"].shape
            affine = frames[order[0]]["affine_matrix"][()]
            raw = {int(pid): self._human(h5, pid, path) for pid in h5.get(layout.HUMANS, {})}
        kind = layout.Stem.parse(layout._bare(path))
        kind = (kind or self.files.stem).method if (kind or self.files.stem) else "megasam"
        size = (self.video.width, self.video.height)
        window = reconstruction.stretched(size, cells[::-1])
        if kind == "align3r":
            window = reconstruction.cropped(size, affine, size)
        poses[:, :3, 3] /= unit
        to_first = np.linalg.inv(poses[0])
        people = {}
        for pid, human in raw.items():
            pose = to_first
            if path != self.files.hunter and pid not in self.calibrated.people:
                # VideoMimic leaves all but the first person in the axes of the stage before
                old = np.eye(4)
                old[:3, :3] = self.calibrated.rotation
                pose = to_first @ old
                unit_here = 1.0
            else:
                unit_here = unit
            people[pid] = self._person(pid, human, pose, unit_here, notes)
        if not people:
            return World.rejection("nobody is in the world")
        cam2world = to_first @ poses
        cam2world[0] = np.eye(4)
        points, colors = self._points()
        scene = self.scene
        model = notes.get("camera_model")
        if model is None:
            model = scene.camera_model if scene is not None and not scene.rejected else "sfm"
        source = "robot" if self.betas is not None else "landmarks"
        return World(
            camera_model=model,
            scale=self.scale,
            scale_source=notes.get("scale_source", source),
            body_model=self.model.name,
            intrinsics=reconstruction.video_intrinsics(matrices, window),
            cam2world=cam2world,
            points=points,
            colors=colors,
            people=people,
        )

    def _human(self, h5, pid, path):
        """Rows of a person in a file: frame numbers, rotations, positions, shape."""
        group = h5[layout.HUMANS][pid]
        try:
            arrays = [
                np.asarray(group[key], float).reshape(-1, *shape)
                for key, shape in (
                    ("global_orient", (3, 3)),
                    ("body_pose", (23, 3, 3)),
                    ("root_transl", (3,)),
                    ("betas", (10,)),
                )
            ]
            names = layout.strings(h5, f"{layout.FRAME_LIST}/{pid}")
        except (KeyError, ValueError) as error:
            raise PantographError(
                f"{path}: expected body_pose, global_orient, root_transl and betas of person {pid} "
                f"({error})"
            ) from error
        if names is None or len(names) != len(arrays[0]):
            raise PantographError(
                f"{path}: expected {len(arrays[0])} names in person_frame_info_list/{pid}, found "
                f"{'none' if names is None else len(names)}"
            )
        return [layout.frame_number(name) for name in names], *arrays

    def _person(self, pid, human, pose, unit, notes):
        """A PersonBody in the first camera's axes from rows of a file, turned by pose (4, 4)."""
        numbers, orient, local, transl, betas = human
        count = len(self.numbers)
        kept = [i for i, number in enumerate(numbers) if number in self.index]
        at = [self.index[numbers[i]] for i in kept]
        valid = np.zeros(count, bool)
        valid[at] = True
        turned, posed = np.tile(np.eye(3), (count, 1, 1)), np.tile(np.eye(3), (count, 23, 1, 1))
        turned[at] = pose[:3, :3] @ _rotations(orient[kept])
        posed[at] = _rotations(local[kept])
        place = np.zeros((count, 3))
        place[at] = camera.to_world(pose, transl[kept] / unit)
        found = betas.mean(0)
        if notes.get("body_model") != self.model.name:
            found = self._fitted(pid, found)
        return self._placed(valid, turned, posed, found, place, pid)

    def _fitted(self, pid, betas):
        """The shape of our model for SMPL's betas: its own where it is SMPL; else the one with
        the limbs of the joints in the calibrated keypoints, or the mean."""
        if self.model.name != "builtin":
            return betas
        joints = self.calibrated.people.get(pid) if self.calibrated is not None else None
        if joints is None or len(joints) == 0:
            self.notes.append(f"person {pid}: the built-in body's mean shape; set --body-model")
            return np.zeros(10)
        self.notes.append(f"person {pid}: the built-in body with the limbs of the file's joints")
        return limb_betas(self.model, joints / self.calibrated.factor)

    def _points(self):
        """Points (N, 3) of the less filtered cloud in the first camera's axes, m, and colours."""
        empty = np.zeros((0, 3)), np.zeros((0, 3), np.uint8)
        if self.calibrated is None:
            return empty
        path = self.files.calibrated / layout.LESS_FILTERED
        # our own cloud of a scene without points is that of its mesh
        if not path.is_file() or self.calibrated.notes.get("points") == 0:
            return empty
        import trimesh

        try:
            cloud = trimesh.load(path, file_type="ply")
            points, colors = np.asarray(cloud.vertices, float), np.asarray(cloud.colors)[:, :3]
        except (ValueError, AttributeError, IndexError) as error:
            raise PantographError(f"{path}: expected a coloured point cloud ({error})") from error
        step = max(1, -(-len(points) // 100_000))
        return self.calibrated.to_world(points[::step]), colors[::step].astype(np.uint8)

    @functools.cached_property
    def gravity(self):
        """The `Gravity`: VideoMimic's, moved so that the floor where feet stand is z = 0."""
        if self.calibrated is None or self.world is None or self.world.rejected:
            return None
        if self.contacts is None or self.contacts.rejected:
            return None
        if self.keypoints is None or self.keypoints.rejected:
            return None
        rotation = self.calibrated.camera[:3, :3]
        found = ground.to_gravity(
            self.world, self.contacts, self.keypoints, self.model, rotation.T[:, 2]
        )
        shift = self.calibrated.notes.get("translation")
        if shift is None:
            return found
        return ground.turned(self.world, rotation, np.array(shift), found.stats)

    @functools.cached_property
    def mesh(self):
        """The `Mesh`: the ground of background_mesh.obj, made watertight, with the supports that
        people need."""
        if self.gravity is None or self.gravity.rejected:
            return None
        path = self.files.calibrated / layout.MESH_FILE
        if not path.is_file():
            return None
        import trimesh

        from .. import surface

        try:
            whole = trimesh.load(path, file_type="obj", force="mesh", process=False)
            vertices, faces = np.asarray(whole.vertices, float), np.asarray(whole.faces)
        except (ValueError, AttributeError, IndexError) as error:
            raise PantographError(f"{path}: expected a mesh of triangles ({error})") from error
        vertices = self._in_gravity(vertices)
        notes = self.calibrated.notes
        if "boxes" in notes:
            return Mesh(
                vertices=vertices,
                faces=faces,
                boxes=np.array(notes["boxes"], float).reshape(-1, 7),
                box_names=notes["box_names"],
            )
        supports = meshing.build(self.gravity, self.contacts, self.model, self.video.fps)
        self.surface = vertices, faces
        return surface.collision(vertices, faces, self.gravity, supports)

    surface = None
    """Vertices and faces to look at, where they are not those to collide with."""

    def _in_gravity(self, points):
        """Points of the calibrated files in our gravity world, m of the human."""
        points = self.calibrated.to_world(points)
        return points @ self.gravity.rotation.T + self.gravity.translation

    # -- stage 4

    @functools.cached_property
    def motion(self):
        """The `Motion`. Link poses are computed anew: VideoMimic's are those of the rest pose."""
        if self.gravity is None or self.gravity.rejected:
            return None
        folder = self.files.calibrated
        several = folder / f"retarget_poses_{self.robot}_multiperson.h5"
        single = folder / f"retarget_poses_{self.robot}.h5"
        path = several if several.is_file() else single
        if not path.is_file():
            return None
        from ..robot import load_robot
        from ..robotscene import Articulation

        robot = Articulation(load_robot(self.robot))
        notes = self._notes(path)
        with opened(path) as h5:
            errors = {
                0: np.asarray(h5["error"]) if "error" in h5 else None,
                **{
                    int(pid): np.asarray(item["error"])
                    for pid, item in h5.get("persons", {}).items()
                    if "error" in item
                },
            }
        people, scale = {}, notes.get("world_scale", self.calibrated.factor)
        rotation = self.gravity.rotation @ self.calibrated.camera[:3, :3].T
        fps = self.video.fps
        for pid, found in replay.read_people(path, robot).items():
            error = errors.get(pid)
            pid = pid or self._first(notes)
            rows = self._motion_rows(pid, len(found), notes, path)
            turned = rotation @ camera_rotations(found.root_quat)
            place = scale * self._in_gravity(found.root_pos)
            people[pid] = self._moving(robot, found, rows, place, turned, error)
            fps = found.fps
        if not any(error is not None for error in errors.values()):
            self.notes.append("motion: the file says no error, which is 0 here")
        return Motion(
            robot=robot.robot.name,
            fps=fps,
            world_scale=float(scale),
            joint_names=list(robot.joint_names),
            body_names=list(robot.robot.body_names),
            contact_names=list(CONTACTS),
            people=people,
            stats={"link_poses": "computed from the joints", "world_scale": round(scale, 4)},
        )

    def _first(self, notes):
        """Whom a file of one person is about: the first of those in the world, in the order of
        their names, whom VideoMimic takes."""
        return int(min(notes.get("frames", self.calibrated.people), key=str))

    def _motion_rows(self, pid, count, notes, path):
        """Frames of the clip that the rows of a motion belong to."""
        spans = notes.get("frames", {}).get(str(pid))
        if spans is not None:
            return np.concatenate([np.arange(*span) for span in spans])
        person = self.gravity.people.get(pid)
        rows = np.flatnonzero(person.valid) if person is not None else np.zeros(0, int)
        if len(rows) != count:
            raise PantographError(
                f"{path}: expected {len(rows)} rows for person {pid}, one for each of his frames "
                f"in {layout.FRAME_LIST}, found {count}"
            )
        return rows

    def _moving(self, robot, found, rows, place, turned, error):
        count = len(self.numbers)
        quat = quaternions(turned)
        state = robot.forward(place, quat, found.joints, found.joint_names, robot.robot.body_names)
        still = np.array([1.0, 0, 0, 0])

        def whole(values, fill=0.0):
            out = np.zeros((count,) + values.shape[1:], values.dtype)
            out[...] = fill
            out[rows] = values
            return out

        return PersonMotion(
            valid=whole(np.ones(len(rows), bool)),
            root_pos=whole(place),
            root_quat=whole(quat, still),
            joints=whole(found.joints),
            link_pos=whole(state.pos),
            link_quat=whole(state.quat, still),
            contact=whole(found.contact),
            error=whole(np.zeros(len(rows)) if error is None else error.astype(float)),
        )


@dataclasses.dataclass
class _Calibration:
    """What VideoMimic's third stage did. Its world is `factor` times as large as the human's."""

    path: Path
    notes: dict
    rotation: np.ndarray
    """World of stage 2 to gravity world, (3, 3)."""
    first: np.ndarray
    """Pose of the first camera, (4, 4), in the calibrated files."""
    people: dict
    """The 24 joints (n, 24, 3) of those who were turned, by id."""
    factor: float

    @property
    def camera(self):
        """The first camera's pose (4, 4), m of the human."""
        pose = self.first.copy()
        pose[:3, :3] = _rotations(pose[:3, :3])
        pose[:3, 3] /= self.factor
        return pose

    def to_world(self, points):
        """Points (..., 3) of the calibrated files in the first camera's axes, m of the human."""
        return camera.to_camera(self.camera, np.asarray(points, float) / self.factor)


def limb_betas(model, joints):
    """The shape (10,) of a model whose limbs are as long as those of joints (T, 24, 3), m."""
    from scipy.optimize import least_squares

    from ..conventions import SMPL_PARENTS

    child = np.arange(1, 24)
    parent = np.array(SMPL_PARENTS)[child]
    lengths = np.median(np.linalg.norm(joints[:, child] - joints[:, parent], axis=-1), axis=0)

    def residuals(betas):
        rest = bodies.rest_joints(model, betas)
        limbs = np.linalg.norm(rest[child] - rest[parent], axis=-1)
        return np.concatenate([(limbs - lengths) / shape.LIMB_SIGMA, betas / shape.SHAPE_SIGMA])

    return least_squares(residuals, np.zeros(10)).x


def camera_rotations(wxyz):
    """Rotation matrices (T, 3, 3) of quaternions (T, 4)."""
    from scipy.spatial.transform import Rotation

    return Rotation.from_quat(np.asarray(wxyz)[:, [1, 2, 3, 0]]).as_matrix()


def quaternions(matrices):
    """Quaternions wxyz (T, 4) of rotation matrices (T, 3, 3), successive ones near each other."""
    from scipy.spatial.transform import Rotation

    from ..export.trajectory import continuous

    return continuous(Rotation.from_matrix(matrices).as_quat()[:, [3, 0, 1, 2]])


def _rotations(matrices):
    """The rotations nearest to matrices (..., 3, 3), which VideoMimic interpolates linearly."""
    u, _, vt = np.linalg.svd(matrices)
    u[..., 2] *= np.linalg.det(u @ vt)[..., None]
    return u @ vt


def _no_keypoints(count):
    joints = len(COCO_WHOLEBODY)
    return PersonKeypoints(
        visible=np.zeros(count, bool),
        xy=np.zeros((count, joints, 2), np.float32),
        score=np.zeros((count, joints), np.float32),
    )


def _read_json(path):
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PantographError(f"{path}: not readable as JSON ({error})") from error
    if not isinstance(content, dict):
        raise PantographError(f"{path}: expected an object, found {type(content).__name__}")
    return content


def _read_mask(path):
    try:
        with np.load(path, allow_pickle=False) as archive:
            mask = archive["mask"]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise PantographError(f"{path}: expected an array 'mask' of ids ({error})") from error
    if mask.ndim != 2 or mask.dtype.kind not in "iu":
        raise PantographError(
            f"{path}: expected whole numbers (height, width), found {mask.dtype} {mask.shape}"
        )
    return mask


def _read_pickle(path):
    try:
        with open(path, "rb") as stream:
            content = pickles.load(stream)
    except pickle.UnpicklingError as error:
        raise PantographError(f"{path}: {error}") from error
    except Exception as error:  # a damaged pickle may raise almost anything
        raise PantographError(f"{path}: not a readable pickle ({error})") from error
    if not isinstance(content, dict):
        raise PantographError(f"{path}: expected a dictionary of people")
    return content
