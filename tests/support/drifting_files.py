"""A scene that drifts by known shifts, and the run of settings in a file that measures it."""

from __future__ import annotations

import numpy as np
import xarray as xr
import yaml

import steadystack

TRUTH = np.array([[0, 0], [1, -2], [3, -3], [4, -5], [6, -5]])


def make_frames(dtype=np.uint16):
    """Five frames of 48 x 64 pixels; `dtype` uint8: with less range."""
    rng = np.random.default_rng(11)
    scene = rng.normal(1000, 100, (80, 96))
    if dtype == np.uint8:
        scene = np.clip((scene - 1000) / 3 + 128, 0, 255)
    moved = [scene[16 - y : 64 - y, 16 - x : 80 - x] for y, x in -TRUTH]
    return np.round(moved).astype(dtype)


def shifts_of(folder, cluster=None, mask=None, **input_):
    """The shifts that a run of settings in a file finds."""
    settings = {
        "input": input_,
        "mask": mask or {},
        "register": {"max_shift": 8},
        "output": {"shifts": "shifts.zarr"},
        "cluster": cluster or {"kind": "in-process"},
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(settings))
    steadystack.run(steadystack.load_config(folder / "run.yaml"))
    return xr.open_zarr(folder / "shifts.zarr")
