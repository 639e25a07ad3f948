"""Stand-ins for the packages of MegaSam and Align3R, and for PyTorch with a GPU.

They have the call signatures and output shapes of the originals, check what they are given, and
give a known scene: their `weights` hold it.
"""

import json
import os
import subprocess
import sys

import numpy as np

from conftest import ROOT
from standins import write_package

TORCH = """
import os
import pickle

import numpy as np

__version__ = "2.5.1"


class cuda:
    class OutOfMemoryError(RuntimeError):
        pass

    @staticmethod
    def is_available():
        return float(os.environ["STANDIN_GPU_GB"]) > 0

    @staticmethod
    def mem_get_info():
        total = int(1e9 * float(os.environ["STANDIN_GPU_GB"]))
        return total, total


class Tensor:
    pass


class serialization:
    pass


def device(name):
    return name


def load(path, map_location=None, weights_only=False):
    assert map_location == "cpu"
    with np.load(path) as data:
        return dict(data)
"""

NETWORK = '''
class Network:
    """What the drivers do with a network of PyTorch."""

    state = None

    def load_state_dict(self, state, strict=True):
        class Keys:
            missing_keys = [name for name in self.names if name not in state]

        assert not Keys.missing_keys, Keys.missing_keys
        return Keys

    def to(self, device):
        assert device == "cuda"
        self.moved = True
        return self

    def cuda(self):
        return self.to("cuda")

    def eval(self):
        assert self.moved
        return self
'''

MEGASAM = {
    "network.py": NETWORK,
    "run_all.py": """
import cv2
import numpy as np


def demo_unidepth(model, img_path_list, args, save=False):
    assert model.folder.endswith("unidepth") and model.moved and args.scene_name
    sizes = [cv2.imread(path).shape[:2] for path in img_path_list]
    return [np.full(size, 3.0, np.float32) for size in sizes], [np.array([60.0]) for _ in sizes]


def demo_depthanything(depth_anything, filenames, args, save=False):
    assert depth_anything.encoder == "vitl"
    return [np.full(cv2.imread(path).shape[:2], 0.3, np.float32) for path in filenames]
""",
    "unidepth/models.py": """
from network import Network


class UniDepthV2(Network):
    @classmethod
    def from_pretrained(cls, folder):
        model = cls()
        model.folder = folder
        return model
""",
    "depth_anything/dpt.py": """
import os

from network import Network


class DPT_DINOv2(Network):
    names = ["depth_head.weight"]

    def __init__(self, encoder="vitl", features=256, out_channels=(), use_bn=False,
                 use_clstoken=False, localhub=True):
        assert (features, list(out_channels)) == (256, [256, 512, 1024, 1024])
        assert localhub and os.path.isfile("torchhub/facebookresearch_dinov2_main/hubconf.py")
        self.encoder = encoder
""",
    "raft.py": """
from network import Network


class RAFT(Network):
    names = ["fnet.weight"]

    def __init__(self, args):
        assert not args.small and args.mixed_precision
""",
    "preprocess_flow.py": """
import cv2
import numpy as np


def prepare_img_data(image_list):
    out = []
    for path in image_list:
        image = cv2.imread(path)[..., ::-1]
        h0, w0 = image.shape[:2]
        w1, h1 = (512, int(h0 * (512 / w0))) if w0 >= h0 else (int(w0 * (512 / h0)), 512)
        w1, h1 = (w1 + 7) // 8 * 8, (h1 + 7) // 8 * 8
        out.append(cv2.resize(image, (w1, h1)).transpose(2, 0, 1))
    return np.array(out)


def process_flow(flow_model, img_data, scene_name=None):
    pairs = [(i, i + step) for step in (1, 2, 4, 8, 15) for i in range(len(img_data) - step)]
    flows = np.zeros((len(pairs), 2, *img_data.shape[2:]), np.float16)
    return flows, np.ones_like(flows[:, :1]), np.array(pairs).T
""",
    "camera_tracking_scripts/test_demo.py": """
import json
import os

import numpy as np
from preprocess_flow import prepare_img_data


def droid_slam_optimize(image_list, da_disps, metric_depths, fovs, args):
    assert len(image_list) == len(da_disps) == len(metric_depths) == len(fovs)
    assert args.disable_vis and len(args.image_size) == 2
    names = "buffer beta filter_thresh warmup keyframe_thresh frontend_thresh frontend_window "
    names += "frontend_radius frontend_nms stereo depth upsample backend_thresh backend_radius "
    told = {name: getattr(args, name) for name in (names + "backend_nms").split()}
    with open(os.environ["STANDIN_TOLD"], "w") as stream:
        json.dump(told, stream)
    droid = np.load(args.weights)
    pictures = list(prepare_img_data(image_list)[:, ::-1])
    count, _, height, width = np.array(pictures).shape
    probability = np.ones((count, height // 8, width // 8), np.float32)
    return droid, np.zeros((count, 7)), pictures, droid["depth"], probability


def return_full_reconstruction(droid, full_traj, rgb_list, senor_depth_list, motion_prob):
    K = droid["intrinsics"]
    intrinsics = np.tile(K[[0, 1, 0, 1], [0, 1, 2, 2]], (len(full_traj), 1))
    return_full_reconstruction.droid = droid
    disps = 1.0 / (np.array(senor_depth_list) + 1e-6)
    return np.array(rgb_list), disps, full_traj, intrinsics, motion_prob
""",
    "cvd_opt.py": """
import os

import numpy as np
from camera_tracking_scripts import test_demo


def cvd_optimize(img_data, disp_data, poses, intrinsics, mot_prob, flows, flow_masks, iijj,
                 output_dir, scene_name, w_grad, w_normal, save=True):
    assert not save and os.path.isdir(output_dir) and (w_grad, w_normal) == (2.0, 5.0)
    assert img_data.shape[0] == disp_data.shape[0] and img_data.shape[2:] == disp_data.shape[1:]
    assert flows.shape[2:] == img_data.shape[2:] and iijj.shape[0] == 2
    K = np.eye(3, dtype=np.float32)
    K[[0, 1, 0, 1], [0, 1, 2, 2]] = intrinsics[0]
    depths = np.clip(np.float16(1.0 / disp_data), 1e-3, 1e2)
    cam_c2w = np.float32(test_demo.return_full_reconstruction.droid["cam2world"])
    return np.uint8(img_data.transpose(0, 2, 3, 1)), depths, K, cam_c2w
""",
    "base/droid_slam/droid.py": "",
    "cvd_opt/cvd_opt.py": "",
}

