"""A textured room seen by a moving camera, for tests of camera motion."""

import cv2
import numpy as np

SIZE = (480, 270)
FOCAL = 0.8 * 480


def _texture(seed):
    rng = np.random.default_rng(seed)
    out = np.zeros((1024, 1024), np.float32)
    for cells in (16, 64, 256):
        layer = rng.random((cells, cells)).astype(np.float32)
        out += cv2.resize(layer, (1024, 1024), interpolation=cv2.INTER_CUBIC)
    return np.uint8(np.clip(out / 3 * 255, 0, 255))


PLANES = [
    # origin, first axis, second axis, extents (m) along both; y points down
    ((-4, 1.5, 0), (1, 0, 0), (0, 0, 1), (8, 9)),
    ((-4, -2.5, 9), (1, 0, 0), (0, 1, 0), (8, 4)),
    ((-4, -2.5, 0), (0, 0, 1), (0, 1, 0), (9, 4)),
    ((4, -2.5, 0), (0, 0, 1), (0, 1, 0), (9, 4)),
    ((-2.2, 0.5, 3.5), (1, 0, 0), (0, 1, 0), (1.0, 1.0)),
    ((1.0, 0.3, 4.5), (1, 0, 0), (0, 1, 0), (1.2, 1.2)),
    ((-0.6, -0.5, 6.0), (1, 0, 0), (0, 1, 0), (0.8, 2.0)),
]
TEXTURES = [_texture(k) for k in range(len(PLANES))]


def render(cam2world, focal=FOCAL, size=SIZE, person=None):
    """RGB picture (h, w, 3) from a camera; person: a flat blob (x0, y0, x1, y1) px, drawn last."""
    width, height = size
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    local = np.stack([(x - width / 2) / focal, (y - height / 2) / focal, np.ones_like(x)], -1)
    rays = local @ cam2world[:3, :3].T
    centre = cam2world[:3, 3]
    nearest = np.full((height, width), np.inf)
    picture = np.full((height, width), 40, np.uint8)
    for (origin, first, second, extent), texture in zip(PLANES, TEXTURES, strict=True):
        first, second = np.array(first, float), np.array(second, float)
        normal = np.cross(first, second)
        with np.errstate(divide="ignore", invalid="ignore"):
            depth = ((np.array(origin) - centre) @ normal) / (rays @ normal)
        spot = centre + rays * depth[..., None] - np.array(origin)
        u, v = spot @ first, spot @ second
        hit = (depth > 0.05) & (depth < nearest) & (u >= 0) & (v >= 0)
        hit &= (u < extent[0]) & (v < extent[1])
        scale = 1024 / 9.5
        look = cv2.remap(texture, np.float32(u * scale), np.float32(v * scale), cv2.INTER_LINEAR)
        picture[hit] = look[hit]
        nearest[hit] = depth[hit]
    if person is not None:
        x0, y0, x1, y1 = person
        picture[y0:y1, x0:x1] = 90
    return np.repeat(picture[:, :, None], 3, axis=2)


def path(kind, count):
    """Camera poses (count, 4, 4), first one the identity."""
    t = np.linspace(0, 1, count)
    out = np.tile(np.eye(4), (count, 1, 1))
    if kind in ("turn", "travel"):
        from scipy.spatial.transform import Rotation

        angles = np.stack([3 * np.sin(4 * t), 20 * t, 2 * np.sin(7 * t)], -1)
        if kind == "travel":
            angles[:, 1] = -9 * t
        out[:, :3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    if kind == "travel":
        out[:, :3, 3] = np.stack([1.2 * t, 0.1 * np.sin(6 * t), 0.4 * t], -1)
    return np.linalg.inv(out[0]) @ out


PERSON = (200, 60, 260, 230)
"""Where `clip` paints its stand-in for a person, x0 y0 x1 y1 px."""


def clip(folder, poses):
    """Film the room: the `Video` and `People` products; the file lies in `folder`."""
    import av

    from pantograph.contracts import People, PersonTrack, Video, pack_mask

    count = len(poses)
    width, height = SIZE
    file = folder / "room.mp4"
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "20"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for pose in poses:
            picture = av.VideoFrame.from_ndarray(render(pose, person=PERSON), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    video = Video(
        name="room",
        path=str(file),
        fps=30.0,
        width=width,
        height=height,
        source_frames=list(range(count)),
        source_times=[k / 30 for k in range(count)],
    )
    mask = np.zeros((height, width), bool)
    mask[PERSON[1] : PERSON[3], PERSON[0] : PERSON[2]] = True
    track = PersonTrack(
        visible=np.ones(count, bool),
        boxes=np.tile(np.float32(PERSON), (count, 1)),
        score=np.ones(count),
        masks=np.tile(pack_mask(mask), (count, 1, 1)),
    )
    people = People(
        frame_count=count, mask_width=width, mask_height=height, ranking=[0], people={0: track}
    )
    return video, people
