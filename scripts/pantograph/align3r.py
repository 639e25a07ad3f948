"""Cameras, depth and its confidence with Align3R, run from clones of its packages.

Lu et al., "Align3R: Aligned Monocular Depth Estimation for Dynamic Videos", CVPR 2025, in the
package Junyi42/monst3r-depth-package: DUSt3R's networks with a depth prior (Depth Pro) on pairs of
frames, and one optimisation of all of them that optical flow (RAFT) helps.
"""

from __future__ import annotations

import functools
import os

import numpy as np

from . import foreign, gpu, reconstruction
from .errors import PantographError
from .video import scaled_size
from .workplace import importable, workplace

PICTURE = 512
"""Long side, px, of the picture that the networks work on; sides are multiples of 16."""

GIVEN = 1536
"""Long side, px, of the pictures handed over: what Depth Pro works on."""

FOLDERS = ("", "third_party/ml-depth-pro/src", "third_party/sam2")
"""Where the package keeps its modules, relative to its root."""

FILES = {
    "repository": "a clone of monst3r-depth-package",
    "croco": "a clone of croco_package",
    "depth_pro": "the weights of Depth Pro",
    "raft": "the weights of RAFT",
    "weights": "the weights of Align3R",
}

DEPTH_PRO = "assets/checkpoints/depth_pro.pt"
"""Where the package looks for Depth Pro's weights, relative to the working directory."""


def crop(width, height, square=True):
    """What `dust3r.utils.image.load_images` cuts from a picture (width, height).

    The long side becomes 512 px, then the middle is cut to multiples of 16 px. Without `square`
    a square picture loses a quarter of its height. Returns the size (width, height) and the
    affine matrix (2, 3) from its px to those of the given picture.
    """
    scaled = np.array([int(round(side * PICTURE / max(width, height))) for side in (width, height)])
    half = 2 * (scaled // 2) // 16 * 8
    if not square and scaled[0] == scaled[1]:
        half[1] = 3 * half[0] // 4
    scale = np.array([width, height]) / scaled
    offset = (scaled // 2 - half) * scale
    return tuple(int(side) for side in 2 * half), np.column_stack([np.diag(scale), offset])


@functools.lru_cache(maxsize=1)
def load(repository, croco, weights):
    """The network, on the GPU."""
    gpu.stay_offline()
    importable(croco, *[os.path.join(repository, folder) for folder in FOLDERS])
    network = foreign.module("dust3r.model", repository).AsymmetricCroCo3DStereo_Align3r
    return network.from_pretrained(weights).to("cuda")


def reconstruct(video, people, files, options):
    """The `Reconstruction` of a clip.

    files: a dict of paths: the folders `repository` and `croco`, the weights `depth_pro`, `raft`
    and `weights`; options: a dict, see scripts/scene_align3r.py. Raises PantographError where
    something is missing or the GPU has too little memory.
    """
    for name, what in FILES.items():
        gpu.check_files(files[name] or f"--{name.replace('_', '-')}", what)
    files = {name: os.path.abspath(path) for name, path in files.items()}
    if video.frame_count < 3:
        raise PantographError(
            f"scene_align3r: expected 3 frames or more, found {video.frame_count}; use more of "
            "the clip, or method sfm"
        )
    given = scaled_size(video.width, video.height, GIVEN)
    size, affine = crop(*given)
    memory = options["gb_per_frame"], options["gpu_gb"]
    reconstruction.check_memory("scene_align3r", video, size, *memory)
    links = {DEPTH_PRO: files["depth_pro"]}
    with gpu.memory(reconstruction.FEWER_FRAMES), workplace(links) as folder:
        network = load(files["repository"], files["croco"], files["weights"])
        pictures, masks = reconstruction.write_pictures(
            video, people, folder / "frames", GIVEN, masks=True
        )
        maps, intrinsics, cam2world, confidence = _run(network, pictures, masks, files, options)
    if maps.shape[:0:-1] != size:
        raise PantographError(
            f"scene_align3r: expected pictures of {size[0]} x {size[1]} px, found "
            f"{maps.shape[2]} x {maps.shape[1]}; is the clone at the commit of the manifest?"
        )
    return reconstruction.Reconstruction(
        depth=maps,
        intrinsics=intrinsics,
        cam2world=cam2world,
        window=reconstruction.cropped((video.width, video.height), affine, given),
        confidence=confidence,
    )


def _run(network, pictures, masks, files, options):
    def part(name):
        return foreign.module(f"dust3r.{name}", files["repository"])

    to_numpy = part("utils.device").to_numpy
    optimisation = part("cloud_opt")
    views = part("utils.image").load_images(
        pictures,
        size=PICTURE,
        square_ok=True,
        verbose=False,
        dynamic_mask_root=masks,
        # more frames than this would be left out without a word
        interval=len(pictures),
    )
    pairs = part("image_pairs").make_pairs(
        views, scene_graph=graph(options), prefilter=None, symmetrize=True
    )
    output = part("inference").inference(
        pairs, network, "cuda", batch_size=options["batch_size"], verbose=False
    )
    scene = optimisation.global_aligner(
        output,
        device="cuda",
        mode=optimisation.GlobalAlignerMode.PointCloudOptimizer,
        verbose=False,
        shared_focal=True,
        temporal_smoothing_weight=0.01,
        translation_weight=0.1,
        flow_loss_weight=0.01 if options["flow_loss"] else 0.0,
        flow_loss_start_epoch=0.1,
        use_self_mask=False,
        num_total_iter=options["iterations"],
        empty_cache=options["empty_cache"],
        raft_ckpt_path=files["raft"],
        sam2_mask_refine=False,
        batchify=options["batchify"],
    )
    scene.compute_global_alignment(
        init="mst", niter=options["iterations"], schedule="linear", lr=options["rate"]
    )
    return (
        np.stack([np.asarray(item) for item in to_numpy(scene.get_depthmaps())]),
        np.asarray(to_numpy(scene.get_intrinsics()), float),
        np.asarray(to_numpy(scene.get_im_poses()), float),
        np.stack([np.asarray(item) for item in to_numpy(list(scene.im_conf))]),
    )


def graph(options):
    """The package's name of a scene graph: which pairs of frames are compared."""
    name, window = options["scene_graph"], options["window"]
    return {
        "swin": f"swin-{window}-noncyclic",
        "swin-cyclic": f"swin-{window}",
        "swinstride": f"swinstride-{window}-noncyclic",
        "swinstride-cyclic": f"swinstride-{window}",
        "oneref": f"oneref-{options['reference']}",
        "complete": "complete",
    }[name]
