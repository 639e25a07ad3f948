"""Foot contact from pictures with BSTRO, a network that gives contact per vertex of SMPL.

Huang et al., "Capturing and Inferring Dense Full-Body Human-Scene Contact", 2022. As VideoMimic
calls it, a foot touches where more than a part (`feet_contact_ratio_thr`) of its vertices have a
probability over `contact_thr`. What differs here:

- VideoMimic takes centre and scale of every crop from the first crop of the clip, person and all:
  as soon as a box grows, shrinks or belongs to somebody else, its picture is cut off or lies in a
  corner of the network's input. Here each crop has its own.
- Its single-clip script pairs pictures and boxes by their order, so that a missing file shifts
  all later labels. Here both come from one clip.
- It holds every crop of a clip in the GPU's memory; here a batch at a time.
- The rest body and the mesh sampling that the network asks for are given by objects of our own,
  read without running the code that pickles may carry.
- Probabilities are kept: their mean over the foot's vertices.

Crops are as there: the box's content, in the middle of a black square of its longer side. The
vertices of a foot are `leftFoot` and `rightFoot` of SMPL's vertex segmentation, which end before
the toes; the toes (`leftToeBase`, `rightToeBase`) may be counted too.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import types
import zipfile

import numpy as np
from scipy.ndimage import median_filter

from . import body as bodies
from . import crops, foreign, gpu, ground, pickles
from .contracts import Contacts, PersonContacts
from .conventions import CONTACTS
from .errors import PantographError, Rejected
from .video import frames

CROP = 224
"""Side of a crop, px."""
VERTICES = 6890
"""Vertices of SMPL."""
BLOCKS = ((2051, 1024, 512), (512, 256, 128), (128, 128, 1))
"""Width of what goes in, of what is inside, and of what comes out of the transformer's blocks."""
LAYERS, HEADS = 4, 4
DOWNLOADERS = ("boto3", "botocore", "botocore.exceptions", "requests")
"""Packages that its BERT imports to download weights, which no job does."""

# ---------------------------------------------------------------------------------------------
# from vertices to feet


def foot_vertices(path, toes=False):
    """Indices of the vertices of the left and the right foot, two int arrays.

    path: smpl_vert_segmentation.json, {part: [indices]}; toes: count the toes too.
    Raises PantographError where the file lacks a part or has other indices than SMPL's.
    """
    gpu.check_files(path, "the segmentation of SMPL's vertices")
    try:
        with open(path, encoding="utf-8") as stream:
            parts = json.load(stream)
        feet = []
        for side in ("left", "right"):
            names = [f"{side}Foot", *([f"{side}ToeBase"] if toes else [])]
            feet.append(np.unique(np.concatenate([np.asarray(parts[n], int) for n in names])))
    except (ValueError, KeyError, TypeError) as error:
        raise PantographError(
            f"{path}: expected lists of vertices leftFoot, leftToeBase and their right "
            f"counterparts, found {type(error).__name__}: {error}"
        ) from error
    for ids in feet:
        if len(ids) == 0 or ids[0] < 0 or ids[-1] >= VERTICES:
            raise PantographError(f"{path}: expected vertices 0 to {VERTICES - 1}")
    return feet


def pool(probability, feet, contact_thr=0.95):
    """What the vertices say about each foot.

    probability: (n, 6890) in [0, 1]; feet: as from `foot_vertices`. Returns the part of the foot's
    vertices with a probability over `contact_thr` and the mean probability, both (n, 2).
    """
    own = [probability[:, ids] for ids in feet]
    ratio = np.stack([(p > contact_thr).mean(1) for p in own], 1)
    return ratio, np.stack([p.mean(1) for p in own], 1)


def label(ratio, valid, threshold=0.2, off=None, median=1, shortest=1):
    """Contact flags (T, 2) from the part of each foot's vertices that touch, (T, 2).

    valid: (T,) frames that were judged; every run of them is on its own. As upstream by default: a
    foot touches where the ratio is over `threshold`. median: length of a median filter over time,
    frames, odd. off: with it, a contact lasts until the ratio falls to `off`. shortest: contacts
    and gaps of fewer frames are removed.
    """
    flags = np.zeros(ratio.shape, bool)
    for start, end in ground.runs(valid):
        part = median_filter(ratio[start:end], (median, 1), mode="nearest")
        for foot in range(ratio.shape[1]):
            flags[start:end, foot] = hysteresis(
                part[:, foot], threshold, threshold if off is None else off, shortest
            )
    return flags


