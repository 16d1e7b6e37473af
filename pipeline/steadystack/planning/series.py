"""The stack, its mask and what belongs to them, opened; no frame is read."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from steadystack.config import Config, MaskSection
from steadystack.durable import paths_overlap
from steadystack.model import FrameSource, FrameStatus, InputError, Slices
from steadystack.ncc import CachedMask
from steadystack.planning.initial_shifts import read_initial_shifts
from steadystack.readers import (
    ArrayFrames,
    MaskLabels,
    StackFrames,
    StackSpec,
    ValidFrames,
    digest_content,
    digest_pairs,
    locate_mask,
    locate_stack,
    read_image,
    read_pair_list,
)
from steadystack.units import convert_to_pixels
from steadystack.validity import DrawnMask, Ellipse, Mask, Polygon, Validity


@dataclass(frozen=True, eq=False)
class Series:
    """A series of frames and what its store tells of it."""

    source: FrameSource
    pixel_bytes: int
    chunks: tuple[int, ...]  # of a frame, in pixels
    chunk_bytes: int  # that are decoded at a time
    validity: Validity  # what takes pixels away
    bounds: Slices  # the part outside of which no pixel of any frame is valid
    one_mask: bool  # whether all masks are alike as far as mask and type tell; chunks may lack
    pixel_size: tuple[float, ...]
    unit: str
    time: tuple[tuple[float, ...], str] | None
    digest: str
    initial_shifts: NDArray[np.float64] | None = None  # shifts (frames, axes) known before, px


def open_series(config: Config) -> tuple[Series, StackSpec]:
    """Find the stack and its mask; reads no frame, but for `mask.saturation: auto`."""
    spec = locate_stack(**config.input.model_dump())
    check_frames(spec)
    _check_outputs(config)
    source: FrameSource = StackFrames(spec)
    digests = [spec.digest]
    saturation = find_saturation(config.mask, source, spec)
    if config.mask.saturation == "auto":
        digests.append(str(saturation))
    masks = _locate_masks(config, spec)
    digests += [mask.digest for mask in masks]
    validity = Validity(
        masks=masks,
        border=_parse_border(config.mask.border, spec.frame_shape),
        invalid_values=config.mask.invalid_values,
        valid_range=config.mask.valid_range,
        saturation=saturation,
    )
    static = [mask.read(0, spec.frame_shape) for mask in masks if not mask.per_frame]
    bounds = _select_whole(spec.frame_shape)
    if static:
        pixels = CachedMask(np.logical_and.reduce(static))
        bounds = pixels.bounds
        if not pixels.count:
            raise InputError(
                f"{_describe_masks(config)} has no valid pixel: True (nonzero) means valid, on the "
                "valid side of every ROI; mask.invert swaps valid and invalid"
            )
    digests += digest_camera_images(config, spec.frame_shape)
    if config.pairs.path is not None:
        with naming_key("pairs.path"):
            digests.append(digest_pairs(read_pair_list(config.pairs.path)))
    with naming_key("initial_shifts"):
        initial_shifts = read_initial_shifts(
            config, spec.spatial, spec.frame_count, spec.pixel_size, spec.unit
        )
    if initial_shifts is not None:
        digests.append(digest_content(initial_shifts))
    chunks = [spec.chunks[spec.axes.index(axis)] for axis in spec.spatial]
    series = Series(
        source=ValidFrames(source, validity),
        pixel_bytes=np.dtype(spec.dtype).itemsize,
        chunks=tuple(chunks),
        chunk_bytes=math.prod(spec.chunks) * np.dtype(spec.dtype).itemsize,
        validity=validity,
        bounds=bounds,
        one_mask=len(static) == len(masks) and np.dtype(spec.dtype).kind != "f",
        pixel_size=spec.pixel_size,
        unit=spec.unit,
        time=spec.time,
        digest="-".join(digests),
        initial_shifts=initial_shifts,
    )
    return series, spec


def check_frames(spec: StackSpec) -> None:
    """Refuse a stack of one frame, which may be what a pattern gave that was meant to give more."""
    if spec.frame_count < 2:
        raise InputError(f"{spec.path} has one frame ({spec.kind}): a time-lapse needs at least 2")


def digest_camera_images(config: Config, frame_shape: tuple[int, ...]) -> list[str]:
    """What the images hold that the settings name to divide by or to subtract.

    Raises InputError with the key where there is no such image.
    """
    given, digests = config.preprocess, []
    for key, path, made in (
        ("flat_field", given.flat_field, "median"),
        ("fixed_pattern", given.fixed_pattern, "estimate"),
    ):
        if path is not None and path != made:
            near = difflib.get_close_matches(path.lower(), [made])
            hint = ", did you mean that?" * bool(near)
            with naming_key(f"preprocess.{key} (an image, or '{made}'{hint})"):
                digests.append(digest_content(read_image(path, frame_shape)))
    return digests


def _locate_masks(config: Config, spec: StackSpec) -> tuple[Mask, ...]:
    """The masks that the settings give by a path and by shapes."""
    given, masks = config.mask, list[Mask]()
    if given.path is not None:
        sense = MaskLabels(given.labels or (), given.invert)
        with naming_key("mask.path"):
            masks.append(locate_mask(given.path, spec.frame_count, spec.frame_shape, sense))
    drawn = make_drawn_mask(given, spec)
    return tuple(masks if drawn is None else [*masks, drawn])


def _describe_masks(config: Config) -> str:
    """The causes that settings give by a path and by shapes, for an error."""
    path = f"the mask {config.mask.path}" if config.mask.path is not None else ""
    return " with ".join([part for part in (path, "mask.rois" * bool(config.mask.rois)) if part])


def make_series(source: ArrayFrames, initial_shifts: NDArray[np.float64] | None = None) -> Series:
    """A series that is an array, or a lazy one."""
    shape, mask = source.frame_shape, source.mask
    static = mask is not None and not mask.per_frame
    if mask is not None and not mask.values.any():
        raise InputError("the mask has no valid pixel: True (nonzero) means valid")
    certain = source.stack.dtype.kind != "f" and "valid" not in source.stack.coords
    pixel_size, unit = source.pixel_size
    chunks = source.stack.chunksizes
    return Series(
        source=source,
        pixel_bytes=source.stack.dtype.itemsize,
        chunks=tuple(max(chunks.get(axis, (1,))) for axis in source.axes),
        chunk_bytes=0,
        validity=source.validity,
        bounds=CachedMask(mask.values).bounds
        if mask is not None and static
        else _select_whole(shape),
        one_mask=(mask is None or static) and certain,
        pixel_size=pixel_size,
        unit=unit,
        time=source.time,
        digest="memory",
        initial_shifts=initial_shifts,
    )


def _parse_border(border: int | Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    """`mask.border` per axis, checked to leave something."""
    widths = expand_per_axis("mask.border", border, shape)
    if any(2 * width >= size for width, size in zip(widths, shape, strict=True)):
        raise InputError(f"mask.border {border} leaves no pixel of frames of {tuple(shape)} pixels")
    return widths


def expand_per_axis(key: str, given: int | Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    """A setting that is a number or a list, as one number per axis of a frame."""
    values = (given,) * len(shape) if isinstance(given, int) else tuple(given)
    if len(values) != len(shape):
        raise InputError(f"{key} has {len(values)} values for {len(shape)} axes")
    return values


def _select_whole(shape: Sequence[int]) -> Slices:
    return tuple(slice(0, size) for size in shape)


@contextmanager
def naming_key(key: str) -> Iterator[None]:
    """What is wrong with a path in here names the key of the settings that it stands under."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{key}: {error}") from error


