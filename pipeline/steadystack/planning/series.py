"""Open a stack with its masks and related inputs, without reading its frames."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.config import Config
from steadystack.defects import LevelledFrames
from steadystack.model import (
    Boxes,
    FrameSource,
    InputError,
    ObjectPath,
    OutsideImage,
    PairTable,
    Slices,
)
from steadystack.ncc import CachedMask
from steadystack.object_windows import ObjectWindows, list_places
from steadystack.planning.initial_shifts import read_initial_shifts, read_mean_weights
from steadystack.planning.masking import (
    cut_windows,
    describe_masks,
    find_saturation,
    locate_masks,
    locate_object,
    naming_key,
    parse_border,
)
from steadystack.planning.outside_image import collect_digests, locate_outside_image
from steadystack.planning.paths import check_paths, check_pixels
from steadystack.readers import (
    ArrayFrames,
    ImagePart,
    StackFrames,
    StackSpec,
    ValidFrames,
    list_earlier,
    locate_stack,
)
from steadystack.units import get_comparable_sizes
from steadystack.validity import BoxMask, DefectMask, Mask, Validity


@dataclass(frozen=True, eq=False)
class Series:
    """A series of frames and what its store says about it.

    Attributes
    ----------
    source : where frames are read
    pixel_bytes : bytes of a pixel
    chunks : pixels of a chunk, per axis of a frame
    chunk_bytes : bytes that are decoded at a time
    validity : the causes that exclude pixels
    bounds : slices outside of which no pixel of any frame is valid
    one_mask : whether all frames have the same mask, judging by masks and data type; chunks may
        still be missing
    pixel_size, unit : size of a pixel along each axis of a frame, and its unit; "" if not known
    time : times of the frames and their unit; None: not known
    digest : a hash of what results depend on besides the settings
    digests : of each part of that, by its name in errors
    initial_shifts : shifts (frames, axes) known before, pixels; None: none
    frame_numbers, stack_frames : of the frames in the whole stack, and how many that has
    corner : shape of the whole frame, and the first pixel of the region that is used of it; None:
        all of it is
    outside : the external reference; None: there is none
    drawn : mask of an object still to be followed; None: there is none, or it is being followed
    codec_std : deviation, pixels, of where a codec puts the content of a frame
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
    frame_numbers: range = range(0)
    stack_frames: int = 0
    corner: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    outside: OutsideImage | None = None
    drawn: Mask | None = None
    codec_std: float = 0.0
    digests: Mapping[str, str] = field(default_factory=dict)

    @property
    def places(self) -> NDArray[np.int64] | None:
        """Positions of windows that follow an object (frames, axes), pixels; None: no windows."""
        windows = self.source
        return list_places(windows.places) if isinstance(windows, ObjectWindows) else None

    @property
    def comparable_sizes(self) -> tuple[float, ...] | None:
        """The pixel size along each axis, in one unit; None if they cannot be compared."""
        return get_comparable_sizes(self.pixel_size, self.unit)

    @property
    def whole_frames(self) -> FrameSource:
        """Where full frames are read, even if only windows of them are measured."""
        return self.source.frames if isinstance(self.source, ObjectWindows) else self.source

    @property
    def border(self) -> tuple[int, ...]:
        """Pixels along each side of what is read that are not valid, per axis; (): none."""
        return () if self.places is not None else self.validity.border

    def list_changed(self, before: str) -> list[str]:
        """List which inputs of the results have changed since the digest was `before`."""
        known = f"-{before}-"
        return [what for what, digest in self.digests.items() if f"-{digest}-" not in known]

    def bound_search(self, asked: Any) -> Any:
        """How far to search for a pair's shift, pixels; in windows, by how far those may be off."""
        return self.source.search if isinstance(self.source, ObjectWindows) else asked

    def locate_image(self, path: str | None) -> ImagePart | str | None:
        """Locate the part of a full-frame image at a path that belongs to the region."""
        return path if path is None or self.corner is None else ImagePart(path, *self.corner)

    @property
    def source_before_pilot(self) -> FrameSource:
        """Where frames are read masked by the settings alone, without a pilot's exclusions."""
        source = self.whole_frames
        inner = source.frames if isinstance(source, LevelledFrames) else source
        assert isinstance(inner, ValidFrames | ArrayFrames)
        return replace(inner, validity=self.validity)


