"""The built-in body and the reading of SMPL files."""

import pickle

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pantograph import body
from pantograph.conventions import SMPL_JOINTS, mirrored
from pantograph.errors import PantographError
from pantograph.synthetic import anatomy, isosurface


@pytest.fixture(scope="module")
def model():
    return body.load_body()


def random_pose(seed, frames=2, size=0.6):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(0, size, (frames, 24, 3))
    rotations = Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix()
    return vectors, rotations.reshape(frames, 24, 3, 3), rng.normal(0, 1, (frames, 3))


def test_surface_is_a_closed_body_with_outward_faces(model):
    import trimesh

    mesh = trimesh.Trimesh(model.v_template, model.faces, process=False)
    assert mesh.is_watertight and mesh.is_winding_consistent and mesh.body_count == 1
    assert 0.055 < mesh.volume < 0.080  # m3; inward faces would make it negative
    assert len(model.v_template) <= 7000


def test_arrays_follow_the_layout_of_smpl(model):
    count = len(model.v_template)
    assert model.weights.shape == (count, 24) and model.shapedirs.shape == (count, 3, 10)
    assert model.weights.min() >= 0
    np.testing.assert_allclose(model.weights.sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(model.joint_regressor.sum(1), 1, atol=1e-6)
    # y up, facing +z, left at +x
    joint = dict(zip(SMPL_JOINTS, model.J_template, strict=True))
    assert joint["head"][1] > joint["pelvis"][1] > joint["left_foot"][1]
    assert joint["left_wrist"][0] > 0.6 and joint["left_foot"][2] > joint["left_ankle"][2] + 0.1


def test_joints_come_from_the_anatomy_table(model):
    np.testing.assert_allclose(model.J_template, anatomy.rest_joints(), atol=1e-5)
    np.testing.assert_allclose(model.J_template[0], 0, atol=1e-6)
    swapped = model.J_template[mirrored(SMPL_JOINTS)] * [-1, 1, 1]
    np.testing.assert_allclose(swapped, model.J_template, atol=1e-5)


def test_every_shape_keeps_symmetric_joints_and_the_pelvis_at_the_origin(model):
    directions = model.J_shapedirs
    swapped = directions[mirrored(SMPL_JOINTS)] * np.array([-1, 1, 1])[:, None]
    np.testing.assert_allclose(swapped, directions, atol=1e-5)
    np.testing.assert_allclose(directions[0], 0, atol=1e-6)
    betas = np.linspace(-2, 2, 10)
    shaped = model.joint_regressor @ body.rest_vertices(model, betas)
    np.testing.assert_allclose(shaped, body.rest_joints(model, betas), atol=1e-9)


def test_first_coefficient_spans_adult_statures_and_the_others_keep_it(model):
    assert body.stature(model, np.zeros(10)) == pytest.approx(1.72, abs=0.005)
    assert body.stature(model, [-3]) < 1.51 and body.stature(model, [3]) > 1.93
    for k in range(1, 10):
        change = body.stature(model, np.eye(10)[k]) - body.stature(model, np.zeros(10))
        assert abs(change) < 0.008, anatomy.SHAPE_NAMES[k]


def test_shape_directions_are_independent(model):
    directions = model.shapedirs.reshape(-1, 10)
    directions = directions / np.linalg.norm(directions, axis=0)
    cosines = np.abs(directions.T @ directions - np.eye(10))
    assert cosines.max() < 0.85
    assert np.linalg.svd(directions, compute_uv=False)[-1] > 0.3


@pytest.mark.parametrize("height", [1.50, 1.72, 1.95])
def test_betas_for_height(model, height):
    start = [0.0, 1.0, -1.0, 0.5]
    betas = body.betas_for_height(model, height, start)
    assert body.stature(model, betas) == pytest.approx(height, abs=1e-5)
    np.testing.assert_array_equal(betas[1:4], start[1:4])


def test_betas_for_height_out_of_reach(model):
    with pytest.raises(PantographError, match="out of reach"):
        body.betas_for_height(model, 4.0)


def test_identity_pose_gives_the_rest_surface_at_the_pelvis(model):
    eye = np.tile(np.eye(3), (1, 24, 1, 1))
    place = np.array([[1.0, 2.0, 3.0]])
    betas = np.array([1.0, -1.0] + [0.0] * 8)
    surface = body.vertices(model, betas, eye[:, 0], eye[:, 1:], place)[0]
    np.testing.assert_allclose(surface, body.rest_vertices(model, betas) + place, atol=1e-6)


def test_pose_moves_joints_and_skin_together(model):
    _, rotations, place = random_pose(0)
    joints = body.joints(model, np.zeros(10), rotations[:, 0], rotations[:, 1:], place)
    surface = body.vertices(model, np.zeros(10), rotations[:, 0], rotations[:, 1:], place)
    np.testing.assert_allclose(joints[:, 0], place, atol=1e-12)
    # bone lengths do not depend on the pose
    rest = model.J_template
    length = np.linalg.norm(joints[:, 18] - joints[:, 16], axis=1)
    np.testing.assert_allclose(length, np.linalg.norm(rest[18] - rest[16]), atol=1e-9)
    # the head's skin turns rigidly with the head
    own = model.weights[:, 15] > 0.999
    turned, origin = body.joint_transforms(
        model, np.zeros(10), rotations[:, 0], rotations[:, 1:], place
    )
    expected = (model.v_template[own] - rest[15]) @ turned[0, 15].T + origin[0, 15]
    np.testing.assert_allclose(surface[0, own], expected, atol=1e-3)


def test_smplx_loads_the_pickle_and_agrees(model, tmp_path):
    smplx = pytest.importorskip("smplx")
    torch = pytest.importorskip("torch")
    path = tmp_path / "SMPL_NEUTRAL.pkl"
    body.write_smpl_pickle(path)
    theirs = smplx.create(str(path), model_type="smpl", batch_size=2)
    vectors, rotations, place = random_pose(1)
    betas = np.random.default_rng(2).normal(0, 1.5, 10)
    out = theirs(
        global_orient=torch.tensor(vectors[:, 0]).float(),
        body_pose=torch.tensor(vectors[:, 1:].reshape(2, 69)).float(),
        betas=torch.tensor(np.tile(betas, (2, 1))).float(),
        transl=torch.tensor(place).float(),
    )
    joints = body.joints(model, betas, rotations[:, 0], rotations[:, 1:], place)
    surface = body.vertices(model, betas, rotations[:, 0], rotations[:, 1:], place)
    # for this body SMPL's own translation is the pelvis joint too
    np.testing.assert_allclose(out.joints[:, :24].detach().numpy(), joints, atol=1e-4)
    np.testing.assert_allclose(out.vertices.detach().numpy(), surface, atol=1e-4)


def test_a_body_survives_both_file_formats(model, tmp_path):
    body.write_smpl_pickle(tmp_path / "copy.pkl")
    body.write_npz(tmp_path / "copy.npz", body.smpl_dict(model))
    for name in ("copy.pkl", "copy.npz"):
        other = body.load_body(tmp_path / name)
        assert other.name == "copy"
        np.testing.assert_allclose(other.J_shapedirs, model.J_shapedirs, atol=1e-6)
        np.testing.assert_array_equal(other.faces, model.faces)


# -- pickles as they are distributed: made by Python 2, with chumpy and scipy objects


class _Old:
    """Stands for an object of another module in a pickle."""

    def __init__(self, module, name, state):
        self.kind, self.state = (module, name), state


class _Global:
    def __init__(self, module, name):
        self.module, self.name = module, name


class _OldPickler(pickle._Pickler):
    # writes class references by name, without importing them
    def save(self, obj, save_persistent_id=True):
        if isinstance(obj, _Old):
            reconstruct = _Global("copy_reg", "_reconstructor")
            base = _Global("__builtin__", "object")
            self.save_reduce(reconstruct, (_Global(*obj.kind), base, None), obj.state, obj=obj)
        elif isinstance(obj, _Global):
            self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())
        else:
            super().save(obj, save_persistent_id)

    def save_reduce(self, func, args, state=None, *rest, obj=None, **more):
        if isinstance(func, _Global):
            self.save(func)
            self.save(args)
            self.write(pickle.REDUCE)
            if obj is not None:
                self.memoize(obj)
            if state is not None:
                self.save(state)
                self.write(pickle.BUILD)
        else:
            super().save_reduce(func, args, state, *rest, obj=obj, **more)


