"""Separate the fixed pattern of the camera from a scene that moves.

A frame is ``static(x) + scene(x + shift) + noise``: its shift aligns it with the scene. With A the
mean of the frames as recorded and B that of the frames moved by their shifts, ``A = static + U
scene`` and ``B = scene + V static``, where U and V move an image by every shift, back and forth,
and take the mean: products in the Fourier domain. Eliminating the scene, ``static - U V static = A
- U B``, the normal equations of least squares over all valid pixels. Conjugate gradients from zero
solve them: structure that the drift hardly separates, as it is much wider than the drift, converges
last, and stopping after few steps leaves it out (Hanke 1995, Conjugate gradient type methods for
ill-posed problems).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from steadystack.model import Bools, Floats

# Most steps of conjugate gradients, and the residual relative to the right-hand side at which they
# end.
STEPS = 40
TOLERANCE = 1e-3
# Room around the moved frames, px: Fourier interpolation rings beyond their edges.
ROOM = 16
# Parts of the scene that fewer than this fraction of the frames show are damped towards 0.
DAMPING = 1 / 32
# Added to the eigenvalues, which are 0 for structure that the drift does not separate and up to 1
# for structure that it does: interpolation and masks change them by about as much as this. The
# larger values are tried for short drifts, where the smaller ones diverge.
RIDGES = (0.02, 0.1, 0.5)

Single = NDArray[np.float32]


@dataclass(frozen=True)
class Canvas:
    """The area covered by frames that are moved by their shifts.

    Attributes
    ----------
    frame_shape, shape : sides of a frame and of the canvas, pixels
    origin : the shift, pixels, that moves the first pixel of a frame to the first of the canvas
    """

    frame_shape: tuple[int, ...]
    shape: tuple[int, ...]
    origin: tuple[float, ...]

    @classmethod
    def make(cls, frame_shape: tuple[int, ...], shifts: Floats) -> Canvas:
        """Make the canvas for frames of that shape and their shifts (frames, axes), pixels."""
        spans = np.ceil(np.ptp(shifts, axis=0)).astype(int)
        shape = tuple(
            int(fft.next_fast_len(int(size + span + ROOM), real=True))
            for size, span in zip(frame_shape, spans, strict=True)
        )
        return cls(frame_shape, shape, tuple(shifts.min(axis=0).tolist()))

    def compute_ramp(self, shift: Floats) -> NDArray[np.complex64]:
        """Compute the factors of the spectrum of a frame that move it by its shift (axes,), px."""
        ramps = []
        for axis, (size, by) in enumerate(zip(self.shape, shift - self.origin, strict=True)):
            last = axis == len(self.shape) - 1
            frequency = fft.rfftfreq(size) if last else fft.fftfreq(size)
            ramp = np.exp(-2j * np.pi * frequency * by)
            if size % 2 == 0:  # the highest frequency has no sign
                ramp[size // 2] = np.cos(np.pi * by)
            ramps.append(ramp.astype(np.complex64))
        return np.asarray(reduce(np.multiply.outer, ramps))

    def transform(self, image: Floats | Bools) -> NDArray[np.complex64]:
        """Transform an image whose first pixel is that of the canvas."""
        return np.asarray(fft.rfftn(image.astype(np.float32, copy=False), self.shape))

    def transform_back(self, spectrum: NDArray[np.complex64]) -> Single:
        """Transform a spectrum back to an image over the canvas."""
        return np.asarray(fft.irfftn(spectrum, self.shape), np.float32)

    def transform_back_to_frame(self, spectrum: NDArray[np.complex64]) -> Single:
        """Transform a spectrum back to an image of a frame's shape, at the canvas's first pixel."""
        return self.transform_back(spectrum)[tuple(slice(0, size) for size in self.frame_shape)]


@dataclass(frozen=True, eq=False)
class SeparatedImages:
    """A fixed pattern, the scene behind it, and how much of the frames neither explains.

    Attributes
    ----------
    pattern : the fixed pattern, of a frame's shape; its mean is 0; NaN where no frame is valid
    scene : float array on the canvas; 0 where no frame shows it
    canvas : where the frames lie on the scene
    residual : mean square of the rest of the frames' valid pixels; infinite: it diverged
    alike : whether the same pixels were valid in all frames; if not, a further call of `separate`
        with this as `before` gives a better result
    """

    pattern: Single
    scene: Single
    canvas: Canvas
    residual: float
    alike: bool

    @property
    def known(self) -> Bools:
        """Where the fixed pattern is known, in the frame."""
        return np.isfinite(self.pattern)

    def view(self, shift: Floats) -> Single:
        """Predict a frame of that shift, without noise and up to its mean; 0 if not known."""
        return next(self.view_each([shift]))

    def view_each(self, shifts: Iterable[Floats]) -> Iterator[Single]:
        """Predict a frame of each shift, as `view` does; the scene is transformed once."""
        known = self.known
        for scene in self.view_scene(shifts):
            yield np.asarray(np.where(known, scene + self.pattern, 0), np.float32)

    def view_scene(self, shifts: Iterable[Floats]) -> Iterator[Single]:
        """Show the scene alone at each shift, in all of a frame; it is transformed once."""
        spectrum = self.canvas.transform(self.scene)
        for shift in shifts:
            ramp = np.conj(self.canvas.compute_ramp(shift))
            yield self.canvas.transform_back_to_frame(spectrum * ramp)


def separate(
    frames: Iterable[tuple[Floats, Bools]],
    shifts: Floats,
    *,
    before: SeparatedImages | None = None,
    passes: int = 1,
) -> SeparatedImages:
    """Separate frames whose shifts are known into a fixed pattern and the scene.

    Parameters
    ----------
    frames : images and their valid pixels, all of one shape; each is read once, and the mean of an
        image over its valid pixels does not matter
    shifts : (frames, axes) pixels, which align each frame with the scene
    before : the result of an earlier call, to fill in pixels that are not valid in some frames;
        without it, the masks of all frames are taken to be alike
    passes : one pass misses a fraction of all structure, a larger one where the drift separates it
        less; a second pass misses only the square of that fraction, but needs shifts that are right

    Returns
    -------
    SeparatedImages
    """
    sums = _SpectralSums.compute(frames, shifts, before)
    canvas, is_known, number = sums.canvas, sums.count > 0, len(shifts)
    ramps_back, are_known = np.conj(sums.ramps), bool(is_known.all())

    def invert(weight: Single) -> Single:
        return np.asarray(weight / (weight**2 + (DAMPING * number) ** 2), np.float32)

    def move_back(scene: Single) -> Single:
        moved = canvas.transform_back_to_frame(canvas.transform(scene) * ramps_back)
        moved = np.asarray(moved / number, np.float32)
        return moved if are_known else np.where(is_known, moved, np.float32(0))

    def move_forth(pattern: Single) -> Single:
        return canvas.transform_back(canvas.transform(pattern) * sums.ramps) * whole

    # as if the masks of all frames were alike
    whole = invert(canvas.transform_back(canvas.transform(is_known) * sums.ramps))
    moved, weight = canvas.transform_back(sums.moved), canvas.transform_back(sums.weights)
    mean = moved * invert(weight)
    right = np.divide(sums.total, sums.count, out=np.zeros_like(sums.total), where=is_known)
    right -= move_back(mean)
    for ridge in RIDGES:
        pattern = _solve(lambda image: image - move_back(move_forth(image)), right, ridge, passes)
        level = pattern.sum(dtype=np.float64) / max(int(is_known.sum()), 1)
        pattern = np.where(is_known, pattern - level, 0)
        scene = mean - move_forth(pattern)
        explained = _multiply_inner(2 * moved - weight * scene, scene)
        explained += _multiply_inner(
            2 * sums.total - sums.count * (pattern + 2 * move_back(scene)), pattern
        )
        left = (sums.squares - explained) / max(sums.valid, 1)
        if left >= -TOLERANCE * sums.squares / max(sums.valid, 1):
            break
    else:
        left = np.inf
    return SeparatedImages(
        pattern=np.where(is_known, pattern, np.nan).astype(np.float32),
        scene=scene,
        canvas=canvas,
        residual=max(float(left), 0.0),
        alike=sums.alike,
    )


@dataclass(frozen=True, eq=False)
class _SpectralSums:
    """Sums over frames, as recorded and moved by their shifts."""

    canvas: Canvas
    total: Single  # values, by pixel of a frame
    count: Single  # frames in which it is known, by pixel of a frame
    moved: NDArray[np.complex64]  # spectrum on the canvas of the moved values
    weights: NDArray[np.complex64]  # spectrum on the canvas of the moved masks of known pixels
    ramps: NDArray[np.complex64]  # factors that move the frames
    squares: float  # of all values
    valid: int  # valid pixels of all frames
    alike: bool  # whether the same pixels were valid in all frames

    @classmethod
    def compute(
        cls, frames: Iterable[tuple[Floats, Bools]], shifts: Floats, before: SeparatedImages | None
    ) -> _SpectralSums:
        canvas: Canvas | None = None
        squares, valid_count, alike = 0.0, 0, True
        for (image, valid), shift in zip(frames, shifts, strict=True):
            if canvas is None:
                canvas, first = Canvas.make(image.shape, shifts), valid
                total, count = np.zeros((2, *image.shape), np.float32)
                spectra = np.zeros((4, *canvas.compute_ramp(shift).shape), np.complex64)
                moved, weights, ramps, common = spectra
            valid_count += int(valid.sum())
            alike &= np.array_equal(valid, first)
            values, is_known = _centre(image, valid, shift, before)
            ramp = canvas.compute_ramp(shift)
            total += values
            count += is_known
            squares += _multiply_inner(values, values)
            moved += canvas.transform(values) * ramp
            ramps += ramp
            if np.array_equal(is_known, before.known if before is not None else first):
                common += ramp  # one transform serves all of them
            else:
                weights += canvas.transform(is_known) * ramp
        if canvas is None:
            raise ValueError("no frame is given: there is nothing to separate")
        weights += canvas.transform(before.known if before is not None else first) * common
        return cls(canvas, total, count, moved, weights, ramps, squares, valid_count, alike)


def _centre(
    image: Floats, valid: Bools, shift: Floats, before: SeparatedImages | None
) -> tuple[Single, Bools]:
    """Subtract the mean of an image, and fill in invalid pixels as `before` predicts them.

    Returns the values and which of them are known.
    """
    if before is None and valid.all():
        image = np.ascontiguousarray(image)
        level = image.sum(dtype=np.float64) / max(valid.size, 1)
        return (image - level).astype(np.float32), valid
    count = max(int(valid.sum()), 1)
    values = np.where(valid, image, 0)
    if before is None or np.array_equal(valid, before.known):
        values = np.where(valid, values - values.sum(dtype=np.float64) / count, 0)
        return values.astype(np.float32), valid
    view = before.view(shift)
    offset = (values - view)[valid].sum(dtype=np.float64) / count
    return np.where(valid, values - offset, view).astype(np.float32), valid | before.known


def _solve(apply: Callable[[Single], Single], right: Single, ridge: float, passes: int) -> Single:
    """Solve ``apply(image) = right`` for a symmetric `apply`, without its smallest eigenvalues.

    Further passes restore what the ridge takes away (iterated Tikhonov).
    """

    def apply_ridged(image: Single) -> Single:
        return apply(image) + np.float32(ridge) * image

    solution = _solve_by_conjugate_gradients(apply_ridged, right, ridge)
    for _ in range(passes - 1):
        solution = solution + _solve_by_conjugate_gradients(
            apply_ridged, right - apply(solution), ridge
        )
    return solution


def _solve_by_conjugate_gradients(
    apply: Callable[[Single], Single], right: Single, least: float
) -> Single:
    """Solve ``apply(image) = right`` for a symmetric `apply` with eigenvalues above `least`."""
    solution = np.zeros_like(right)
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
        solution = solution + np.float32(power / curvature) * direction
        residual = residual - np.float32(power / curvature) * applied
        before, power = power, _multiply_inner(residual, residual)
        direction = residual + np.float32(power / before) * direction
    return solution


def _multiply_inner(first: Floats, second: Floats) -> float:
    """Sum the product of two arrays, in double precision."""
    return float(np.sum(first * second, dtype=np.float64))
