"""A small series, its shifts, and corrected stacks of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr
import zarr

from steadystack.config import CorrectSection
from steadystack.correction import plan_corrected, write_corrected
from steadystack.model import FrameStatus
from steadystack.readers import locate_stack
from steadystack.validity import Validity
from support.scenes import Scene
from support.settings import config_of

SIZE = (72, 80)
TRUTH = np.array([[0, 0], [2.4, -1.2], [-1.5, 0.5], [3.3, 4.1], [1.0, 2.0], [-2.2, -3.7]])
MEMORY = 2**29


def frames_of(world: Scene) -> np.ndarray:
    return np.stack([20000 + 3000 * world.view(SIZE, o) for o in TRUTH]).astype("u2")


def shifts_of(values: np.ndarray = TRUTH, **columns: list[int]) -> xr.Dataset:
    count = len(values)
    ok = [FrameStatus.OK.code] * count
    given = {"component": [0] * count, "frame_status": ok} | columns
    return xr.Dataset(
        {
            "frame_shift": (("frame", "axis"), values),
            **{name: ("frame", column) for name, column in given.items()},
        },
        {"axis": ["z", "y", "x"][-values.shape[1] :]},
    )


def made(path: Path, source: Path, shifts: xr.Dataset | None = None, memory=MEMORY, **how):
    """A corrected stack of a stack, in this process."""
    client, validity = how.pop("client", None), how.pop("validity", Validity())
    again, channel = how.pop("overwrite", False), how.pop("channel", None)
    stack = plan_corrected(
        str(path), locate_stack(str(source), channel=0), shifts_of() if shifts is None else shifts,
        CorrectSection(**how), validity, channel, memory,
    )  # fmt: skip
    write_corrected(stack, client, overwrite=again)
    return stack, zarr.open_group(path, mode="r")


def run_of(folder: Path, **sections):
    usual = {
        "register": {"max_shift": 12},
        "output": {
            "shifts": str(folder / "shifts.zarr"),
            "corrected": str(folder / "steady.ome.zarr"),
        },
    }
    return config_of(folder, **usual | sections)
