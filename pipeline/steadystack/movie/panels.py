"""Make the pictures of a frame, as recorded and corrected, small enough for a movie."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from steadystack.model import Bools, FrameSource, Slices
from steadystack.warp import AnyMotion, LocalField, find_middle, warp

# Largest side of a picture, pixels (larger frames are binned), and the smallest, about (smaller
# ones are enlarged).
LARGEST, SMALLEST = 512, 256
PLANES = 32  # most planes of a binned volume
READ_PIXELS = 2**24  # read at a time, at some 10 bytes each
# Memory of a task, bytes: per pixel read, in addition to its value twice; per binned pixel held,
# and while it is moved (a volume, a frame by a shift, a frame by other motion); and per pixel of
# the part of a volume that is moved at a time.
READ_BYTES, BINNED_BYTES, MOVED_BYTES = 4, 9, {"volume": 35, "shift": 76, "more": 120}
BLOCK_BYTES, BLOCK_PIXELS = 102, 2**18
DARKEST = 24  # grey value of the darkest known pixels; unknown ones are 0


@dataclass(frozen=True, eq=False)
class PanelWork:
    """The input of the pictures of all frames; picklable.

    Attributes
    ----------
    source : the frames
    shift : (frames, axes) pixels; NaN: the corrected panel of the frame is black
    linear : (frames, axes, axes) motion of frames about their middle, or local shifts; None: they
        are only shifted
    bins : pixels of a frame that are averaged to one, along each axis
    enlarged : pixels of the picture per binned pixel, along each axis
    interpolation : how frames are moved, see `warp.warp`
    """

    source: FrameSource
    shift: NDArray[np.float64]
    linear: AnyMotion | None
    bins: tuple[int, ...]
    enlarged: int
    interpolation: str

    @property
    def binned_shape(self) -> tuple[int, ...]:
        """The shape of a binned frame; incomplete bins at the end are left out."""
        sides = zip(self.source.frame_shape, self.bins, strict=True)
        return tuple(size // step for size, step in sides)

    @property
    def panel_shape(self) -> tuple[int, int]:
        """The shape of a picture (y, x)."""
        height, width = (size * self.enlarged for size in self.binned_shape[-2:])
        return height, width


def estimate_panel_bytes(
    shape: tuple[int, ...], pixel_bytes: int, chunk_bytes: int, *, only_shifts: bool = True
) -> int:
    """Estimate the most memory that drawing a frame ([z,] y, x) needs, bytes.

    Parameters
    ----------
    pixel_bytes : of a pixel as it is read
    chunk_bytes : decoded at a time
    only_shifts : whether frames have no linear motion or local shifts
    """
    bins = choose_bins(shape)
    binned = [size // step for size, step in zip(shape, bins, strict=True)]
    row = bins[0] * math.prod(shape[1:])
    read = min(max(READ_PIXELS // row, 1) * row, math.prod(shape))
    kind = "volume" if len(shape) > 2 else "shift" if only_shifts else "more"
    block = BLOCK_BYTES * min(math.prod(binned), BLOCK_PIXELS) if kind == "volume" else 0
    pixels, plane = math.prod(binned), math.prod(binned[-2:]) * choose_enlargement(binned) ** 2
    return chunk_bytes + max(
        BINNED_BYTES * pixels + (2 * pixel_bytes + READ_BYTES) * read,
        MOVED_BYTES[kind] * pixels + block + 2 * plane,
    )


def choose_bins(shape: Sequence[int]) -> tuple[int, ...]:
    """Choose how many pixels are averaged to one along each axis of a frame ([z,] y, x)."""
    step = -(-max(shape[-2:]) // LARGEST)
    deep = tuple(-(-size // PLANES) for size in shape[:-2])
    return (*deep, *(min(step, size) for size in shape[-2:]))


def choose_enlargement(shape: Sequence[int]) -> int:
    """Choose how many times to enlarge small pictures, so that titles fit around them."""
    return max(round(SMALLEST / max(shape[-2:])), 1)


def sample_values(frame: int, work: PanelWork) -> NDArray[np.float32]:
    """Sample the known values of the picture of a frame as recorded (values,)."""
    picture, known = _project(*_read_binned(frame, work))
    return picture[known].astype(np.float32)


def draw_panels(frame: int, work: PanelWork, low: float, high: float) -> NDArray[np.uint8]:
    """Draw a frame as recorded and corrected, (2, y, x) in greys; black where not known.

    Values up to `low` are nearly black, those from `high` on white. Volumes are shown as their mean
    along z.
    """
    image, valid = _read_binned(frame, work)
    shift, linear = _scale_motion(frame, work)
    pictures = [_project(image, valid)]
    if np.isfinite(shift).all():
        pictures.append(_project(*warp(image, valid, linear, shift, work.interpolation)))
    else:
        pictures.append((pictures[0][0], np.zeros_like(pictures[0][1])))
    scale = (255 - DARKEST) / (high - low if high > low else 1.0)
    drawn = [
        np.where(known, np.clip(DARKEST + scale * (picture - low), DARKEST, 255), 0)
        for picture, known in pictures
    ]
    whole: NDArray[np.uint8] = np.rint(np.stack(drawn)).astype(np.uint8)
    large: NDArray[np.uint8] = whole.repeat(work.enlarged, axis=1).repeat(work.enlarged, axis=2)
    return large


def _read_binned(frame: int, work: PanelWork) -> tuple[NDArray[np.float64], Bools]:
    """Read a frame binned to means of valid pixels; known if at least half of a bin is valid."""
    image, known = np.zeros(work.binned_shape), np.zeros(work.binned_shape, bool)
    ndim = image.ndim
    for part in _cut(work):
        region = tuple(
            slice(side.start * step, side.stop * step)
            for side, step in zip(part, work.bins, strict=True)
        )
        content = work.source.read(frame, region)
        valid = content.valid & np.isfinite(content.image)
        bins = [
            size
            for side, step in zip(part, work.bins, strict=True)
            for size in (side.stop - side.start, step)
        ]
        inside = tuple(range(1, 2 * ndim, 2))
        values = np.where(valid, content.image, 0).reshape(bins)
        count = valid.reshape(bins).sum(axis=inside)
        total = values.sum(axis=inside, dtype=np.float64)
        image[part] = total / np.maximum(count, 1)
        known[part] = 2 * count >= math.prod(work.bins)
    image[~known] = 0
    return image, known


def _cut(work: PanelWork) -> Iterator[Slices]:
    """Cut a binned frame into slabs that are read one at a time."""
    first, *others = work.binned_shape
    rest = tuple(slice(0, size) for size in others)
    pixels = work.bins[0] * math.prod(work.source.frame_shape[1:])
    step = max(READ_PIXELS // pixels, 1)
    for start in range(0, first, step):
        yield (slice(start, min(start + step, first)), *rest)


def _scale_motion(frame: int, work: PanelWork) -> tuple[NDArray[np.float64], AnyMotion | None]:
    """Scale a frame's motion to binned pixels: shift (axes,), and linear motion or local shifts."""
    bins, shift = np.array(work.bins, np.float64), work.shift[frame]
    if work.linear is None:
        return shift / bins, None
    if isinstance(work.linear, LocalField):
        nodes = tuple(
            (along - (step - 1) / 2) / step
            for along, step in zip(work.linear.nodes, bins, strict=True)
        )
        return shift / bins, LocalField(nodes, work.linear.values[frame] / bins)
    # the middle of the binned frame, in unbinned pixels: incomplete bins are left out of it
    middle = bins * find_middle(work.binned_shape) + (bins - 1) / 2
    off = middle - find_middle(work.source.frame_shape)
    linear = work.linear[frame]
    moved = shift + (linear - np.eye(len(bins))) @ off
    return moved / bins, linear * bins / bins[:, None]


def _project(image: NDArray[np.floating], valid: Bools) -> tuple[NDArray[np.float64], Bools]:
    """Average the known pixels of a volume along z, and find where there are any; 2-D unchanged."""
    if image.ndim == 2:
        return image.astype(np.float64), valid
    count = valid.sum(axis=0)
    total = np.where(valid, image, 0).sum(axis=0, dtype=np.float64)
    return total / np.maximum(count, 1), count > 0
