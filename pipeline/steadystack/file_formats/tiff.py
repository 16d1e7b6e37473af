"""Read TIFF files and their metadata: OME-TIFF, ImageJ hyperstacks, plain pages, folders.

Pages are read as a Zarr array (tifffile's view of them): strips and tiles are its chunks, and a
strip or tile that the file leaves out is a missing chunk.
"""

from __future__ import annotations

import logging
import math
import struct
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import zarr

from steadystack.durable import get_place
from steadystack.file_formats.pixels import explain_versions, explaining_damage
from steadystack.file_formats.tiff_metadata import list_ome_files, read_metadata
from steadystack.model import InputError, UnreachableError

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPageSeries

TIFF_SUFFIXES = (".tif", ".tiff", ".btf", ".tf2", ".tf8")
# Kinds of files whose metadata name their axes, by tifffile's names.
KINDS = {"ome": "OME-TIFF", "imagej": "ImageJ TIFF"}
# Letters of tifffile for unnamed axes: pages one after the other.
UNNAMED = ("Q", "I")
# Phrases that tifffile logs if the list of pages does not fit the file; it reads on.
DAMAGE_MESSAGES = (
    "invalid page offset", "corrupted", "failed to reshape", "value offset", "truncated",
    "circular reference",
)  # fmt: skip
# The index that stands for all images of a file, concatenated, instead of a single one.
ALL_IMAGES = -1
# Most images that an error lists.
MAX_IMAGES = 8


@dataclass(frozen=True)
class TiffImage:
    """An image of a TIFF file and its metadata; axes, scale and units per array axis."""

    array: zarr.Array[Any]
    kind: str
    axes: tuple[str, ...]
    scale: tuple[float, ...]
    units: tuple[str, ...]
    channel_names: tuple[str, ...]
    levels: tuple[tuple[int, ...], ...]
    names_axes: bool  # whether metadata name the axes; else page order gives them
    files: tuple[str, ...] = ()  # files with its pixels, if an OME-TIFF names them


def is_tiff(path: str) -> bool:
    """Whether a path is that of a single TIFF file, judged by its name."""
    place = get_place(path)
    has_suffix = path.lower().endswith(TIFF_SUFFIXES)
    return has_suffix and not place.is_pattern and not place.is_folder()


def open_level(path: str, series: int = 0, level: int = 0) -> zarr.Array[Any]:
    """Open an image of a TIFF file as a Zarr array; the file is closed when the array is freed."""
    file = _open(path)
    try:
        with _raising_if_torn(path), _explaining_damage(path):
            image = _get_series(file, path, series)
        return _open_as_zarr(file, image, path, level)
    except Exception:
        file.close()
        raise


def read_tiff(path: str, series: int | None = None, level: int = 0) -> tuple[TiffImage, int]:
    """Read the metadata of an image of a TIFF file; returns the image and its index in the file.

    Equal images of one page each are a stack, as written by programs that write one frame at a
    time; their index is `ALL_IMAGES`. Raises InputError for a file that is not TIFF or is cut off,
    or if it holds several images and none is chosen.
    """
    file = _open(path)
    try:
        with _raising_if_torn(path), _explaining_damage(path):
            images = file.series
            file.pages[-1]  # reads the whole list of pages
            is_stack = series is None and _are_frames(images)
        index = ALL_IMAGES if is_stack else _choose_series(images, path, series)
        with _explaining_damage(path):
            return _describe_image(file, path, index, level), index
    except Exception:
        file.close()
        raise


def _describe_image(file: TiffFile, path: str, index: int, level: int) -> TiffImage:
    """Describe an image of an open file, or all of them as a stack."""
    chosen = _get_series(file, path, index)
    levels = tuple(tuple(level_image.shape) for level_image in chosen.levels)
    if not 0 <= level < len(levels):
        raise InputError(f"input.level {level} does not exist: levels are 0 to {len(levels) - 1}")
    array = _open_as_zarr(file, chosen, path, level)
    axes = tuple(chosen.levels[level].axes)
    sizes, units, names = read_metadata(file, index, chosen)
    full_sizes = dict(zip(chosen.axes, levels[0], strict=True))
    scale = tuple(
        sizes.get(a, math.nan) * (full_sizes[a] / size if a in "XY" else 1)
        for a, size in zip(axes, array.shape, strict=True)
    )
    kind = KINDS.get(chosen.kind, "TIFF")
    if len(levels) > 1:
        kind += f", level {level} of {len(levels)}"
    return TiffImage(
        array,
        kind,
        _name_axes(axes),
        scale,
        tuple(units.get(a, "") for a in axes),
        names,
        levels,
        chosen.kind in KINDS,
        list_ome_files(file),
    )


