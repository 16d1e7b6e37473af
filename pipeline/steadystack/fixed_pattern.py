"""What stands still in the camera, told apart from a scene that moves.

A frame is ``static(x) + scene(x + shift) + noise``: its shift lays it on the scene. With A the mean
of the frames as they are and B that of the frames moved by their shifts, ``A = static + U scene``
and ``B = scene + V static``, where U and V move an image by every shift, back and forth, and take
the mean: products in the Fourier domain. Without the scene, ``static - U V static = A - U B``, the
normal equations of least squares over all valid pixels. Conjugate gradients from zero solve them:
what the drift hardly separates, structure much wider than the drift is long, comes last, and few
steps leave it out (Hanke 1995, Conjugate gradient type methods for ill-posed problems).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from steadystack.model import Bools, Floats

# Steps of conjugate gradients at most, and the part of the right side at which they end.
STEPS = 40
TOLERANCE = 1e-3
# Room around the moved frames, px: what is interpolated swings on beyond their edges.
ROOM = 16
# What fewer than this part of the frames have seen of the scene is taken for less than it says.
DAMPING = 1 / 32
# Added to the eigenvalues, 0 to 1 for what the drift does not or does separate: interpolation and
# masks spoil them by about as much. The larger ones are for short drifts, where that diverges.
RIDGES = (0.02, 0.1, 0.5)

Single = NDArray[np.float32]


@dataclass(frozen=True)
class Canvas:
    """Where frames lie once they are moved by their shifts.

    Attributes
    ----------
    frame_shape, shape : sides of a frame and of the canvas, pixels
    origin : the shift, pixels, that lays the first pixel of a frame on the first of the canvas
    """

    frame_shape: tuple[int, ...]
    shape: tuple[int, ...]
    origin: tuple[float, ...]

    @classmethod
    def over(cls, frame_shape: tuple[int, ...], shifts: Floats) -> Canvas:
        """The canvas for frames of that shape and their shifts (frames, axes)."""
        spans = np.ceil(np.ptp(shifts, axis=0)).astype(int)
        shape = tuple(
            int(fft.next_fast_len(int(size + span + ROOM), real=True))
            for size, span in zip(frame_shape, spans, strict=True)
        )
        return cls(frame_shape, shape, tuple(shifts.min(axis=0).tolist()))

    def ramp(self, shift: Floats) -> NDArray[np.complex64]:
        """What the spectrum of a frame is multiplied with to move it by its shift."""
        ramps = []
        for axis, (size, by) in enumerate(zip(self.shape, shift - self.origin, strict=True)):
            last = axis == len(self.shape) - 1
            frequency = fft.rfftfreq(size) if last else fft.fftfreq(size)
            ramp = np.exp(-2j * np.pi * frequency * by)
            if size % 2 == 0:  # the highest frequency has no sign
                ramp[size // 2] = np.cos(np.pi * by)
            ramps.append(ramp.astype(np.complex64))
        return np.asarray(reduce(np.multiply.outer, ramps))

    def spectrum(self, image: Floats | Bools) -> NDArray[np.complex64]:
        """Of an image that begins at the canvas's first pixel."""
        return np.asarray(fft.rfftn(image.astype(np.float32, copy=False), self.shape))

    def image(self, spectrum: NDArray[np.complex64]) -> Single:
        return np.asarray(fft.irfftn(spectrum, self.shape), np.float32)

    def framed(self, spectrum: NDArray[np.complex64]) -> Single:
        """The part of an image that a frame at the canvas's first pixel shows."""
        return self.image(spectrum)[tuple(slice(0, size) for size in self.frame_shape)]


@dataclass(frozen=True, eq=False)
class SeparatedImages:
    """A static image, the scene behind it, and how much of the frames neither explains.

    Attributes
    ----------
    static : float array of a frame's shape; its mean is 0; NaN where no frame is valid
    scene : float array on the canvas; 0 where no frame has seen it
    residual : mean square of what is left of the frames' valid pixels; infinite: it diverged
    alike : whether the same pixels were valid in all frames; if not, a further call that starts
        `before` this knows better
    """

    pattern: Single
    scene: Single
    canvas: Canvas
    residual: float
    alike: bool

    @property
    def known(self) -> Bools:
        return np.isfinite(self.pattern)

    def view(self, shift: Floats) -> Single:
        """What a frame of that shift shows, but for its noise and its mean; 0 if not known."""
        ramp = np.conj(self.canvas.ramp(shift))
        scene = self.canvas.framed(self.canvas.spectrum(self.scene) * ramp)
        return np.asarray(np.where(self.known, scene + self.pattern, 0), np.float32)


