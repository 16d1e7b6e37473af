"""Find rows and columns of a camera that are darker or brighter, wherever the scene is.

Read-out leaves the same lines in all frames. They stand still, and pull shifts across them towards
0. Where the scene moves, they can be separated from it as a fixed pattern is (`fixed_pattern`), but
from the means of rows and columns alone, to which little else contributes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from steadystack.defects.pair_changes import find_overlap
from steadystack.model import Bools, Floats

# The plane of a frame: its rows differ along the first of these axes, its columns along the second.
PLANE = (-2, -1)
# Iterations that separate the lines from the scene behind them.
ROUNDS = 12
# Lines must reduce the slopes of frames not used to find them to this share; lines from every other
# frame and from the rest must correlate by the second number, those of two halves of the frame by
# the last.
LEAVES, ALIKE, ALIKE_ON_BOTH_SIDES = 0.9, 0.7, 0.5
# What is too wide for the scene's motion to separate counts as lines if it correlates by this
# between two halves of the frame (then less of the scene gets into the lines than of them stays in
# the frames), and if the mean square of its slopes is below this share of that of narrow lines
# (columns of a camera: below 0.006; of a photograph: 0.4).
WIDE_ON_BOTH_SIDES, MOST_WIDE = 0.5, 0.05
# Lines pull no shift if the mean square of their slopes is below this share of the scene's.
LITTLE = 0.003


@dataclass(frozen=True)
class Separated:
    """Lines along one axis (size,), and the mean square of their slopes, without noise."""

    lines: NDArray[np.float64]
    slope: float


def compute_lined_share(frames: Floats, valid: Bools) -> tuple[float, float]:
    """The shares of the mean frame's squared slopes that rows and columns make up, 0 to 1.

    From products of slopes in every other frame and in the rest, so that noise does not contribute.

    Parameters
    ----------
    frames : (frames, *axes), each of mean 0 over its valid pixels
    valid : bool array of the same shape
    """
    means = []
    for half in range(2):
        count = valid[half::2].sum(axis=0)
        total = np.where(valid[half::2], frames[half::2], 0).sum(axis=0, dtype=np.float64)
        often = 2 * count > len(valid[half::2])
        means.append(np.divide(total, count, out=np.full(total.shape, np.nan), where=often))
    shares = []
    for axis in PLANE:
        slopes = [np.diff(mean, axis=axis) for mean in means]
        across = [_mean_along(one, axis) for one in slopes]
        whole, lines = _multiply(*slopes), _multiply(*across)
        shares.append(lines / whole if whole > 0 else 0.0)
    return shares[0], shares[1]


def compute_profiles(frames: Floats, valid: Bools) -> tuple[NDArray[np.float64], ...]:
    """The means of the rows of every frame (frames, rows), and of its columns; NaN: not known."""
    known = np.where(valid, frames, np.nan)
    return tuple(
        np.stack([_mean_along(frame, axis).astype(np.float64) for frame in known]) for axis in PLANE
    )


def take_lines_away(image: Floats, valid: Bools) -> NDArray[np.float64]:
    """Make the mean of all rows and columns about 0, over their valid pixels.

    This removes lines of the camera, and hardly anything of a scene. 0 where not valid.
    """
    known = np.where(valid, image, np.nan)
    for axis in 3 * PLANE:  # under masks one axis disturbs the other a little
        others = tuple(a - image.ndim for a in range(image.ndim) if a - image.ndim != axis)
        known = known - np.expand_dims(np.nan_to_num(_mean_along(known, axis)), others)
    return np.where(valid, known, 0)


def compute_side_profiles(
    frames: Floats, valid: Bools
) -> tuple[tuple[NDArray[np.float64], ...], ...]:
    """Like `compute_profiles`, for rows in either half of the frame, and for columns."""
    sides = []
    for axis in PLANE:
        across = sum(PLANE) - axis  # the lines lie along that axis
        parts = zip(
            *(np.array_split(values, 2, axis=across) for values in (frames, valid)), strict=True
        )
        sides.append(tuple(compute_profiles(*part)[axis] for part in parts))
    return tuple(sides)


def separate_lines(
    profiles: NDArray[np.float64],
    positions: NDArray[np.float64],
    sides: Sequence[NDArray[np.float64]] = (),
) -> Separated | None:
    """Separate lines from the scene behind them, which has positions (frames,), px, across them.

    `profiles` (frames, size) are the means of rows, or of columns, `sides` those in either half of
    the frame, if they are to be compared. None if lines do not explain frames that were not used to
    find them, if these frames give other lines, or if the lines of the two sides differ.
    """
    halves = [_separate(profiles[half::2], positions[half::2]) for half in range(2)]
    left = np.zeros(2)
    for half, (lines, scene) in enumerate(halves):
        rest, places = profiles[1 - half :: 2], positions[1 - half :: 2]
        nothing, alone = _separate(profiles[half::2], positions[half::2], rounds=0)
        left += [
            _find_left(rest, places, lines, scene),
            _find_left(rest, places, nothing, alone),
        ]
    common, own = _compare([lines for lines, _ in halves])
    if not left[0] < LEAVES * left[1] or not common > ALIKE * own:
        return None
    if sides:
        on_both, on_each = _compare([_separate(side, positions)[0] for side in sides])
        if not on_both > ALIKE_ON_BOTH_SIDES * on_each:
            return None
    lines, _ = _separate(profiles, positions)
    if sides and _are_wide(lines, profiles, positions, sides):
        lines, _ = _separate(profiles, positions, wide=True)
    return Separated(lines, common)


def _are_wide(
    lines: NDArray[np.float64],
    profiles: NDArray[np.float64],
    positions: NDArray[np.float64],
    sides: Sequence[NDArray[np.float64]],
) -> bool:
    """Whether detail wider than the scene's motion belongs to lines: both sides must have it.

    There must also be far more narrow lines, which a scene of stripes does not have.
    """
    wide = _separate(profiles, positions, wide=True)[0] - lines
    if not np.var(np.diff(wide)) < MOST_WIDE * np.var(np.diff(lines)):
        return False
    both = [_separate(one, positions, wide=True)[0] - _separate(one, positions)[0] for one in sides]
    on_both, on_each = _compare(both)
    return on_both > WIDE_ON_BOTH_SIDES * on_each


def compute_scene_slopes(
    frames: Floats, valid: Bools, positions: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Mean squared slopes of the scene across rows and across columns, without noise.

    From products of the slopes of consecutive frames, aligned to a pixel. `positions` (frames,
    axes) px are the shifts that lay frames on the scene.
    """
    found = []
    steps = np.rint(np.diff(positions, axis=0)).astype(int)
    known = [np.where(*one, np.nan) for one in zip(valid, frames, strict=True)]
    for first, second, step in zip(known[:-1], known[1:], steps, strict=True):
        here, there = find_overlap(first.shape, step)
        one, two = first[here], second[there]
        if min(one.shape[-2:]) > 1:
            found.append([_multiply(np.diff(one, axis=a), np.diff(two, axis=a)) for a in PLANE])
    return np.median(found, axis=0) if found else np.zeros(len(PLANE))


