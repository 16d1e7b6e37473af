"""Find the pixels that the settings exclude: masks, shapes, borders, saturation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from steadystack.config import Config, MaskSection
from steadystack.model import Bools, FrameSource, FrameStatus, InputError, ObjectPath, find_box
from steadystack.object_windows import ObjectWindows, pack_mask
from steadystack.readers import MaskLabels, StackSpec, locate_mask
from steadystack.units import convert_to_pixels
from steadystack.validity import (
    ArrayMask,
    CutMask,
    DrawnMask,
    Ellipse,
    Mask,
    Polygon,
    as_mask,
)

# Bits per pixel of cameras that write into a larger type.
CAMERA_BITS = (8, 10, 12, 14, 16)
# Number of frames searched for saturation, and of pixels that must have the largest value.
SEARCHED_FRAMES, FEWEST = 3, 4
# Fewest pixels of an object that is followed.
FEWEST_OBJECT_PIXELS = 64
# Of longer sides of a frame, only this many pixels in the middle are searched.
MOST_SEARCHED_PIXELS = 4096


def locate_masks(
    config: Config, spec: StackSpec, earlier: StackSpec | None = None
) -> tuple[Mask, ...]:
    """Find the masks that the settings give by a path and by shapes; both cover whole frames.

    With `earlier`, a description of the stack when it had fewer frames, digests are those of then.
    """
    if spec.uncut is not None:
        whole, first, then = spec.uncut, spec.first_pixel, earlier or spec
        corner = tuple(first[axis] for axis in whole.spatial)
        masks_of_whole = locate_masks(config, whole, earlier and (earlier.uncut or earlier))
        if then.uncut is None:
            return masks_of_whole
        return tuple(
            CutMask(mask, whole.frame_shape, then.frame_numbers, corner) for mask in masks_of_whole
        )
    section, masks = config.mask, list[Mask]()
    if section.path is not None:
        labels = MaskLabels(section.labels or (), section.invert)
        with naming_key("mask.path"):
            count = None if earlier is None else earlier.frame_count
            sizes = spec.frame_count, spec.frame_shape
            masks.append(locate_mask(section.path, *sizes, labels, earlier=count))
    drawn_mask = make_drawn_mask(section, spec)
    return tuple(masks if drawn_mask is None else [*masks, drawn_mask])


def locate_object(config: Config, spec: StackSpec) -> tuple[Mask, ...]:
    """Find the mask of an object in the frame on which it is drawn; () if there is none."""
    path, whole = config.object_.mask, spec.uncut or spec
    if path is None:
        return ()
    with naming_key("object.mask"):
        mask: Mask = locate_mask(path, whole.frame_count, whole.frame_shape)
        if mask.per_frame:
            raise InputError(f"{path} is one mask per frame: give that of frame solve.anchor alone")
    if spec.uncut is not None:
        corner = tuple(spec.first_pixel[axis] for axis in whole.spatial)
        mask = CutMask(mask, whole.frame_shape, spec.frame_numbers, corner)
    check_object(mask.read(0, spec.frame_shape), path)
    return (mask,)


def convert_object_mask(
    config: Config, mask: Any, source: FrameSource, *others: object
) -> Mask | None:
    """Convert the mask of an object from an array; refuse `others`, which do not go with it.

    Their keys are initial_shifts and external_reference.
    """
    if mask is None:
        return None
    pixels = as_mask(mask)
    try:
        names = "initial_shifts", "external_reference"
        config.object_.check_alone(dict(zip(names, others, strict=True)))
    except ValueError as error:
        raise InputError(str(error)) from error
    if pixels.shape != source.frame_shape:
        raise InputError(
            f"object_mask has the shape {pixels.shape}: it must be that of a frame, "
            f"{source.frame_shape}"
        )
    check_object(pixels, "in memory")
    return ArrayMask(pixels)


def check_object(mask: Bools, name: str) -> None:
    """Refuse a mask of too few pixels to follow; `name` is for the error."""
    if (count := int(np.count_nonzero(mask))) < FEWEST_OBJECT_PIXELS:
        raise InputError(
            f"object.mask {name} has {count} pixels of the object in frames of {mask.shape}: at "
            f"least {FEWEST_OBJECT_PIXELS} are needed; True (nonzero) means the object"
        )


def cut_windows(source: FrameSource, drawn: Mask, path: ObjectPath | None) -> ObjectWindows:
    """Cut frames to windows that follow the path of an object that is drawn on one of them."""
    shape, places = source.frame_shape, () if path is None else path.places
    known = {len(place) for place in places if place is not None}
    if len(places) != source.frame_count or known != {len(shape)}:
        raise InputError(
            f"the path of an object in {len(places)} frames does not fit {source.frame_count} "
            "frames"
        )
    mask = drawn.read(0, shape)
    box = find_box(mask)
    sides = tuple(side.stop - side.start for side in box)
    return ObjectWindows(source, sides, places, pack_mask(mask[box]))


def describe_masks(config: Config) -> str:
    """Name the masks that the settings give by a path and by shapes, for an error."""
    path = f"the mask {config.mask.path}" if config.mask.path is not None else ""
    return " with ".join([cause for cause in (path, "mask.rois" * bool(config.mask.rois)) if cause])


def parse_border(border: int | Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    """The border of the mask per axis, in pixels; refuses one that leaves no pixel."""
    widths = expand_per_axis("mask.border", border, shape)
    if any(2 * width >= size for width, size in zip(widths, shape, strict=True)):
        raise InputError(f"mask.border {border} leaves no pixel of frames of {tuple(shape)} pixels")
    return widths


def expand_per_axis(
    key: str, setting: int | Sequence[int], shape: Sequence[int]
) -> tuple[int, ...]:
    """Expand a setting that is a number or a list to one number per axis of a frame."""
    values = (setting,) * len(shape) if isinstance(setting, int) else tuple(setting)
    if len(values) != len(shape):
        raise InputError(f"{key} has {len(values)} values for {len(shape)} axes")
    return values


@contextmanager
def naming_key(key: str) -> Iterator[None]:
    """Put the key of the settings in front of an InputError that is raised inside."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{key}: {error}") from error