def _check_outputs(config: Config) -> None:
    """Refuse outputs that would lie on, in or around an input."""
    given = (
        config.input.one_path,
        config.mask.path,
        config.preprocess.flat_field,
        config.preprocess.fixed_pattern,
        config.initial_shifts.path,
        config.correct.stack,
    )
    outputs = (config.output.shifts, config.output.report, config.output.corrected)
    for source in filter(None, given):
        for target in filter(None, outputs):
            if paths_overlap(source, target):
                raise InputError(
                    f"the output {target} and the input {source} overlap: neither "
                    "may lie inside the other"
                )


# Bits per pixel of cameras that write into a larger type.
CAMERA_BITS = (8, 10, 12, 14, 16)
# Frames that are looked at for where they stop, and how many pixels must stop there.
ASKED, FEWEST = 3, 4
# Of larger frames the middle is looked at.
MOST_LOOKED_AT = 4096


def make_drawn_mask(section: MaskSection, spec: StackSpec) -> DrawnMask | None:
    """The shapes of the settings as a mask in pixels; None if there are none."""
    shapes: list[tuple[Ellipse | Polygon, bool]] = []
    ndim = len(spec.spatial)
    for index, given in enumerate(section.rois):
        key = f"mask.rois.{index}"
        if given.ellipse is not None:
            centre, radii = given.ellipse.centre, given.ellipse.radii
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
            shapes.append((ellipse, given.valid == "inside"))
        for corners in [given.polygon] if given.polygon is not None else []:
            points = [_convert_lengths(f"{key}.polygon", corner, spec) for corner in corners]
            polygon = Polygon(tuple((row, column) for row, column in points))
            shapes.append((polygon, given.valid == "inside"))
    for index, (shape, _) in enumerate(shapes):
        if not DrawnMask(((shape, True),)).read(0, spec.frame_shape).any():
            raise InputError(
                f"mask.rois.{index} contains no pixel of frames of {spec.frame_shape} pixels: "
                f"coordinates are in the order {', '.join(spec.spatial)}"
            )
    return DrawnMask(tuple(shapes)) if shapes else None


def _convert_lengths(key: str, given: Sequence[float | str], spec: StackSpec) -> tuple[float, ...]:
    """Lengths along the last axes of a frame, in pixels."""
    sizes = spec.pixel_size[len(spec.pixel_size) - len(given) :]
    return tuple(
        convert_to_pixels(key, length, size, spec.unit)
        for length, size in zip(given, sizes, strict=True)
    )


def find_saturation(section: MaskSection, source: FrameSource, spec: StackSpec) -> float | None:
    """The value from which on pixels are saturated; None if that is not asked for.

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
