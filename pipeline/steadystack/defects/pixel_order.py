"""Sort values pixel by pixel, by exchanging whole rows instead of sorting each pixel's values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

# Values of an image processed at a time: some dozens of such rows fit the cache.
CHUNK = 2**14


def average_middle(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean of the middle half of the values of each pixel of frames (frames, *axes)."""
    quarter, pixels = len(frames) // 4, frames.reshape(len(frames), -1)
    mean = np.empty(pixels.shape[1], np.float32)
    for chunk in _cut_into_chunks(pixels.shape[1], CHUNK):
        middle = put_in_order(pixels[:, chunk])[quarter : len(frames) - quarter]
        mean[chunk] = np.stack(middle).mean(axis=0)
    return mean.reshape(frames.shape[1:])


def find_medians(image: NDArray[np.float32], sides: Sequence[int]) -> NDArray[np.float32]:
    """The median of a box of these odd sides around every pixel; mirrored at the edges.

    Like `scipy.ndimage.median_filter`, but much faster; not for NaN.
    """
    if sides[0] == 1:  # planes of a volume, one by one
        return np.stack([find_medians(plane, sides[1:]) for plane in image])
    wide = np.pad(image, [(side // 2, side // 2) for side in sides], mode="symmetric")
    medians, lines = np.empty_like(image), max(CHUNK // max(image[0].size, 1), 1)
    for chunk in _cut_into_chunks(len(image), lines):
        count = min(chunk.stop, len(image)) - chunk.start
        sizes = (count, *image.shape[1:])
        boxes = [
            wide[tuple(slice(at, at + size) for at, size in zip(begin, sizes, strict=True))]
            for begin in product(
                range(chunk.start, chunk.start + sides[0]), *(range(side) for side in sides[1:])
            )
        ]
        medians[chunk] = put_in_order(boxes)[len(boxes) // 2]
    return medians


def put_in_order(
    values: Sequence[NDArray[np.float32]] | NDArray[np.float32],
) -> list[NDArray[np.float32]]:
    """Sort arrays of one shape at every place: the lowest values go to the first array."""
    ordered = list(values)
    for one, other in list_exchanges(len(ordered)):
        low = np.minimum(ordered[one], ordered[other])
        ordered[other] = np.maximum(ordered[one], ordered[other])
        ordered[one] = low
    return ordered


@lru_cache(maxsize=8)
def list_exchanges(count: int) -> tuple[tuple[int, int], ...]:
    """List the pairs of so many values to compare and exchange, in order, to sort them.

    Batcher's merge exchange (Knuth, The Art of Computer Programming, volume 3, 5.2.2, algorithm M).
    """
    exchanges, highest = list[tuple[int, int]](), 1 << max((count - 1).bit_length() - 1, 0)
    width = highest
    while width:
        merged, rest, apart = highest, 0, width
        while True:
            exchanges += [(at, at + apart) for at in range(count - apart) if at & width == rest]
            if merged == width:
                break
            apart, merged, rest = merged - width, merged // 2, width
        width //= 2
    return tuple(exchanges)


def _cut_into_chunks(size: int, chunk: int) -> Iterator[slice]:
    for begin in range(0, size, chunk):
        yield slice(begin, begin + chunk)
