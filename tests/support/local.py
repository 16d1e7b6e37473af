"""Series whose parts move by themselves, by a known smooth field on top of drift."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from steadystack.model import LocalStatus
from support.scenes import Scene

STEPS = 30  # of a field that is inverted
UNKNOWN = LocalStatus.UNKNOWN.code


@dataclass
class Bent:
    """Frames; what lies at p in one belongs to p plus the drift and a wave, a frame long."""

    frames: np.ndarray
    drift: np.ndarray
    size: np.ndarray
    phase: np.ndarray

    def forward(self, frame: int, places: np.ndarray) -> np.ndarray:
        """By how far what lies at places (..., 2) of a frame is moved."""
        shape = np.array(self.frames.shape[1:])
        waves = np.sin(2 * np.pi * places[..., ::-1] / shape[::-1] + self.phase)
        return self.drift[frame] + self.size[frame] * waves

    def at_nodes(self, found) -> np.ndarray:
        """The truth of `frame_local_shift` (frames, rows, columns, 2)."""
        nodes = np.stack(np.meshgrid(found["node_y"], found["node_x"], indexing="ij"), axis=-1)
        truth = []
        for frame in range(len(self.frames)):
            shift = np.zeros_like(nodes)
            for _ in range(STEPS):
                shift = self.forward(frame, nodes - shift)
            truth.append(shift)
        return np.stack(truth)


def bent_series(seed=1, count=8, shape=(112, 120), size=1.5, noise=0.2, detail=2.5) -> Bent:
    """Frames that drift, bent by up to `size` pixels more and more."""
    rng = np.random.default_rng(seed)
    drift = np.cumsum(rng.normal(0, 0.7, (count, 2)), axis=0)
    series = Bent(
        np.zeros((count, *shape)),
        drift - drift[0],
        size * np.arange(count) / (count - 1),
        rng.uniform(0, 6, 2),
    )
    scene = Scene(seed, detail=detail, waves=150)
    places = np.moveaxis(np.indices(shape), 0, -1).astype(float)
    for frame in range(count):
        series.frames[frame] = scene.look(places + series.forward(frame, places))
    series.frames += rng.normal(0, noise, series.frames.shape)
    return series


def with_local_shifts(shifts: xr.Dataset, off, std=0.1, status=None, apart=10.0) -> xr.Dataset:
    """A solved dataset with local shifts that are `off` (frames, rows, columns, 2) its frames'.

    NaN of `off` is unknown; nodes are `apart` pixels, and seen unless `status` says otherwise.
    """
    order = ("frame", "node_y", "node_x")
    local = shifts["frame_shift"].to_numpy()[:, None, None] + off
    is_known = np.isfinite(local).all(axis=-1)
    status = np.where(is_known, LocalStatus.OK.code if status is None else status, UNKNOWN)
    places = {
        f"node_{axis}": apart * np.arange(local.shape[1 + at]) for at, axis in enumerate("yx")
    }
    columns = {
        "frame_local_shift": ((*order, "axis"), local),
        "frame_local_shift_std": ((*order, "axis"), np.where(np.isfinite(local), std, np.nan)),
        "frame_local_status": (order, status.astype("i1")),
    }
    return shifts.drop_vars([*columns, *places]).assign(columns).assign_coords(places)