def hysteresis(values, on, off, shortest=1):
    """Flags (T,) that rise where a value (T,) is over `on` and last while it is over `off`.

    Gaps, then stretches, of fewer than `shortest` frames are removed.
    """
    flags = np.zeros(len(values), bool)
    for start, end in ground.runs(values > off):
        flags[start:end] = (values[start:end] > on).any()
        # what comes before the rise does not count yet
        if flags[start]:
            flags[start : start + int(np.argmax(values[start:end] > on))] = False
    for start, end in ground.runs(~flags):
        if end - start < shortest and start > 0 and end < len(flags):
            flags[start:end] = True
    for start, end in ground.runs(flags):
        if end - start < shortest:
            flags[start:end] = False
    return flags


# ---------------------------------------------------------------------------------------------
# the network


class Template:
    """SMPL's body without pose, in the place of the SMPL layer that the network is given.

    model: BodyModel with SMPL's vertices; regressor: (17, 6890) of the joints of Human3.6M.
    """

    def __init__(self, model, regressor, device):
        import torch

        self.model = model
        self.regressor = torch.tensor(regressor, dtype=torch.float32, device=device)

    def __call__(self, pose, betas):
        """Vertices (B, 6890, 3), m, of axis angles (B, 72) and shapes (B, 10)."""
        import torch
        from scipy.spatial.transform import Rotation

        out = []
        for angles, shape in zip(pose.cpu().numpy(), betas.cpu().numpy(), strict=True):
            turns = Rotation.from_rotvec(angles.reshape(24, 3)).as_matrix()
            pelvis = bodies.rest_joints(self.model, shape)[:1]
            out += list(bodies.vertices(self.model, shape, turns[:1], turns[None, 1:], pelvis))
        return torch.tensor(np.array(out), dtype=torch.float32, device=pose.device)

    def get_h36m_joints(self, vertices):
        """Joints (B, 17, 3) of vertices (B, 6890, 3)."""
        return self.regressor @ vertices


class Sampler:
    """Coarser meshes of SMPL, in the place of the mesh object that the network is given.

    matrices: scipy.sparse, (1723, 6890) and (431, 1723).
    """

    def __init__(self, matrices, device):
        import torch

        self.matrices = [
            torch.tensor(m.toarray(), dtype=torch.float32, device=device) for m in matrices
        ]

    def downsample(self, x, n1=0, n2=1):
        """Vertices (B, n, 3) of level n1 at level n2."""
        for matrix in self.matrices[n1:n2]:
            x = matrix @ x
        return x


def read_sampling(path):
    """The two matrices of mesh_downsampling.npz that make SMPL's mesh coarser, scipy.sparse."""
    gpu.check_files(path, "SMPL's mesh sampling")
    try:
        with zipfile.ZipFile(path) as archive:
            matrices = [pickles.sparse(item) for item in pickles.load_objects(archive, "D")]
        sizes = [m.shape for m in matrices]
    except Exception as error:  # a damaged pickle may raise almost anything
        raise PantographError(f"{path}: not a readable mesh sampling ({error})") from error
    if len(sizes) != 2 or sizes[0][1] != VERTICES or sizes[1][1] != sizes[0][0]:
        raise PantographError(f"{path}: expected two matrices from {VERTICES} vertices on")
    return matrices


