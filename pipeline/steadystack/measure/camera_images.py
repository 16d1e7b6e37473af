"""The fixed pattern of a series, estimated together with the shifts of some of its frames."""

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
MARK = "steadystack_camera_image"  # the attribute of one that was made here: its name
# It is estimated from as many frames as have so many pixels, within these limits, and from pairs of
# them that are so many of them apart.
PATTERN_PIXELS, MOST_FRAMES, USUAL_FRAMES = 2**27, 256, 64
PATTERN_SEPARATIONS = (1, 2, 4, 8)
TRIED = 16  # of the closest first: where none has a shift, each looks at every shift, and in vain
FEWEST_FRAMES, ENOUGH = 8, 0.75  # at least so many, and that part of those that are taken
# Rounds of shifts and images, until what is left unexplained falls by less than this part.
ROUNDS = 6
WORTHWHILE = 1e-3
# The shifts found without the temporal mean must leave less than this part of what the others do.
CLEARLY_LESS = 0.97
# Sigmas of the filters, px, by which a scene is found that is faint beside what stands still, and
# of that which leaves a coarse one behind a fine image.
FAINT, COARSE = (1.0, 10.0), 4.0
# A series shows a scene that moves if its shifts differ by this much, px.
MOVES = 1.0
# Passes in the last round, when the shifts are known; before, they would run after wrong ones.
LAST_PASSES = 4
# What the separation takes, bytes per pixel: 76 of the canvas that drifting frames lie on.
PER_PIXEL = 180
# Calls of `separate` in a round where frames lack different pixels: each fills in more of them.
FILLINGS = 3


@dataclass(frozen=True, eq=False)
class PatternEstimate:
    """A fixed pattern, the shifts of the frames it goes with (NaN: not used), and how many are."""

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
    method: Method  # with a fixed pattern it is for `images` alone
    size: BatchSize
    frames: NDArray[np.int64]
    gains: NDArray[np.float64]  # what their images are divided by

    def images(self, chosen: Bools, *, filtered: bool = False) -> Iterator[tuple[Floats, Bools]]:
        """Those of the frames that are known, made ready but for fixed pattern and filters.

        With `filtered` also by those.
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
        """An image of the part that is looked at as one of a whole frame; NaN elsewhere."""
        whole = np.full(self.source.frame_shape, np.nan)
        whole[self.method.part(0)[0]] = pattern
        return whole

    def measured(self, pairs: Ints, pattern: Floats | None) -> PairTable:
        """Pairs (n, 2) of frames of the series, a fixed pattern of the part taken away."""
        source, method = self.source, replace(self.method, asks_parts=False)
        if pattern is not None:  # it is that of the first channel
            source = (*source.channels, source)[0]
            method = replace(method, fixed_pattern=self.on_frame(pattern))
        table = PairTable.of_frames(pairs, source)
        meter = StageMeter("measuring", "pairs")
        for _, done in measure_pairs(source, table, method, self.size):
            meter(done, len(pairs))
        return table

    def filtered(self, low_pass: float | None, high_pass: float | None) -> Sample:
        """The same frames, measured with filters of these sigmas, pixels; None: without."""
        conditioning = replace(self.method.conditioning, low_pass=low_pass, high_pass=high_pass)
        return replace(self, method=replace(self.method, conditioning=conditioning))

    def shifts(self, pattern: Floats | None) -> NDArray[np.float64]:
        """The shifts of the frames (frames, axes) with a fixed pattern taken away; NaN: not known.

        Those of the largest part of the frames that usable pairs connect; none where no close pair
        is usable.
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
        """The fixed pattern that goes with these shifts and the frames it is from, if enough are.

        Frames further from the middle one than half a frame are left out: few show the same scene.
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
        """The image from no more than half of the series' frames, spread evenly over it.

        The noise of K frames is left in their mean. It makes two of them repel each other, in
        units of its variance by 1/K; two of the others attract each other as much, and one and
        another leave each other alone. With half of the frames that adds up to nothing.
        """
        chosen = np.zeros(len(self.frames), bool)
        used = np.flatnonzero(has_shift(estimate.shifts))
        chosen[spread_evenly(used, max(self.source.frame_count // 2, FEWEST_FRAMES))] = True
        shifts = np.where(chosen[:, None], estimate.shifts, np.nan)
        half = self.separated(shifts, estimate.separated, passes=passes)
        return estimate.separated if half is None else half.separated

    def mean(self) -> NDArray[np.float64]:
        """The temporal mean of the frames without their means; NaN where none is valid."""
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
    """The method with the series' own flat field and fixed pattern, as far as they are wanted.

    With `keep_at` they are written beside that path, and workers read them instead of being sent
    them; `again` takes those that an earlier call wrote there, if it did.
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
    """Where a camera image made of the stack itself is kept: beside the dataset."""
    return f"{dataset_path.rstrip('/')}.{name}.zarr"


def check_camera_image(path: str) -> None:
    """Raise InputError if what lies there was not made of a stack by this program."""
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
    """Delete the camera images beside a dataset; what was not made by this program stays."""
    for name in CAMERA_IMAGES:
        path = get_camera_image_path(dataset_path, name)
        try:
            check_camera_image(path)
        except InputError:
            continue
        get_place(path).discard()


def count_fixed_pattern_frames(frame_count: int, pixels: int) -> int:
    """From how many frames of so many pixels a fixed pattern is estimated."""
    return min(max(PATTERN_PIXELS // pixels, USUAL_FRAMES), MOST_FRAMES, frame_count)


def estimate_fixed_pattern_bytes(pixels: int) -> int:
    """The memory in which frames of so many pixels are separated, about; it is not their number's.

    It grows with the drift, for which half a frame's side is taken.
    """
    return PER_PIXEL * pixels


def estimate_fixed_pattern(
    source: FrameSource, method: Method, size: BatchSize
) -> NDArray[np.float64]:
    """The fixed pattern of a series, from frames spread evenly over it; NaN where it is not known.

    Where frames so far apart cannot be laid on one another, those of a shorter time are taken.

    Parameters
    ----------
    method : how pairs are measured; the image is that of its logarithm or root, if it takes one

    Returns
    -------
    float array of a frame's shape
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
    """The fixed pattern that leaves least unexplained.

    Where it wins outright, all shifts are 0 and it holds the whole scene: whether there is more
    shows with the mean of the frames taken away, or, if that is fine, in coarse detail (not asked
    where `start`, shifts of the frames, is known). From the best, both improve each other.
    """
    mean = sample.mean()
    without = sample.shifts(mean)
    if has_shift(without).mean() < ENOUGH:  # what is left may be faint
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
    """The other of two if it leaves clearly less unexplained, of enough frames; else the one."""
    if one is None or other is None:
        return one or other
    less = other.separated.residual < CLEARLY_LESS * one.separated.residual
    return other if less and other.count >= one.count / 2 else one


def has_shift(shifts: Floats) -> Bools:
    """Which rows (rows, axes) hold a shift."""
    return np.asarray(np.isfinite(shifts).all(axis=1))
