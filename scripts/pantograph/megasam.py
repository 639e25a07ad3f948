"""Cameras and depth with MegaSam, run from a clone of its package.

Li et al., "MegaSaM: Accurate, Fast, and Robust Structure and Motion from Casual Dynamic Videos",
CVPR 2025. The chain is that of `run_all.py` in Junyi42/megasam-package: metric depth and field of
view (UniDepth), relative depth (Depth Anything), optical flow (RAFT), SLAM (DROID with motion
probability), and depth made consistent over time.
"""

from __future__ import annotations

import argparse
import functools
import os
import re

import numpy as np

from . import foreign, gpu, reconstruction
from .video import scaled_size
from .workplace import importable, workplace

PICTURE = 512
"""Long side, px, of the picture that MegaSam works on; sides are multiples of 8."""

GIVEN = 768
"""Long side, px, of the pictures handed over: what Depth Anything takes; UniDepth takes 640."""

HEADS = {
    "vits": (64, [48, 96, 192, 384]),
    "vitb": (128, [96, 192, 384, 768]),
    "vitl": (256, [256, 512, 1024, 1024]),
}
"""Width of the head and of its inputs for each encoder of Depth Anything."""

FOLDERS = ("", "Depth-Anything", "UniDepth", "base/droid_slam", "cvd_opt/core", "cvd_opt")
"""Where the package keeps its modules, relative to its root."""

PARTS = ("cvd_opt/cvd_opt.py", "base/droid_slam/droid.py")
"""Files without which a clone is incomplete; the second lies in a submodule."""

FILES = {
    "repository": "a clone of megasam-package",
    "dino": "a clone of dinov2",
    "unidepth": "the folder of the UniDepth model",
    "depth_anything": "the weights of Depth Anything",
    "raft": "the weights of RAFT",
    "weights": "the weights of MegaSam",
}

DINO = "torchhub/facebookresearch_dinov2_main"
"""Where Depth Anything looks for the code of its encoder, relative to the working directory."""


def picture_size(width, height):
    """(width, height) that the package scales a picture to."""
    longer = max(width, height)
    sides = (
        PICTURE if side == longer else int(side * (PICTURE / longer)) for side in (width, height)
    )
    return tuple((side + 7) // 8 * 8 for side in sides)


@functools.lru_cache(maxsize=1)
def load(repository, dino, unidepth, depth_anything, raft, encoder, small):
    """The package's functions and its three networks, on the GPU. Arguments: see `reconstruct`."""
    import torch

    gpu.stay_offline()
    importable(*[os.path.join(repository, folder) for folder in FOLDERS])
    chain = argparse.Namespace(
        run=foreign.module("run_all", repository),
        slam=foreign.module("camera_tracking_scripts.test_demo", repository),
        flow=foreign.module("preprocess_flow", repository),
        depth=foreign.module("cvd_opt", repository),
    )
    metric = foreign.module("unidepth.models", repository).UniDepthV2.from_pretrained(unidepth)
    chain.unidepth = metric.to(torch.device("cuda"))
    features, channels = HEADS[encoder]
    with workplace({DINO: dino}):
        relative = foreign.module("depth_anything.dpt", repository).DPT_DINOv2(
            encoder=encoder, features=features, out_channels=channels, localhub=True
        )
    foreign.load_parameters(relative, foreign.load_checkpoint(depth_anything))
    chain.depth_anything = relative.cuda().eval()
    options = argparse.Namespace(
        small=small,
        mixed_precision=True,
        num_heads=1,
        position_only=False,
        position_and_content=False,
        model=raft,
    )
    flow = foreign.module("raft", repository).RAFT(options)
    # the weights are those of a network that torch.nn.DataParallel had wrapped
    state = foreign.load_checkpoint(raft).items()
    foreign.load_parameters(flow, {re.sub("^module[.]", "", name): item for name, item in state})
    chain.raft = flow.cuda().eval()
    return chain


def reconstruct(video, people, files, options):
    """The `Reconstruction` of a clip.

    files: a dict of paths: the folders `repository`, `dino` (code of DINOv2) and `unidepth`, the
    weights `depth_anything`, `raft` and `weights`; options: a dict, see scripts/scene_megasam.py.
    Raises PantographError where something is missing or the GPU has too little memory.
    """
    for name, what in FILES.items():
        gpu.check_files(files[name] or f"--{name.replace('_', '-')}", what)
    files = {name: os.path.abspath(path) for name, path in files.items()}
    for part in PARTS:
        gpu.check_files(os.path.join(files["repository"], part), "a file of the clone")
    size = picture_size(*scaled_size(video.width, video.height, GIVEN))
    memory = options["gb_per_frame"], options["gpu_gb"]
    reconstruction.check_memory("scene_megasam", video, size, *memory)
    networks = [files[name] for name in ("dino", "unidepth", "depth_anything", "raft")]
    with gpu.memory(reconstruction.FEWER_FRAMES):
        chain = load(files["repository"], *networks, options["encoder"], options["small"])
        with workplace() as folder:
            pictures, _ = reconstruction.write_pictures(video, people, folder / "frames", GIVEN)
            return _run(chain, pictures, str(folder), files["weights"], video, options)


def _run(chain, pictures, folder, weights, video, options):
    # the package reads its settings from an object with these names
    settings = argparse.Namespace(
        outdir=folder,
        scene_name="clip",
        weights=weights,
        image_size=[240, 320],
        disable_vis=True,
        **options["slam"],
    )
    metric, fields_of_view = chain.run.demo_unidepth(chain.unidepth, pictures, settings)
    relative = chain.run.demo_depthanything(chain.depth_anything, pictures, settings)
    flows, flow_masks, pairs = chain.flow.process_flow(
        chain.raft, chain.flow.prepare_img_data(pictures)
    )
    droid, path, rgb, sensed, motion = chain.slam.droid_slam_optimize(
        pictures, relative, metric, fields_of_view, settings
    )
    images, disparity, poses, intrinsics, motion = chain.slam.return_full_reconstruction(
        droid, path, rgb, sensed, motion
    )
    _, depth, intrinsics, cam2world = chain.depth.cvd_optimize(
        images[:, ::-1, ...],
        disparity + 1e-6,
        poses,
        intrinsics,
        motion,
        flows,
        flow_masks,
        pairs,
        folder,
        "clip",
        options["w_grad"],
        options["w_normal"],
        save=False,
    )
    count = len(depth)
    return reconstruction.Reconstruction(
        depth=np.asarray(depth),
        intrinsics=np.tile(np.asarray(intrinsics, float), (count, 1, 1)),
        cam2world=np.asarray(cam2world, float),
        window=reconstruction.stretched((video.width, video.height), depth.shape[:0:-1]),
    )
