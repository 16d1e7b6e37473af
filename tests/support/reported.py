"""A run over a drifting scene in which a frame is blank, with a report."""

from __future__ import annotations

import numpy as np

import steadystack
from steadystack.outputs import write_image, write_stack
from support.scenes import Scene, ellipse
from support.settings import config_of

SIZE, FRAMES, BLANK = (64, 72), 12, 7


def config(folder, **output):
    return config_of(
        folder,
        mask={"path": "mask.zarr"},
        register={"max_shift": 10},
        pairs={"width": 3},
        output={"report": "report.html"} | output,
    )


def reported(folder):
    """A run over a drifting scene in which a frame is blank."""
    world, rng = Scene(3), np.random.default_rng(3)
    truth = np.cumsum(rng.normal(0, 1, (FRAMES, 2)), axis=0)
    frames = np.stack([1000 + 200 * world.view(SIZE, shift) for shift in truth])
    frames[BLANK] = 1000
    write_stack(folder / "stack.zarr", frames.astype("u2"), pixel_size=(0.5, 0.5), frame_interval=2)
    write_image(folder / "mask.zarr", ellipse(SIZE, 0.95))
    steadystack.run(config(folder))
    return folder
