"""Minimal packages with the call signatures and output shapes of other projects' networks.

They stand in for the code that those projects' licences keep out of here: what they compute is
chosen so that a test can tell which crop, which window and which camera every result came from.
"""

import json
from pathlib import Path

import numpy as np

from pantograph import body


def write_package(folder, files):
    """Write {path: source} below `folder`, with an __init__.py in every package."""
    for name, source in files.items():
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
        for parent in path.relative_to(folder).parents:
            initial = Path(folder) / parent / "__init__.py"
            if str(parent) != "." and name.endswith(".py") and not initial.exists():
                initial.write_text("")


# ---------------------------------------------------------------------------------------------
# VIMO: vimo.models.hmr_vimo.HMR_VIMO

VIMO = '''
import numpy as np
import torch
from torch import nn


class SMPL(nn.Module):
    def __init__(self, smpl_data_path, create_default=False):
        super().__init__()
        open(smpl_data_path + "/SMPL_NEUTRAL.pkl", "rb")


class Head(nn.Module):
    def __init__(self):
        super().__init__()
        mean = np.load("./body_models/smpl/smpl_mean_params.npz")
        for name, key in (("body_pose", "pose"), ("betas", "shape"), ("cam", "cam")):
            values = torch.from_numpy(mean[key].astype(np.float32)).unsqueeze(0)
            self.register_buffer("init_" + name, values)


class Backbone(nn.Module):
    seen = []

    def forward(self, image):
        assert image.shape[1:] == (3, 256, 192)
        Backbone.seen.append(len(image))
        features = torch.zeros(len(image), 1280, 16, 12)
        features[:, :3] = image.mean((2, 3))[:, :, None, None]
        return features


class HMR_VIMO(nn.Module):
    """Root facing the camera; betas tell where a result comes from: the crop's mean colour, the
    mean over the window, the place in it, the camera and the box."""

    def __init__(self, cfg=None, device="cpu", **kwargs):
        super().__init__()
        assert cfg.IMG_RES == 256 and cfg.MODEL.ST_MODULE and cfg.MODEL.MOTION_MODULE
        assert (cfg.MODEL.ST_HDIM, cfg.MODEL.MOTION_HDIM) == (512, 384)
        assert cfg.MODEL.ST_NLAYER == cfg.MODEL.MOTION_NLAYER == 6
        self.smpl = SMPL(cfg.SMPL_DATA_PATH)
        self.backbone = Backbone()
        self.smpl_head = Head()
        self.gain = nn.Parameter(torch.zeros(1))
        self.register_buffer("initialized", torch.tensor(False))

    def forward(self, batch, **kwargs):
        centre, scale = batch["center"], batch["scale"]
        focal, middle = batch["img_focal"], batch["img_center"]
        feature = self.backbone(batch["img"][:, :, :, 32:-32]).float()
        count = len(batch["img"])
        assert feature.shape == (count, 1280, 16, 12) and count % 16 == 0
        assert centre.shape == middle.shape == (count, 2)
        assert scale.shape == focal.shape == (count,)
        colour = feature.mean((2, 3))[:, 0] * self.gain
        window = colour.view(-1, 16).mean(1, keepdim=True).expand(-1, 16).reshape(-1)
        shape = self.smpl_head.init_betas.repeat(count, 1)
        place = torch.arange(16.0).repeat(count // 16)
        told = [colour, window, place, focal, middle[:, 0], middle[:, 1], centre[:, 0], scale * 200]
        shape[:, : len(told)] = torch.stack(told, 1)
        turned = torch.eye(3).repeat(count, 24, 1, 1)
        turned[:, 0] = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
        out = {
            "pred_cam": torch.ones(count, 3),
            "pred_pose": torch.zeros(count, 144),
            "pred_shape": shape,
            "pred_rotmat": turned,
            "pred_rotmat_0": turned,
            "trans_full": torch.zeros(count, 1, 3),
        }
        joints = self.smpl.query(out).joints + out["trans_full"]
        return out, [[turned], [shape], [out["pred_cam"]], [joints], [joints[..., :2]]]
'''


def write_vimo(folder):
    """A clone of VIMO and its checkpoint; returns their paths as options of body_vimo."""
    import torch

    write_package(folder / "repo", {"vimo/models/hmr_vimo.py": VIMO})
    state = {
        "gain": torch.ones(1),
        "smpl_head.init_body_pose": torch.zeros(1, 144),
        "smpl_head.init_betas": torch.zeros(1, 10),
        "smpl_head.init_cam": torch.zeros(1, 3),
        "smpl.v_template": torch.zeros(5, 3),
    }
    torch.save({"model": state, "step": 3, "loss": np.float64(0.1)}, folder / "vimo.pth.tar")
    return {"repository": str(folder / "repo"), "weights": str(folder / "vimo.pth.tar")}


# ---------------------------------------------------------------------------------------------
# BSTRO: the package metro

