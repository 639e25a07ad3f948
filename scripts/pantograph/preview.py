"""A video that shows the input with what was found in it beside the robots that follow it."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d, maximum_filter1d
from scipy.spatial.transform import Rotation

from .contracts import atomic_write
from .errors import PantographError
from .video import frames, read_frame

COLORS = (
    (46, 178, 160),
    (236, 100, 90),
    (160, 120, 220),
    (230, 180, 60),
    (110, 180, 70),
    (222, 110, 170),
)
"""RGB of the people, by the order of their ids."""
LEFT, RIGHT, MIDDLE = (255, 150, 40), (70, 170, 255), (235, 235, 235)
CONTACT = (60, 220, 90)
BACKGROUND, INK, REFUSED = (24, 26, 30), (232, 232, 232), (255, 110, 100)
BAR = 36
"""Height of the title bar, px."""
_CONFIDENT = 0.3
_REACH = 0.6, 0.85
"""How far a robot reaches from its root to the side, and to top and bottom, m."""
_NOTICE_SECONDS = 2.0
_NOTICE_FPS = 10.0

_SIDES = ("left", "right")
_EDGES = [("left_shoulder", "right_shoulder"), ("left_hip", "right_hip")]
_EDGES += [
    (f"{side}_{a}", f"{side}_{b}")
    for side in _SIDES
    for a, b in (
        ("shoulder", "elbow"),
        ("elbow", "wrist"),
        ("shoulder", "hip"),
        ("hip", "knee"),
        ("knee", "ankle"),
        ("ankle", "heel"),
        ("heel", "foot_index"),
        ("ankle", "foot_index"),
        ("heel", "big_toe"),
        ("ankle", "big_toe"),
    )
]
_FOOT = ("ankle", "heel", "foot_index", "big_toe")


def write_preview(out, video, people, keypoints, gravity, mesh, motion, robot, height=480, every=1):
    """Write the preview of an accepted clip as an MP4 (H.264).

    height: of the pictures, px; every: show each n-th frame. Raises PantographError if the video
    cannot be read or nothing can draw.
    """
    size = panel_size(video, height)
    colors = {pid: COLORS[k % len(COLORS)] for k, pid in enumerate(sorted(motion.people))}
    fps = video.fps / every
    with Stage(motion, gravity, mesh, robot, colors, (height * 4 // 3 // 2 * 2, height)) as stage:

        def pictures():
            for k, rgb in frames(video, max(size)):
                if k % every:
                    continue
                left = overlay(fitted(rgb, size), k, video, people, keypoints, motion, colors)
                body = np.concatenate([left, stage.picture(k)], axis=1)
                yield np.concatenate([title(body.shape[1], video, k, motion), body])

        atomic_write(out, lambda path: encode(path, pictures(), fps))


def write_notice(out, video, reason, height=480):
    """Write a short MP4 with a rejected clip's first frame, if it can be read, and the reason."""
    width = height * 4 // 3 // 2 * 2
    picture = np.full((height, width, 3), BACKGROUND, np.uint8)
    if video.frame_count:
        try:
            size = panel_size(video, height)
            first = fitted(read_frame(video, 0, max(size)), size)
            picture = np.concatenate([first, picture], axis=1)
        except PantographError:
            pass
    text(picture, "rejected", (picture.shape[1] - width + 24, 60), 1.0, REFUSED, 2)
    for k, line in enumerate(wrapped(reason, width - 48, 0.6)):
        text(picture, line, (picture.shape[1] - width + 24, 100 + 26 * k), 0.6, INK)
    bar = np.full((BAR, picture.shape[1], 3), BACKGROUND, np.uint8)
    text(bar, video.name, (12, 24), 0.55, INK)
    picture = np.concatenate([bar, picture])
    count = round(_NOTICE_SECONDS * _NOTICE_FPS)
    atomic_write(out, lambda path: encode(path, [picture] * count, _NOTICE_FPS))


# ---------------------------------------------------------------------------------------------
# the input


def panel_size(video, height):
    """Width and height of the left picture, even numbers of px."""
    return max(2, round(video.width * height / video.height / 2) * 2), height


def fitted(rgb, size):
    """The picture at exactly `size` (width, height)."""
    if (rgb.shape[1], rgb.shape[0]) == size:
        return rgb.copy()
    shrink = rgb.shape[0] > size[1]
    return cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR)


