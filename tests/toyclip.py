"""A small clip with all its products, made by hand: people who stand, and robots that do too."""

import numpy as np

from pantograph import accuracy, body, contracts
from pantograph.conventions import CONTACTS, MEDIAPIPE_LANDMARKS, SMPL_JOINTS
from pantograph.robot import load_robot
from pantograph.robotscene import Articulation

FPS = 30.0
WIDTH, HEIGHT = 320, 240
MASK = (80, 60)
# SMPL's axes (x left, y up, z forward) in a world whose +Z is up, facing the camera at -y
UPRIGHT = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])


def make(folder, count=12, people=(1, 2), robot_shift=(0, 0, 0), step=(0, 0, 0)):
    """Write every product of the clip to `folder` and return them by name.

    people stand a metre apart and move by `step` m per frame; the robots follow, raised or moved
    by `robot_shift` m.
    """
    robot = load_robot("g1")
    articulation = Articulation(robot)
    model = body.load_body()
    step = np.asarray(step, float)
    scale = 0.75
    intrinsics = np.array([[260.0, 0, WIDTH / 2], [0, 260.0, HEIGHT / 2], [0, 0, 1]])
    pose = np.eye(4)
    pose[:3, :3] = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    pose[:3, 3] = [0, -4, 1.2]
    cameras = {
        "intrinsics": np.tile(intrinsics, (count, 1, 1)),
        "cam2world": np.tile(pose, (count, 1, 1)),
        "points": np.zeros((1, 3)),
        "colors": np.zeros((1, 3), np.uint8),
    }
    rest = body.rest_vertices(model, np.zeros(10))
    pelvis_height = body.rest_joints(model, np.zeros(10))[0, 1] - rest[:, 1].min()
    sole = -min(corner[2] for foot in robot.feet for corner in foot.heel)
    stand = np.zeros(len(robot.joint_names))
    low = articulation.forward([[0, 0, 0]], [[1, 0, 0, 0]], [stand], robot.joint_names, ["pelvis"])
    ankle = articulation.forward(
        low.pos[:, 0], low.quat[:, 0], [stand], robot.joint_names, ["left_ankle_roll_link"]
    )
    root_height = sole - ankle.pos[0, 0, 2]
    parts = {name: {} for name in ("people", "keypoints", "body", "contacts", "motion")}
    everywhere, contact = np.ones(count, bool), np.ones((count, 2), bool)
    for rank, pid in enumerate(people):
        place = np.array([rank - (len(people) - 1) / 2, 0, 0])
        path = place + np.arange(count)[:, None] * step
        orient = np.tile(UPRIGHT, (count, 1, 1))
        pose23 = np.tile(np.eye(3), (count, 23, 1, 1))
        transl = path + [0, 0, pelvis_height]
        joints = body.joints(model, np.zeros(10), orient, pose23, transl)
        parts["body"][pid] = contracts.PersonBody(
            valid=everywhere,
            confidence=np.ones(count),
            global_orient=orient,
            body_pose=pose23,
            betas=np.zeros(10),
            transl=transl,
            joints=joints,
        )
        local = accuracy.to_camera(joints, cameras["cam2world"])
        pixels, _ = accuracy.project(joints, cameras["intrinsics"], cameras["cam2world"])
        xy = np.zeros((count, len(MEDIAPIPE_LANDMARKS), 2))
        landmarks = np.zeros((count, len(MEDIAPIPE_LANDMARKS), 3))
        score = np.zeros((count, len(MEDIAPIPE_LANDMARKS)))
        for k, name in enumerate(MEDIAPIPE_LANDMARKS):
            if name in SMPL_JOINTS:
                j = SMPL_JOINTS.index(name)
                xy[:, k], landmarks[:, k], score[:, k] = pixels[:, j], local[:, j], 1
        landmarks -= local[:, None, 1:3].mean(2)
        parts["keypoints"][pid] = contracts.PersonKeypoints(
            visible=everywhere, xy=xy, score=score, landmarks3d=landmarks
        )
        boxes = np.concatenate([pixels.min(1), pixels.max(1)], axis=-1)
        masks = np.zeros((count, MASK[1], MASK[0]), bool)
        for t, (x0, y0, x1, y1) in enumerate((boxes * MASK[0] / WIDTH).astype(int)):
            masks[t, max(y0, 0) : y1, max(x0, 0) : x1] = True
        parts["people"][pid] = contracts.PersonTrack(
            visible=everywhere, boxes=boxes, score=np.ones(count), masks=contracts.pack_mask(masks)
        )
        parts["contacts"][pid] = contracts.PersonContacts(
            valid=everywhere, contact=contact, probability=np.ones((count, 2))
        )
        root = scale * path + [0, 0, root_height] + np.asarray(robot_shift)
        # facing the camera, as the person does
        quat = np.tile([np.sqrt(0.5), 0, 0, -np.sqrt(0.5)], (count, 1))
        angles = np.tile(stand, (count, 1))
        state = articulation.forward(root, quat, angles, robot.joint_names, robot.body_names)
        parts["motion"][pid] = contracts.PersonMotion(
            valid=everywhere,
            root_pos=root,
            root_quat=quat,
            joints=angles,
            link_pos=state.pos,
            link_quat=state.quat,
            contact=contact,
            error=np.full(count, 0.04),
        )
    world = {"camera_model": "static", "scale": 1.0, "scale_source": "betas", **cameras}
    products = {
        "video": contracts.Video(
            name="toy",
            path=str(folder / "toy.mp4"),
            fps=FPS,
            width=WIDTH,
            height=HEIGHT,
            source_fps=FPS,
            source_frames=list(range(count)),
            source_times=[k / FPS for k in range(count)],
            source_sha256="0" * 64,
        ),
        "people": contracts.People(
            frame_count=count,
            mask_width=MASK[0],
            mask_height=MASK[1],
            ranking=list(people),
            people=parts["people"],
        ),
        "keypoints": contracts.Keypoints(
            keypoint_names=list(MEDIAPIPE_LANDMARKS), people=parts["keypoints"]
        ),
        "scene": contracts.Scene(camera_model="static", metric=True, **cameras),
        "gravity": contracts.Gravity(
            **world, rotation=np.eye(3), translation=np.zeros(3), people=parts["body"]
        ),
        "contacts": contracts.Contacts(contact_names=list(CONTACTS), people=parts["contacts"]),
        "mesh": contracts.Mesh(
            vertices=np.zeros((0, 3)),
            faces=np.zeros((0, 3), int),
            boxes=np.array([[1.4, 0.8, 0.2, 0.4, 0.4, 0.4, 0.3]]),
            box_names=["seat"],
        ),
        "motion": contracts.Motion(
            robot="g1",
            fps=FPS,
            world_scale=scale,
            joint_names=list(robot.joint_names),
            body_names=list(robot.body_names),
            contact_names=list(CONTACTS),
            people=parts["motion"],
        ),
    }
    for name, product in products.items():
        product.write(path_of(folder, name))
    return products


def path_of(folder, name):
    """Where `make` puts a product."""
    return folder / ("video.json" if name == "video" else f"{name}.h5")


def options(folder, *names):
    """The options that give a script the products `names` of the clip in `folder`."""
    return [word for name in names for word in (f"--{name}", str(path_of(folder, name)))]


def write_video(path, count, color=(60, 90, 140)):
    """Encode `count` frames of one colour with a moving bar, WIDTH x HEIGHT, at FPS."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=round(FPS))
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for k in range(count):
            picture = np.full((HEIGHT, WIDTH, 3), color, np.uint8)
            picture[:, 10 * k : 10 * k + 8] = 255
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
