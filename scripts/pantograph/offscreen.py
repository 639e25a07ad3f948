"""Draw MuJoCo models without a display, by EGL or OSMesa.

MuJoCo is imported late: where MUJOCO_GL names an OpenGL that is not installed, its import fails.
"""

from __future__ import annotations

import functools
import importlib
import os
import subprocess
import sys

import numpy as np

from .errors import PantographError

PACKAGES = {"egl": "libegl1 libgl1-mesa-dri", "osmesa": "libosmesa6"}
"""Debian packages that bring each OpenGL."""


@functools.cache
def backend():
    """The first of "egl" and "osmesa" that works, or the one that MUJOCO_GL names.

    Each is tried in a process of its own: once PyOpenGL has been loaded for one, it cannot
    change. Raises PantographError, naming the packages to install, where none works.
    """
    asked = os.environ.get("MUJOCO_GL", "").strip().lower()
    names = [asked] if asked in PACKAGES else list(PACKAGES)
    for name in names:
        if _works(name):
            return name
    wanted = " or ".join(f"apt-get install {PACKAGES[name]}" for name in names)
    raise PantographError(f"no OpenGL for drawing ({', '.join(names)} tried); {wanted}")


def _works(name):
    code = f"from mujoco.{name} import GLContext; GLContext(8, 8).free()"
    environment = {**os.environ, "MUJOCO_GL": name, "PYOPENGL_PLATFORM": name}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    return run.returncode == 0


class Painter:
    """Pictures of a compiled model. Use as a context manager.

    width and height are in pixels and must fit the model's offscreen buffer.
    """

    def __init__(self, model, width, height):
        name = backend()
        import mujoco

        os.environ["MUJOCO_GL"] = os.environ["PYOPENGL_PLATFORM"] = name
        self._gl = importlib.import_module(f"mujoco.{name}").GLContext(width, height)
        self._gl.make_current()
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._rect = mujoco.MjrRect(0, 0, width, height)
        self._model, self._option = model, mujoco.MjvOption()
        self.scene = mujoco.MjvScene(model, maxgeom=4000)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._context.free()
        self._gl.free()

    def draw(self, data, camera, discs=()):
        """The picture (H, W, 3) uint8 of a state from a mujoco.MjvCamera.

        discs: (centre (3,), radius m, rgba) of level marks to add.
        """
        import mujoco

        self._gl.make_current()
        mujoco.mjv_updateScene(
            self._model,
            data,
            self._option,
            None,
            camera,
            mujoco.mjtCatBit.mjCAT_ALL,
            self.scene,
        )
        for centre, radius, rgba in discs:
            geom = self.scene.geoms[self.scene.ngeom]
            mujoco.mjv_initGeom(
                geom,
                mujoco.mjtGeom.mjGEOM_CYLINDER,
                np.array([radius, 0.002, 0]),
                np.asarray(centre, float),
                np.eye(3).ravel(),
                np.asarray(rgba, np.float32),
            )
            self.scene.ngeom += 1
        mujoco.mjr_render(self._rect, self.scene, self._context)
        picture = np.empty((self._rect.height, self._rect.width, 3), np.uint8)
        mujoco.mjr_readPixels(picture, None, self._rect, self._context)
        return picture[::-1]
