"""Make a coarse series of some averaged frames."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.checks import CoarseFrames
from steadystack.conditioning import Conditioning, condition
from steadystack.config import Config
from steadystack.model import (
    Bools,
    Frame,
    FrameStatus,
    InputError,
    Slices,
)
from steadystack.ncc import CachedMask, choose_block_sides
from steadystack.planning import Series
from steadystack.readers import ImagePart, ValidFrames, read_image
from steadystack.survey import average_boxes
from steadystack.validity import Validity

# Most frames used, and fewest even if they are large; about how many pixels are read in all.
MOST_FRAMES, FEWEST_FRAMES, READ_PIXELS = 40, 10, 2**29
# Longest side of a coarse frame, px, and of a coarse plane of a volume; most planes of that; and
# shortest side that averaging may leave.
LONGEST, LONGEST_OF_VOLUME, MOST_PLANES, SHORTEST = 256, 96, 12, 24
# A box is valid if this share of its pixels is.
VALID_SHARE = 0.25
# Pixels that are averaged at a time.
STRIP_PIXELS = 2**20

STILL = ("median", "estimate")  # camera images estimated from the stack itself


@dataclass(frozen=True)
class Grain:
    """How coarsely a series is looked at.

    Attributes
    ----------
    frames : which of its frames, indices into the series
    steps : pixels of a box along each axis of a frame
    """

    frames: range
    steps: tuple[int, ...]

    def find(self, frame: int) -> int:
        """The index of a frame of the series among those used."""
        return (frame - self.frames.start) // self.frames.step

    def shrink(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The sides of a coarse frame; what fills no box is left out."""
        return tuple(size // step for size, step in zip(shape, self.steps, strict=True))


def choose_grain(frame_count: int, shape: Sequence[int], anchor: int = 0) -> Grain:
    """Choose how coarsely to look at a series, so that it takes seconds; `anchor` is included."""
    *planes, rows, columns = shape
    longest = LONGEST_OF_VOLUME if planes else LONGEST
    fewest_left = max(min(rows, columns) // SHORTEST, 1)
    step = min(math.ceil(max(rows, columns) / longest), fewest_left)
    steps = (*(math.ceil(count / MOST_PLANES) for count in planes), step, step)
    most = int(np.clip(READ_PIXELS // math.prod(shape), FEWEST_FRAMES, MOST_FRAMES))
    every = math.ceil(frame_count / most)
    if every >= frame_count:
        every = max(frame_count - 1, 1)
    return Grain(range(anchor % every, frame_count, every), steps)


def coarsen(
    series: Series,
    config: Config,
    grain: Grain,
    progress: Callable[[int, int], None] | None = None,
) -> Series:
    """Read some frames of a series and average them, into a series of their own, in memory.

    Its pixels are those left valid by the settings, divided by a flat field, less a fixed pattern,
    as logarithm or root, as far as these are set. Camera images to be estimated from the stack are
    skipped.

    Parameters
    ----------
    progress : called with the number of frames read, and to be read in all

    Raises
    ------
    InputError
        If no box of any frame has enough valid pixels.
    """
    source = series.source
    frames = tuple(_read_frames(series, config, grain, progress or (lambda done, total: None)))
    coarse = CoarseFrames(frames, source.axes)
    union = coarse.common_mask((slice(None),) * len(grain.steps))
    assert union is not None
    if not union.any():
        reason = next((f": {frame.reason}" for frame in frames if frame.reason), "")
        raise InputError(
            f"a preview sees nothing in {len(frames)} frames: no box of "
            f"{' x '.join(map(str, grain.steps))} pixels has at least {VALID_SHARE:.0%} valid "
            f"pixels{reason}; `steadystack check` shows what is valid"
        )
    shifts, time, chosen = series.initial_shifts, series.time, grain.frames
    return Series(
        source=ValidFrames(coarse, Validity()),
        pixel_bytes=4,
        chunks=coarse.frame_shape,
        chunk_bytes=0,
        validity=Validity(),
        bounds=CachedMask(union).bounds,
        one_mask=all(np.array_equal(frame.valid, union) for frame in frames),
        pixel_size=tuple(
            size * step for size, step in zip(series.pixel_size, grain.steps, strict=True)
        ),
        unit=series.unit,
        time=None if time is None else (tuple(time[0][frame] for frame in chosen), time[1]),
        digest="preview",
        initial_shifts=None if shifts is None else shifts[chosen] / np.array(grain.steps),
        frame_numbers=series.frame_numbers[chosen.start : chosen.stop : chosen.step],
    )


def _read_frames(
    series: Series, config: Config, grain: Grain, progress: Callable[[int, int], None]
) -> Iterator[Frame]:
    """Read the frames of a series coarsely; one block of all frames before the next block."""
    source, count = series.source, len(grain.frames)
    shape = grain.shrink(source.frame_shape)
    images = np.zeros((count, *shape), np.float32)
    valid = np.zeros((count, *shape), bool)
    seen: list[list[Frame]] = [[] for _ in range(count)]
    blocks = list(_cut(source.frame_shape, series.chunks, grain))
    conditioning = _choose_conditioning(config)
    total = count * len(blocks)
    for number, (region, box) in enumerate(blocks):
        flat_field, still = _read_stills(series, config, region)
        for index, frame in enumerate(grain.frames):
            read = source.read(frame, region)
            image, known = condition(read.image, read.valid, conditioning, flat_field, still)
            images[index][box], valid[index][box] = _average(image, known, grain.steps)
            seen[index].append(Frame(np.empty(0), np.empty(0, bool), read.status, read.reason))
            progress((number * count + index + 1) * count // total, count)
    for image, known, parts in zip(images, valid, seen, strict=True):
        bad = next((part for part in parts if part.status is FrameStatus.UNREADABLE), None)
        if bad is not None:
            yield Frame(image, np.zeros(shape, bool), bad.status, bad.reason)
            continue
        statuses = {part.status for part in parts}
        yield Frame(image, known, statuses.pop() if len(statuses) == 1 else FrameStatus.INCOMPLETE)


def _cut(
    shape: Sequence[int], chunks: Sequence[int], grain: Grain
) -> Iterator[tuple[Slices, Slices]]:
    """Cut a frame into blocks of whole boxes: their place in it, and in the coarse frame."""
    sides = [
        math.ceil(side / step)
        for side, step in zip(choose_block_sides(shape, chunks), grain.steps, strict=True)
    ]
    along = [
        [slice(first, min(first + side, size)) for first in range(0, size, side)]
        for size, side in zip(grain.shrink(shape), sides, strict=True)
    ]
    for box in product(*along):
        yield (
            tuple(
                slice(side.start * step, side.stop * step)
                for side, step in zip(box, grain.steps, strict=True)
            ),
            box,
        )


def _average(
    image: NDArray[Any], valid: Bools, steps: Sequence[int]
) -> tuple[NDArray[np.float32], Bools]:
    """Average a block of a frame strip by strip, to save memory."""
    boxes = max(STRIP_PIXELS // (steps[0] * math.prod(image.shape[1:])), 1) * steps[0]
    strips = [
        average_boxes(
            image[first : first + boxes], valid[first : first + boxes], steps, VALID_SHARE
        )
        for first in range(0, len(image), boxes)
    ]
    means, known = (np.concatenate(parts) for parts in zip(*strips, strict=True))
    return means.astype(np.float32), known


def _choose_conditioning(config: Config) -> Conditioning:
    """Choose the steps done before averaging: those without a filter, in the order of a run.

    After a flat field estimated from the stack, they are applied to the coarse frames instead.
    """
    section = config.preprocess
    if section.flat_field == STILL[0]:
        return Conditioning()
    return Conditioning(logarithm=section.logarithm, square_root=section.square_root)


def _read_stills(
    series: Series, config: Config, region: Slices
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """Read flat field and fixed pattern in a region of a frame, as far as they are images."""
    section, shape = config.preprocess, series.source.frame_shape

    def read(path: str | None) -> NDArray[np.float64] | None:
        where = None if path in STILL else series.locate_image(path)
        if isinstance(where, ImagePart):
            return where.read(region)
        return None if where is None else read_image(where, shape, region)

    behind_median = section.flat_field == STILL[0]
    return read(section.flat_field), None if behind_median else read(section.fixed_pattern)