def _open(path: str) -> TiffFile:
    try:
        import tifffile
    except ImportError as error:
        raise InputError(
            f"{path} is a TIFF file: that needs tifffile (pip install 'steadystack[tiff]')"
        ) from error
    place = get_place(path)
    try:
        # A path if there is one, as the file may name others beside it.
        return tifffile.TiffFile(place.get_source())
    except FileNotFoundError as error:
        raise InputError(place.describe_missing()) from error
    except (tifffile.TiffFileError, struct.error, ValueError) as error:
        raise InputError(f"{path} is not a TIFF file, or is truncated: {error}") from error
    except (MemoryError, OSError, UnreachableError):
        raise
    except Exception as error:  # a damaged header
        raise InputError(f"{path} cannot be read as TIFF: {error}") from error


@contextmanager
def _explaining_damage(path: str) -> Iterator[None]:
    """Turn tifffile's errors for damaged tags and pages into InputError."""
    with explaining_damage(path, "what its tags say"):
        yield


@contextmanager
def _raising_if_torn(path: str) -> Iterator[None]:
    """Raise InputError after the block if tifffile has logged that the file is damaged."""
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("tifffile")
    log.addHandler(handler)
    propagated, log.propagate = log.propagate, False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.propagate = propagated
    damage = [text for text in messages if any(words in text for words in DAMAGE_MESSAGES)]
    if damage:
        raise InputError(
            f"{path} is truncated or damaged ({damage[0]}): copy it again, or write the pages that "
            "can be read to another file"
        )


def _choose_series(images: Sequence[TiffPageSeries], path: str, series: int | None) -> int:
    """Choose an image by `series`, or the only stack, or the only image; returns its index."""
    if series is None:
        stacks = [i for i, image in enumerate(images) if len(image.shape) > 2]
        series = stacks[0] if len(stacks) == 1 else 0 if len(images) == 1 else None
    described = [f"{i}: {image.axes} {tuple(image.shape)}" for i, image in enumerate(images)]
    more = [f"and {len(described) - MAX_IMAGES} more"] if len(described) > MAX_IMAGES else []
    listed = "; ".join([*described[:MAX_IMAGES], *more])
    if series is None:
        raise InputError(f"{path} holds {len(images)} images: set input.series ({listed})")
    if not 0 <= series < len(images):
        raise InputError(f"input.series {series} does not exist: {path} holds {listed}")
    return series


def _are_frames(images: Sequence[TiffPageSeries]) -> bool:
    """Whether images are frames of a stack: equal pages, not in a format that defines images."""
    kinds = {(image.kind, image.axes, tuple(image.shape), str(image.dtype)) for image in images}
    first = images[0] if len(images) > 1 and len(kinds) == 1 else None
    return bool(
        first is not None
        and first.kind not in KINDS
        and first.axes in ("YX", "YXS", "SYX")
        and all(len(image) == 1 and len(image.levels) == 1 for image in images)
    )


def _join_images(images: Sequence[TiffPageSeries]) -> TiffPageSeries:
    """Join the images of one page each to a single one, along an axis I."""
    from tifffile import TiffPageSeries

    first = images[0]
    return TiffPageSeries(
        [image.keyframe for image in images],
        shape=(len(images), *first.shape),
        dtype=first.dtype,
        axes=f"I{first.axes}",
        kind="uniform",
    )


def _get_series(file: TiffFile, path: str, series: int) -> TiffPageSeries:
    if series == ALL_IMAGES:
        if not _are_frames(file.series):
            raise OSError(f"the frames of {path} are no longer alike")
        return _join_images(file.series)
    try:
        return file.series[series]
    except IndexError as error:
        raise OSError(f"{path} no longer has image {series}") from error


def _open_as_zarr(file: TiffFile, series: TiffPageSeries, path: str, level: int) -> zarr.Array[Any]:
    try:
        store: Any = series.aszarr(level=level, read_only=True)
        array = zarr.open(store, mode="r")
    except Exception as error:
        raise InputError(f"{path} cannot be read as TIFF: {explain_versions(error)}") from error
    assert isinstance(array, zarr.Array)
    weakref.finalize(store, file.close)
    return array


def _name_axes(axes: Sequence[str]) -> tuple[str, ...]:
    """Name axes by tifffile's letters: samples are channels, a single unnamed axis is time."""
    unnamed = [axis for axis in axes if axis in UNNAMED]
    names = {"S": "S" if "C" in axes else "C"}
    if len(unnamed) == 1 and "T" not in axes:
        names[unnamed[0]] = "T"
    return tuple(names.get(axis, axis) for axis in axes)
