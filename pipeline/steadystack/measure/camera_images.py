"""Estimate the fixed pattern of a series, together with the shifts of some of its frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from steadystack.conditioning import condition
from steadystack.durable import explain_stranger, get_place
from steadystack.fixed_pattern import SeparatedImages, separate
from steadystack.measure.batches import measure_pairs
from steadystack.measure.budget import BatchSize
from steadystack.measure.method import CameraImage, Method, estimate_flat_field, read_camera_images
from steadystack.model import Bools, Floats, FrameSource, InputError, Ints, PairTable
from steadystack.outputs import write_image
from steadystack.pairs import select_pairs, spread_evenly
from steadystack.run_log import StageMeter, count_steps
from steadystack.solve import solve_shifts

CAMERA_IMAGES = ("flat_field", "fixed_pattern")
MARK = "steadystack_camera_image"  # an attribute of images made by this module, with their name
# The fixed pattern is estimated from frames with this many pixels in total, within these limits of
# their number, and from pairs with these separations among them.
PATTERN_PIXELS, MOST_FRAMES, USUAL_FRAMES = 2**27, 256, 64
PATTERN_SEPARATIONS = (1, 2, 4, 8)
TRIED = 16  # close pairs measured first: if none has a shift, the others are not searched for
FEWEST_FRAMES, ENOUGH = 8, 0.75  # fewest frames, and the fewest usable ones as a share
# Most rounds of shifts and images; they end once the residual falls by less than this share.
ROUNDS = 6
WORTHWHILE = 1e-3
# A different start is preferred if its residual is less than this share of the other's.
CLEARLY_LESS = 0.97
# Sigmas of the filters, px: a band in which a scene is found that is faint against the fixed
# pattern, and a low-pass for a coarse scene behind a fine pattern.
FAINT, COARSE = (1.0, 10.0), 4.0
# The scene moves if shifts differ by more than this, px.
MOVES = 1.0
# Passes in the last round, when the shifts are known; earlier, they would fit wrong shifts.
LAST_PASSES = 4
# Memory of the separation, bytes per pixel; 76 of these for the canvas of drifting frames.
PER_PIXEL = 180
# Calls of `separate` in a round if frames lack different pixels: each fills in more of them.
FILLINGS = 3


@dataclass(frozen=True, eq=False)
class PatternEstimate:
    """A fixed pattern, and shifts (frames, axes), px, of the frames used for it; NaN: not used."""

    separated: SeparatedImages
    shifts: NDArray[np.float64]

    @property
    def count(self) -> int:
        return int(has_shift(self.shifts).sum())

    @property
    def moves(self) -> bool:
        return bool(np.ptp(self.shifts[has_shift(self.shifts)], axis=0).max() > MOVES)


@dataclass(frozen=True, eq=False)
class Sample:
    """Some frames of a series, and how to measure them."""

    source: FrameSource
    method: Method  # a fixed pattern in it has no effect on `images`
    size: BatchSize
    frames: NDArray[np.int64]
    gains: NDArray[np.float64]  # by which `images` divides the frames

    def images(self, chosen: Bools, *, filtered: bool = False) -> Iterator[tuple[Floats, Bools]]:
        """Yield the chosen frames and their valid pixels, conditioned without fixed pattern.

        Filters are applied only with `filtered`.
        """
        method = self.method if filtered else self.filtered(None, None).method
        region, _ = method.part(0)
        flat_field, _ = read_camera_images(method, self.source.frame_shape, 0)
        frames, gains = self.frames[chosen], self.gains[chosen].tolist()
        steps = count_steps(zip(frames, gains, strict=True), len(frames), "reading", "frames")
        for frame, gain in steps:
            read = self.source.read(int(frame), region)
            image, valid = condition(read.image, read.valid, method.conditioning, flat_field)
            yield (image if gain == 1 else image / gain), valid

    def on_frame(self, pattern: Floats) -> NDArray[np.float64]:
        """Extend an image of the region that is measured to the whole frame, with NaN elsewhere."""
        whole = np.full(self.source.frame_shape, np.nan)
        whole[self.method.part(0)[0]] = pattern
        return whole

    def measured(self, pairs: Ints, pattern: Floats | None) -> PairTable:
        """Measure pairs (n, 2) of frames of the series with a fixed pattern subtracted."""
        source, method = self.source, replace(self.method, evaluates_parts=False)
        if pattern is not None:  # it is the first channel's
            source = (*source.channels, source)[0]
            method = replace(method, fixed_pattern=self.on_frame(pattern))
        table = PairTable.of_frames(pairs, source)
        meter = StageMeter("measuring", "pairs")
        for _, done in measure_pairs(source, table, method, self.size):
            meter(done, len(pairs))
        return table

    def filtered(self, low_pass: float | None, high_pass: float | None) -> Sample:
        """The same frames, measured with filters of these sigmas, pixels; None: off."""
        conditioning = replace(self.method.conditioning, low_pass=low_pass, high_pass=high_pass)
        return replace(self, method=replace(self.method, conditioning=conditioning))

    def shifts(self, pattern: Floats | None) -> NDArray[np.float64]:
        """Measure shifts (frames, axes) with a fixed pattern subtracted, pixels; NaN: not known.

        Only frames in the largest component have a shift; none if no close pair is usable.
        """
        pairs = select_pairs(len(self.frames), "separations", separations=PATTERN_SEPARATIONS)
        first = spread_evenly(np.flatnonzero(np.diff(pairs)[:, 0] == 1), TRIED)
        pairs, rest = pairs[first], np.delete(pairs, first, axis=0)
        table = self.measured(self.frames[pairs], pattern)
        if not table.ok.any():
            return np.full((len(self.frames), table.shift.shape[1]), np.nan)
        pairs = np.concatenate([rest, pairs])
        table = self.measured(self.frames[rest], pattern).plus(table)
        solved = solve_shifts(table.select_frames(self.frames, pairs))
        largest = np.bincount(solved.component + 1, minlength=2)[1:]  # without lone frames
        alike = solved.component == int(largest.argmax())
        return np.where(alike[:, None], solved.shift, np.nan)

    def separated(
        self, shifts: NDArray[np.float64], before: SeparatedImages | None = None, passes: int = 1
    ) -> PatternEstimate | None:
        """Separate fixed pattern and scene with these shifts; None if too few frames have one.

        Frames shifted by more than half a frame from the median are left out, as few others show
        the same scene.
        """
        reach = np.array([side.stop - side.start for side in self.method.part(0)[0]]) / 2
        usable = has_shift(shifts)
        if usable.any():
            usable &= (np.abs(shifts - np.median(shifts[usable], axis=0)) <= reach).all(axis=1)
        if usable.sum() < FEWEST_FRAMES:
            return None
        if before is not None and before.alike:
            before = None  # nothing to fill in
        images = separate(self.images(usable), shifts[usable], before=before, passes=passes)
        for _ in range(0 if images.alike else FILLINGS - 1):
            images = separate(self.images(usable), shifts[usable], before=images, passes=passes)
        return PatternEstimate(images, np.where(usable[:, None], shifts, np.nan))

    def of_half(self, estimate: PatternEstimate, passes: int) -> SeparatedImages:
        """Separate the images with at most half of the series' frames, spread evenly over it.

        The mean of K frames contains their noise. Subtracting it correlates the noise of two of
        these frames by -1/K, in units of the noise variance, that of two other frames by 1/K, and
        that of a frame of each kind by 0. With half of the frames this cancels.
        """
        chosen = np.zeros(len(self.frames), bool)
        used = np.flatnonzero(has_shift(estimate.shifts))
        chosen[spread_evenly(used, max(self.source.frame_count // 2, FEWEST_FRAMES))] = True
        shifts = np.where(chosen[:, None], estimate.shifts, np.nan)
        half = self.separated(shifts, estimate.separated, passes=passes)
        return estimate.separated if half is None else half.separated

    def mean(self) -> NDArray[np.float64]:
        """The temporal mean of the frames less their own means; NaN where none is valid."""
        region, _ = self.method.part(0)
        total, count = np.zeros((2, *(side.stop - side.start for side in region)))
        for image, valid in self.images(np.ones(len(self.frames), bool)):
            if valid.any():
                total += np.where(valid, image - image[valid].mean(), 0)
                count += valid
        mean = np.full(total.shape, np.nan)
        return np.asarray(np.divide(total, count, out=mean, where=count > 0))


def estimate_camera_images(
    source: FrameSource,
    method: Method,
    size: BatchSize,
    keep_at: str | None = None,
    *,
    flat_field: bool,
    fixed_pattern: bool,
    again: bool = False,
) -> Method:
    """Add the series' own flat field and fixed pattern, as requested, to the method.

    With `keep_at` they are written next to that path, and workers read them there instead of
    receiving them; `again` reuses those that an earlier call wrote there.
    """

    def kept(name: str, make: Callable[[], Floats]) -> CameraImage:
        if keep_at is None:
            return make()
        path = get_camera_image_path(keep_at, name)
        check_camera_image(path)
        where = get_place(path)
        where.finish()
        if not (again and where.exists()):
            with where.replacing() as new:
                write_image(new, make(), {MARK: name})
        return path

    if flat_field:
        method = replace(
            method, flat_field=kept("flat_field", partial(estimate_flat_field, source, method))
        )
    if fixed_pattern:
        method = replace(
            method,
            fixed_pattern=kept(
                "fixed_pattern", partial(estimate_fixed_pattern, source, method, size)
            ),
        )
    return method


def get_camera_image_path(dataset_path: str, name: str) -> str:
    """The path of a camera image estimated from the stack: next to the dataset."""
    return f"{dataset_path.rstrip('/')}.{name}.zarr"


def check_camera_image(path: str) -> None:
    """Raise InputError if there is something at `path` that this program did not write."""
    where = get_place(path)
    if not where.is_occupied():
        return
    try:
        ours = MARK in where.open_zarr().attrs
    except InputError:
        ours = False
    if not ours:
        raise explain_stranger(path, "output.shifts")


def discard_camera_images(dataset_path: str) -> None:
    """Delete the camera images next to a dataset, unless this program did not write them."""
    for name in CAMERA_IMAGES:
        path = get_camera_image_path(dataset_path, name)
        try:
            check_camera_image(path)
        except InputError:
            continue
        get_place(path).discard()


def count_fixed_pattern_frames(frame_count: int, pixels: int) -> int:
    """The number of frames of this many pixels that a fixed pattern is estimated from."""
    return min(max(PATTERN_PIXELS // pixels, USUAL_FRAMES), MOST_FRAMES, frame_count)


def estimate_fixed_pattern_bytes(pixels: int) -> int:
    """Estimate the memory to separate frames of this many pixels, bytes, whatever their number.

    It grows with the drift; a drift of half a frame along each axis is assumed.
    """
    return PER_PIXEL * pixels


def estimate_fixed_pattern(
    source: FrameSource, method: Method, size: BatchSize
) -> NDArray[np.float64]:
    """Estimate the fixed pattern of a series from frames spread evenly over it.

    If frames so far apart cannot be aligned, or do not move, a shorter time is used.

    Parameters
    ----------
    method : how pairs are measured; with a logarithm or root the pattern is in these values

    Returns
    -------
    float array of a frame's shape; NaN where not known. Raises InputError if too few can be aligned
    """
    most = count_fixed_pattern_frames(source.frame_count, int(np.prod(method.search.shape)))
    span = source.frame_count
    first: tuple[Sample, PatternEstimate] | None = None
    while True:
        count = min(most, span)
        begin = (source.frame_count - span) // 2
        frames = begin + np.unique(np.linspace(0, span - 1, count).round().astype(np.int64))
        sample = Sample(
            source, replace(method, fixed_pattern=None), size, frames, np.ones(len(frames))
        )
        estimate = estimate_pattern(sample, None, ROUNDS)
        if estimate is not None and estimate.count >= ENOUGH * count:
            first = first or (sample, estimate)
            if estimate.moves:
                break
        if span <= most:
            break
        span //= 2
    if estimate is None or not estimate.moves:
        if first is None:
            raise InputError(
                f"preprocess.fixed_pattern 'estimate': too few of {count} frames can be aligned "
                "with each other: give the path of an image, or check the mask and "
                "register.max_shift"
            )
        sample, estimate = first
    return sample.on_frame(sample.of_half(estimate, LAST_PASSES).pattern)


def estimate_pattern(
    sample: Sample, start: NDArray[np.float64] | None, rounds: int
) -> PatternEstimate | None:
    """Find the fixed pattern with the smallest residual; None if too few frames can be aligned.

    A strong pattern makes all shifts 0, and the estimate then contains the whole scene. So further
    starts are shifts with the mean of the frames subtracted, and, for a pattern of fine detail,
    those of coarse detail (unless `start`, shifts of the frames, is given). From the best start,
    shifts and images are improved in turn.
    """
    mean = sample.mean()
    without = sample.shifts(mean)
    if has_shift(without).mean() < ENOUGH:  # the rest may be faint
        filtered = sample.filtered(*FAINT).shifts(mean)
        without = max(without, filtered, key=lambda shifts: int(has_shift(shifts).sum()))
    starts = [sample.shifts(None) if start is None else start, without]
    best = _choose(*map(sample.separated, starts))
    if start is None:
        coarse = sample.separated(sample.filtered(COARSE, None).shifts(None))
        if coarse is not None and _choose(best, coarse) is coarse:
            shifts = sample.shifts(coarse.separated.pattern)  # in all detail
            best = _choose(best, sample.separated(shifts, coarse.separated))
    while best is not None and rounds:
        before, rounds = best.separated, rounds - 1
        again = sample.separated(sample.shifts(before.pattern), before)
        if again is None or again.separated.residual > (1 - WORTHWHILE) * before.residual:
            break
        best = again
    return best


def _choose(one: PatternEstimate | None, other: PatternEstimate | None) -> PatternEstimate | None:
    """Choose the second if its residual is clearly smaller, with enough frames; else the first."""
    if one is None or other is None:
        return one or other
    less = other.separated.residual < CLEARLY_LESS * one.separated.residual
    return other if less and other.count >= one.count / 2 else one


def has_shift(shifts: Floats) -> Bools:
    """Which rows (rows, axes) have a shift."""
    return np.asarray(np.isfinite(shifts).all(axis=1))
