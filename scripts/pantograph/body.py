"""The body model: a skinned surface on 24 joints in the layout of SMPL.

`load_body()` gives the built-in body, which is ours and free; `load_body(path)` reads a SMPL file
that the user holds a licence for. Both give the same `BodyModel`, and everything else here works
on that.

Rest pose: y up, facing +z, the left side at +x. A body is placed by the position of its pelvis
joint, whatever the shape.
Source of the model: Loper et al., "SMPL: A Skinned Multi-Person Linear Model", 2015.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import pickles
from .contracts import atomic_write
from .conventions import SMPL_PARENTS
from .errors import PantographError

BUILTIN = Path(__file__).resolve().parents[2] / "resources" / "body" / "body.npz"


@dataclass(frozen=True, eq=False)
class BodyModel:
    """A body in rest pose and how it changes, in metres. V vertices, F faces.

    v_template (V, 3), faces (F, 3) outward counter-clockwise, weights (V, 24) rows sum to 1,
    joint_regressor (24, V) rows sum to 1, shapedirs (V, 3, 10) displacement per unit beta,
    posedirs (V, 3, 207) displacement per entry of (R - I) of joints 1 to 23, or None where the
    body has none. J_template (24, 3) and J_shapedirs (24, 3, 10) are the regressor applied to
    v_template and shapedirs: joints(betas) = J_template + J_shapedirs @ betas.
    """

    name: str
    v_template: np.ndarray
    faces: np.ndarray
    weights: np.ndarray
    joint_regressor: np.ndarray
    shapedirs: np.ndarray
    posedirs: np.ndarray | None
    J_template: np.ndarray
    J_shapedirs: np.ndarray


def load_body(path=None):
    """The built-in body, or the one in a SMPL file: `.pkl` as distributed, or `.npz`.

    A pickle is read without running any of its code, and without chumpy. Raises PantographError
    if the file is missing, is no SMPL body with 24 joints, or asks for a class outside numpy,
    scipy.sparse and chumpy's plain arrays.
    """
    name = "builtin" if path is None else Path(path).stem
    path = BUILTIN if path is None else Path(path)
    if not path.is_file():
        raise PantographError(f"{path}: no such body file; give a SMPL .pkl or .npz")
    if path.suffix == ".npz":
        try:
            with np.load(path, allow_pickle=False) as data:
                content = {key: data[key] for key in data.files if key in _KEYS}
        except (ValueError, OSError) as error:
            raise PantographError(f"{path}: not a plain .npz file ({error})") from error
    elif path.suffix == ".pkl":
        content = _read_pickle(path)
    else:
        raise PantographError(f"{path}: expected a SMPL .pkl or .npz, found {path.suffix!r}")
    return _model(name, content, path)


def load_body_of(product, path=None):
    """The BodyModel that a product with `body_model` was solved with.

    path: the SMPL file, None or "" for the built-in body. Raises PantographError where it gives
    another model than the product's.
    """
    model = load_body(path or None)
    if model.name != product.body_model:
        raise PantographError(
            f"the body was solved with {product.body_model!r}, --body-model gives "
            f"{model.name!r}; use the same file for every stage"
        )
    return model


def betas_array(betas):
    """Shape coefficients as float64 (10,), shorter ones padded with zeros."""
    out = np.zeros(10)
    betas = np.asarray(betas, float).ravel()[:10]
    out[: len(betas)] = betas
    return out


def rest_joints(model, betas):
    """Joints of a shape in rest pose, (24, 3), m, in the model's own axes."""
    return model.J_template + model.J_shapedirs @ betas_array(betas)


def rest_vertices(model, betas):
    """Vertices of a shape in rest pose, (V, 3), m, in the model's own axes."""
    return model.v_template + model.shapedirs @ betas_array(betas)


def joint_transforms(model, betas, global_orient, body_pose, transl):
    """Rotations (T, 24, 3, 3) and positions (T, 24, 3) of the joints.

    betas (10,), global_orient (T, 3, 3), body_pose (T, 23, 3, 3) to the parent, transl (T, 3) the
    position of the pelvis joint, m. The frame is that of global_orient and transl.
    """
    rest = rest_joints(model, betas)
    local = np.concatenate([np.asarray(global_orient)[:, None], body_pose], axis=1)
    rotations = np.empty(local.shape)
    positions = np.empty(local.shape[:3])
    rotations[:, 0], positions[:, 0] = local[:, 0], transl
    for j in range(1, 24):
        parent = SMPL_PARENTS[j]
        rotations[:, j] = rotations[:, parent] @ local[:, j]
        positions[:, j] = positions[:, parent] + rotations[:, parent] @ (rest[j] - rest[parent])
    return rotations, positions


def joints(model, betas, global_orient, body_pose, transl):
    """Joint positions (T, 24, 3), m; arguments as in `joint_transforms`."""
    return joint_transforms(model, betas, global_orient, body_pose, transl)[1]


