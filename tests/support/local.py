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
    """Frames; what lies at p in one belongs to p plus the drift and a wave, a frame long.

    Waves run across what they move, in volumes along y or x.
    """

    frames: np.ndarray
    drift: np.ndarray
    size: np.ndarray
    phase: np.ndarray

    def forward(self, frame: int, places: np.ndarray) -> np.ndarray:
        """By how far what lies at places (..., axes) of a frame is moved."""
        waves = [self.waves(axis, places[..., along]) for axis, along in enumerate(self.along)]
        return self.drift[frame] + self.size[frame] * np.stack(waves, axis=-1)

    @property
    def along(self) -> tuple[int, ...]:
        """The axis along which what is moved along each axis changes."""
        return (1, 0) if self.frames.ndim == 3 else (2, 2, 1)

    def waves(self, axis: int, places: np.ndarray) -> np.ndarray:
        """What is moved along an axis at places along the other, of size 1."""
        side = self.frames.shape[1 + self.along[axis]]
        return np.sin(2 * np.pi * places / side + self.phase[axis])

    def at_nodes(self, found) -> np.ndarray:
        """The truth of `frame_local_shift` (frames, nodes along each axis, axes)."""
        lines = [found[f"node_{axis}"] for axis in found["axis"].to_numpy()]
        nodes = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1)
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
    ndim = len(shape)
    drift = np.cumsum(rng.normal(0, 0.7, (count, ndim)), axis=0)
    series = Bent(
        np.zeros((count, *shape)),
        drift - drift[0],
        size * np.arange(count) / (count - 1),
        rng.uniform(0, 6, ndim),
    )
    scene = Scene(seed, ndim=ndim, detail=detail, waves=150)
    lines = [np.arange(side) for side in shape]
    for frame in range(count):
        angles = [np.outer(k, line) for k, line in zip(scene.wave.T, lines, strict=True)]
        for axis, along in enumerate(series.along):
            wave = series.size[frame] * series.waves(axis, lines[along])
            angles[along] += np.outer(scene.wave[:, axis], wave)
        series.frames[frame] = scene.bent(angles, scene.wave @ series.drift[frame])
    series.frames += rng.normal(0, noise, series.frames.shape)
    return series


def with_local_shifts(shifts: xr.Dataset, off, std=0.1, status=None, apart=10.0) -> xr.Dataset:
    """A solved dataset with local shifts that are `off` (frames, nodes, axes) its frames'.

    NaN of `off` is unknown; nodes are `apart` pixels, and seen unless `status` says otherwise.
    """
    axes = "zyx"[-(off.ndim - 2) :]
    order = ("frame", *(f"node_{axis}" for axis in axes))
    own = shifts["frame_shift"].to_numpy()
    local = np.expand_dims(own, tuple(range(1, off.ndim - 1))) + off
    is_known = np.isfinite(local).all(axis=-1)
    status = np.where(is_known, LocalStatus.OK.code if status is None else status, UNKNOWN)
    places = {
        f"node_{axis}": apart * np.arange(local.shape[1 + at]) for at, axis in enumerate(axes)
    }
    columns = {
        "frame_local_shift": ((*order, "axis"), local),
        "frame_local_shift_std": ((*order, "axis"), np.where(np.isfinite(local), std, np.nan)),
        "frame_local_status": (order, status.astype("i1")),
    }
    return (
        shifts.drop_vars([*columns, *places], errors="ignore").assign(columns).assign_coords(places)
    )
