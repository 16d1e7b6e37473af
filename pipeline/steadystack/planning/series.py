"""Open a stack, its masks and what belongs to them, without reading its frames."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from steadystack.config import Config, MaskSection
from steadystack.csv_files import digest_pairs, read_pair_list
from steadystack.model import FrameSource, FrameStatus, InputError, Slices
from steadystack.ncc import CachedMask
from steadystack.planning.initial_shifts import read_initial_shifts, read_mean_weights
from steadystack.planning.paths import check_paths
from steadystack.readers import (
    ArrayFrames,
    MaskLabels,
    StackFrames,
    StackSpec,
    ValidFrames,
    digest_content,
    locate_mask,
    locate_stack,
    read_image,
)
from steadystack.units import convert_to_pixels
from steadystack.validity import BoxMask, DefectMask, DrawnMask, Ellipse, Mask, Polygon, Validity


@dataclass(frozen=True, eq=False)
class Series:
    """A series of frames and what its store tells of it.

    Attributes
    ----------
    source : where frames are read
    pixel_bytes : bytes of a pixel
    chunks : pixels of a chunk, per axis of a frame
    chunk_bytes : bytes that are decoded at a time
    validity : the causes that exclude pixels
    bounds : slices outside of which no pixel of any frame is valid
    one_mask : whether all frames have one mask, as far as masks and data type tell; chunks may
        still be missing
    pixel_size, unit : size of a pixel along each axis of a frame, and its unit; "" if not known
    time : times of the frames and their unit; None: not known
    digest : a hash of what results depend on beside the settings
    initial_shifts : shifts (frames, axes) known before, pixels; None: none
    """

    source: FrameSource
    pixel_bytes: int
    chunks: tuple[int, ...]
    chunk_bytes: int
    validity: Validity
    bounds: Slices
    one_mask: bool
    pixel_size: tuple[float, ...]
    unit: str
    time: tuple[tuple[float, ...], str] | None
    digest: str
    initial_shifts: NDArray[np.float64] | None = None

    @property
    def source_before_pilot(self) -> FrameSource:
        """Where frames are read with what a pilot leaves out, as the settings alone mask them."""
        assert isinstance(self.source, ValidFrames | ArrayFrames)
        return replace(self.source, validity=self.validity)


def open_series(config: Config) -> tuple[Series, StackSpec]:
    """Find the stack and its mask; reads no frame, but for `mask.saturation: auto`."""
    spec = locate_stack(**config.input.model_dump())
    check_frames(spec)
    check_paths(config)
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
    static_masks = [mask.read(0, spec.frame_shape) for mask in masks if not mask.per_frame]
    bounds = _select_whole(spec.frame_shape)
    if static_masks:
        pixels = CachedMask(np.logical_and.reduce(static_masks))
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
    read_mean_weights(config, spec.frame_count)  # what is wrong with them is told of before work
    chunks = [spec.chunks[spec.axes.index(axis)] for axis in spec.spatial]
    series = Series(
        source=ValidFrames(source, validity),
        pixel_bytes=np.dtype(spec.dtype).itemsize,
        chunks=tuple(chunks),
        chunk_bytes=math.prod(spec.chunks) * np.dtype(spec.dtype).itemsize,
        validity=validity,
        bounds=bounds,
        one_mask=len(static_masks) == len(masks) and np.dtype(spec.dtype).kind != "f",
        pixel_size=spec.pixel_size,
        unit=spec.unit,
        time=spec.time,
        digest="-".join(digests),
        initial_shifts=initial_shifts,
    )
    return series, spec


def check_frames(spec: StackSpec) -> None:
    """Refuse a stack of one frame: a pattern of files may match fewer than it was meant to."""
    if spec.frame_count < 2:
        raise InputError(f"{spec.path} has one frame ({spec.kind}): a time-lapse needs at least 2")


def digest_camera_images(config: Config, frame_shape: tuple[int, ...]) -> list[str]:
    """Digest the pixels of the flat field and the fixed pattern, if the settings give their paths.

    Raises InputError with the key where there is no such image.
    """
    section, digests = config.preprocess, []
    for key, path, keyword in (
        ("flat_field", section.flat_field, "median"),
        ("fixed_pattern", section.fixed_pattern, "estimate"),
    ):
        if path is not None and path != keyword:
            near = difflib.get_close_matches(path.lower(), [keyword])
            hint = ", did you mean that?" * bool(near)
            with naming_key(f"preprocess.{key} (an image, or '{keyword}'{hint})"):
                digests.append(digest_content(read_image(path, frame_shape)))
    return digests


def _locate_masks(config: Config, spec: StackSpec) -> tuple[Mask, ...]:
    """Find the masks that the settings give by a path and by shapes."""
    section, masks = config.mask, list[Mask]()
    if section.path is not None:
        labels = MaskLabels(section.labels or (), section.invert)
        with naming_key("mask.path"):
            masks.append(locate_mask(section.path, spec.frame_count, spec.frame_shape, labels))
    drawn_mask = make_drawn_mask(section, spec)
    return tuple(masks if drawn_mask is None else [*masks, drawn_mask])


def _describe_masks(config: Config) -> str:
    """Name the masks that the settings give by a path and by shapes, for an error."""
    path = f"the mask {config.mask.path}" if config.mask.path is not None else ""
    return " with ".join([cause for cause in (path, "mask.rois" * bool(config.mask.rois)) if cause])


def make_series(source: ArrayFrames, initial_shifts: NDArray[np.float64] | None = None) -> Series:
    """Make a series of an array, in memory or lazy; `initial_shifts` (frames, axes), pixels."""
    shape, mask = source.frame_shape, source.mask
    is_static = mask is not None and not mask.per_frame
    if mask is not None and not mask.values.any():
        raise InputError("the mask has no valid pixel: True (nonzero) means valid")
    is_certain = source.stack.dtype.kind != "f" and "valid" not in source.stack.coords
    pixel_size, unit = source.pixel_size
    chunks = source.stack.chunksizes
    return Series(
        source=source,
        pixel_bytes=source.stack.dtype.itemsize,
        chunks=tuple(max(chunks.get(axis, (1,))) for axis in source.axes),
        chunk_bytes=0,
        validity=source.validity,
        bounds=CachedMask(mask.values).bounds
        if mask is not None and is_static
        else _select_whole(shape),
        one_mask=(mask is None or is_static) and is_certain,
        pixel_size=pixel_size,
        unit=unit,
        time=source.time,
        digest="memory",
        initial_shifts=initial_shifts,
    )


def leave_out(
    series: Series,
    pixels: tuple[int, ...] = (),
    boxes: tuple[tuple[tuple[int, int], ...], ...] = (),
) -> Series:
    """The series with some pixels, flat indices in a frame, and boxes not valid for measuring.

    Its `validity` stays: a stack that is corrected holds them.
    """
    source = series.source
    shape = source.frame_shape
    if pixels and not 0 <= min(pixels) <= max(pixels) < math.prod(shape):
        raise InputError(f"pixel {max(pixels)} of {shape} pixels is left out: there is none")
    if any(len(box) != len(shape) for box in boxes):
        raise InputError(f"boxes {boxes} are left out of frames of {shape} pixels: they do not fit")
    masks: list[Mask] = [DefectMask(shape, pixels)] * bool(pixels) + [BoxMask(boxes)] * bool(boxes)
    for mask in masks:
        assert isinstance(source, ValidFrames | ArrayFrames)
        validity = replace(source.validity, masks=(*source.validity.masks, mask))
        source = replace(source, validity=validity)
        series = replace(series, source=source, digest=f"{series.digest}-{mask.digest}")
    return series


def _parse_border(border: int | Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
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


def _select_whole(shape: Sequence[int]) -> Slices:
    """The slices of a whole frame."""
    return tuple(slice(0, size) for size in shape)


@contextmanager
def naming_key(key: str) -> Iterator[None]:
    """Put the key of the settings in front of an InputError that is raised inside."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{key}: {error}") from error


# Bits per pixel of cameras that write into a larger type.
CAMERA_BITS = (8, 10, 12, 14, 16)
# Frames that are searched for saturation, and how many pixels must have the largest value.
SEARCHED_FRAMES, FEWEST = 3, 4
# Longer sides of a frame are searched in their middle, this many pixels.
MOST_SEARCHED_PIXELS = 4096


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
    """Find the value from which on pixels are saturated; None if the settings do not ask for it.

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
