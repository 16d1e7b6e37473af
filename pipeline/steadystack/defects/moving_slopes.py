"""Measure which share of a series' slopes moves with the scene, if the motion is small.

Frames are ``scene(x + shift) + fixed(x) + noise``. Where shifts are small compared with the
details, the two images can hardly be separated, and all shifts are measured too small by one
factor: the scene's share of the mean squared slope. To first order a pixel changes by the scene's
slope times the shift. So regressing it on shifts that are too small by a factor gives the scene's
slope divided by that factor, while the mean of all frames has the slope of both images. The squared
correlation of these two slopes, over all pixels, is the share, whatever the scale of the shifts;
the regression of the second on the first is the factor, however the shifts were measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from steadystack.model import Bools, Floats

# Pixels this near to invalid ones or the border are not used: splines reach there.
EDGE = 4
# Smallest usable share of the frame, and fewest frames.
LEAST_USED, FEWEST_FRAMES = 0.15, 8
# A direction is used if frames move along it by this many deviations of their shifts, and by this
# share of the variance along the other direction.
MOVES_STD, LEAST_VARIANCE = 5.0, 0.01
# Changes with time are separated if a quadratic in time leaves this share of the motion's variance.
LEAST_BESIDE_TIME = 0.2
# Blocks per axis for the jackknife, if they have this many pixels.
BLOCKS, BLOCK_SIDE = 4, 12
LEFT_PIXELS = 2**16  # most pixels for the unexplained variance
# The scene moves in a block if its changes per pixel are this share of the largest; blocks count if
# their number of used pixels is this share of the largest.
CHANGES, LEAST_SEEN = 0.15, 0.25


@dataclass(frozen=True)
class MovingSlopes:
    """The share of the slopes that moves.

    Attributes
    ----------
    share : share of their mean square that moves with the scene: the factor by which shifts of the
        unprocessed frames come out too small
    scale : by which factor the given shifts are too small
    error, scale_error : their standard deviations, by jackknife over blocks of the frame
    left : variance that slopes do not explain, relative to the change from frame to frame: about 1,
        or more if the scene turns into another one
    moving : share of the blocks in which something moves
    """

    share: float
    error: float
    scale: float
    scale_error: float
    left: float
    moving: float


def measure_moving_slopes(
    images: NDArray[np.floating], valid: Bools, shifts: Floats, std: Floats
) -> MovingSlopes | None:
    """Measure which share of the slopes of frames moves with them.

    Parameters
    ----------
    images : (frames, ...), of equal mean and contrast, in order
    valid : of a frame's shape, the pixels valid in all of them
    shifts, std : (frames, axes) pixels, within about a pixel of their mean, and their deviations

    Returns
    -------
    None if too little moves, or if too few pixels or frames are left.
    """
    used = _leave_out_edges(valid)
    if used.mean() < LEAST_USED or len(images) < FEWEST_FRAMES:
        return None
    moves = shifts - shifts.mean(axis=0)
    along = _find_directions(moves, std)
    if not along.shape[1]:
        return None
    halves = [np.arange(half, len(images), 2) for half in (0, 1)]
    compared = [
        _compare(images, valid, moves, along, half, other, used)
        for half, other in (halves, halves[::-1])
    ]

    def multiply(one: Floats, other: Floats) -> NDArray[np.float64]:
        """Sums of products over the blocks of the frame (directions, *blocks)."""
        return np.stack([_sum_blocks(product, used) for product in one * other])

    # The two factors share no noise: changes and means are from different halves.
    (change, slope), (other_change, other_slope) = compared
    products = np.stack([
        multiply(change, other_change),
        multiply(slope, other_slope),
        (multiply(change, slope) + multiply(other_change, other_slope)) / 2,
    ])  # fmt: skip
    variance = ((moves @ along) ** 2).sum(axis=0)
    by_block = np.einsum("pd...,d->p...", products, variance / variance.sum())
    (share, scale), (error, scale_error) = _correlate(by_block)
    if not np.isfinite([share, scale, error, scale_error]).all():
        return None
    pixels = _sum_blocks(np.ones(used.shape), used)
    seen = pixels > LEAST_SEEN * pixels.max()
    change = by_block[0][seen] / pixels[seen]
    moving = float(np.mean(change > CHANGES * change.max()))
    left = _find_left(images, moves @ along, used)
    return MovingSlopes(share, error, scale, scale_error, left, moving)


def _compare(
    images: NDArray[np.floating],
    valid: Bools,
    moves: Floats,
    along: NDArray[np.float64],
    half: NDArray[np.intp],
    other: NDArray[np.intp],
    used: Bools,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The changes of one half of the frames, and the mean of the other half moved in the same way.

    Both (directions, ...), and equal where nothing stands still. The mean is blurred by the motion
    of its frames, so the changes are blurred in the same way.
    """
    weights = _make_weights(moves[half] @ along)
    reach = int(np.ceil(np.abs(moves).max())) + 2
    kernels, blur = (_make_kernels(moves[some], reach) for some in (half, other))
    mean = np.where(valid, images[other].mean(axis=0), 0)
    changes, blurred = np.tensordot(weights, images[half], (1, 0)), blur.mean(axis=0)
    moved = np.stack([_convolve(_make_splines(each, valid), blurred) for each in changes])
    splines, of_moves = _make_splines(mean, valid), np.tensordot(weights, kernels, (1, 0))
    slopes = np.stack([_convolve(splines, each) for each in of_moves])
    return _take_others_away(moved, slopes, mean, used), slopes


