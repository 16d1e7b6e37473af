"""Tasks that move pairs of frames by their known motion, and fit what remains."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from steadystack.cluster import Engine, Failure, run_tasks, share
from steadystack.measure import (
    Method,
    find_last_rows,
    prepare_block,
    read_camera_images,
    read_common_mask,
)
from steadystack.model import Bools, Floats, FrameSource, Ints, PairStatus, RunError
from steadystack.motion.pair_fit import GROUPS, choose_cell_sides, fit_pair
from steadystack.ncc import CachedMask
from steadystack.pairs import batch_pairs
from steadystack.parts import ScoreImage, SmoothedMask, make_score_image
from steadystack.register import Search
from steadystack.run_log import count_steps
from steadystack.warp import LocalField, find_middle

# Most frames of a task, the memory they may take, and the memory per pixel, bytes.
MOST_FRAMES, HELD_BYTES, PIXEL_BYTES = 64, 2**28, 8
# Splines reach across the edge of a mask: a rim this wide, pixels, is not used.
EDGE = 2
# A position between pixels is used if its interpolated mask is above this.
WHOLE = 0.999
# Sigma, pixels, of a Gaussian: noise that interpolation removes would look like a change of
# contrast, and that like a change of scale.
SIGMA = 0.7


@dataclass(frozen=True, eq=False)
class MovedPairs:
    """Pairs of frames that are moved by their known motion.

    Attributes
    ----------
    pairs : (pairs, 2), reference and moving frame
    inverted : (pairs,), whether the images of a pair are negatives of each other
    frames : (frames,), the frames of the pairs, sorted
    """

    pairs: NDArray[np.int64]
    inverted: NDArray[np.bool_]
    frames: NDArray[np.int64]

    def find(self, frame: int) -> int:
        """Find the index of a frame in `frames`."""
        return int(np.searchsorted(self.frames, frame))

    def get_sign(self, row: int) -> int:
        """-1 if the images of a pair are negatives of each other, else 1."""
        return -1 if self.inverted[row] else 1


@dataclass(frozen=True, eq=False)
class PairsToFit(MovedPairs):
    """Pairs of frames whose linear motion is known approximately.

    Attributes
    ----------
    linear, shift : (frames, axes, axes) and (frames, axes), px: the motion of `frames`
    middle : (axes,) pixels, of a frame
    generators : (generators, axes, axes), per pixel
    """

    linear: NDArray[np.float64]
    shift: NDArray[np.float64]
    middle: NDArray[np.float64]
    generators: NDArray[np.float64]

    @classmethod
    def make(
        cls,
        pairs: Ints,
        linear: NDArray[np.float64],
        shift: NDArray[np.float64],
        shape: Sequence[int],
        generators: NDArray[np.float64],
        inverted: Bools | None = None,
    ) -> PairsToFit:
        """Make pairs of any of the frames that have this motion; `shape` is that of a frame.

        Without `inverted`, no images are negatives of each other.
        """
        none = np.zeros(len(pairs), bool)
        return cls(
            np.asarray(pairs, np.int64),
            none if inverted is None else inverted,
            np.arange(len(shift)),
            linear,
            shift,
            find_middle(shape),
            generators,
        )

    @property
    def columns(self) -> int:
        """The number of coefficients of a motion: of the generators, then of the shift."""
        return len(self.generators) + len(self.middle)


@dataclass(frozen=True, eq=False)
class FittedPairs:
    """The remaining motion of pairs, pixels; NaN where not known.

    Attributes
    ----------
    step : (pairs, coefficients); the shift is that half-way between the middles of the frames
    group_step : (pairs, groups, coefficients), by how much each group of cells moves it
    """

    step: NDArray[np.float64]
    group_step: NDArray[np.float32]

    @classmethod
    def unknown(cls, count: int, columns: int, ndim: int) -> FittedPairs:
        """All NaN, for this many pairs of frames with `ndim` axes."""
        return cls(
            np.full((count, columns), np.nan),
            np.full((count, GROUPS[ndim] ** ndim, columns), np.nan, np.float32),
        )


def fit_pairs(task: PairsToFit, source: FrameSource, method: Method) -> FittedPairs:
    """Fit the remaining motion of every pair, on a worker; each frame is read once."""
    shape = source.frame_shape
    fitted = FittedPairs.unknown(len(task.pairs), task.columns, len(shape))
    sides = choose_cell_sides(shape)
    reader = FrameReader(source, method)

    def move(frame: int) -> ScoreImage | None:
        ready, at = reader.read(frame), task.find(frame)
        if ready is None:
            return None
        return move_score_image(ready, task.linear[at], task.shift[at], task.middle)

    for row, reference, moving in iterate_pairs(task.pairs, move):
        at = np.searchsorted(task.frames, task.pairs[row])
        middle = task.middle + task.shift[at].mean(axis=0)
        sign = task.get_sign(row)
        fit = fit_pair(reference, moving, middle, task.generators, sides, sign)
        if fit is not None:
            fitted.step[row], fitted.group_step[row] = fit.step, fit.group_step
    return fitted


def fit_all(
    task: PairsToFit, source: FrameSource, client: Engine, shared: Sequence[Any]
) -> FittedPairs:
    """Fit all pairs, in tasks."""

    def cut(rows: NDArray[np.intp]) -> PairsToFit:
        frames = np.unique(task.pairs[rows])
        return replace(
            task,
            pairs=task.pairs[rows],
            inverted=task.inverted[rows],
            frames=frames,
            linear=task.linear[frames],
            shift=task.shift[frames],
        )

    whole = FittedPairs.unknown(len(task.pairs), task.columns, len(task.middle))
    for rows, answer in run_in_groups(
        fit_pairs, task.pairs, cut, source.frame_shape, client, shared
    ):
        whole.step[rows], whole.group_step[rows] = answer.step, answer.group_step
    return whole


def iterate_pairs(
    pairs: NDArray[np.int64], move: Callable[[int], ScoreImage | None]
) -> Iterator[tuple[int, ScoreImage, ScoreImage]]:
    """Yield the rows of pairs with both frames usable, and these frames; each is moved once."""
    last_rows, held = find_last_rows(pairs), dict[int, ScoreImage | None]()
    for row, pair in enumerate(pairs.tolist()):
        for frame in pair:
            if frame not in held:
                held[frame] = move(frame)
        reference, moving = (held[frame] for frame in pair)
        if reference is not None and moving is not None:
            yield row, reference, moving
        for frame in set(pair):
            if last_rows[frame] == row:
                del held[frame]


class FrameReader:
    """Reads frames and prepares them for scores."""

    def __init__(self, source: FrameSource, method: Method) -> None:
        self.source, self.method = source, method
        self.camera_images = read_camera_images(method, source.frame_shape, 0)
        self.masks = [read_common_mask(source, 0, method)]
        self.smoothed: tuple[CachedMask, SmoothedMask] | None = None

    def read(self, frame: int) -> ScoreImage | None:
        """Read a frame, ready to be moved; None: not usable."""
        image, summary = prepare_block(
            self.source, frame, 0, self.method, self.camera_images, self.masks
        )
        if image is None or summary.pair_status is not PairStatus.OK:
            return None
        if self.smoothed is None or self.smoothed[0] is not image.mask:
            self.smoothed = image.mask, SmoothedMask.make(image.mask.pixels)
        begin = [side.start for side in self.method.whole_region]
        return smooth_further(make_score_image(image.values, self.smoothed[1], begin))


def share_with_tasks(source: FrameSource, method: Method, client: Engine) -> list[Any]:
    """Share with the workers what all tasks need: the frames, and how they are prepared."""
    shape = source.frame_shape
    whole = Search.make(shape, shape, [1] * len(shape), region=method.search.shape)
    method = replace(method, search=whole, keep=(), initial_shifts=None)
    return [share(client, what) if source.in_memory else what for what in (source, method)]


def run_in_groups(
    work: Callable[..., Any],
    pairs: NDArray[np.int64],
    cut: Callable[[NDArray[np.intp]], Any],
    frame_shape: Sequence[int],
    client: Engine,
    shared: Sequence[Any],
) -> Iterator[tuple[NDArray[np.intp], Any]]:
    """Process pairs in tasks of few frames each; yields the rows of each task with its result.

    `cut` makes the task of some rows; `work` is called as `work(task, *shared)`. Raises `RunError`
    if a task fails.
    """
    held = HELD_BYTES // (PIXEL_BYTES * int(np.prod(frame_shape)))
    most_frames, most_pairs = int(np.clip(held, 2, MOST_FRAMES)), max(len(pairs), 1)
    batches = list(batch_pairs(pairs, most_frames, most_pairs))
    tasks = ((number, cut(rows)) for number, rows in enumerate(batches))
    found = run_tasks(client, work, tasks, *shared)
    for number, answer in count_steps(found, len(batches), "motion", "groups of pairs"):
        if isinstance(answer, Failure):
            raise RunError(
                f"measuring the motion of frames (motion.model) failed: {answer.reason}; the pairs "
                "are saved: `steadystack solve` tries again"
            ) from answer.error
        yield batches[number], answer


def smooth_further(image: ScoreImage) -> ScoreImage:
    """Smooth the valid pixels of a frame, so that interpolation hardly changes scene or noise."""
    weights = np.ones_like(image.values) if image.weights is None else image.weights
    valid = (weights > 0).astype(np.float32)
    around = ndimage.gaussian_filter(valid, SIGMA, mode="constant")
    values = ndimage.gaussian_filter(image.values * valid, SIGMA, mode="constant")
    values = np.divide(values, around, out=np.zeros_like(values), where=around > 0)
    return ScoreImage(values, weights, image.begin)


def move_score_image(
    image: ScoreImage, linear: Floats, shift: Floats, middle: Floats
) -> ScoreImage:
    """Move a frame by its linear motion onto the pixels of the anchor.

    Parameters
    ----------
    linear, shift, middle : as in `warp.make_affine`
    """
    inverse = np.linalg.inv(linear)
    first, last = np.array(image.begin), np.array(image.begin) + image.values.shape - 1
    corners = np.array(list(product(*zip(first, last, strict=True))))
    moved = (corners - middle) @ np.asarray(linear).T + middle + shift
    begin = np.floor(moved.min(axis=0)).astype(int)
    shape = tuple((np.ceil(moved.max(axis=0)).astype(int) - begin + 1).tolist())
    offset = middle + inverse @ (begin - middle - shift) - first

    def interpolate(values: NDArray[Any], order: Any, mode: Any) -> NDArray[np.float32]:
        moved = np.empty(shape, np.float32)
        ndimage.affine_transform(
            values, inverse, offset, shape, output=moved, order=order, mode=mode
        )
        return moved

    return _move(image, interpolate, tuple(begin.tolist()))


def move_by_field(image: ScoreImage, field: LocalField, shape: Sequence[int]) -> ScoreImage:
    """Move a frame by its local shifts onto the pixels of the anchor, which has this `shape`."""
    places = field.locate(tuple(slice(0, size) for size in shape))
    for place, first in zip(places, image.begin, strict=True):
        place -= first

    def interpolate(values: NDArray[Any], order: Any, mode: Any) -> NDArray[np.float32]:
        moved = np.empty(tuple(shape), np.float32)
        ndimage.map_coordinates(values, places, output=moved, order=order, mode=mode)
        return moved

    return _move(image, interpolate, (0,) * len(shape))


def _move(
    image: ScoreImage,
    interpolate: Callable[[NDArray[Any], Any, Any], NDArray[np.float32]],
    begin: tuple[int, ...],
) -> ScoreImage:
    """Move values and weights; `interpolate` takes values, the order of splines and the mode."""
    values = interpolate(image.values, 3, "mirror")
    weights = np.ones_like(image.values) if image.weights is None else image.weights
    inside = weights > 0
    for axis in range(inside.ndim):
        along = np.ones([2 * EDGE + 1 if each == axis else 1 for each in range(inside.ndim)], bool)
        inside = ndimage.binary_erosion(inside, along, border_value=1)
        if inside.ndim > 2:  # the outermost planes are smoothed from one side only
            inside.swapaxes(0, axis)[[0, -1]] = False
    is_whole = interpolate(inside.astype(np.float32), 1, "constant") > WHOLE
    weights = interpolate(weights, 1, "constant") * is_whole
    return ScoreImage(values * is_whole, weights, begin)