def make_drawn_mask(section: MaskSection, spec: StackSpec) -> DrawnMask | None:
    """Make a mask of the shapes in the settings, in pixels; None if there are none."""
    shapes: list[tuple[Ellipse | Polygon, bool]] = []
    ndim = len(spec.spatial)
    for index, roi in enumerate(section.rois):
        key = f"mask.rois.{index}"
        if roi.ellipse is not None:
            centre, radii = roi.ellipse.centre, roi.ellipse.radii
            if len(centre) > ndim:
                raise InputError(
                    f"{key}.ellipse has {len(centre)} axes, but frames have {ndim}: "
                    f"{', '.join(spec.spatial)}"
                )
            ellipse = Ellipse(
                _convert_lengths(f"{key}.ellipse.centre", centre, spec),
                _convert_lengths(f"{key}.ellipse.radii", radii, spec),
            )
            if min(ellipse.radii) <= 0:
                raise InputError(f"{key}.ellipse.radii {radii} must be more than 0")
            shapes.append((ellipse, roi.valid == "inside"))
        for corners in [roi.polygon] if roi.polygon is not None else []:
            points = [_convert_lengths(f"{key}.polygon", corner, spec) for corner in corners]
            polygon = Polygon(tuple((row, column) for row, column in points))
            shapes.append((polygon, roi.valid == "inside"))
    for index, (shape, _) in enumerate(shapes):
        if not DrawnMask(((shape, True),)).read(0, spec.frame_shape).any():
            raise InputError(
                f"mask.rois.{index} contains no pixel of frames of {spec.frame_shape} pixels: "
                f"coordinates are in the order {', '.join(spec.spatial)}"
            )
    return DrawnMask(tuple(shapes)) if shapes else None


def _convert_lengths(
    key: str, lengths: Sequence[float | str], spec: StackSpec
) -> tuple[float, ...]:
    """Convert lengths along the last axes of a frame to pixels; `key` is for an error."""
    sizes = spec.pixel_size[len(spec.pixel_size) - len(lengths) :]
    return tuple(
        convert_to_pixels(key, length, size, spec.unit)
        for length, size in zip(lengths, sizes, strict=True)
    )


def find_saturation(section: MaskSection, source: FrameSource, spec: StackSpec) -> float | None:
    """Find the value at and above which pixels are saturated; None if the settings do not ask.

    "auto" is the largest value of the data type, or that of a camera of fewer bits, if several
    pixels of the first, the middle and the last frame have it and none has more.
    """
    if section.saturation != "auto":
        return section.saturation
    dtype = np.dtype(spec.dtype)
    if dtype.kind not in "iu":
        raise InputError(
            f"mask.saturation auto needs whole numbers, but the stack holds {dtype}: give the value"
        )
    region = tuple(
        slice(
            max((size - MOST_SEARCHED_PIXELS) // 2, 0),
            min((size + MOST_SEARCHED_PIXELS) // 2, size),
        )
        for size in spec.frame_shape
    )
    frames = np.unique(np.linspace(0, spec.frame_count - 1, SEARCHED_FRAMES).round().astype(int))
    highest, count = -math.inf, 0
    for index in frames:
        frame = source.read(int(index), region)
        if frame.status is FrameStatus.UNREADABLE or not frame.valid.any():
            continue
        values = frame.image[frame.valid]
        maximum = float(values.max())
        if maximum >= highest:
            count = (count if maximum == highest else 0) + int((values == maximum).sum())
            highest = maximum
    if count >= FEWEST and highest in [2.0**bits - 1 for bits in CAMERA_BITS]:
        return highest
    return float(np.iinfo(dtype).max)
