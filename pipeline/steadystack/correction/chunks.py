"""Cut a corrected stack into levels, chunks, and regions that one task writes by itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from steadystack.config import CorrectSection
from steadystack.model import InputError, Slices
from steadystack.ome import OmeVersion
from steadystack.outputs import VALID, Level
from steadystack.readers import StackSpec
from steadystack.warp import HOLE_REACH, REACH, AnyMotion, find_spread

# The coarsest level is the first whose sides are all at most this long, pixels.
COARSEST = 512
# A task takes several small frames up to this size, but there must be at least this many tasks.
BATCH_BYTES, LEAST_TASKS = 32 * 2**20, 64
# Bytes besides the pixels, for blocks being interpolated.
WORK_BYTES = 24 * 2**20
# Number of chunks that are encoded or decoded at a time.
IN_HAND = 10


@dataclass(frozen=True)
class Regions:
    """A stack cut into numbered regions: its shape and the sides of a region, per array axis."""

    shape: tuple[int, ...]
    sides: tuple[int, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """How many regions there are along each axis."""
        return tuple(-(-size // side) for size, side in zip(self.shape, self.sides, strict=True))

    def __len__(self) -> int:
        return math.prod(self.counts)

    def get_slices(self, number: int) -> Slices:
        """The slices of level 0 that make up the region of this number."""
        indices = np.unravel_index(number, self.counts)
        return tuple(
            slice(int(index) * side, min((int(index) + 1) * side, size))
            for index, side, size in zip(indices, self.sides, self.shape, strict=True)
        )


def scale_to_level(region: Slices, level: Level) -> Slices:
    """The slices of a coarser level that show a region of level 0."""
    return tuple(
        slice(side.start // factor, -(-side.stop // factor))
        for side, factor in zip(region, level.factors, strict=True)
    )


@dataclass(frozen=True)
class ChunkLayout:
    """The numbers that determine regions and levels.

    Attributes
    ----------
    axes : names of the array axes; tuples below have one value for each
    shape : pixels of level 0
    itemsize : bytes of a pixel
    chunks, shards : pixels of those that are written; shards None: no shards
    read : pixels of a chunk of the input
    interpolation : how frames are moved
    pyramid : whether there is more than one level
    spread : see `find_spread`; (): nothing turns
    """

    axes: tuple[str, ...]
    shape: tuple[int, ...]
    itemsize: int
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None
    read: tuple[int, ...]
    interpolation: str
    pyramid: bool
    spread: tuple[tuple[float, ...], ...] = ()

    @property
    def unit(self) -> tuple[int, ...]:
        """The smallest piece that is written at once."""
        return self.shards or self.chunks

    def select_spatial(self, values: Sequence[int]) -> list[int]:
        """Select the values of z, y and x out of one value per array axis."""
        return [value for axis, value in zip(self.axes, values, strict=True) if axis in "zyx"]

    def estimate_bytes(self, sides: Sequence[int]) -> int:
        """Upper estimate of the bytes that a task needs for a region with these sides."""
        pixels = math.prod(sides)
        reach = REACH[self.interpolation] + 1 + HOLE_REACH
        box, shape = self.select_spatial(sides), self.select_spatial(self.shape)
        wider = [
            math.ceil(sum(more * side for more, side in zip(row, box, strict=True)))
            for row in self.spread
        ] or [0 for _ in box]
        window = math.prod(
            -(-min(side + more, size) // chunk) * chunk + (2 * reach if chunk < size else 0)
            for side, more, chunk, size in zip(
                box, wider, self.select_spatial(self.read), shape, strict=True
            )
        )
        planes_at_once = math.prod(
            min(side, chunk)
            for axis, side, chunk in zip(self.axes, sides, self.read, strict=True)
            if axis in "tc"
        )
        written = pixels * (2 * self.itemsize + 1)  # pixels, their encoded copy, which are known
        # Means in float32, their sums and counts, and what the allocator keeps of the finer level.
        coarser = pixels // 4 * (2 * self.itemsize + 20) if self.pyramid else 0
        read = planes_at_once * window * (self.itemsize + 4)  # with their valid flags
        filled = window * max(self.itemsize, 4)  # a frame whose invalid pixels are filled in
        coded = IN_HAND * self.itemsize * (math.prod(self.read) + math.prod(self.chunks))
        if self.shards is not None:
            coded += 2 * self.itemsize * math.prod(self.shards)
        return written + coarser + read + filled + coded + WORK_BYTES


@dataclass(frozen=True)
class MeanLayout(ChunkLayout):
    """The numbers that determine boxes and batches, with `moment_bytes` per pixel for moments."""

    moment_bytes: int = 0

    def estimate_bytes(self, sides: Sequence[int]) -> int:
        """Upper estimate of the bytes that a task needs for so many frames of a box."""
        box = math.prod(side for axis, side in zip(self.axes, sides, strict=True) if axis != "t")
        return super().estimate_bytes(sides) + self.moment_bytes * box


def cut_into_regions(
    layout: ChunkLayout, memory: int, chosen: Sequence[int] | None = None
) -> Regions:
    """Cut into regions of whole chunks as large as `memory` bytes allow; whole frames if they fit.

    The sides `chosen` are used if they fit.
    """
    if chosen is not None and _fits(layout, chosen, memory):
        return Regions(layout.shape, tuple(chosen))
    shape, sides = layout.shape, list(_clip(layout.unit, layout.shape))
    least = layout.estimate_bytes(sides)
    if least > memory:
        raise InputError(
            f"one {'shard' if layout.shards else 'chunk'} of {tuple(layout.unit)} needs "
            f"{math.ceil(least / 2**20)} MiB: make correct.chunks or correct.shards smaller, or "
            f"raise cluster.task_memory above {memory // 2**20} MiB"
        )
    growing = [i for i, axis in enumerate(layout.axes) if axis in "zyx"]
    while growing := [i for i in growing if sides[i] < shape[i]]:
        axis = max(growing, key=lambda i: shape[i] / sides[i])
        larger = sides.copy()
        larger[axis] = min(2 * sides[axis], shape[axis])
        if layout.estimate_bytes(larger) > memory:
            growing.remove(axis)
            if not growing:
                break
            continue
        sides = larger
    return Regions(shape, _choose_several_frames(layout, sides, memory))


def _fits(layout: ChunkLayout, sides: Sequence[int], memory: int) -> bool:
    """Whether regions with these sides are of whole chunks, within memory."""
    pieces = zip(sides, layout.shape, _clip(layout.unit, layout.shape), strict=True)
    return (
        len(sides) == len(layout.shape)
        and all(side <= size and (side % unit == 0 or side == size) for side, size, unit in pieces)
        and layout.estimate_bytes(sides) <= memory
    )


def _choose_several_frames(
    layout: ChunkLayout, sides: Sequence[int], memory: int
) -> tuple[int, ...]:
    """Let a region hold several small frames, as each task has a fixed cost; returns its sides.

    `memory` is in bytes.
    """
    time = layout.axes.index("t")
    larger = list(sides)
    if layout.select_spatial(sides) == layout.select_spatial(layout.shape):
        frame_bytes = math.prod(sides) * layout.itemsize
        tasks = Regions(layout.shape, tuple(sides))
        times = max(min(BATCH_BYTES // frame_bytes, len(tasks) // LEAST_TASKS), 1)
        larger[time] = min(sides[time] * times, layout.shape[time])
        while times > 1 and layout.estimate_bytes(larger) > memory:
            times -= 1
            larger[time] = sides[time] * times
    return tuple(larger)


def make_levels(layout: ChunkLayout, region: Regions, count: int | None) -> tuple[Level, ...]:
    """Make the levels of a pyramid; each of their chunks lies within one region.

    Every level halves the axes that are longer than half of the longest. `count` is the number of
    levels; None: down to sides of 512 pixels.
    """
    levels = [
        Level(
            "0",
            layout.shape,
            _clip(layout.chunks, layout.shape),
            _choose_shards(layout),
            (1,) * len(layout.shape),
        )
    ]
    while len(levels) < count if count else max(layout.select_spatial(levels[-1].shape)) > COARSEST:
        finer = levels[-1]
        longest = max(layout.select_spatial(finer.shape))
        factors = tuple(
            factor * (2 if axis in "zyx" and 2 * size > longest > 1 else 1)
            for axis, size, factor in zip(layout.axes, finer.shape, finer.factors, strict=True)
        )
        fits = all(
            side == size or side % factor == 0
            for side, size, factor in zip(region.sides, layout.shape, factors, strict=True)
        )
        if factors == finer.factors or not fits:
            if count is None:
                break
            raise InputError(
                f"correct.levels {count}: {layout.shape} pixels in tasks of {region.sides} give "
                f"only {len(levels)} levels: lower it, or raise cluster.task_memory"
            )
        levels.append(_make_coarser_level(layout, region, len(levels), factors))
    return tuple(levels)


def _make_coarser_level(
    layout: ChunkLayout, region: Regions, number: int, factors: tuple[int, ...]
) -> Level:
    """Make level `number`, whose pixels are `factors` pixels of level 0 along each axis."""
    shape = tuple(-(-size // factor) for size, factor in zip(layout.shape, factors, strict=True))
    chunks, shards = [], []
    for size, full, side, factor, chunk, unit in zip(
        shape, layout.shape, region.sides, factors, layout.chunks, layout.unit, strict=True
    ):
        if side == full:
            chunks.append(min(chunk, size))
            most_chunks = -(-size // chunks[-1])
        else:
            chunks.append(math.gcd(side // factor, chunk))
            most_chunks = side // factor // chunks[-1]
        times = min(max(unit // chunks[-1], 1), most_chunks)
        shards.append(chunks[-1] * (times if side == full else math.gcd(times, most_chunks)))
    return Level(
        str(number), shape, tuple(chunks), tuple(shards) if layout.shards else None, factors
    )


def _choose_shards(layout: ChunkLayout) -> tuple[int, ...] | None:
    """Choose the shards of level 0, no larger than the image needs; None: no shards."""
    if layout.shards is None:
        return None
    chunks = _clip(layout.chunks, layout.shape)
    return tuple(
        min(shard // chunk, -(-size // chunk)) * chunk
        for shard, chunk, size in zip(layout.shards, chunks, layout.shape, strict=True)
    )


def make_valid_level(layout: ChunkLayout, region: Regions) -> Level:
    """Lay out the array of booleans beside the levels: the image's chunks, but with all frames of a
    task in one.
    """
    chunks = tuple(
        side if axis == "t" else chunk
        for axis, side, chunk in zip(
            layout.axes, region.sides, _clip(layout.chunks, layout.shape), strict=True
        )
    )
    return replace(Level(VALID, layout.shape, chunks, None, (1,) * len(layout.shape)))


def _clip(sizes: Sequence[int], limits: Sequence[int]) -> tuple[int, ...]:
    """The smaller of size and limit, per axis."""
    return tuple(min(size, limit) for size, limit in zip(sizes, limits, strict=True))


def choose_chunks(
    source: StackSpec,
    axes: tuple[str, ...],
    canvas_sides: dict[str, int],
    section: CorrectSection,
    version: OmeVersion,
    interpolation: str,
    motion: AnyMotion | None = None,
) -> ChunkLayout:
    """Choose chunks and shards: from the settings, or else as in the input.

    `axes` are the array axes of the corrected stack, `canvas_sides` pixels by the name of the axis.
    """
    shape = {axis: canvas_sides.get(axis, source.size(axis)) for axis in axes}
    input_chunks = dict(zip(source.axes, source.chunks, strict=True))
    chunks = dict(input_chunks)
    if section.chunks is not None:
        chunks |= {"t": 1, "c": 1} | _expand_per_axis(
            "correct.chunks", section.chunks, source.spatial
        )
    chunks = {axis: min(chunks[axis], shape[axis]) for axis in axes}
    shards: dict[str, int] | None = None
    if section.shards is not None:
        shards = chunks | _expand_per_axis("correct.shards", section.shards, source.spatial)
    elif section.chunks is None and version == "0.5" and source.shards is not None:
        shards = dict(zip(source.axes, source.shards, strict=True))
    if shards is not None and version == "0.4":
        raise InputError("correct.shards: OME-Zarr 0.4 has no shards: set correct.format to 0.5")
    if shards is not None:
        for axis in axes:
            shards[axis] = min(shards[axis], -(-shape[axis] // chunks[axis]) * chunks[axis])
            if section.shards is not None and shards[axis] % chunks[axis]:
                raise InputError(
                    f"correct.shards: {shards[axis]} along {axis} is not a multiple of the "
                    f"chunk's {chunks[axis]}"
                )
            shards[axis] = max(shards[axis] // chunks[axis], 1) * chunks[axis]
    return ChunkLayout(
        axes=axes,
        shape=tuple(shape[axis] for axis in axes),
        itemsize=np.dtype(source.dtype).itemsize,
        chunks=tuple(chunks[axis] for axis in axes),
        shards=None if shards is None else tuple(shards[axis] for axis in axes),
        read=tuple(input_chunks[axis] for axis in axes),
        interpolation=interpolation,
        pyramid=section.levels != 1
        and (section.levels is not None or max(canvas_sides.values()) > COARSEST),
        spread=find_spread(motion, sum(axis in "zyx" for axis in axes)),  # a single plane, too
    )


def _expand_per_axis(
    key: str, setting: int | tuple[int, ...], axes: Sequence[str]
) -> dict[str, int]:
    """Expand a setting that is a number or a list to one number by the name of each axis."""
    values = (setting,) * len(axes) if isinstance(setting, int) else setting
    if len(values) != len(axes):
        raise InputError(f"{key} has {len(values)} values for the axes {', '.join(axes)}")
    return dict(zip(axes, values, strict=True))