BERT = """
import json
import os
import boto3
import requests
from botocore.exceptions import ClientError
from torch import nn


class BertConfig:
    @classmethod
    def from_pretrained(cls, folder):
        config = cls()
        with open(os.path.join(folder, "config.json")) as stream:
            config.__dict__.update(json.load(stream))
        return config


class METRO(nn.Module):
    def __init__(self, config):
        super().__init__()
        assert config.hidden_size % config.num_attention_heads == 0
        self.inside = nn.Linear(config.img_feature_dim, config.hidden_size)
        self.outside = nn.Linear(config.hidden_size, config.output_feature_dim)

    def forward(self, features):
        return self.outside(self.inside(features))
"""

BSTRO = '''
import torch
from torch import nn


class BSTRO_BodyHSC_Network(nn.Module):
    """The left half of the vertices has the crop's mean red as probability, the right half its
    mean green, after the normalisation is undone."""

    def __init__(self, args, config, backbone, trans_encoder, mesh_sampler):
        super().__init__()
        self.config = config
        self.config.device = args.device
        self.backbone = backbone
        self.trans_encoder = trans_encoder
        self.sizes = []

    def forward(self, images, smpl, mesh_sampler, meta_masks=None, is_train=False):
        assert images.shape[1:] == (3, 224, 224)
        pose = torch.zeros((1, 72))
        pose[:, 0] = 3.1416
        vertices = smpl(pose, torch.zeros((1, 10)))
        assert vertices.shape == (1, 6890, 3)
        coarse = mesh_sampler.downsample(mesh_sampler.downsample(vertices), n1=1, n2=2)
        pelvis = smpl.get_h36m_joints(vertices)[:, 0]
        assert coarse.shape == (1, 431, 3) and pelvis.shape == (1, 3)
        tokens = self.backbone(images)
        assert tokens.shape == (len(images), 431, 2048)
        template = (coarse - pelvis[:, None]).expand(len(images), -1, -1)
        out = self.trans_encoder(torch.cat([template, tokens], 2))
        assert out.shape == (len(images), 431, 1)
        mean = torch.tensor([0.485, 0.456, 0.406])
        colour = images.mean((2, 3)) * torch.tensor([0.229, 0.224, 0.225]) + mean
        full = torch.zeros(len(images), 6890, 1)
        full[:, :3445, 0] = colour[:, :1]
        full[:, 3445:, 0] = colour[:, 1:2]
        return torch.zeros(len(images), 431, 1), torch.zeros(len(images), 1723, 1), full
'''

HRNET = """
import torch
from torch import nn


class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, images):
        return torch.zeros(len(images), 431, 2048) * self.scale


def get_cls_net(config, pretrained, **kwargs):
    assert config["read"] and not pretrained
    return Backbone()
"""

HRNET_CONFIG = """
config = {"read": False}


def update_config(cfg, config_file):
    open(config_file)
    cfg["read"] = True
"""

FEET = {"leftFoot": [10, 11, 12, 13], "rightFoot": [4000, 4001, 4002, 4003]}
TOES = {"leftToeBase": [20, 21], "rightToeBase": [4010, 4011]}


def write_bstro(folder):
    """A clone of BSTRO and the files it needs; returns their paths as options of contact_bstro."""
    import torch
    from scipy import sparse

    repository = folder / "repo"
    write_package(
        repository,
        {
            "metro/modeling/bert/__init__.py": BERT,
            "metro/modeling/bert/modeling_bstro.py": BSTRO,
            "metro/modeling/hrnet/hrnet_cls_net_featmaps.py": HRNET,
            "metro/modeling/hrnet/config/__init__.py": HRNET_CONFIG,
            "metro/modeling/bert/bert-base-uncased/config.json": json.dumps({"hidden_size": 768}),
            "models/hrnet/cls_hrnet_w64_sgd_lr5e-2_wd1e-4_bs32_x100.yaml": "",
        },
    )
    data = repository / "metro/modeling/data"
    data.mkdir(parents=True)
    np.save(data / "J_regressor_h36m_correct.npy", np.eye(17, 6890))
    down = np.empty(2, object)
    down[:] = [sparse.eye(1723, 6890, format="csc"), sparse.eye(431, 1723, format="csc")]
    np.savez(data / "mesh_downsampling.npz", D=down)
    state = {"backbone.scale": torch.ones(1)}
    for i, (inward, inside, outward) in enumerate(
        ((2051, 1024, 512), (512, 256, 128), (128, 128, 1))
    ):
        state[f"trans_encoder.{i}.inside.weight"] = torch.zeros(inside, inward)
        state[f"trans_encoder.{i}.inside.bias"] = torch.zeros(inside)
        state[f"trans_encoder.{i}.outside.weight"] = torch.zeros(outward, inside)
        state[f"trans_encoder.{i}.outside.bias"] = torch.zeros(outward)
    torch.save(state, folder / "bstro.bin")
    # as many vertices as SMPL, in another order
    body.write_npz(folder / "smpl.npz", body.smpl_dict(body.load_body()))
    (folder / "segmentation.json").write_text(json.dumps({**FEET, **TOES, "head": [0]}))
    return {
        "repository": str(repository),
        "weights": str(folder / "bstro.bin"),
        "template": str(folder / "smpl.npz"),
        "segmentation": str(folder / "segmentation.json"),
    }
