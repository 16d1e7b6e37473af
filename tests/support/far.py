"""What the tests of servers put there: a drifting scene, and a mask of what drifts with it."""

from __future__ import annotations

import numpy as np

from steadystack.outputs import write_image, write_stack
from support.scenes import Scene, ellipse

SHAPE = (64, 72)
SHIFTS = np.stack([np.linspace(0, 4, 16), -np.linspace(0, 6, 16)], axis=1)


def drifting_scene():
    view = Scene(5).view
    return np.stack([view(SHAPE, shift) * 400 + 3000 for shift in SHIFTS]).astype("u2")


def write_inputs(folder, scene):
    """A stack and a mask that takes away what does not move with it."""
    mask = ellipse(SHAPE, 0.9)
    write_stack(folder / "a.zarr", np.where(mask, scene, 7), pixel_size=(0.5, 0.5))
    write_image(folder / "m.zarr", mask)