def vertices(model, betas, global_orient, body_pose, transl):
    """Vertices (T, V, 3), m, by linear blend skinning; arguments as in `joint_transforms`."""
    rest, shaped = rest_joints(model, betas), rest_vertices(model, betas)
    rotations, positions = joint_transforms(model, betas, global_orient, body_pose, transl)
    offsets = positions - np.einsum("tjab,jb->tja", rotations, rest)
    out = np.empty((len(rotations),) + shaped.shape)
    for t in range(len(rotations)):
        points = shaped
        if model.posedirs is not None:
            points = shaped + model.posedirs @ (np.asarray(body_pose[t]) - np.eye(3)).ravel()
        blended = (model.weights @ rotations[t].reshape(24, 9)).reshape(-1, 3, 3)
        out[t] = (blended @ points[..., None])[..., 0] + model.weights @ offsets[t]
    return out


def stature(model, betas):
    """Height of a shape from the sole to the top of the head in rest pose, m."""
    return float(np.ptp(rest_vertices(model, betas)[:, 1]))


def betas_for_height(model, height, betas0=None):
    """The shape `betas0` (mean if None) with its first coefficient set to give `height`, m.

    Returns (10,). Raises PantographError where no value within +-8 gives that height.
    """
    from scipy.optimize import brentq

    betas = betas_array(np.zeros(10) if betas0 is None else betas0)

    def excess(first):
        betas[0] = first
        return stature(model, betas) - height

    if excess(-8.0) * excess(8.0) > 0:
        raise PantographError(f"a stature of {height} m is out of reach of the body {model.name!r}")
    betas[0] = brentq(excess, -8.0, 8.0, xtol=1e-7)
    return betas


def write_npz(path, content):
    """Write a body (keys as in `smpl_dict`) as a small `.npz`; same arrays, same bytes."""
    import io
    import zipfile

    def save(temporary):
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for key in sorted(content):
                values = np.asarray(content[key])
                buffer = io.BytesIO()
                np.save(buffer, values.astype(np.float32) if values.dtype.kind == "f" else values)
                archive.writestr(
                    zipfile.ZipInfo(f"{key}.npy", (1980, 1, 1, 0, 0, 0)),
                    buffer.getvalue(),
                    zipfile.ZIP_DEFLATED,
                )

    atomic_write(path, save)


def smpl_dict(model):
    """The arrays of a body under the keys and in the dtypes that a SMPL file has."""
    parents = np.array([SMPL_PARENTS, range(24)], np.int64)
    parents[0, 0] = 2**32 - 1
    posedirs = model.posedirs
    return {
        "v_template": model.v_template,
        "f": model.faces.astype(np.uint32),
        "weights": model.weights,
        "J_regressor": model.joint_regressor,
        "shapedirs": model.shapedirs,
        "posedirs": np.zeros(model.v_template.shape + (207,)) if posedirs is None else posedirs,
        "kintree_table": parents,
    }


def write_smpl_pickle(path, model=None):
    """Write a body (the built-in one if None) as the pickle that `smplx.create(path)` loads."""
    content = smpl_dict(load_body() if model is None else model)

    def save(temporary):
        with open(temporary, "wb") as stream:
            pickle.dump(content, stream, protocol=4)

    atomic_write(path, save)


# ---------------------------------------------------------------------------------------------
# reading

_KEYS = ("v_template", "f", "weights", "J_regressor", "shapedirs", "posedirs", "kintree_table")


def _model(name, content, path):
    needed = ("v_template", "f", "weights", "J_regressor", "shapedirs")
    missing = [key for key in needed if key not in content]
    if missing:
        raise PantographError(f"{path}: no SMPL body, {', '.join(missing)} missing")
    try:
        arrays = {
            key: np.asarray(pickles.evaluate(content[key]), float) for key in needed if key != "f"
        }
        faces = np.asarray(pickles.evaluate(content["f"])).astype(np.int32)
        posedirs = content.get("posedirs")
        posedirs = None if posedirs is None else np.asarray(pickles.evaluate(posedirs), float)
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise PantographError(f"{path}: a SMPL array could not be read ({error})") from error
    count = len(arrays["v_template"])
    expected = {"v_template": (count, 3), "weights": (count, 24), "J_regressor": (24, count)}
    for key, shape in expected.items():
        if arrays[key].shape != shape:
            raise PantographError(f"{path}: expected {key} {shape}, found {arrays[key].shape}")
    shapedirs = arrays["shapedirs"]
    if shapedirs.shape[:2] != (count, 3) or shapedirs.shape[2] < 10:
        raise PantographError(
            f"{path}: expected shapedirs ({count}, 3, 10), found {shapedirs.shape}"
        )
    shapedirs = np.ascontiguousarray(shapedirs[:, :, :10])
    regressor = arrays["J_regressor"]
    return BodyModel(
        name=name,
        v_template=arrays["v_template"],
        faces=faces,
        weights=arrays["weights"],
        joint_regressor=regressor,
        shapedirs=shapedirs,
        posedirs=posedirs if posedirs is not None and np.any(posedirs) else None,
        J_template=regressor @ arrays["v_template"],
        J_shapedirs=np.einsum("jv,vab->jab", regressor, shapedirs),
    )


def _read_pickle(path):
    try:
        with open(path, "rb") as stream:
            content = pickles.load(stream)
    except Exception as error:  # a damaged pickle may raise almost anything
        raise PantographError(f"{path}: not a readable SMPL pickle ({error})") from error
    if not isinstance(content, dict):
        raise PantographError(f"{path}: expected a SMPL dictionary, found {type(content).__name__}")
    return content
