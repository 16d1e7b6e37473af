"""A small run to be looked at: a region of frames, of which some are used, a mask and a border."""

from __future__ import annotations

import numpy as np
import yaml

from steadystack.outputs import write_image, write_stack
from support.scenes import Scene

SIZE = (56, 64)
REGION = ((4, 52), (8, 60))
SHIFTS = np.array([(0, 0), (1, -1), (2, -1), (2, 1), (0, 2)], float)  # of the frames that are used


def make_viewed(folder):
    """Write stack, mask and settings; the path of these."""
    rng, scene = np.random.default_rng(3), Scene(3)
    unused = [np.zeros(2)]
    views = [scene.view(SIZE, shift) for shift in [*unused, *SHIFTS]]
    noisy = np.stack(views) + rng.normal(0, 0.05, (len(views), *SIZE))
    frames = np.clip(1000 + 200 * noisy, 0, 65535).astype("u2")
    write_stack(folder / "stack.zarr", frames, pixel_size=(500, 250), unit="nanometer",
                frame_interval=3.0)  # fmt: skip
    mask = np.ones(SIZE, bool)
    mask[20:24, 30:40] = False
    write_image(folder / "mask.zarr", mask)
    settings = {
        "input": {"path": "stack.zarr", "frames": "1:", "region": [list(side) for side in REGION]},
        "mask": {"path": "mask.zarr", "border": 2},
        "register": {"max_shift": 6},
        "output": {"shifts": "shifts.zarr"},
        "cluster": {"kind": "in-process"},
    }
    path = folder / "run.yaml"
    path.write_text("# what was thought of it\n" + yaml.safe_dump(settings, sort_keys=False))
    return path