@functools.lru_cache(maxsize=1)
def load(repository, weights, template, device):
    """The network in evaluation mode, as a function from crops (B, 3, 224, 224), normalised, to
    contact probabilities (B, 6890).

    repository: folder of the clone; weights: the checkpoint, a state dict of the whole network;
    template: the neutral SMPL file. Raises PantographError where one of them is missing or does
    not fit.
    """
    import torch

    repository, weights = os.path.abspath(repository), os.path.abspath(weights)
    gpu.check_files(repository, "a clone of BSTRO")
    gpu.check_files(weights, "the checkpoint of BSTRO")
    gpu.check_files(template, "the neutral SMPL body")
    model = bodies.load_body(template)
    if len(model.v_template) != VERTICES:
        raise PantographError(
            f"{template}: expected SMPL's {VERTICES} vertices, found {len(model.v_template)}"
        )
    with foreign.hollow(*DOWNLOADERS):
        bert = foreign.module("metro.modeling.bert", repository)
    bstro = foreign.module("metro.modeling.bert.modeling_bstro", repository)
    hrnet = foreign.module("metro.modeling.hrnet.hrnet_cls_net_featmaps", repository)
    hrnet_config = foreign.module("metro.modeling.hrnet.config", repository)
    where = torch.device(device)

    settings = f"{repository}/models/hrnet/cls_hrnet_w64_sgd_lr5e-2_wd1e-4_bs32_x100.yaml"
    hrnet_config.update_config(hrnet_config.config, settings)
    # the checkpoint holds the backbone too: its ImageNet weights need not be loaded first
    backbone = hrnet.get_cls_net(hrnet_config.config, pretrained="")
    blocks = []
    for inward, inside, outward in BLOCKS:
        config = bert.BertConfig.from_pretrained(
            f"{repository}/metro/modeling/bert/bert-base-uncased"
        )
        config.output_attentions = False
        config.img_feature_dim, config.output_feature_dim = inward, outward
        config.hidden_size, config.num_hidden_layers = inside, LAYERS
        config.num_attention_heads = HEADS
        blocks.append(bert.METRO(config=config))
    sampler = Sampler(
        read_sampling(f"{repository}/metro/modeling/data/mesh_downsampling.npz"), where
    )
    joints = np.load(
        f"{repository}/metro/modeling/data/J_regressor_h36m_correct.npy", allow_pickle=False
    )
    body = Template(model, joints, where)
    network = bstro.BSTRO_BodyHSC_Network(
        types.SimpleNamespace(device=where), config, backbone, torch.nn.Sequential(*blocks), sampler
    )
    foreign.load_parameters(network, foreign.load_checkpoint(weights))
    network = network.to(where).eval()

    def judge(images):
        try:
            with torch.no_grad():
                touching = network(images.to(where), body, sampler)[2]
        except (AssertionError, RuntimeError, ValueError) as error:
            if where.type == "cuda" or "cuda" not in str(error).lower():
                raise
            raise PantographError(
                f"--device {where}: expected a GPU, since BSTRO's own code asks for one; {error}"
            ) from error
        return touching.float().cpu().numpy()[..., 0]

    return judge


def find_contacts(
    video,
    people,
    judge,
    feet,
    contact_thr=0.95,
    feet_contact_ratio_thr=0.2,
    off=None,
    median=1,
    shortest=0.0,
    batch_size=16,
):
    """The `Contacts` of the people of a clip.

    video, people: contracts; judge: as from `load`; feet: as from `foot_vertices`; batch_size:
    crops at a time; shortest: contacts and gaps shorter than this are removed, s; the others as
    in `pool` and `label`. Frames in which a person is not visible are invalid.
    """
    import torch

    count = video.frame_count
    ratio = {pid: np.zeros((count, 2)) for pid in people.ranking}
    probability = {pid: np.zeros((count, 2)) for pid in people.ranking}
    waiting = []

    def empty():
        images = torch.from_numpy(crops.normalise([crop for _, _, crop in waiting]))
        found = pool(judge(images), feet, contact_thr)
        for (pid, frame, _), part, mean in zip(waiting, *found, strict=True):
            ratio[pid][frame], probability[pid][frame] = part, mean
        waiting.clear()

    with gpu.memory(f"lower --batch-size (now {batch_size})"):
        for frame, rgb in frames(video):
            for pid in people.ranking:
                track = people.people[pid]
                if not track.visible[frame]:
                    continue
                box = track.boxes[frame].astype(float)
                centres, sides = crops.squares(box[None])
                crop = crops.cut(rgb, centres[0], sides[0], CROP, within=box)
                waiting.append((pid, frame, crop))
                if len(waiting) == batch_size:
                    empty()
            if frame % 200 == 0:
                print(f"frame {frame} of {count}", file=sys.stderr)
        if waiting:
            empty()

    found, share = {}, {}
    for pid in people.ranking:
        valid = people.people[pid].visible
        if not valid.any():
            continue
        flags = label(
            *(ratio[pid], valid, feet_contact_ratio_thr, off, median),
            max(1, round(shortest * video.fps)),
        )
        found[pid] = PersonContacts(valid=valid, contact=flags, probability=probability[pid])
        share[str(pid)] = [round(float(v), 3) for v in flags[valid].mean(0)]
    if not found:
        raise Rejected("nobody is visible in any frame")
    return Contacts(
        contact_names=list(CONTACTS),
        people=found,
        stats={"foot_vertices": [len(ids) for ids in feet], "contact_fraction": share},
    )