def overlay(picture, k, video, people, keypoints, motion, colors):
    """Draw masks, skeletons, ids and foot contacts of frame k onto a picture (H, W, 3)."""
    scale = picture.shape[0] / video.height
    for pid in sorted(people.people):
        if people.people[pid].visible[k]:
            _tint(picture, people.mask(pid, k), colors.get(pid, MIDDLE))
    for pid, person in sorted(keypoints.people.items()):
        if person.visible[k]:
            points = dict(
                zip(keypoints.keypoint_names, person.xy[k] * scale, strict=True),
            )
            score = dict(zip(keypoints.keypoint_names, person.score[k], strict=True))
            _skeleton(picture, points, score)
            if pid in motion.people and motion.people[pid].valid[k]:
                _contacts(picture, points, score, motion, motion.people[pid].contact[k])
    for pid, person in sorted(people.people.items()):
        if person.visible[k]:
            x0, y0, x1, _ = person.boxes[k] * scale
            _label(picture, str(pid), ((x0 + x1) / 2, y0), colors.get(pid, MIDDLE))
    return picture


def _tint(picture, mask, color):
    size = picture.shape[1], picture.shape[0]
    soft = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_LINEAR).astype(bool)
    inside = picture[soft].astype(np.uint16)
    picture[soft] = (inside * 3 + np.array(color, np.uint16)) // 4
    outline, _ = cv2.findContours(soft.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(picture, outline, -1, color, 1, cv2.LINE_AA)


def _skeleton(picture, points, score):
    width = max(2, round(picture.shape[0] / 240))
    for a, b in _EDGES:
        if min(score.get(a, 0), score.get(b, 0)) >= _CONFIDENT:
            sides = {name.split("_")[0] for name in (a, b)}
            color = MIDDLE if len(sides) > 1 else LEFT if "left" in sides else RIGHT
            cv2.line(picture, _pixel(points[a]), _pixel(points[b]), color, width, cv2.LINE_AA)
    for name in dict.fromkeys(name for edge in _EDGES for name in edge):
        if score.get(name, 0) >= _CONFIDENT:
            cv2.circle(picture, _pixel(points[name]), width, (255, 255, 255), -1, cv2.LINE_AA)


def _contacts(picture, points, score, motion, contact):
    for name, touching in zip(motion.contact_names, contact, strict=True):
        side = name.split("_")[0]
        there = [f"{side}_{part}" for part in _FOOT if score.get(f"{side}_{part}", 0) > 0]
        if touching and there:
            centre = np.mean([points[part] for part in there], axis=0)
            radius = max(6, round(picture.shape[0] / 55))
            cv2.circle(picture, _pixel(centre), radius, CONTACT, 2, cv2.LINE_AA)


def _label(picture, words, place, color):
    (width, height), _ = cv2.getTextSize(words, cv2.FONT_HERSHEY_DUPLEX, 0.5, 1)
    x = int(np.clip(place[0] - width / 2 - 5, 0, picture.shape[1] - width - 10))
    y = int(np.clip(place[1] - height - 14, 0, picture.shape[0] - height - 10))
    cv2.rectangle(picture, (x, y), (x + width + 10, y + height + 10), color, -1)
    text(picture, words, (x + 5, y + height + 5), 0.5, BACKGROUND)


def _pixel(point):
    return int(round(float(point[0]))), int(round(float(point[1])))


# ---------------------------------------------------------------------------------------------
# the robots


class Stage:
    """The robots of a motion in their scene, seen from where the camera was."""

    def __init__(self, motion, gravity, mesh, robot, colors, size):
        from .offscreen import Painter
        from .robotscene import RobotScene, scene_spec

        self._motion, self._robot, self._colors = motion, robot, colors
        people = sorted(motion.people)
        boxes = [b for b, n in zip(mesh.boxes, mesh.box_names, strict=True) if n != "floor"]

        def dress(pid, spec):
            _paint_robot(spec, colors[pid])

        spec = scene_spec(robot, people, boxes, motion.world_scale, dress)
        if not len(mesh.boxes) and len(mesh.faces):
            _add_mesh(spec, mesh, motion.world_scale)
        _dress_scene(spec, size)
        self._scene = RobotScene(robot, people, spec)
        self._views = views(motion, gravity)
        self._order = [motion.joint_names.index(name) for name in robot.joint_names]
        self._painter = Painter(self._scene.model, *size)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._painter.__exit__(*error)

    def picture(self, k):
        """The robots in frame k, (H, W, 3) uint8."""
        import mujoco

        marks = []
        for pid, person in self._motion.people.items():
            if person.valid[k]:
                joints = person.joints[k][self._order]
                self._scene.pose(pid, person.root_pos[k], person.root_quat[k], joints)
                marks += self._marks(person, k)
            else:
                # out of sight: far below the floor
                rest = self._robot.rest
                self._scene.pose(pid, [0, 0, -1000], [1, 0, 0, 0], rest)
        target, distance, azimuth, elevation = self._views[k]
        self._scene.model.light_pos[0] = target + [1.5, -1.5, 5]
        self._scene.update()
        camera = mujoco.MjvCamera()
        camera.lookat[:] = target
        camera.distance, camera.azimuth, camera.elevation = distance, azimuth, elevation
        return _soft_edges(self._painter.draw(self._scene.data, camera, marks))

    def _marks(self, person, k):
        """A disc under each foot in contact."""
        for name, touching in zip(self._motion.contact_names, person.contact[k], strict=True):
            foot = next((foot for foot in self._robot.feet if foot.name == name), None)
            if touching and foot is not None:
                body = self._motion.body_names.index(self._robot.body_names[foot.body])
                w, x, y, z = person.link_quat[k, body]
                turn = Rotation.from_quat([x, y, z, w])
                centre = person.link_pos[k, body] + turn.apply(foot.sole.mean(0))
                yield centre + [0, 0, 0.006], 0.12, (*(np.array(CONTACT) / 255), 0.55)


def _soft_edges(picture):
    """Blur sharp edges a little: costs a tenth of multisampling in software OpenGL."""
    gray = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    edges = cv2.morphologyEx(gray, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 24
    picture = picture.copy()
    picture[edges] = cv2.GaussianBlur(picture, (3, 3), 0.75)[edges]
    return picture


def views(motion, gravity, aspect=4 / 3, field=45.0):
    """Where to look in each frame: (target (3,), distance m, azimuth deg, elevation deg).

    The target follows the robots smoothly; the direction is that from the real camera to them,
    so that both pictures show the people from the same side; the distance fits all robots into
    a picture of `field` degrees from top to bottom and `aspect` times as wide as high.
    """
    roots = _roots(motion, len(gravity.cam2world))
    width = 0.6 * motion.fps
    low, high = np.nanmin(roots, axis=0), np.nanmax(roots, axis=0)
    middle = _smooth((low + high) / 2, width)
    # the robot's root is above the middle of its body
    middle[:, 2] -= 0.12
    cameras = np.asarray(gravity.cam2world, float)[:, :3, 3] * motion.world_scale
    ahead = middle - cameras
    ahead /= np.maximum(np.linalg.norm(ahead, axis=1, keepdims=True), 1e-9)
    ahead = _smooth(ahead, 2 * width)
    azimuth = np.arctan2(ahead[:, 1], ahead[:, 0])
    elevation = np.arctan2(ahead[:, 2], np.hypot(ahead[:, 0], ahead[:, 1]))
    elevation = np.clip(elevation, *np.radians([-40, -8]))
    aside = np.stack([-np.sin(azimuth), np.cos(azimuth)], axis=-1)
    along = np.stack([np.cos(azimuth), np.sin(azimuth)], axis=-1)
    offset = roots[..., :2] - middle[:, :2]
    sideways = np.abs((offset * aside).sum(-1)) + _REACH[0]
    nearer = -(offset * along).sum(-1)
    tangent = np.tan(np.radians(field / 2))
    needed = np.maximum(sideways / aspect, _REACH[1]) / tangent + nearer
    distance = maximum_filter1d(np.nanmax(needed, axis=0), max(1, round(width)), mode="nearest")
    return list(
        zip(
            middle,
            _smooth(distance, width),
            np.degrees(azimuth),
            np.degrees(elevation),
            strict=True,
        )
    )


def _roots(motion, count):
    """Root positions of the robots, (P, T, 3): NaN where unseen, in every frame one at least."""
    roots = np.full((max(len(motion.people), 1), count, 3), np.nan)
    for row, pid in enumerate(sorted(motion.people)):
        person = motion.people[pid]
        roots[row, person.valid] = person.root_pos[person.valid]
    shown = np.flatnonzero(np.isfinite(roots).all(-1).any(0))
    if not len(shown):
        return np.zeros((1, count, 3))
    nearest = shown[np.abs(np.arange(count)[:, None] - shown).argmin(1)]
    return roots[:, nearest]


def _smooth(values, width):
    return gaussian_filter1d(values, width, axis=0, mode="nearest")


def _paint_robot(spec, color):
    """Tint a robot: light materials strongly, dark ones a little."""
    tint = np.append(np.array(color) / 255, 1)
    for surface in [*spec.materials, *(g for g in spec.geoms if not g.material)]:
        rgba = np.array(surface.rgba, float)
        share = 0.75 if rgba[:3].mean() > 0.5 else 0.15
        mixed = (1 - share) * rgba + share * tint
        mixed[3] = rgba[3]
        surface.rgba = mixed


def _dress_scene(spec, size):
    import mujoco

    spec.visual.global_.offwidth, spec.visual.global_.offheight = size
    spec.visual.global_.fovy = 45
    # software OpenGL is fast enough only with few triangles and without multisampling
    quality = spec.visual.quality
    quality.shadowsize, quality.offsamples = 2048, 0
    quality.numslices, quality.numstacks, quality.numquads = 16, 10, 1
    spec.visual.headlight.ambient = [0.38] * 3
    spec.visual.headlight.diffuse = [0.35] * 3
    spec.visual.headlight.specular = [0.05] * 3
    spec.visual.rgba.haze = [0.84, 0.88, 0.92, 1]
    spec.visual.map.fogstart, spec.visual.map.fogend = 3, 12
    spec.visual.map.shadowclip = 3
    spec.stat.extent = 3
    spec.add_texture(
        name="sky",
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        rgb1=[0.84, 0.88, 0.92],
        rgb2=[0.62, 0.72, 0.84],
        width=64,
        height=384,
    )
    spec.add_texture(
        name="checker",
        type=mujoco.mjtTexture.mjTEXTURE_2D,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_CHECKER,
        rgb1=[0.70, 0.73, 0.76],
        rgb2=[0.58, 0.62, 0.66],
        width=128,
        height=128,
    )
    floor = spec.add_material(name="floor", texrepeat=[1, 1], texuniform=True, specular=0)
    floor.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "checker"
    spec.add_material(name="box", rgba=[0.72, 0.60, 0.45, 1], specular=0.1)
    for geom in spec.worldbody.geoms:
        geom.material = "floor" if geom.name == "floor" else "box"
    light = spec.worldbody.add_light(
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        pos=[1.5, -1.5, 5],
        dir=[-0.28, 0.28, -0.92],
        castshadow=True,
    )
    light.diffuse, light.ambient, light.specular = [0.6] * 3, [0] * 3, [0.15] * 3


def _add_mesh(spec, mesh, scale):
    import mujoco

    spec.add_mesh(
        name="scene",
        uservert=(np.asarray(mesh.vertices, float) * scale).ravel(),
        userface=np.asarray(mesh.faces).ravel(),
        inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL,
    )
    spec.worldbody.add_geom(
        name="scene", type=mujoco.mjtGeom.mjGEOM_MESH, meshname="scene", contype=0, conaffinity=0
    )


# ---------------------------------------------------------------------------------------------
# titles and encoding


def title(width, video, k, motion):
    """The bar over frame k, (BAR, width, 3)."""
    bar = np.full((BAR, width, 3), BACKGROUND, np.uint8)
    time = video.source_times[k] - video.source_times[0]
    count = len(str(video.frame_count))
    words = f"{video.name}   frame {k:{count}d}/{video.frame_count}   {time:6.2f} s"
    text(bar, words, (12, 24), 0.55, INK)
    verdict = f"{motion.robot}   {motion.status}"
    if motion.dropped:
        verdict += f"   left out: {', '.join(sorted(motion.dropped))}"
    (size, _), _ = cv2.getTextSize(verdict, cv2.FONT_HERSHEY_DUPLEX, 0.55, 1)
    text(bar, verdict, (width - size - 12, 24), 0.55, CONTACT)
    return bar


def text(picture, words, place, size, color, thickness=1):
    """Write plain text onto a picture; letters that the font lacks become question marks."""
    plain = words.encode("ascii", "replace").decode()
    font = cv2.FONT_HERSHEY_DUPLEX
    cv2.putText(picture, plain, place, font, size, color, thickness, cv2.LINE_AA)


def wrapped(words, width, size):
    """Lines of text that fit into `width` px."""
    lines = [""]
    for word in words.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and cv2.getTextSize(longer, cv2.FONT_HERSHEY_DUPLEX, size, 1)[0][0] > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def encode(path, pictures, fps):
    """Encode pictures (H, W, 3) of even size as H.264 in MP4 that plays while it loads."""
    import av

    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        rate = Fraction(fps).limit_denominator(100000)
        # the bytes depend on the number of encoding threads, so it is fixed
        stream = container.add_stream("libx264", rate, {"preset": "veryfast", "threads": "2"})
        stream.pix_fmt = "yuv420p"
        for k, picture in enumerate(pictures):
            if k == 0:
                stream.height, stream.width = picture.shape[:2]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