def separate(
    frames: Iterable[tuple[Floats, Bools]],
    shifts: Floats,
    *,
    before: SeparatedImages | None = None,
    passes: int = 1,
) -> SeparatedImages:
    """The static image of frames whose shifts are known, and the scene.

    Parameters
    ----------
    frames : images and their valid pixels, all of one shape; each is looked at once, and of every
        image the mean over its valid pixels does not matter
    shifts : (frames, axes) pixels, what lays each frame on the scene
    before : what an earlier call found, to fill in what is not valid in some of the frames; without
        it, frames whose masks differ are taken for alike where they are not valid
    passes : the first leaves a part of everything behind, more the less the drift separates it; a
        second one leaves the square of that part, and is for shifts that are right

    Returns
    -------
    Separated
    """
    sums = _SpectralSums.of(frames, shifts, before)
    canvas, known, number = sums.canvas, sums.count > 0, len(shifts)

    def inverse(weight: Single) -> Single:
        return np.asarray(weight / (weight**2 + (DAMPING * number) ** 2), np.float32)

    def back(scene: Single) -> Single:
        moved = canvas.framed(canvas.spectrum(scene) * np.conj(sums.ramps))
        return np.asarray(np.where(known, moved / number, 0), np.float32)

    def forth(pattern: Single) -> Single:
        return canvas.image(canvas.spectrum(pattern) * sums.ramps) * whole

    whole = inverse(canvas.image(canvas.spectrum(known) * sums.ramps))  # as if masks were alike
    moved, weight = canvas.image(sums.moved), canvas.image(sums.weights)
    mean = moved * inverse(weight)
    right = np.divide(sums.total, sums.count, out=np.zeros_like(sums.total), where=known)
    right -= back(mean)
    for ridge in RIDGES:
        pattern = _solve(lambda image: image - back(forth(image)), right, ridge, passes)
        level = pattern.sum(dtype=np.float64) / max(int(known.sum()), 1)
        pattern = np.where(known, pattern - level, 0)
        scene = mean - forth(pattern)
        explained = _multiply_inner(2 * moved - weight * scene, scene)
        explained += _multiply_inner(
            2 * sums.total - sums.count * (pattern + 2 * back(scene)), pattern
        )
        left = (sums.squares - explained) / max(sums.valid, 1)
        if left >= -TOLERANCE * sums.squares / max(sums.valid, 1):
            break
    else:
        left = np.inf
    return SeparatedImages(
        pattern=np.where(known, pattern, np.nan).astype(np.float32),
        scene=scene,
        canvas=canvas,
        residual=max(float(left), 0.0),
        alike=sums.alike,
    )


@dataclass(frozen=True, eq=False)
class _SpectralSums:
    """Sums over frames: as they are, and moved; `ramps` is that of what moves them.

    `total` and `count` (pixels of a frame) are of values and of what is known of them, `moved` and
    `weights` (spectra on the canvas) the same, moved. `valid` counts the valid pixels.
    """

    canvas: Canvas
    total: Single
    count: Single
    moved: NDArray[np.complex64]
    weights: NDArray[np.complex64]
    ramps: NDArray[np.complex64]
    squares: float
    valid: int
    alike: bool

    @classmethod
    def of(
        cls, frames: Iterable[tuple[Floats, Bools]], shifts: Floats, before: SeparatedImages | None
    ) -> _SpectralSums:
        canvas: Canvas | None = None
        squares, valid_count, alike = 0.0, 0, True
        for (image, valid), shift in zip(frames, shifts, strict=True):
            if canvas is None:
                canvas, first = Canvas.over(image.shape, shifts), valid
                total, count = np.zeros((2, *image.shape), np.float32)
                spectra = np.zeros((4, *canvas.ramp(shift).shape), np.complex64)
                moved, weights, ramps, common = spectra
            valid_count += int(valid.sum())
            alike &= np.array_equal(valid, first)
            values, known = _centre(image, valid, shift, before)
            ramp = canvas.ramp(shift)
            total += values
            count += known
            squares += _multiply_inner(values, values)
            moved += canvas.spectrum(values) * ramp
            ramps += ramp
            if np.array_equal(known, before.known if before is not None else first):
                common += ramp  # one transform serves all of them
            else:
                weights += canvas.spectrum(known) * ramp
        if canvas is None:
            raise ValueError("no frame is given: there is nothing to separate")
        weights += canvas.spectrum(before.known if before is not None else first) * common
        return cls(canvas, total, count, moved, weights, ramps, squares, valid_count, alike)


def _centre(
    image: Floats, valid: Bools, shift: Floats, before: SeparatedImages | None
) -> tuple[Single, Bools]:
    """The image without its mean, and what is known of it; filled in with what it should show."""
    count = max(int(valid.sum()), 1)
    values = np.where(valid, image, 0)
    if before is None or np.array_equal(valid, before.known):
        values = np.where(valid, values - values.sum(dtype=np.float64) / count, 0)
        return values.astype(np.float32), valid
    view = before.view(shift)
    offset = (values - view)[valid].sum(dtype=np.float64) / count
    return np.where(valid, values - offset, view).astype(np.float32), valid | before.known


def _solve(apply: Callable[[Single], Single], right: Single, ridge: float, passes: int) -> Single:
    """What a symmetric `apply` makes `right` of, but for its smallest eigenvalues.

    Further passes put back what the ridge takes away (iterated Tikhonov).
    """

    def ridged(image: Single) -> Single:
        return apply(image) + np.float32(ridge) * image

    found = _conjugate_gradients(ridged, right, ridge)
    for _ in range(passes - 1):
        found = found + _conjugate_gradients(ridged, right - apply(found), ridge)
    return found


def _conjugate_gradients(apply: Callable[[Single], Single], right: Single, least: float) -> Single:
    """What a symmetric `apply` with eigenvalues above `least` makes `right` of."""
    found = np.zeros_like(right)
    residual, direction = right, right
    power = start = _multiply_inner(right, right)
    for _ in range(STEPS):
        if power <= TOLERANCE**2 * start:
            break
        applied = apply(direction)
        curvature = _multiply_inner(direction, applied)
        if curvature <= least * _multiply_inner(
            direction, direction
        ):  # nothing is left to tell apart
            break
        found = found + np.float32(power / curvature) * direction
        residual = residual - np.float32(power / curvature) * applied
        before, power = power, _multiply_inner(residual, residual)
        direction = residual + np.float32(power / before) * direction
    return found


def _multiply_inner(one: Floats, two: Floats) -> float:
    """The sum of a product, in double precision."""
    return float(np.sum(one * two, dtype=np.float64))
