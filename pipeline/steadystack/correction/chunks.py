"""How a corrected stack is cut: levels, chunks, and regions that one task writes by itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from steadystack.model import InputError, Slices
from steadystack.outputs import VALID, Level
from steadystack.warp import REACH

# The coarsest level is the first whose sides are all at most this long, pixels.
COARSEST = 512
# A task takes on several small frames up to this size, but leaves at least so many tasks.
BATCH_BYTES, LEAST_TASKS = 32 * 2**20, 64
# Beside the pixels: blocks that are being interpolated.
WORK_BYTES = 24 * 2**20
# Chunks that are encoded or decoded at a time.
IN_HAND = 10


@dataclass(frozen=True)
class Regions:
    """A stack cut into regions that are numbered; everything per array axis."""

    shape: tuple[int, ...]
    sides: tuple[int, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        return tuple(-(-size // side) for size, side in zip(self.shape, self.sides, strict=True))

    def __len__(self) -> int:
        return math.prod(self.counts)

    def at(self, number: int) -> Slices:
        """The slices of level 0 that are a region."""
        places = np.unravel_index(number, self.counts)
        return tuple(
            slice(int(place) * side, min((int(place) + 1) * side, size))
            for place, side, size in zip(places, self.sides, self.shape, strict=True)
        )


def scale_to_level(region: Slices, level: Level) -> Slices:
    """The same region on a coarser level."""
    return tuple(
        slice(side.start // factor, -(-side.stop // factor))
        for side, factor in zip(region, level.factors, strict=True)
    )


@dataclass(frozen=True)
class Cut:
    """What the layout follows from; everything per array axis, which are named `axes`.

    `read` are the chunks of the input; `pyramid` whether there is more than one level.
    """

    axes: tuple[str, ...]
    shape: tuple[int, ...]
    itemsize: int
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None
    read: tuple[int, ...]
    interpolation: str
    pyramid: bool

    @property
    def unit(self) -> tuple[int, ...]:
        """The smallest piece that is written at once."""
        return self.shards or self.chunks

    def spatial(self, values: Sequence[int]) -> list[int]:
        return [v for axis, v in zip(self.axes, values, strict=True) if axis in "zyx"]

    def bytes_for(self, sides: Sequence[int]) -> int:
        """Memory that a task needs for a region with these sides, an estimate from above."""
        pixels = math.prod(sides)
        reach = REACH[self.interpolation] + 1
        window = math.prod(
            -(-side // chunk) * chunk + (2 * reach if chunk < size else 0)
            for side, chunk, size in zip(
                self.spatial(sides), self.spatial(self.read), self.spatial(self.shape), strict=True
            )
        )
        at_a_time = math.prod(
            min(side, chunk)
            for axis, side, chunk in zip(self.axes, sides, self.read, strict=True)
            if axis in "tc"
        )
        made = pixels * (2 * self.itemsize + 1)  # pixels, which are known, what is encoded of them
        # Means in float32 and their parts, and what the allocator keeps of the level before.
        coarser = pixels // 4 * (2 * self.itemsize + 20) if self.pyramid else 0
        read = at_a_time * window * (self.itemsize + 4)  # and what is valid of it
        coded = IN_HAND * self.itemsize * (math.prod(self.read) + math.prod(self.chunks))
        if self.shards is not None:
            coded += 2 * self.itemsize * math.prod(self.shards)
        return made + coarser + read + coded + WORK_BYTES


def cut_into_regions(cut: Cut, memory: int) -> Regions:
    """Regions as large as the memory allows: of whole chunks, and whole frames if they fit."""
    shape, sides = cut.shape, [min(a, b) for a, b in zip(cut.unit, cut.shape, strict=True)]
    least = cut.bytes_for(sides)
    if least > memory:
        raise InputError(
            f"one {'shard' if cut.shards else 'chunk'} of {tuple(cut.unit)} needs "
            f"{math.ceil(least / 2**20)} MiB: make correct.chunks or correct.shards smaller, or "
            f"raise cluster.task_memory above {memory // 2**20} MiB"
        )
    growing = [i for i, axis in enumerate(cut.axes) if axis in "zyx"]
    while growing := [i for i in growing if sides[i] < shape[i]]:
        axis = max(growing, key=lambda i: shape[i] / sides[i])
        larger = sides.copy()
        larger[axis] = min(2 * sides[axis], shape[axis])
        if cut.bytes_for(larger) > memory:
            growing.remove(axis)
            if not growing:
                break
            continue
        sides = larger
    return Regions(shape, _choose_several_frames(cut, sides, memory))


def _choose_several_frames(cut: Cut, sides: Sequence[int], memory: int) -> tuple[int, ...]:
    """Small whole frames, several at a time: a task has its own costs."""
    time = cut.axes.index("t")
    whole = all(a == b for a, b in zip(cut.spatial(sides), cut.spatial(cut.shape), strict=True))
    several = list(sides)
    if whole:
        one = math.prod(sides) * cut.itemsize
        tasks = Regions(cut.shape, tuple(sides))
        times = max(min(BATCH_BYTES // one, len(tasks) // LEAST_TASKS), 1)
        several[time] = min(sides[time] * times, cut.shape[time])
        while times > 1 and cut.bytes_for(several) > memory:
            times -= 1
            several[time] = sides[time] * times
    return tuple(several)


def make_levels(cut: Cut, region: Regions, wanted: int | None) -> tuple[Level, ...]:
    """The levels of a pyramid whose chunks all lie within one region.

    Every level halves the axes that are longer than half of the longest. `wanted` None: down to
    sides of 512 pixels.
    """
    found = [
        Level(
            "0", cut.shape, _clip(cut.chunks, cut.shape), _choose_shards(cut), (1,) * len(cut.shape)
        )
    ]
    while len(found) < wanted if wanted else max(cut.spatial(found[-1].shape)) > COARSEST:
        before = found[-1]
        longest = max(cut.spatial(before.shape))
        factors = tuple(
            factor * (2 if axis in "zyx" and 2 * size > longest > 1 else 1)
            for axis, size, factor in zip(cut.axes, before.shape, before.factors, strict=True)
        )
        fits = all(
            side == size or side % factor == 0
            for side, size, factor in zip(region.sides, cut.shape, factors, strict=True)
        )
        if factors == before.factors or not fits:
            if wanted is None:
                break
            raise InputError(
                f"correct.levels {wanted}: {cut.shape} pixels in tasks of {region.sides} give "
                f"only {len(found)} levels: lower it, or raise cluster.task_memory"
            )
        found.append(_coarsen(cut, region, len(found), factors))
    return tuple(found)


def _coarsen(cut: Cut, region: Regions, number: int, factors: tuple[int, ...]) -> Level:
    shape = tuple(-(-size // factor) for size, factor in zip(cut.shape, factors, strict=True))
    chunks, shards = [], []
    for size, full, side, factor, chunk, unit in zip(
        shape, cut.shape, region.sides, factors, cut.chunks, cut.unit, strict=True
    ):
        if side == full:
            chunks.append(min(chunk, size))
            most = -(-size // chunks[-1])
        else:
            chunks.append(math.gcd(side // factor, chunk))
            most = side // factor // chunks[-1]
        times = min(max(unit // chunks[-1], 1), most)
        shards.append(chunks[-1] * (times if side == full else math.gcd(times, most)))
    return Level(str(number), shape, tuple(chunks), tuple(shards) if cut.shards else None, factors)


def _choose_shards(cut: Cut) -> tuple[int, ...] | None:
    if cut.shards is None:
        return None
    chunks = _clip(cut.chunks, cut.shape)
    return tuple(
        min(shard // chunk, -(-size // chunk)) * chunk
        for shard, chunk, size in zip(cut.shards, chunks, cut.shape, strict=True)
    )


def make_valid_level(cut: Cut, region: Regions) -> Level:
    """The array of booleans: chunks as those of the image, but all frames of a task in one."""
    chunks = tuple(
        side if axis == "t" else chunk
        for axis, side, chunk in zip(
            cut.axes, region.sides, _clip(cut.chunks, cut.shape), strict=True
        )
    )
    return replace(Level(VALID, cut.shape, chunks, None, (1,) * len(cut.shape)))


def _clip(sizes: Sequence[int], limits: Sequence[int]) -> tuple[int, ...]:
    return tuple(min(size, limit) for size, limit in zip(sizes, limits, strict=True))
