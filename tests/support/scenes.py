"""Scenes with a known truth, and masks."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import xarray as xr
from scipy import ndimage

from steadystack.ncc import sums


class Scene:
    """A smooth random scene that can be looked at from anywhere, exactly: a sum of plane waves."""

    def __init__(self, seed: int, ndim: int = 2, detail: float = 2.0, waves: int = 300) -> None:
        rng = np.random.default_rng(seed)
        self.wave = rng.normal(0, 1 / detail, (waves, ndim))
        self.phase = rng.uniform(0, 2 * np.pi, waves)

    def view(self, shape: tuple[int, ...], origin: tuple[float, ...] | np.ndarray) -> np.ndarray:
        """The image whose first pixel lies at `origin`; of standard deviation 1."""
        start = self.wave @ np.asarray(origin, np.float64)
        return self._add_up(self._tabulate(tuple(shape)), start).reshape(shape)

    @lru_cache(maxsize=2)  # noqa: B019
    def _tabulate(self, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        lines = zip(self.wave.T, shape, strict=True)
        return _spread([np.outer(k, np.arange(size)) for k, size in lines])

    def turned(self, shape: tuple[int, ...], linear: np.ndarray, shift: np.ndarray) -> np.ndarray:
        """What is seen from pixels p of an image, c its middle, at c + linear (p - c) + shift.

        As `look`, but as waves that are turned are waves, in a hundredth of the time.
        """
        middle = (np.array(shape) - 1) / 2
        lines = zip((self.wave @ linear).T, shape, strict=True)
        angles = [np.outer(k, np.arange(size)) for k, size in lines]
        return self.bent(angles, self.wave @ (middle - linear @ middle + shift))

    def bent(self, angles: list[np.ndarray], start: np.ndarray | float = 0.0) -> np.ndarray:
        """The image whose waves' angles are sums of those (waves, pixels) along each axis."""
        shape = [angle.shape[1] for angle in angles]
        return self._add_up(_spread(angles), start).reshape(shape)

    def _add_up(self, waves: tuple[np.ndarray, np.ndarray], start) -> np.ndarray:
        first, others = waves
        first = first * np.exp(1j * (self.phase + start))[:, None]
        image = first.real.T @ others.real - first.imag.T @ others.imag
        return image / np.sqrt(len(self.wave) / 2)

    def look(self, places: np.ndarray) -> np.ndarray:
        """What lies at places (..., ndim); of standard deviation 1."""
        angle = np.asarray(places, np.float64) @ self.wave.T + self.phase
        return np.cos(angle).sum(axis=-1) / np.sqrt(len(self.wave) / 2)


def _spread(angles: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Waves of these angles, without phase, along the first axis, and over all others, flat."""
    first, *rest = (np.exp(1j * angle) for angle in angles)
    others = np.ones((len(first), 1), complex)
    for waves in rest:
        others = (others[:, :, None] * waves[:, None]).reshape(len(first), -1)
    return first, others


def ellipse(shape: tuple[int, ...], fill: float = 0.8) -> np.ndarray:
    grid = np.indices(shape).T - (np.array(shape) - 1) / 2
    return ((grid / (fill * np.array(shape) / 2)) ** 2).sum(-1).T < 1


def asked_of_transforms(monkeypatch) -> list[list[str]]:
    """The terms that are computed by transforms from now on, a list for every call."""
    asked: list[list[str]] = []
    correlate = sums._correlate

    def counting(reference, moving, layout, factors, *more):
        asked.append(list(factors))
        return correlate(reference, moving, layout, factors, *more)

    monkeypatch.setattr(sums, "_correlate", counting)
    return asked


def rough(seed: int, shape: tuple[int, ...], smooth: float = 1.0) -> np.ndarray:
    return ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), smooth)


def compute_error(shifts: xr.Dataset, truth: np.ndarray) -> float:
    """The root mean square length of what shifts are off, px, whatever they are relative to."""
    error = shifts["frame_shift"].to_numpy() - truth
    return float(np.sqrt(np.mean(np.sum((error - error.mean(axis=0)) ** 2, axis=1))))


def assert_same_numbers(one: xr.Dataset, other: xr.Dataset):
    """Bit for bit, NaN equal to NaN; attributes aside."""
    assert set(one.variables) == set(other.variables)
    for name in one.variables:
        a, b = one[name].to_numpy(), other[name].to_numpy()
        assert a.tobytes() == b.tobytes(), name
