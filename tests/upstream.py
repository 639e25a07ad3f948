"""A clip with known truth, as files in the layout that VideoMimic's programs write.

Nothing of the exporter is used: keys, shapes, dtypes and frames of reference are written as the
original does, its peculiarities included.
"""

import dataclasses
import json
import pickle

import cv2
import h5py
import numpy as np
from scipy.spatial.transform import Rotation

import staged
from pantograph import body
from pantograph.conventions import COCO_WHOLEBODY, SMPL_JOINTS

WIDTH, HEIGHT, FOCAL = 320, 240, 280.0
SMALL = (96, 128)
"""(height, width) of the reconstruction's pictures."""
VIDEO = "jump_01"
SCALE = 2.5
"""Metres per unit of stage 1."""
SLAM = np.eye(4)
SLAM[:3, :3] = Rotation.from_euler("xyz", [0.3, -0.2, 0.1]).as_matrix()
SLAM[:3, 3] = [0.4, -0.3, 0.8]
"""From the axes of the first camera to those of stage 1."""
TREE = "our_pred_world_cameras_and_structure"


@dataclasses.dataclass
class Upstream:
    """Writes stages of the layout below `root`. Truth: gravity world, origin below the camera."""

    root: object
    stride: int = 1
    count: int = 16
    people: tuple = (1, 2)
    suffix: str = ".jpg"
    missing: tuple = ()
    """Places in the clip that no file has."""
    video: str = VIDEO
    stem_prefix: str = ""
    method: str = "megasam"

    def __post_init__(self):
        truth = staged.truth("two_people")["gravity"]
        rows = np.arange(self.count)
        self.model = body.load_body()
        self.bodies = {
            pid: {
                "orient": truth.people[pid].global_orient[rows].astype(float),
                "pose": truth.people[pid].body_pose[rows].astype(float),
                "betas": truth.people[pid].betas.astype(float),
                "transl": truth.people[pid].transl[rows].astype(float),
                "joints": truth.people[pid].joints[rows].astype(float),
            }
            for pid in self.people
        }
        middle = np.mean([b["transl"].mean(0) for b in self.bodies.values()], 0)
        first = np.eye(4)
        # looks along +Y and 10 degrees down, from 1.5 m
        pitch = np.radians(10)
        first[:3, :3] = np.stack(
            [[1, 0, 0], [0, -np.sin(pitch), -np.cos(pitch)], [0, np.cos(pitch), -np.sin(pitch)]]
        ).T
        first[:3, 3] = [middle[0], middle[1] - 5, 1.5]
        self.cameras = np.tile(first, (self.count, 1, 1))
        self.cameras[:, 0, 3] += 0.03 * rows
        self.intrinsics = np.array([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1]])
        self.numbers = [1 + self.stride * k for k in rows if k not in self.missing]
        self.kept = [k for k in rows if k not in self.missing]

    # -- frames of reference

    @property
    def stem(self):
        end = self.count * self.stride
        return (
            f"{self.method}_reconstruction_results_{self.video}_cam01_frame_0_{end}"
            f"_subsample_{self.stride}"
        )

    def world(self, points):
        """Gravity world to the axes of the first camera."""
        return (points - self.cameras[0, :3, 3]) @ self.cameras[0, :3, :3]

    def pose(self, k, scale):
        """cam2world of stage 1 (scale 1 / SCALE) or stage 2 (scale 1)."""
        out = np.linalg.inv(self.cameras[0]) @ self.cameras[k]
        out[:3, 3] *= 1 / SCALE
        out = SLAM @ out
        out[:3, 3] *= SCALE * scale
        return out

    def hunter(self, points):
        """Gravity world to the world of stage 2."""
        return self.world(points) @ SLAM[:3, :3].T + SCALE * SLAM[:3, 3]

    @property
    def rotation(self):
        """World of stage 2 to VideoMimic's gravity world."""
        return self.cameras[0, :3, :3] @ SLAM[:3, :3].T

    def folder(self, *parts):
        path = self.root.joinpath(*parts)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def name(self, k):
        return f"{self.stem_prefix}{1 + self.stride * k:05d}"

    def pixels(self, pid, k):
        joints = self.bodies[pid]["joints"][k]
        local = (joints - self.cameras[k, :3, 3]) @ self.cameras[k, :3, :3]
        return local[:, :2] / local[:, 2:] * FOCAL + [WIDTH / 2, HEIGHT / 2]

    # -- stage 0

    def images(self):
        folder = self.folder("input_images", self.video, "cam01")
        rng = np.random.default_rng(3)
        wall = cv2.resize(rng.integers(40, 210, (30, 50, 3), np.uint8), (WIDTH + 200, HEIGHT))
        for k in self.kept:
            shown = np.ascontiguousarray(wall[:, 6 * k : 6 * k + WIDTH])
            cv2.imwrite(str(folder / f"{self.name(k)}{self.suffix}"), shown)

    def mask(self, k):
        whole = np.zeros((HEIGHT, WIDTH), np.uint16)
        for pid in self.people:
            low, high = self.pixels(pid, k).min(0), self.pixels(pid, k).max(0)
            (x0, y0), (x1, y1) = np.maximum(low, 0).astype(int), high.astype(int)
            whole[y0 : y1 + 1, x0 : x1 + 1] = pid
        return whole

    def masks(self, ranked=True, empty=()):
        folder = self.folder("input_masks", self.video, "cam01")
        self.folder("input_masks", self.video, "cam01", "mask_data")
        self.folder("input_masks", self.video, "cam01", "json_data")
        for k in self.kept:
            whole = np.zeros((HEIGHT, WIDTH), np.uint16) if k in empty else self.mask(k)
            name = f"mask_{1 + self.stride * k:05d}"
            np.savez_compressed(folder / "mask_data" / f"{name}.npz", mask=whole)
            content = {
                "mask_name": f"{name}.npy",
                "mask_height": HEIGHT,
                "mask_width": WIDTH,
                "promote_type": "mask",
                "labels": {},
            }
            if k not in empty:
                for pid in self.people:
                    ys, xs = np.nonzero(whole == pid)
                    content["labels"][str(pid)] = {
                        "instance_id": pid,
                        "class_name": "person",
                        **{"x1": int(xs.min()), "y1": int(ys.min())},
                        **{"x2": int(xs.max()), "y2": int(ys.max())},
                        "logit": 0.0,
                        "score": 0.75,
                    }
                content["area_ranking"] = list(self.people)
                content["areas"] = {str(p): int((whole == p).sum()) for p in self.people}
            (folder / "json_data" / f"{name}.json").write_text(json.dumps(content))
        # without anybody ever seen, the three keys of single ids are missing
        meta = {"all_instance_ids": [], "sorted_by_avg_area": []}
        if ranked:
            meta = {
                "most_persistent_id": self.people[0],
                "largest_area_id": self.people[-1],
                "highest_confidence_id": self.people[0],
                "all_instance_ids": list(self.people),
                "sorted_by_avg_area": list(self.people[::-1]),
                "avg_areas": {},
                "frame_counts": {},
                "total_areas": {},
            }
        (folder / "meta_data.json").write_text(json.dumps(meta))

    def poses(self):
        folder = self.folder("input_2d_poses", self.video, "cam01")
        for k in self.kept:
            content = {}
            for pid in self.people:
                rows = np.zeros((133, 3))
                for name, xy in zip(SMPL_JOINTS, self.pixels(pid, k), strict=True):
                    name = name.replace("_foot", "_big_toe")
                    if name in COCO_WHOLEBODY:
                        rows[COCO_WHOLEBODY.index(name)] = [*(xy - 0.5), 0.9]
                content[str(pid)] = {"bbox": [0, 0, 9, 9, 1.0], "keypoints": rows.tolist()}
            path = folder / f"pose_{1 + self.stride * k:05d}.json"
            path.write_text(json.dumps(content))

    def meshes(self, known=None):
        folder = self.folder("input_3d_meshes", self.video, "cam01")
        for k in self.kept:
            content = {}
            for pid, person in self.bodies.items():
                turn = self.cameras[k, :3, :3].T @ person["orient"][k]
                content[pid] = {
                    "smpl_params": {
                        "global_orient": turn[None].astype(np.float32),
                        "body_pose": person["pose"][k].astype(np.float32),
                        "betas": np.full(10, 0.3, np.float32),
                    }
                }
            path = folder / f"smpl_params_{1 + self.stride * k:05d}.pkl"
            path.write_bytes(pickle.dumps(content))
        if known:
            (folder / known).write_text(json.dumps({"optimized_shape": [[0.5] * 10]}))

    def contacts(self):
        folder = self.folder("input_contacts", self.video, "cam01")
        for k in self.kept:
            content = {
                pid: {
                    "frame_contact_vertices": np.zeros((6890, 1), np.float32),
                    "left_foot_contact": np.bool_(k % 2 == 0),
                    "right_foot_contact": np.bool_(True),
                }
                for pid in self.people
            }
            (folder / f"{self.name(k)}.pkl").write_bytes(pickle.dumps(content))

    # -- stages 1 to 4

    def depth(self, k):
        rows, columns = np.indices(SMALL)
        return (1.5 + 0.004 * columns + 0.002 * rows + 0.01 * k).astype(np.float16)

    def frame(self, group, k, scale, turn, kind, size=1.0, factor=1.0):
        """One frame's datasets; scale: of lengths, turn: to another world, size: of its points."""
        height, width = SMALL
        intrinsic = self.intrinsics * np.array([[width / WIDTH], [height / HEIGHT], [1]])
        intrinsic[:2, 2] -= 0.5
        v, u = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
        rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(intrinsic).T
        pose = self.pose(k, scale)
        pose[:3, :3], pose[:3, 3] = turn @ pose[:3, :3], factor * turn @ pose[:3, 3]
        local = np.float64(self.depth(k))[..., None] * rays * size
        real = self.method == "align3r"
        group["rgbimg"] = np.full((height, width, 3), 0.35 if real else 90, float if real else "u1")
        group["intrinsic"] = np.float32(intrinsic)
        group["cam2world"] = np.float32(pose)
        group["pts3d"] = (local @ pose[:3, :3].T + pose[:3, 3]).astype(kind)
        group["depths"] = self.depth(k) if kind == np.float64 else np.float32(self.depth(k))
        group["msk"] = np.ones(SMALL, np.float16)
        group["conf"] = np.full(SMALL, 4.0 if real else 1.0, np.float16)
        group["dynamic_msk"] = np.zeros(SMALL, bool)
        group["affine_matrix"] = np.array([[WIDTH / width, 0, 0], [0, HEIGHT / height, 0]])

    def megasam(self):
        path = self.folder(f"input_{self.method}") / f"{self.stem}.h5"
        with h5py.File(path, "w") as h5:
            for k in self.kept:
                group = h5.create_group(f"/monst3r_ga_output/{self.name(k)}")
                self.frame(group, k, 1 / SCALE, np.eye(3), np.float64)

    def humans(self, h5, calibrated, turned, factor=1.0):
        for pid, person in self.bodies.items():
            orient = SLAM[:3, :3] @ self.cameras[0, :3, :3].T @ person["orient"]
            transl = self.hunter(person["transl"])
            if calibrated and pid in turned:
                orient, transl = self.rotation @ orient, factor * transl @ self.rotation.T
            group = h5.create_group(f"our_pred_humans_smplx_params/{pid}")
            group["body_pose"] = person["pose"][self.kept].astype(np.float32)
            group["global_orient"] = orient[self.kept][:, None].astype(np.float32)
            group["root_transl"] = transl[self.kept][:, None].astype(np.float32)
            group["betas"] = np.full((len(self.kept), 10), 0.3, np.float32)

    def megahunter(self):
        path = self.folder("output_smpl_and_points") / f"megahunter_{self.stem}.h5"
        with h5py.File(path, "w") as h5:
            for k in self.kept:
                group = h5.create_group(f"{TREE}/{self.name(k)}")
                self.frame(group, k, 1.0, np.eye(3), np.float64, size=SCALE)
            self.humans(h5, False, ())
            h5.create_group("person_frame_info_list")
            for pid in self.people:
                names = np.array([[self.name(k)] for k in self.kept], object)
                key = f"/person_frame_info_list/{pid}"
                h5.attrs.create(key, names, dtype=h5py.string_dtype())

    def calibrated(self, turned=None, factor=1.0, mesh=True):
        """Stage 3; turned: people who were moved into the gravity world."""
        turned = self.people if turned is None else turned
        folder = self.folder("output_calib_mesh", f"megahunter_{self.stem}")
        with h5py.File(folder / "gravity_calibrated_megahunter.h5", "w") as h5:
            for k in self.kept:
                group = h5.create_group(f"{TREE}/{self.name(k)}")
                self.frame(
                    *(group, k, 1.0, self.rotation, np.float32),
                    size=SCALE * factor,
                    factor=factor,
                )
            self.humans(h5, True, turned, factor)
            for pid in self.people:
                names = np.array([[self.name(k)] for k in self.kept], object)
                h5.create_dataset(
                    f"person_frame_info_list/{pid}", data=names, dtype=h5py.string_dtype()
                )
        with h5py.File(folder / "gravity_calibrated_keypoints.h5", "w") as h5:
            for pid in turned:
                joints = np.zeros((len(self.kept), 45, 3), np.float32)
                found = self.hunter(self.bodies[pid]["joints"][self.kept])
                joints[:, :24] = factor * found @ self.rotation.T
                h5[f"joints/{pid}"] = joints
            h5["world_rotation"] = np.float32(self.rotation)
            h5.attrs["/joint_names"] = [*SMPL_JOINTS, *("other",) * 21]
        if mesh:
            self.mesh(folder, factor)

    def their_gravity(self, points, factor=1.0):
        """Our gravity world (floor at 0) to VideoMimic's."""
        return factor * self.hunter(points) @ self.rotation.T

    def mesh(self, folder, factor=1.0):
        x, y = np.meshgrid(np.linspace(-4, 4, 9), np.linspace(-4, 6, 11))
        ground = np.stack([x + self.cameras[0, 0, 3], y + self.cameras[0, 1, 3] + 4, 0 * x], -1)
        lines = []
        for point in self.their_gravity(ground.reshape(-1, 3), factor):
            lines.append("v {:.6f} {:.6f} {:.6f}".format(*point))
        for row in range(10):
            for column in range(8):
                a = 9 * row + column + 1
                lines += [f"f {a} {a + 1} {a + 10}", f"f {a} {a + 10} {a + 9}"]
        (folder / "background_mesh.obj").write_text("\n".join(lines) + "\n")

    def retarget(self, joint_names, several=False, wrong=0):
        """Stage 4 as its program writes it: link poses of the rest pose, attributes on the owning
        group without a slash; wrong: rows too many."""
        folder = self.folder("output_calib_mesh", f"megahunter_{self.stem}")
        rows = len(self.kept) + wrong
        time = np.arange(rows)
        wave = 0.2 * np.sin(0.3 * time[:, None] + np.arange(len(joint_names)))
        found = {}
        for pid in self.people if several else self.people[:1]:
            turn = Rotation.from_euler("z", (0.5 * pid + 0.05 * time)[:, None])
            place = np.stack([0.02 * time, 5.0 + 0 * time, 0.79 + 0 * time], -1)
            place[:, :2] += self.cameras[0, :2, 3]
            found[pid] = (place, turn.as_quat(), wave + 0.01 * pid)
        name = "retarget_poses_g1_multiperson.h5" if several else "retarget_poses_g1.h5"
        with h5py.File(folder / name, "w") as h5:
            for pid, (place, quat, joints) in found.items():
                group = h5.create_group(f"persons/{pid}") if several else h5
                group["joints"] = joints.astype(np.float32)
                group["root_pos"] = self.their_gravity(place)
                group["root_quat"] = quat
                group["link_pos"] = np.zeros((rows, 2, 3))
                group["link_quat"] = np.tile([0, 0, 0, 1.0], (rows, 2, 1))
                # where contacts are not to be had they are zeros
                group["contacts/left_foot"] = np.zeros(rows, np.float32)
                group["contacts/right_foot"] = np.ones(rows, bool)
                group.attrs["fps"] = 30 / self.stride
            h5.attrs["joint_names"] = list(joint_names)
            h5.attrs["link_names"] = ["pelvis.STL", "torso.STL"]
        return found