ALIGN3R = {
    "network.py": NETWORK,
    "dust3r/model.py": """
import numpy as np
from croco.models.croco import CroCoNet
from network import Network


class AsymmetricCroCo3DStereo_Align3r(Network, CroCoNet):
    @classmethod
    def from_pretrained(cls, path):
        model = cls()
        model.truth = dict(np.load(path))
        return model
""",
    "dust3r/utils/device.py": """
import numpy as np


def to_numpy(x):
    return [np.asarray(v) for v in x] if isinstance(x, list) else np.asarray(x)
""",
    "dust3r/utils/image.py": """
import os

import numpy as np
import PIL.Image


def crop_img(img, size, square_ok):
    W, H = img.size
    img = img.resize(tuple(int(round(x * size / max(W, H))) for x in img.size))
    W, H = img.size
    cx, cy = W // 2, H // 2
    halfw, halfh = ((2 * cx) // 16) * 8, ((2 * cy) // 16) * 8
    if not square_ok and W == H:
        halfh = 3 * halfw / 4
    return img.crop((cx - halfw, cy - halfh, cx + halfw, cy + halfh))


def load_images(folder_or_list, size, square_ok=False, verbose=True, dynamic_mask_root=None,
                crop=True, fps=0, traj_format="custom", start=0, interval=300,
                depth_prior_name="depthpro"):
    assert os.path.isfile("./assets/checkpoints/depth_pro.pt")
    views = []
    for i, path in enumerate(folder_or_list[start : start + interval]):
        img = crop_img(PIL.Image.open(path), size, square_ok)
        mask = np.load(dynamic_mask_root[i])["mask"]
        mask = PIL.Image.fromarray(((mask > 0) * 255).astype(np.uint8))
        assert mask.size == PIL.Image.open(path).size
        mask = np.asarray(crop_img(mask, size, square_ok)) > 0.99 * 255
        shape = np.int32([img.size[::-1]])
        views.append({"true_shape": shape, "idx": i, "instance": path, "dynamic_mask": mask})
    return views
""",
    "dust3r/image_pairs.py": """
def make_pairs(imgs, scene_graph="complete", prefilter=None, symmetrize=True):
    assert scene_graph == "swinstride-5-noncyclic" and symmetrize
    pairs = [(a, b) for a in imgs for b in imgs if 0 < b["idx"] - a["idx"] < 10]
    return pairs + [(b, a) for a, b in pairs]
""",
    "dust3r/inference.py": """
def inference(pairs, model, device, batch_size=8, verbose=True):
    assert model.moved and device == "cuda" and batch_size == 16
    views = {v["idx"]: v for pair in pairs for v in pair}
    view1 = [views[k] for k in sorted(views)]
    return {"view1": view1, "view2": None, "pred1": model.truth, "pred2": None}
""",
    "dust3r/cloud_opt/__init__.py": """
import json
import os
from enum import Enum

import numpy as np


class GlobalAlignerMode(Enum):
    PointCloudOptimizer = "PointCloudOptimizer"


class Scene:
    def __init__(self, views, truth, raft_ckpt_path):
        assert os.path.isfile(raft_ckpt_path)
        covered = [int(v["dynamic_mask"].sum()) for v in views]
        assert min(covered) > 100
        self.views, self.truth, self.solved = views, truth, False
        self.im_conf = list(np.float32(truth["confidence"]))

    def compute_global_alignment(self, init=None, niter=300, schedule="linear", lr=0.01):
        assert (init, niter, schedule, lr) == ("mst", 300, "linear", 0.01)
        self.solved = True
        return 0.1

    def get_depthmaps(self):
        assert self.solved
        shape = tuple(self.views[0]["true_shape"][0])
        assert self.truth["depth"].shape[1:] == shape
        return list(np.float32(self.truth["depth"]))

    def get_intrinsics(self):
        return np.tile(np.float32(self.truth["intrinsics"]), (len(self.views), 1, 1))

    def get_im_poses(self):
        return np.float32(self.truth["cam2world"])


def global_aligner(dust3r_output, device, mode=None, **optim_kw):
    assert mode is GlobalAlignerMode.PointCloudOptimizer and optim_kw["shared_focal"]
    assert not optim_kw["use_self_mask"] and not optim_kw["sam2_mask_refine"]
    with open(os.environ["STANDIN_TOLD"], "w") as stream:
        json.dump({k: v for k, v in optim_kw.items()}, stream)
    view1, _, pred1, _ = [dust3r_output[k] for k in "view1 view2 pred1 pred2".split()]
    return Scene(view1, pred1, optim_kw["raft_ckpt_path"])
""",
}

