"""Scenes with a known truth for the benchmarks: rendered where they are, never interpolated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

MASKS = ("none", "ellipse", "dead", "beam stop", "per frame")
MORE_MASKS = ("half", "ring", "net", "bands", "islands")


@dataclass(frozen=True)
class Blobs:
    """A sum of Gaussian blobs of random height, which can be looked at from anywhere.

    `centres` (blobs, 2) and `sigma` (blobs,) in pixels.
    """

    centres: np.ndarray
    sigma: np.ndarray
    height: np.ndarray

    @classmethod
    def of(
        cls, rng: np.random.Generator, shape: Sequence[int], sizes: Sequence[float], reach: float
    ) -> Blobs:
        """Make blobs of one size, or of all sizes between two (as much contrast in each octave).

        They cover an image of that shape wherever it is moved within `reach` pixels.
        """
        largest = max(sizes)
        low, high = -reach - 4 * largest, np.array(shape) + reach + 4 * largest
        area = float(np.prod(high - low))
        if len(sizes) == 1:
            sigma = np.full(int(area / (2 * sizes[0]) ** 2), sizes[0])
        else:
            small, large = (size**-2.0 for size in sizes)
            count = int(area * (small - large) / (4 * np.log(sizes[1] / sizes[0])))
            sigma = (small - rng.random(count) * (small - large)) ** -0.5
        centres = rng.uniform(low, high, (len(sigma), 2))
        return cls(centres, sigma, rng.normal(size=len(sigma)))

    def view(self, shape: Sequence[int], origin: Sequence[float], slope: int | None = None):
        """Render the image whose first pixel is at `origin`, or its derivative along an axis."""
        factors = []
        for axis, size in enumerate(shape):
            distance = (
                np.arange(size)[:, None] + origin[axis] - self.centres[:, axis]
            ) / self.sigma
            factor = np.exp(-(distance**2) / 2)
            factors.append(-distance / self.sigma * factor if axis == slope else factor)
        return (factors[0] * self.height) @ factors[1].T


def make_ellipse(shape: Sequence[int], area_fraction: float = 0.55) -> np.ndarray:
    """Make a mask that is True in an ellipse over a fraction of the frame."""
    y, x = (np.arange(size)[:, None] - (size - 1) / 2 for size in shape)
    return (y / shape[0]) ** 2 + (x.T / shape[1]) ** 2 <= area_fraction / np.pi


def make_masks(kind: str, rng: np.random.Generator, shape: Sequence[int]) -> tuple[np.ndarray, ...]:
    """Make the masks of a reference and a moving frame, True = valid."""
    y, x = (np.arange(size)[:, None] - (size - 1) / 2 for size in shape)
    size = shape[0]
    if kind == "per frame":  # clouds over a quarter, a few dead pixels
        frame_masks = []
        for _ in range(2):
            clouds = ndimage.gaussian_filter(rng.normal(size=shape), size / 16)
            frame_masks.append((clouds < np.quantile(clouds, 0.75)) & (rng.random(shape) > 0.02))
        return tuple(frame_masks)
    mask = {
        "none": lambda: np.ones(shape, bool),
        "ellipse": lambda: make_ellipse(shape),
        "ellipse, 1 % dead": lambda: make_ellipse(shape) & (rng.random(shape) > 0.01),
        "dead": lambda: rng.random(shape) > 0.25,
        "beam stop": lambda: (
            (np.hypot(y, x.T) > 0.12 * size) & ~((np.abs(x.T) < 0.04 * size) & (y > 0))
        ),
        "half": lambda: np.broadcast_to(x.T < 0, shape).copy(),
        "ring": lambda: np.abs(np.hypot(y, x.T) - 0.36 * size) < 0.08 * size,
        "net": lambda: (y % 12 < 9) & (x.T % 12 < 9),  # bars of 3 px
        "bands": lambda: np.broadcast_to(y % 32 < 20, shape).copy(),
        "islands": lambda: ndimage.gaussian_filter(rng.normal(size=shape), size / 32) > 0.018,
    }[kind]()
    return mask, mask


@dataclass(frozen=True)
class Pair:
    """Two noisy frames of a scene, what is valid in them, and what can be known of their shift.

    `bound` is the Cramér-Rao bound of the shift for two noisy images of an unknown scene, px²
    (twice that of a known one): noise² times 2 over the sum of squared gradients where both are
    valid.
    """

    reference: np.ndarray
    moving: np.ndarray
    reference_mask: np.ndarray
    moving_mask: np.ndarray
    shift: np.ndarray
    bound: np.ndarray


@dataclass(frozen=True)
class Views:
    """Two noise-free views of a scene, of deviation 1, and the gradients of the first."""

    reference: np.ndarray
    moving: np.ndarray
    gradients: np.ndarray
    shift: np.ndarray

    @classmethod
    def of(
        cls, rng: np.random.Generator, shape: Sequence[int], sizes: Sequence[float], largest: float
    ) -> Views:
        """Make views of a new scene, moved by a random shift of up to `largest` px per axis."""
        scene, shift = Blobs.of(rng, shape, sizes, largest), rng.uniform(-largest, largest, 2)
        reference = scene.view(shape, (0, 0))
        slopes = np.stack([scene.view(shape, (0, 0), axis) for axis in range(2)])
        return cls(
            reference / reference.std(),
            scene.view(shape, shift) / reference.std(),
            slopes / reference.std(),
            shift,
        )

    def pair(self, rng: np.random.Generator, kind: str, noise: float, blur: float = 0) -> Pair:
        """Make a noisy pair under masks; the noise is blurred by a Gaussian of `blur` px."""
        shape = self.reference.shape
        pair_masks = make_masks(kind, rng, shape)
        noisy = []
        for view in (self.reference, self.moving):
            grain = rng.normal(size=shape)
            if blur:
                grain = ndimage.gaussian_filter(grain, blur, mode="wrap")
            noisy.append(view + noise * grain / grain.std())
        overlap = pair_masks[0] & move_mask(pair_masks[1], np.rint(self.shift).astype(int))
        gradients = self.gradients[:, overlap]
        return Pair(
            *noisy, *pair_masks, self.shift, 2 * noise**2 * np.linalg.inv(gradients @ gradients.T)
        )


def move_mask(mask: np.ndarray, shift: Sequence[int]) -> np.ndarray:
    """Move a mask by whole pixels; what comes in is not valid."""
    target = np.zeros_like(mask)
    into = tuple(slice(max(s, 0), n + min(s, 0)) for s, n in zip(shift, mask.shape, strict=True))
    out = tuple(slice(max(-s, 0), n - max(s, 0)) for s, n in zip(shift, mask.shape, strict=True))
    target[into] = mask[out]
    return target


def add_artefacts(pair: Pair, rng: np.random.Generator) -> Pair:
    """Add bright spots that stand still and a border, outside of the masks; dead pixels are 0."""
    spots = np.zeros(pair.reference.shape)
    spots[tuple(rng.integers(0, n, 60) for n in spots.shape)] = 400
    artefacts = ndimage.gaussian_filter(spots, 1.5)
    artefacts[:6] = artefacts[-6:] = artefacts[:, :6] = artefacts[:, -6:] = 8
    reference = np.where(pair.reference_mask, pair.reference, artefacts)
    moving = np.where(pair.moving_mask, pair.moving, artefacts)
    return Pair(reference, moving, pair.reference_mask, pair.moving_mask, pair.shift, pair.bound)