@dataclass(frozen=True, eq=False)
class Growth:
    """What was measured of a series when it had fewer frames.

    Attributes
    ----------
    path, owner : of the dataset, and the name that its journal carries
    frames, fingerprints : number of frames before each time that the series grew, and the dataset's
        fingerprint then; the first ones decided on settings
    table : what was measured, as part of the current pairs and frames
    kept : how many of its last rows are not pairs of the plan
    """

    path: str
    owner: str
    frames: tuple[int, ...]
    fingerprints: tuple[str, ...]
    table: PairTable
    kept: int = 0

    def describe(self, now: int) -> str:
        """Describe the growth as text; `now` is the number of frames that the series has."""
        if self.frames[-1] == now:
            return f"the stack has more frames than the {now} that `input.frames` chooses"
        return f"the stack has grown from {self.frames[-1]} to {now} frames"


def open_series(config: Config) -> tuple[Series, StackSpec]:
    """Open the stack and its mask; reads frames only for `mask.saturation: auto`."""
    spec = locate_stack(**config.input.model_dump())
    check_frames(spec)
    check_paths(config)
    check_pixels(config, spec)
    source: FrameSource = StackFrames(spec)
    saturation = find_saturation(config.mask, source, spec)
    masks = locate_masks(config, spec)
    validity = Validity(
        masks=masks,
        border=parse_border(config.mask.border, spec.frame_shape),
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
                f"{describe_masks(config)} has no valid pixel: True (nonzero) means valid, on the "
                "valid side of every ROI; mask.invert swaps valid and invalid"
            )
    whole = spec.uncut or spec
    with naming_key("initial_shifts"):
        initial_shifts = read_initial_shifts(
            config, spec.spatial, spec.frame_numbers, whole.frame_count, spec.pixel_size, spec.unit
        )
    read_mean_weights(config, spec.frame_numbers, whole.frame_count)  # to report errors early
    drawn = locate_object(config, spec)
    digests = collect_digests(config, spec, saturation, masks, drawn, initial_shifts)
    series = Series(
        source=ValidFrames(source, validity),
        pixel_bytes=np.dtype(spec.dtype).itemsize,
        chunks=tuple(spec.chunks[spec.axes.index(axis)] for axis in spec.spatial),
        chunk_bytes=math.prod(spec.chunks) * np.dtype(spec.dtype).itemsize,
        validity=validity,
        bounds=bounds,
        one_mask=len(static_masks) == len(masks) and np.dtype(spec.dtype).kind != "f",
        pixel_size=spec.pixel_size,
        unit=spec.unit,
        time=spec.time,
        digest="-".join(digests.values()),
        initial_shifts=initial_shifts,
        frame_numbers=spec.frame_numbers,
        stack_frames=whole.frame_count,
        corner=spec.corner,
        codec_std=spec.codec_std,
        outside=locate_outside_image(config, spec),
        drawn=next(iter(drawn), None),
        digests=digests,
    )
    return series, spec


def list_earlier_series(
    config: Config, series: Series, count: int, stack_frames: int | None = None
) -> Iterator[Series]:
    """List what the series may have been when it had only its first `count` frames.

    `stack_frames` is how many frames the whole stack had then, if `input.frames` chooses some;
    None: not known.

    Only what identifies it is from that time: `digest`, and the saturation in `validity`; all else
    is as given.
    """
    spec = locate_stack(**config.input.model_dump())
    shifts = series.initial_shifts
    for earlier in list_earlier(spec, count, config.input.frames, stack_frames):
        saturation = find_saturation(config.mask, StackFrames(earlier), earlier)
        masks, drawn = locate_masks(config, spec, earlier), locate_object(config, earlier)
        first = None if shifts is None else shifts[:count]
        digests = collect_digests(config, earlier, saturation, masks, drawn, first)
        yield replace(
            series,
            validity=replace(series.validity, saturation=saturation),
            digest="-".join(digests.values()),
        )


