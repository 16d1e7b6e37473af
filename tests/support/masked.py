"""Series with masks."""

from __future__ import annotations

import numpy as np

from steadystack.outputs import write_stack
from support.scenes import ellipse, rough
from support.settings import config_of

SHAPE = (40, 52)


def settings(tmp_path, mask, frames=None, pixel_size=(0.5, 0.25), **more):
    frames = rough(0, (3, *SHAPE), 2).astype("f4") if frames is None else frames
    write_stack(tmp_path / "a.zarr", frames, pixel_size=pixel_size)
    usual = {"input": {"path": "a.zarr"}, "mask": mask, "register": {"max_shift": 8}}
    return config_of(tmp_path, **usual | more)


def frames_behind(kind, seed=0):
    """A frame whose scene is seen inside of an ellipse; what lies outside is of that kind."""
    rng = np.random.default_rng(seed)
    scene = 100 + 20 * rough(seed, (96, 96), 2) / rough(seed, (96, 96), 2).std()
    outside = {
        "constant": np.zeros(scene.shape),
        "saturated": np.full(scene.shape, 255.0),
        "dark": rng.normal(3, 1, scene.shape),
    }[kind]
    inside = ellipse(scene.shape, 0.7)
    return np.where(inside, scene, outside), inside
