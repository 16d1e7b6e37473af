"""From the mask section of the settings to masks, and from frames to what saturates in them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from steadystack.config import MaskSection
from steadystack.model import FrameSource, FrameStatus, InputError
from steadystack.shapes import DrawnMask, Ellipse, Polygon
from steadystack.store.stacks import StackSpec
from steadystack.units import in_pixels

# Bits per pixel of cameras that write into a larger type.
CAMERA_BITS = (8, 10, 12, 14, 16)
# Frames that are looked at for where they stop, and how many pixels must stop there.
ASKED, FEWEST = 3, 4
# Of larger frames the middle is looked at.
MOST_LOOKED_AT = 4096


def drawn_mask(section: MaskSection, spec: StackSpec) -> DrawnMask | None:
    """The shapes of the settings as a mask in pixels; None if there are none."""
    shapes: list[tuple[Ellipse | Polygon, bool]] = []
    ndim = len(spec.spatial)
    for index, given in enumerate(section.shapes):
        key = f"mask.shapes.{index}"
        if given.ellipse is not None:
            centre, radii = given.ellipse.centre, given.ellipse.radii
            if len(centre) > ndim:
                raise InputError(
                    f"{key}.ellipse has {len(centre)} axes, and frames have {ndim}: "
                    f"{', '.join(spec.spatial)}"
                )
            ellipse = Ellipse(
                _lengths(f"{key}.ellipse.centre", centre, spec),
                _lengths(f"{key}.ellipse.radii", radii, spec),
            )
            if min(ellipse.radii) <= 0:
                raise InputError(f"{key}.ellipse.radii {radii} must be more than 0")
            shapes.append((ellipse, given.valid == "inside"))
        for corners in [given.polygon] if given.polygon is not None else []:
            points = [_lengths(f"{key}.polygon", corner, spec) for corner in corners]
            polygon = Polygon(tuple((row, column) for row, column in points))
            shapes.append((polygon, given.valid == "inside"))
    for index, (shape, _) in enumerate(shapes):
        if not DrawnMask(((shape, True),)).read(0, spec.frame_shape).any():
            raise InputError(
                f"mask.shapes.{index} holds no pixel of frames of {spec.frame_shape} pixels: "
                f"numbers go along {', '.join(spec.spatial)}"
            )
    return DrawnMask(tuple(shapes)) if shapes else None


def _lengths(key: str, given: Sequence[float | str], spec: StackSpec) -> tuple[float, ...]:
    """Lengths along the last axes of a frame, in pixels."""
    sizes = spec.pixel_size[len(spec.pixel_size) - len(given) :]
    return tuple(
        in_pixels(key, length, size, spec.unit) for length, size in zip(given, sizes, strict=True)
    )


def saturation_of(section: MaskSection, source: FrameSource, spec: StackSpec) -> float | None:
    """The value from which on pixels are saturated; None if that is not asked for.

    "auto" is the largest value of the data type, or that of a camera of fewer bits, if several
    pixels of the first, the middle and the last frame have it and none has more.
    """
    if section.saturation != "auto":
        return section.saturation
    dtype = np.dtype(spec.dtype)
    if dtype.kind not in "iu":
        raise InputError(
            f"mask.saturation auto is for whole numbers, and the stack holds {dtype}: give the "
            "value"
        )
    part = tuple(
        slice(max((size - MOST_LOOKED_AT) // 2, 0), min((size + MOST_LOOKED_AT) // 2, size))
        for size in spec.frame_shape
    )
    frames = np.unique(np.linspace(0, spec.frame_count - 1, ASKED).round().astype(int))
    highest, count = -math.inf, 0
    for index in frames:
        frame = source.read(int(index), part)
        if frame.status is FrameStatus.UNREADABLE or not frame.valid.any():
            continue
        values = frame.image[frame.valid]
        top = float(values.max())
        if top >= highest:
            count = (count if top == highest else 0) + int((values == top).sum())
            highest = top
    if count >= FEWEST and highest in [2.0**bits - 1 for bits in CAMERA_BITS]:
        return highest
    return float(np.iinfo(dtype).max)