def check_frames(spec: StackSpec) -> None:
    """Refuse a stack of one frame: a pattern of files may match fewer than it was meant to."""
    if spec.frame_count < 2:
        raise InputError(f"{spec.path} has one frame ({spec.kind}): a time-lapse needs at least 2")


def make_series(
    source: ArrayFrames,
    initial_shifts: NDArray[np.float64] | None = None,
    outside: OutsideImage | None = None,
    drawn: Mask | None = None,
) -> Series:
    """Make a series of an array, in memory or lazy; `initial_shifts` (frames, axes), pixels."""
    shape, mask = source.frame_shape, source.mask
    is_static = mask is not None and not mask.per_frame
    if mask is not None and not mask.values.any():
        raise InputError("the mask has no valid pixel: True (nonzero) means valid")
    is_certain = source.stack.dtype.kind != "f" and "valid" not in source.stack.coords
    pixel_size, unit = source.pixel_size
    return Series(
        source=source,
        pixel_bytes=source.stack.dtype.itemsize,
        chunks=tuple(max(source.stack.chunksizes.get(axis, (1,))) for axis in source.axes),
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
        frame_numbers=range(source.frame_count),
        outside=outside,
        drawn=drawn,
    )


def follow_path(series: Series, path: ObjectPath | None) -> Series:
    """The series in windows along the path of the object drawn, if there is one."""
    if series.drawn is None:
        return series
    source = cut_windows(series.source, series.drawn, path)
    whole, digest = _select_whole(source.sides), f"{series.digest}-{source.digest}"
    return replace(
        series, source=source, chunks=source.sides, bounds=whole, digest=digest, drawn=None
    )


def leave_out(
    series: Series,
    pixels: tuple[int, ...] = (),
    boxes: Boxes = (),
) -> Series:
    """Exclude some pixels (flat indices in a frame) and boxes from measuring.

    `validity` is unchanged: a corrected stack still contains them.
    """
    source = series.source
    shape = source.frame_shape
    if pixels and not 0 <= min(pixels) <= max(pixels) < math.prod(shape):
        raise InputError(f"pixel {max(pixels)} is left out, but frames have {shape} pixels")
    if any(len(box) != len(shape) for box in boxes):
        raise InputError(f"boxes {boxes} do not fit frames of {shape} pixels")
    masks: list[Mask] = [DefectMask(shape, pixels)] * bool(pixels) + [BoxMask(boxes)] * bool(boxes)
    for mask in masks:
        assert isinstance(source, ValidFrames | ArrayFrames)
        validity = replace(source.validity, masks=(*source.validity.masks, mask))
        source = replace(source, validity=validity)
        series = replace(series, source=source, digest=f"{series.digest}-{mask.digest}")
    return series


def level(series: Series, rows: tuple[float, ...], columns: tuple[float, ...]) -> Series:
    """Subtract the offsets of the rows and columns of the frames from the series; (): none.

    As with excluded pixels, a corrected stack still contains them.
    """
    if not (rows or columns):
        return series
    for name, lines, size in zip(
        ("rows", "columns"), (rows, columns), series.source.frame_shape[-2:], strict=True
    ):
        if lines and len(lines) != size:
            raise InputError(f"{len(lines)} {name} are subtracted, but frames have {size}")
    source = LevelledFrames(series.source, rows, columns)
    digest = f"{series.digest}-{source.digest}"
    return replace(series, source=source, digest=digest, pixel_bytes=max(series.pixel_bytes, 4))


def _select_whole(shape: Sequence[int]) -> Slices:
    """The slices of a whole frame."""
    return tuple(slice(0, size) for size in shape)
