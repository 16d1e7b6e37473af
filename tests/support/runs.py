"""A noisy series, and the settings of a run over it."""

from __future__ import annotations

import numpy as np

from steadystack.outputs import write_image, write_stack
from steadystack.readers.frames import StackFrames
from support.scenes import Scene, ellipse
from support.settings import config_of, write_run

SIZE = (64, 72)


def views(truth, seed=0, noise=0.05):
    """Noisy views of one scene; `truth` (frames, 2) is the shift of every frame."""
    world, rng = Scene(seed), np.random.default_rng(seed)
    return np.stack([world.view(SIZE, origin) + rng.normal(0, noise, SIZE) for origin in truth])


def walk():
    """True shifts of twelve frames."""
    steps = np.cumsum(np.random.default_rng(4).normal(0, 1, (12, 2)), axis=0)
    return steps - steps[0]


def counts(truth):
    """The views as a camera stores them."""
    return np.clip(1000 + 200 * views(truth), 0, 65535).astype("u2")


def note_reads(monkeypatch):
    """The numbers of the frames that are read from now on."""
    read, frames = StackFrames.read, []

    def note(self, frame, *region):
        frames.append(frame)
        return read(self, frame, *region)

    monkeypatch.setattr(StackFrames, "read", note)
    return frames


# What runs look for that may be wrong beside the shifts.
CHECKS = ("moving_parts", "fixed_pattern", "probe_pairs", "linear_pairs", "sharpness", "mask")


def leave_out_checks(monkeypatch, names=CHECKS):
    """Let runs look for none of these."""
    for name in names:
        monkeypatch.setattr(f"steadystack.checks.run_checks.check_{name}", lambda *_: None)


def write_inputs(folder, frames):
    write_stack(folder / "stack.zarr", frames, pixel_size=(0.5, 0.5))
    write_image(folder / "mask.zarr", ellipse(SIZE, 0.95))
    return folder


def settings(folder, **sections):
    usual = {
        "mask": {"path": "mask.zarr"},
        "register": {"max_shift": 10},
        "pairs": {"strategy": "window", "width": 3},
    }
    return config_of(folder, **usual | sections)


def write_settings(folder, **sections):
    return str(write_run(folder, **{"register": {"max_shift": 10}} | sections))


# Examples that are for any series; the others are worked cases, tested on series of their kind.
GENERAL = ("minimal", "full", "dask-cluster")