def _convolve(splines: NDArray[np.float64], kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convolve splines with a kernel's taps and sum up; not valid along the border."""
    from scipy import signal  # slow to import, and rarely needed

    return np.asarray(signal.fftconvolve(splines, np.flip(kernel), mode="same"))


def _take_others_away(
    changes: NDArray[np.float64], slopes: NDArray[np.float64], mean: Floats, used: Bools
) -> NDArray[np.float64]:
    """Remove changes (directions, ...) of contrast and focus, and by rotation and stretching.

    All of them follow from the mean image; they are fitted together with its slopes.
    """
    axes = [axis for axis, size in enumerate(mean.shape) if size > 1]
    along = [np.gradient(mean, axis=axis) for axis in axes]
    grid = np.ix_(*(np.linspace(-1, 1, size) for size in mean.shape))
    places = [grid[axis] for axis in axes]
    others = [mean, ndimage.laplace(mean)]
    others += [place * slope for place in places for slope in along]
    columns = np.stack([each[used] for each in (*slopes, *others)], axis=1)
    sums, values = columns.T @ columns, columns.T @ changes[:, used].T
    fitted = np.linalg.lstsq(sums, values, rcond=None)[0][len(slopes) :]
    left = changes.copy()
    left[:, used] -= (columns[:, len(slopes) :] @ fitted).T
    return left


def _leave_out_edges(valid: Bools) -> Bools:
    """The pixels that lie away from what is not valid, and from the border."""
    used = np.asarray(valid)
    for axis, size in enumerate(valid.shape):
        edge = min(EDGE, size // 8)
        along = np.ones([2 * edge + 1 if each == axis else 1 for each in range(valid.ndim)], bool)
        used = ndimage.binary_erosion(used, along, border_value=0)
    return np.asarray(used)


def _find_directions(moves: Floats, std: Floats) -> NDArray[np.float64]:
    """Unit vectors (axes, directions) along which frames move by much more than the errors."""
    variance, vectors = np.linalg.eigh(moves.T @ moves / len(moves))
    known = std[np.isfinite(std).all(axis=1)]
    if not len(known):
        return vectors[:, :0]
    noise = np.einsum("ad,a->d", vectors**2, np.square(known).mean(axis=0))
    least = np.maximum(MOVES_STD**2 * noise, LEAST_VARIANCE * variance.max())
    return np.asarray(vectors[:, (variance > least) & (variance > 0)])


def _make_weights(moves: Floats) -> NDArray[np.float64]:
    """Weights (directions, frames) of frames in the regression on moves (frames, directions).

    A quadratic in time is fitted along, for changes of focus and brightness, if enough of the
    motion is left beside it.
    """
    times = np.linspace(-1, 1, len(moves))
    columns = np.column_stack([np.ones(len(moves)), times, times**2])
    left = moves - columns @ (np.linalg.pinv(columns) @ moves)
    if (left.var(axis=0) < LEAST_BESIDE_TIME * moves.var(axis=0)).any():
        columns = columns[:, :1]
    weights = np.linalg.pinv(np.column_stack([columns, moves]))
    return np.asarray(weights[columns.shape[1] :])


def _make_splines(image: Floats, valid: Bools) -> NDArray[np.float64]:
    """The coefficients of cubic splines through an image; what is not valid is its mean."""
    level = image[valid].mean()
    return np.asarray(ndimage.spline_filter(np.where(valid, image, level), output=np.float64))


def _make_kernels(moves: Floats, reach: int) -> NDArray[np.float64]:
    """Kernels (frames, taps, ...) whose correlation with spline coefficients moves an image."""
    from scipy import interpolate  # slow to import, and rarely needed

    # cubic, NaN beyond its ends
    basis = interpolate.BSpline.basis_element(np.arange(-2.0, 3.0), extrapolate=False)
    taps = np.arange(-reach, reach + 1)
    kernels = np.ones(len(moves))
    for axis in range(moves.shape[1]):
        spline = np.nan_to_num(basis(moves[:, axis, None] - taps))
        kernels = kernels[..., None] * spline.reshape(len(moves), *(1,) * axis, -1)
    return np.asarray(kernels)


def _sum_blocks(values: Floats, used: Bools) -> NDArray[np.float64]:
    """The sums of an image over blocks of its used pixels, as many along each axis as fit."""
    sums = np.where(used, values, 0.0)
    for axis, size in enumerate(used.shape):
        count = int(np.clip(size // BLOCK_SIDE, 1, BLOCKS))
        edges = np.linspace(0, size, count + 1).astype(int)[:-1]
        sums = np.add.reduceat(sums, edges, axis=axis)
    return np.asarray(sums)


def _correlate(products: NDArray[np.float64]) -> tuple[list[float], list[float]]:
    """The squared correlation and the regression from products (3, *blocks), and their deviations.

    The larger jackknife error of blocks and of whole bands of them, as some noise is correlated
    along rows or columns. NaN: not known.
    """

    def find(sums: Floats) -> NDArray[np.float64]:
        changes, slopes, both = np.where((sums[0] > 0) & (sums[1] > 0), sums, np.nan)
        return np.stack([both**2 / (changes * slopes), both / changes])

    ndim = products.ndim - 1
    cuts = [products.reshape(3, -1)]
    for axis in [each for each in range(1, 1 + ndim) if products.shape[each] > 1]:
        cuts.append(products.sum(axis=tuple(each for each in range(1, 1 + ndim) if each != axis)))
    whole, std = cuts[0].sum(axis=1), []
    for groups in cuts:
        without, count = find(whole[:, None] - groups), groups.shape[1]
        std.append(np.sqrt(without.var(axis=1) * (count - 1)))
    return find(whole).tolist(), np.max(std, axis=0).tolist()


def _find_left(images: NDArray[np.floating], moves: Floats, used: Bools) -> float:
    """Variance that slopes and bends do not explain, over that of steps from frame to frame."""
    terms = [*moves.T]
    bends = [one * other for at, one in enumerate(terms) for other in terms[at:]]
    if len(images) > 2 * (1 + len(terms) + len(bends)):
        terms += bends
    columns = np.column_stack([np.ones(len(images)), *terms])
    some = np.flatnonzero(used)
    some = some[:: -(-len(some) // LEFT_PIXELS)]
    pixels = images.reshape(len(images), -1)[:, some].astype(np.float64)
    left = pixels - columns @ (np.linalg.pinv(columns) @ pixels)
    steps = np.square(np.diff(left, axis=0)).mean() / 2
    free = len(images) - columns.shape[1]
    return float(np.square(left).sum() / (free * left.shape[1] * max(steps, 1e-30)))


def choose_near(shifts: Floats, reach: float) -> NDArray[np.intp]:
    """The largest group of frames that lie within `reach` pixels of one of them along each axis.

    `shifts` are (frames, axes), NaN where not known.
    """
    apart = np.abs(shifts[:, None] - shifts).max(axis=2)
    near = apart <= reach  # false for NaN
    return np.flatnonzero(near[near.sum(axis=1).argmax()])