def _separate(
    profiles: NDArray[np.float64],
    positions: NDArray[np.float64],
    rounds: int = ROUNDS,
    *,
    wide: bool = False,
) -> tuple[NDArray[np.float64], tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Separate lines (size,) from the scene, given as places and values; 0 rounds: lines of 0.

    In turns, lines are the mean of the profiles less the scene, and the scene is that of the
    profiles less the lines. Starting from no lines leaves detail wider than the scene's motion to
    the scene; starting from the mean profile (`wide`) leaves it to the lines.
    """
    at = np.arange(profiles.shape[1], dtype=np.float64)
    places = np.arange(np.floor(positions.min()), np.ceil(positions.max()) + len(at))
    profiles = profiles - np.nan_to_num(_mean_along(profiles, 0))[:, None]
    lines = np.nan_to_num(_mean_along(profiles, 1)) if wide else np.zeros(len(at))

    def find_scene() -> NDArray[np.float64]:
        seen = [
            np.interp(places - by, at, profile - lines, left=np.nan, right=np.nan)
            for profile, by in zip(profiles, positions.tolist(), strict=True)
        ]
        return _mean_along(np.array(seen), 1)

    scene = find_scene()
    for _ in range(rounds):
        rest = [
            profile - _view(scene, places, at + by)
            for profile, by in zip(profiles, positions.tolist(), strict=True)
        ]
        lines = np.nan_to_num(_mean_along(np.array(rest), 1))
        scene = find_scene()
    return lines, (places, scene)


def _compare(lines: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
    """The mean product of the slopes of two sets of lines, and of both magnitudes (rms)."""
    one, two = (np.diff(values) for values in lines)
    return _multiply(one, two), float(np.sqrt(_multiply(one, one) * _multiply(two, two)))


def _view(
    scene: NDArray[np.float64], places: NDArray[np.float64], at: NDArray[np.float64]
) -> NDArray[np.float64]:
    return np.asarray(np.interp(at, places, scene, left=np.nan, right=np.nan))


def _find_left(
    profiles: NDArray[np.float64],
    positions: NDArray[np.float64],
    lines: NDArray[np.float64],
    scene: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> float:
    """The mean squared slope of profiles less lines and scene."""
    places, values = scene
    at = np.arange(profiles.shape[1], dtype=np.float64)
    left = np.array(
        [
            np.diff(profile - lines - _view(values, places, at + by))
            for profile, by in zip(profiles, positions.tolist(), strict=True)
        ]
    )
    return _multiply(left, left)


def _mean_along(values: NDArray[np.floating], axis: int) -> NDArray[np.float64]:
    """The mean of finite values over all axes but one; NaN where there are none."""
    others = tuple(a for a in range(values.ndim) if a != axis % values.ndim)
    is_finite = np.isfinite(values)
    count = is_finite.sum(axis=others)
    total = np.where(is_finite, values, 0).sum(axis=others, dtype=np.float64)
    return np.asarray(np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0))


def _multiply(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """The mean product of two arrays, where finite; 0 if it is finite nowhere."""
    product = first * second
    is_finite = np.isfinite(product)
    return float(product[is_finite].mean()) if is_finite.any() else 0.0
