"""The 21 points of the body's surface that follow SMPL's 24 joints in VideoMimic's files."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .. import body
from ..conventions import SMPL_JOINTS
from .layout import SMPL_45, SMPL_VERTICES

# On the built-in body: the vertex nearest to a place in rest pose, given from a joint (m, left
# side). The built-in hand is a mitten: its fingers are places along its rim.
_PLACES = {
    "nose": ("head", (0.0, 0.042, 0.108)),
    "eye": ("head", (0.032, 0.075, 0.095)),
    "ear": ("head", (0.079, 0.052, -0.014)),
    "big_toe": ("foot", (-0.02, -0.01, 0.062)),
    "small_toe": ("foot", (0.035, -0.015, 0.03)),
    "heel": ("ankle", (0.0, -0.05, -0.085)),
    "thumb": ("wrist", (0.09, -0.01, 0.075)),
    "index": ("wrist", (0.165, -0.005, 0.03)),
    "middle": ("wrist", (0.175, -0.005, 0.008)),
    "ring": ("wrist", (0.17, -0.005, -0.012)),
    "pinky": ("wrist", (0.145, -0.005, -0.032)),
}


def vertices_of(model):
    """Indices (21,) of the vertices that are joints 24 to 44; those of smplx on a SMPL body."""
    if model.name != "builtin":
        return np.array([SMPL_VERTICES[name] for name in SMPL_45[24:]])
    found = []
    for name in SMPL_45[24:]:
        side, _, part = name.partition("_")
        carrier, offset = _PLACES[part or name]
        if carrier != "head":
            carrier = f"{side}_{carrier}"
        sign = -1.0 if side == "right" else 1.0
        joint = model.J_template[SMPL_JOINTS.index(carrier)]
        place = joint + np.array([sign * offset[0], *offset[1:]])
        found.append(int(np.linalg.norm(model.v_template - place, axis=1).argmin()))
    return np.array(found)


def joints45(model, person, rows):
    """The 45 joints (n, 45, 3) of a PersonBody in the frames `rows` (n,), m, in its own frame."""
    index = vertices_of(model)
    few = replace(
        model,
        v_template=model.v_template[index],
        weights=model.weights[index],
        shapedirs=model.shapedirs[index],
        posedirs=None if model.posedirs is None else model.posedirs[index],
    )
    pose = (person.betas, person.global_orient[rows], person.body_pose[rows], person.transl[rows])
    pose = tuple(np.asarray(part, float) for part in pose)
    return np.concatenate([body.joints(model, *pose), body.vertices(few, *pose)], axis=1)