CROCO = {"croco/models/croco.py": "class CroCoNet:\n    pass\n"}


def write_torch(folder):
    """A folder for PYTHONPATH in which `torch` is the stand-in."""
    write_package(folder, {"torch/__init__.py": TORCH})
    return folder


def write_megasam(folder, truth):
    """The package, its weights, and the code of DINOv2: the options of scene_megasam."""
    write_package(folder / "megasam", MEGASAM)
    # upstream's folders of these names are no packages
    for initial in ("cvd_opt", "base", "base/droid_slam"):
        (folder / "megasam" / initial / "__init__.py").unlink()
    (folder / "dino").mkdir()
    (folder / "dino" / "hubconf.py").write_text("")
    (folder / "unidepth").mkdir()
    save(folder / "megasam.pth", truth)
    save(folder / "depth_anything.pth", {"depth_head.weight": np.ones(1)})
    save(folder / "raft.pth", {"module.fnet.weight": np.ones(1)})
    return {
        "repository": str(folder / "megasam"),
        "dino": str(folder / "dino"),
        "unidepth": str(folder / "unidepth"),
        "depth-anything": str(folder / "depth_anything.pth"),
        "raft": str(folder / "raft.pth"),
        "weights": str(folder / "megasam.pth"),
    }


def write_align3r(folder, truth):
    """The packages and their weights: the options of scene_align3r."""
    write_package(folder / "monst3r", ALIGN3R)
    write_package(folder / "croco_package", CROCO)
    (folder / "monst3r" / "croco").mkdir()
    save(folder / "align3r.pth", truth)
    (folder / "depth_pro.pt").touch()
    (folder / "raft.pth").touch()
    return {
        "repository": str(folder / "monst3r"),
        "croco": str(folder / "croco_package"),
        "depth-pro": str(folder / "depth_pro.pt"),
        "raft": str(folder / "raft.pth"),
        "weights": str(folder / "align3r.pth"),
    }


def save(path, arrays):
    with open(path, "wb") as stream:
        np.savez(stream, **arrays)


def environment(folder, gpu_gb=48.0):
    """The environment of a process with the stand-in of PyTorch and a GPU."""
    return {
        **os.environ,
        "PYTHONPATH": str(write_torch(folder / "path")),
        "STANDIN_GPU_GB": str(gpu_gb),
        "STANDIN_TOLD": str(folder / "told.json"),
    }


def told(folder):
    """What the stand-in was told."""
    return json.loads((folder / "told.json").read_text())


def run(script, words, env):
    """Run a script of the product in a process of its own."""
    command = [sys.executable, str(ROOT / "scripts" / f"{script}.py"), *words]
    return subprocess.run(command, env=env, capture_output=True, text=True)
