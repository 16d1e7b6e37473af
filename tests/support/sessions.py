"""Sessions of one specimen: series with other gain and noise, begun elsewhere, under a mask."""

from __future__ import annotations

import numpy as np
import xarray as xr

from steadystack.common_frame import choose_members
from steadystack.config import make_config
from steadystack.joining import SolvedSeries
from steadystack.model import name_axes
from steadystack.outputs import write_image, write_stack
from steadystack.planning import make_series
from steadystack.readers import ArrayFrames
from steadystack.solve import solve_shifts
from steadystack.stages import measure_series
from support.scenes import Scene, ellipse
from support.settings import write_run

SIZE, COUNT = (72, 80), 8
# What takes a pilot and checks long is not what these are about.
SETTINGS = {
    "mask": {"defects": None, "parts": None},
    "register": {"max_shift": 6},
    "preprocess": {"low_pass": None, "high_pass": None},
    "pairs": {"strategy": "window", "width": 3},
}


def session(scene, rng, jump=(0, 0), gain=1.0, noise=0.5, shape=SIZE):
    """Frames of a scene, and the true shift of each onto the first pixel of the scene."""
    truth = np.cumsum(rng.normal(0, 0.6, (COUNT, 2)), axis=0) + jump
    frames = np.stack([scene.view(shape, shift) for shift in truth])
    return 1000 + 100 * gain * (frames + rng.normal(0, noise, frames.shape)), truth


def three_sessions(seed, jump=12):
    """Three of a scene, the first where the scene begins."""
    scene, rng = Scene(seed, waves=120), np.random.default_rng(1000 + seed)
    return [
        session(
            scene,
            rng,
            rng.uniform(-jump, jump, 2) * (number > 0),
            rng.uniform(0.5, 3),
            rng.uniform(0.3, 1.5),
        )
        for number in range(3)
    ]


def solved(name, frames, mask=None, **sections):
    """A series that is measured and solved in itself, in memory, with no check of it."""
    config = make_config({"input": {"path": "memory"}} | SETTINGS | sections)
    mask = ellipse(frames.shape[1:], 0.95) if mask is None else mask
    dims = ("t", *name_axes(frames.ndim - 1))
    stack = xr.DataArray(np.asarray(frames, "f4"), dims=dims)
    setup, pairs, _ = measure_series(config, make_series(ArrayFrames.checked(stack, mask)))
    found = solve_shifts(pairs)
    members = choose_members(found, frames.shape[1:]) or [np.zeros(0, np.int64)]
    return SolvedSeries(name, setup, pairs, found, members, {})


def write_session(folder, name, frames, pixel_size=0.5, **sections):
    """A stack, and the settings of a run over it; their path."""
    frames = np.clip(frames, 0, 65535).astype("u2")
    write_stack(folder / f"{name}.zarr", frames, pixel_size=(pixel_size,) * 2)
    write_image(folder / f"mask-{name}.zarr", ellipse(frames.shape[1:], 0.95))
    given = {
        "input": {"path": f"{name}.zarr"},
        "output": {"shifts": f"{name}-shifts.zarr", "report": None},
        "mask": SETTINGS["mask"] | {"path": f"mask-{name}.zarr"},
    }
    return str(write_run(folder, name, **SETTINGS | given | sections))
