"""Collision meshes: where supports lie, and that a simulator takes them."""

import dataclasses

import mujoco
import numpy as np
import pytest
import trimesh

import mesh_poisson
import staged
from pantograph import ground, meshing
from pantograph.body import load_body
from pantograph.contracts import Contacts, Gravity, Mesh

MODEL = load_body()


def build(name):
    products = staged.truth(name)
    return meshing.build(products["gravity"], products["contacts"], MODEL, 30.0)


def solids(mesh):
    """One trimesh per box."""
    whole = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    return whole, whole.split(only_watertight=False)


def test_a_seat_is_found_where_it_is():
    mesh = build("sit_stand")
    assert mesh.box_names == ["floor", "seat"]
    box, true = mesh.boxes[1], staged.truth("sit_stand")["mesh"].boxes[1]
    top, true_top = box[2] + box[5] / 2, true[2] + true[5] / 2
    assert top == pytest.approx(true_top, abs=0.04)
    assert np.linalg.norm(box[:2] - true[:2]) < 0.2
    # the box stands on the floor and leaves the feet free
    assert box[2] - box[5] / 2 == pytest.approx(0, abs=1e-6)
    person = staged.truth("sit_stand")["gravity"].people[1]
    toes = person.joints[60, ground.TOES, :2] - box[:2]
    cos, sin = np.cos(box[6]), np.sin(box[6])
    local = np.abs(toes @ np.array([[cos, -sin], [sin, cos]]))
    assert (local > box[3:5] / 2).any(1).all()


@pytest.mark.parametrize("name", ["walk_turn", "two_people"])
def test_walking_needs_only_a_floor(name):
    mesh = build(name)
    assert mesh.box_names == ["floor"]
    floor = mesh.boxes[0]
    assert floor[2] + floor[5] / 2 == pytest.approx(0)
    for person in staged.truth(name)["gravity"].people.values():
        feet = person.joints[person.valid][:, ground.ANKLES, :2]
        assert (np.abs(feet - floor[:2]) < floor[3:5] / 2 - 1.9).all()


def test_a_step_below_raised_feet():
    products = staged.truth("walk_turn")
    person = products["gravity"].people[1]
    rise = np.where(np.arange(len(person.transl)) > 60, 0.18, 0.0)[:, None] * [0, 0, 1]
    climbing = dataclasses.replace(
        person, transl=person.transl + rise, joints=person.joints + rise[:, None]
    )
    gravity = dataclasses.replace(products["gravity"], people={1: climbing})
    contacts = dataclasses.replace(products["contacts"])
    touch = contacts.people[1]
    contact = touch.contact.copy()
    contact[58:63] = False
    contacts.people = {1: dataclasses.replace(touch, contact=contact)}
    mesh = meshing.build(gravity, contacts, MODEL, 30.0)
    steps = mesh.boxes[[n == "step" for n in mesh.box_names]]
    assert len(steps) >= 2
    assert np.allclose(steps[:, 2] + steps[:, 5] / 2, 0.18, atol=0.03)


def test_standing_on_the_spot_is_no_seat():
    products = staged.truth("sit_stand")
    person = products["gravity"].people[1]
    early = dataclasses.replace(person, valid=np.arange(len(person.valid)) < 15)
    assert len(meshing.seat_boxes(early, 30.0, MODEL)) == 0


def test_every_box_is_watertight_and_faces_outward():
    mesh = build("sit_stand")
    whole, parts = solids(mesh)
    assert whole.is_watertight and whole.is_winding_consistent
    assert len(parts) == len(mesh.boxes)
    for part in parts:
        assert part.is_watertight
    volumes = sorted(p.volume for p in parts)
    assert volumes == pytest.approx(sorted(np.prod(mesh.boxes[:, 3:6], axis=1)), rel=1e-4)


def test_a_simulator_takes_the_mesh_and_holds_a_ball(tmp_path):
    mesh = build("sit_stand")
    meshing.write_obj(mesh, tmp_path / "scene.obj")
    loaded = trimesh.load(tmp_path / "scene.obj", force="mesh")
    assert loaded.is_watertight
    assets, geoms = [], []
    for k, part in enumerate(solids(mesh)[1]):
        part.export(tmp_path / f"part{k}.obj")
        assets.append(f'<mesh name="m{k}" file="{tmp_path}/part{k}.obj"/>')
        geoms.append(f'<geom type="mesh" mesh="m{k}"/>')
    seat = mesh.boxes[1]
    top = seat[2] + seat[5] / 2
    model = mujoco.MjModel.from_xml_string(
        f"<mujoco><asset>{''.join(assets)}</asset><worldbody>{''.join(geoms)}"
        f'<body pos="{seat[0]} {seat[1]} {top + 0.2}"><freejoint/>'
        '<geom type="box" size=".08 .08 .05" mass="1"/></body></worldbody></mujoco>'
    )
    data = mujoco.MjData(model)
    for _ in range(800):
        mujoco.mj_step(model, data)
    assert data.qpos[2] == pytest.approx(top + 0.05, abs=0.01)


def test_the_script_writes_mesh_obj_and_surface(tmp_path):
    products = staged.truth("walk_turn")
    products["gravity"].write(tmp_path / "gravity.h5")
    products["contacts"].write(tmp_path / "contacts.h5")
    mesh = run(tmp_path)
    assert mesh.box_names == ["floor"]
    assert (tmp_path / "scene.obj").read_text().count("\nv ") == 8
    assert len(trimesh.load(tmp_path / "scene.ply").faces) > 500


def test_without_points_the_surface_is_the_collision_mesh(tmp_path):
    products = staged.truth("walk_turn")
    products["gravity"].points = np.zeros((0, 3), np.float32)
    products["gravity"].colors = np.zeros((0, 3), np.uint8)
    products["gravity"].write(tmp_path / "gravity.h5")
    products["contacts"].write(tmp_path / "contacts.h5")
    mesh = run(tmp_path)
    surface = trimesh.load(tmp_path / "scene.ply")
    assert surface.is_watertight and len(surface.faces) == len(mesh.faces)


def test_a_rejected_input_is_passed_on(tmp_path):
    Gravity.rejection("nobody").write(tmp_path / "gravity.h5")
    Contacts.rejection("nobody").write(tmp_path / "contacts.h5")
    assert run(tmp_path).reason == "nobody"
    assert (tmp_path / "scene.obj").read_text().startswith("# no mesh: nobody")
    assert "element vertex 0" in (tmp_path / "scene.ply").read_text()


def run(folder):
    arguments = ["--gravity", folder / "gravity.h5", "--contacts", folder / "contacts.h5"]
    arguments += ["--out", folder / "mesh.h5", "--obj", folder / "scene.obj"]
    arguments += ["--ply", folder / "scene.ply"]
    mesh_poisson.main([str(a) for a in arguments])
    return Mesh.read(folder / "mesh.h5")
