"""Choose the pairs and pixels of a series to check; parts and their names; a cache of frames."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.measure import (
    Method,
    has_shift,
    prepare_block,
    read_camera_images,
    read_common_mask,
)
from steadystack.model import (
    Bools,
    Floats,
    Frame,
    FrameSource,
    FrameStatus,
    FrameTable,
    Ints,
    PairTable,
    Slices,
)
from steadystack.ncc import cut_into_blocks
from steadystack.pairs import spread_by_separation, spread_evenly
from steadystack.survey import average_boxes

# A check uses about this many pairs, and in large frames this many pixels in the middle.
CHECK_PAIRS, CHECK_PIXELS = 32, 2**19
# Pixels left of a frame whose boxes are averaged, and of its sides, at least.
COARSE_PIXELS, SHORTEST = 2**16, 24
# Most bytes of frames kept in memory.
KEPT_BYTES = 2**26
# Longer series are checked in the process of the run: their tables are not sent to workers.
MOST_FRAMES = 20_000

# In a series that rests between jumps, pairs that move by more than the first number, px, are
# compared with those that move by less than the second; the most and the fewest such pairs.
MOVES_PX, RESTS_PX, MOST_MOVING, FEWEST_MOVING = 1.0, 0.5, 16, 4

# Separations of probe pairs, if larger than the run's: these, and shares of the series; and the
# number of pairs of each.
SEPARATIONS, SHARES, PER_SEPARATION = (8, 16, 32), (0.25, 0.5, 0.75), 5

# Parts per axis, and the smallest side of a part, pixels.
PARTS, LEAST_SIDE = 3, 24
NAMES = ("top", "middle", "bottom"), ("left", "middle", "right")


def sample_pairs(
    table: PairTable, rows: NDArray[np.intp], count: int = CHECK_PAIRS
) -> NDArray[np.intp]:
    """Choose rows of the table, spread evenly over the series: half close pairs, half far ones."""
    apart = np.abs(table.moving - table.reference)[rows]
    return rows[spread_by_separation(apart, count)]


def find_known(solved: FrameTable) -> Bools:
    """Find the frames that are connected to the anchor (frames,)."""
    return np.asarray(has_shift(solved.shift) & (solved.component == 0))


def drop_interpolated(solved: FrameTable) -> FrameTable:
    """Take away the shifts, and the linear motion, of frames that have none of their own."""
    made_up = (solved.status == FrameStatus.INTERPOLATED.code)[:, None]
    return replace(
        solved,
        shift=np.where(made_up, np.nan, solved.shift),
        linear=np.where(made_up[..., None], np.nan, solved.linear),
    )


def select_probe_pairs(table: PairTable, known: Bools) -> NDArray[np.int64]:
    """Choose pairs (pairs, 2) of known frames, with larger separations than those of a table."""
    count, far = len(known), int(np.abs(table.moving - table.reference).max(initial=0))
    separations = {*SEPARATIONS, *(int(share * count) for share in SHARES)}
    chosen = []
    for separation in sorted(separations):
        first = np.flatnonzero(known[: max(count - separation, 0)] & known[separation:])
        if separation > far and len(first):
            first = spread_evenly(first, PER_SEPARATION)
            chosen.append(np.stack([first, first + separation], axis=1))
    return np.concatenate(chosen) if chosen else np.empty((0, 2), np.int64)


def select_farthest(table: PairTable, known: Bools, count: int) -> NDArray[np.intp]:
    """Choose the rows of `count` pairs of a run with the largest separations, of known frames."""
    usable = np.flatnonzero(table.ok & known[table.reference] & known[table.moving])
    apart = np.abs(table.moving - table.reference)[usable]
    return usable[np.argsort(-apart, kind="stable")[:count]]


def crop_to_middle(method: Method) -> Method:
    """Restrict the method to the middle of large frames."""
    shape, region = method.search.shape, method.whole_region
    scale = min(1.0, (CHECK_PIXELS / float(np.prod(shape))) ** (1 / len(shape)))
    if scale == 1:
        return method
    sides = [max(int(size * scale), min(size, 16)) for size in shape]
    begins = [
        side.start + (size - inner) // 2
        for side, size, inner in zip(region, shape, sides, strict=True)
    ]
    inside = tuple(slice(b, b + s) for b, s in zip(begins, sides, strict=True))
    search = replace(
        method.search, blocks=tuple(cut_into_blocks(sides, sides, method.search.window)), tile=None
    )
    return replace(method, search=search, region=inside)


def cut_into_parts(box: Slices) -> Iterator[Slices]:
    """Cut a box into parts, the last axis fastest."""
    sides = []
    for side in box:
        edges = np.linspace(side.start, side.stop, PARTS + 1).astype(int).tolist()
        sides.append([slice(low, high) for low, high in pairwise(edges)])
    yield from product(*sides)


def name_part(part: int, ndim: int) -> str:
    """Name the place of a part in the plane of the last two axes, such as "top left"."""
    position = np.unravel_index(part, (PARTS,) * ndim)
    names = [NAMES[axis][index] for axis, index in enumerate(position[-2:])] if ndim > 1 else []
    return " ".join(dict.fromkeys(names)) or f"part {part + 1}"


def name_parts(parts: Sequence[int], ndim: int) -> str:
    """Name the places of parts; those of volumes by their numbers, from 1."""
    names = (name_part(part, ndim) if ndim == 2 else str(part + 1) for part in parts)
    return ", ".join(dict.fromkeys(names))


@dataclass(frozen=True, eq=False)
class KeptFrames:
    """The frames of a source, with the most recently read ones kept in memory, as far as they fit.

    Frames must not be written to, and have a data type that SciPy supports. Pickling drops them.
    Threads may read at the same time, as those of a worker in this process do.
    """

    source: FrameSource
    most_bytes: int = KEPT_BYTES
    kept: OrderedDict[tuple[Any, ...], Frame] = field(default_factory=OrderedDict, repr=False)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def frame_count(self) -> int:
        return self.source.frame_count

    @property
    def frame_shape(self) -> tuple[int, ...]:
        return self.source.frame_shape

    @property
    def axes(self) -> tuple[str, ...]:
        return self.source.axes

    @property
    def in_memory(self) -> bool:
        return self.source.in_memory

    @cached_property
    def channels(self) -> tuple[FrameSource, ...]:
        several = self.source.channels
        return tuple(KeptFrames(one, self.most_bytes // len(several)) for one in several)

    def common_mask(self, region: Slices) -> Bools | None:
        return self.source.common_mask(region)

    def read(self, frame: int, region: Slices | None = None) -> Frame:
        """Read a frame, or a region of it; frames that cannot be read are not kept."""
        key = (frame, *((side.start, side.stop) for side in region or ()))
        with self.lock:
            if (found := self.kept.get(key)) is not None:
                self.kept.move_to_end(key)
                return found
        found = self.source.read(frame, region)
        if found.status is FrameStatus.UNREADABLE:
            return found
        dtype = _choose_dtype(found.image.dtype)
        found = replace(found, image=found.image.astype(dtype, copy=False))
        with self.lock:
            self.kept[key] = found
            while sum(map(_count_bytes, self.kept.values())) > self.most_bytes:
                self.kept.popitem(last=False)
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        return KeptFrames, (self.source, self.most_bytes)


@dataclass(frozen=True, eq=False)
class CoarseFrames:
    """Coarse frames, held in memory; `axes` are the names of their axes."""

    kept: tuple[Frame, ...]
    axes: tuple[str, ...]

    in_memory, channels = True, ()

    @property
    def frame_count(self) -> int:
        return len(self.kept)

    @property
    def frame_shape(self) -> tuple[int, ...]:
        return self.kept[0].image.shape

    def common_mask(self, region: Slices) -> Bools | None:
        """What is valid in any of the frames."""
        return np.asarray(np.logical_or.reduce([frame.valid[region] for frame in self.kept]))

    def read(self, frame: int, region: Slices | None = None) -> Frame:
        whole = self.kept[frame]
        if region is None:
            return whole
        return replace(whole, image=whole.image[region], valid=whole.valid[region])


def choose_coarseness(method: Method) -> Ints:
    """Choose the box of pixels of a plane to average (axes,): as small as `COARSE_PIXELS` allow."""
    shape = method.search.shape
    if len(shape) < 2:
        return np.ones(len(shape), int)
    step = math.ceil(math.sqrt(math.prod(shape) / COARSE_PIXELS))
    step = max(min(step, *(side // SHORTEST for side in shape[-2:])), 1)
    return np.array([1] * (len(shape) - 2) + [step, step])


def read_coarsely(
    source: FrameSource, frames: Sequence[int], method: Method
) -> tuple[CoarseFrames, Ints]:
    """Read frames as a method prepares them, in one block, averaged over boxes; also the boxes.

    A frame that cannot be used has no valid pixel.
    """
    box = choose_coarseness(method)
    sides = method.search.shape // box
    camera_images = read_camera_images(method, source.frame_shape, 0)
    masks = [read_common_mask(source, 0, method)]
    kept = []
    for frame in frames:
        ready, _ = prepare_block(source, frame, 0, method, camera_images, masks)
        image, valid = np.zeros(sides), np.zeros(sides, bool)
        if ready is not None:
            image, valid = average_boxes(ready.values, ready.mask.pixels, box.tolist())
        kept.append(Frame(image.astype(np.float32), valid))
    return CoarseFrames(tuple(kept), source.axes), box


def _count_bytes(frame: Frame) -> int:
    return frame.image.nbytes + frame.valid.nbytes


def list_squares(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """List all squares of two by two parts of a grid, through all its planes."""
    numbers = np.arange(math.prod(shape)).reshape(shape)
    return [
        tuple(numbers[..., y : y + 2, x : x + 2].ravel().tolist())
        for y in range(shape[-2] - 1)
        for x in range(shape[-1] - 1)
    ]


def find_jumps(table: PairTable, rows: Ints, shifts: Floats) -> tuple[Ints, float | None]:
    """Find pairs across the jumps of a series that rests between them, and their loss of NCC.

    Returns some of these rows of the table, and the share by which their NCC is below that of the
    pairs of equal separation, and at rest, just before and after them; None: there are few such
    pairs. The share is the lower quartile, as some frames may have changed for other reasons. After
    a jump a fixed pattern is at another place of the scene; noise and gradual changes of the scene
    are the same. `shifts` are (frames, axes), pixels.
    """
    first, second = table.reference[rows], table.moving[rows]
    lengths = np.linalg.norm(shifts[second] - shifts[first], axis=1)
    at_rest = {
        (int(one), int(other)): float(ncc)
        for one, other, ncc in zip(
            *(values[lengths < RESTS_PX] for values in (first, second, table.ncc[rows])),
            strict=True,
        )
    }
    moving, losses = [], []
    for row in rows[lengths > MOVES_PX]:
        one, other = int(table.reference[row]), int(table.moving[row])
        beside = (2 * one - other, one), (other, 2 * other - one)
        known = [at_rest[pair] for pair in beside if pair in at_rest]
        if known and min(known) > 0:
            moving.append(row)
            losses.append(1 - float(table.ncc[row]) / float(np.mean(known)))
    if len(moving) < FEWEST_MOVING:
        return rows[:0], None
    return spread_evenly(np.array(moving), MOST_MOVING), float(np.quantile(losses, 0.25))


def _choose_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Choose a data type that holds the values of images, and that SciPy supports."""
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    if dtype.kind == "f" and dtype.itemsize not in (4, 8):
        return np.dtype(np.float32 if dtype.itemsize < 4 else np.float64)
    return dtype
