"""Series whose parts move by themselves, smoothly, beside drift: rendered, not interpolated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scenes import make_ellipse

STEP = 0.7
WAVES, DETAILS = (
    160,
    (2.0, 12.0),
)  # plane waves of a scene, their lengths over 2 pi, px
OUTSIDE = 3.0  # pixels beyond the mask are random up to this, in deviations of the scene
INVERTING_STEPS = 20


@dataclass
class LocalSeries:
    """Frames and their mask; the drift, and waves of local motion that grow.

    `slopes` are those of the first frame without its noise, in deviations of the noise per pixel.
    """

    frames: np.ndarray
    mask: np.ndarray
    drift: np.ndarray
    size: np.ndarray
    phase: np.ndarray
    slopes: np.ndarray

    def forward(self, frame: int, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where what lies at places of a frame belongs; the waves are as long as a frame."""
        height, width = self.mask.shape
        (drift_y, drift_x), size = self.drift[frame], self.size[frame]
        moved_y = y + drift_y + size * np.sin(2 * np.pi * x / width + self.phase[0])
        return moved_y, x + drift_x + size * np.sin(2 * np.pi * y / height + self.phase[1])

    def field(self, frame: int, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """What has to be applied to a frame at places of the anchor, (..., 2)."""
        there_y, there_x = y, x
        for _ in range(INVERTING_STEPS):
            moved_y, moved_x = self.forward(frame, there_y, there_x)
            there_y, there_x = there_y + y - moved_y, there_x + x - moved_x
        return np.stack([y - there_y, x - there_x], axis=-1)


def make_local_series(seed: int, count: int, side: int, size: float, snr: float) -> LocalSeries:
    """Render a series whose local motion grows to `size` pixels along each axis."""
    rng, shape = np.random.default_rng(seed), (side, side)
    drift = np.cumsum(rng.normal([0.3, -0.2], STEP, (count, 2)), axis=0)
    growth = size * np.sin(np.pi / 2 * np.arange(count) / (count - 1))
    series = LocalSeries(
        np.zeros(0),
        make_ellipse(shape),
        drift - drift[0],
        growth,
        rng.uniform(0, 6, 2),
        np.zeros(0),
    )
    lengths = np.exp(rng.uniform(*np.log(DETAILS), WAVES))
    angle = rng.uniform(0, 2 * np.pi, WAVES)
    waves = np.stack([np.sin(angle), np.cos(angle)], axis=1) / lengths[:, None]
    phases = rng.uniform(0, 2 * np.pi, WAVES)
    y, x = np.indices(shape).astype(float)
    stack = np.zeros((count, *shape), np.float32)
    for frame in range(count):
        at_y, at_x = (each.astype(np.float32) for each in series.forward(frame, y, x))
        for (along_y, along_x), phase in zip(waves.astype(np.float32), phases, strict=True):
            stack[frame] += np.cos(along_y * at_y + along_x * at_x + np.float32(phase))
    stack /= stack.std()
    series.slopes = snr * np.stack(np.gradient(stack[0].astype(float)))
    noisy = stack + rng.normal(0, 1 / snr, stack.shape)
    beyond = OUTSIDE * rng.random(stack.shape)
    series.frames = np.where(series.mask, noisy, beyond).astype(np.float32)
    return series