def write_old_pickle(path, content):
    with open(path, "wb") as stream:
        _OldPickler(stream, protocol=2).dump(content)


def test_old_pickle_with_chumpy_and_sparse_arrays(model, tmp_path):
    from scipy import sparse

    content = body.smpl_dict(model)
    wide = np.concatenate([content["shapedirs"], content["shapedirs"]], axis=2)
    index = np.arange(wide.size).reshape(wide.shape)[:, :, :10]
    content["shapedirs"] = _Old(
        "chumpy.reordering",
        "Select",
        {
            "a": _Old("chumpy.ch", "Ch", {"x": wide}),
            "idxs": index.ravel(),
            "preferred_shape": index.shape,
        },
    )
    content["weights"] = _Old("chumpy.ch", "Ch", {"x": content["weights"]})
    matrix = sparse.csc_matrix(content["J_regressor"])
    state = {"data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr}
    content["J_regressor"] = _Old(
        "scipy.sparse.csc", "csc_matrix", {**state, "_shape": matrix.shape}
    )
    content["posedirs"] = np.full(content["posedirs"].shape, 1e-4)
    write_old_pickle(tmp_path / "old.pkl", content)
    old = body.load_body(tmp_path / "old.pkl")
    np.testing.assert_allclose(old.J_template, model.J_template, atol=1e-9)
    np.testing.assert_allclose(old.J_shapedirs, model.J_shapedirs, atol=1e-9)
    _, rotations, place = random_pose(3, 1)
    posed = [
        body.vertices(m, np.zeros(10), rotations[:, 0], rotations[:, 1:], place)
        for m in (model, old)
    ]
    shift = 1e-4 * (rotations[0, 1:] - np.eye(3)).sum()
    assert np.linalg.norm(posed[1] - posed[0], axis=-1).max() == pytest.approx(
        abs(shift) * np.sqrt(3), rel=1e-3
    )


def test_a_pickle_runs_no_code(tmp_path):
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return open, (str(marker), "w")

    path = tmp_path / "evil.pkl"
    path.write_bytes(pickle.dumps({"v_template": Evil()}))
    with pytest.raises(PantographError, match="not allowed"):
        body.load_body(path)
    assert not marker.exists()


def test_files_that_are_no_body_are_named(tmp_path):
    with pytest.raises(PantographError, match="no such body file"):
        body.load_body(tmp_path / "missing.pkl")
    np.savez(tmp_path / "half.npz", v_template=np.zeros((4, 3)))
    with pytest.raises(PantographError, match="weights, J_regressor"):
        body.load_body(tmp_path / "half.npz")
    (tmp_path / "torn.pkl").write_bytes(b"\x80\x02}q")
    with pytest.raises(PantographError, match="not a readable SMPL pickle"):
        body.load_body(tmp_path / "torn.pkl")


# -- the surface


def test_marching_tetrahedra_closes_a_sphere():
    import trimesh

    axis = np.linspace(-1, 1, 25)
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    vertices, faces = isosurface.marching_tetrahedra(
        np.sqrt(x**2 + y**2 + z**2) - 0.7, (-1, -1, -1), axis[1] - axis[0]
    )
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * 0.7**3, rel=0.02)
    np.testing.assert_allclose(np.linalg.norm(vertices, axis=1), 0.7, atol=0.004)
