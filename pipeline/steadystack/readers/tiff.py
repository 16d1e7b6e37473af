"""What TIFF files hold and say of themselves: OME-TIFF, ImageJ hyperstacks, plain pages, folders.

Pages are read as a Zarr array (tifffile's view of them): strips and tiles are its chunks, and one
that the file leaves out is a missing chunk.
"""

from __future__ import annotations

import logging
import struct
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import zarr

from steadystack.durable import get_place
from steadystack.model import InputError

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPageSeries

TIFF_SUFFIXES = (".tif", ".tiff", ".btf", ".tf2", ".tf8")
# What makes a folder a Zarr array or group.
ZARR_METADATA = ("zarr.json", ".zgroup", ".zarray", ".zattrs")
# Kinds of files whose metadata name their axes, by tifffile's names.
KINDS = {"ome": "OME-TIFF", "imagej": "ImageJ TIFF"}
# Letters of tifffile for axes that are not named: pages one after the other, whatever they are.
UNNAMED = ("Q", "I")
# What tifffile logs, and goes on, where the list of pages does not fit the file.
TORN = ("invalid page offset", "corrupted", "failed to reshape", "value offset", "truncated")
# Resolution units of the TIFF tag, in micrometers; the first means: none.
TAG_UNITS = {2: 25400.0, 3: 10000.0}


@dataclass(frozen=True)
class TiffImage:
    """What a TIFF file says of one of its images; scale and units per axis."""

    array: zarr.Array[Any]
    kind: str
    axes: tuple[str, ...]
    scale: tuple[float, ...]
    units: tuple[str, ...]
    channel_names: tuple[str, ...]
    levels: tuple[tuple[int, ...], ...]
    names_axes: bool  # whether its metadata do, and not the order of its pages


def is_tiff(path: str) -> bool:
    """Whether a path is that of a single TIFF file, by its name."""
    where = get_place(path)
    named = path.lower().endswith(TIFF_SUFFIXES)
    return named and not where.is_pattern and not where.is_folder()


def list_series_files(path: str) -> list[str] | None:
    """The TIFF files of a pattern or a folder, in natural order; None if it is something else."""
    where = get_place(path)
    if where.is_pattern and path.lower().endswith(TIFF_SUFFIXES):
        return where.list_files()
    if not where.is_folder() or any(where.get_child(name).exists() for name in ZARR_METADATA):
        return None
    return [file for file in where.list_files() if file.lower().endswith(TIFF_SUFFIXES)] or None


def open_level(path: str, series: int = 0, level: int = 0) -> zarr.Array[Any]:
    """One image of a TIFF file as a Zarr array; the file is closed with it."""
    file = _open(path)
    try:
        with _raising_if_torn(path):
            found = _get_series(file, path, series)
        return _open_as_zarr(file, found, path, level)
    except Exception:
        file.close()
        raise


def read_tiff(path: str, series: int | None = None, level: int = 0) -> tuple[TiffImage, int]:
    """What a TIFF file holds, and which of its images that is; reads no pixel.

    Raises InputError for a file that is none, that is cut off, or that holds several images and
    none of them is chosen.
    """
    file = _open(path)
    try:
        with _raising_if_torn(path):
            several = file.series
            file.pages[-1]  # the whole list of pages
        index = _choose(several, path, series)
        chosen = several[index]
        levels = tuple(tuple(one.shape) for one in chosen.levels)
        if level >= len(levels):
            raise InputError(
                f"input.level {level} does not exist: levels are 0 to {len(levels) - 1}"
            )
        array = _open_as_zarr(file, chosen, path, level)
        axes = tuple(chosen.levels[level].axes)
        sizes, units, names = _read_metadata(file, index, chosen)
        coarser = dict(zip(chosen.axes, levels[0], strict=True))
        scale = tuple(
            sizes.get(a, 1.0) * (coarser[a] / size if a in "XY" else 1)
            for a, size in zip(axes, array.shape, strict=True)
        )
        kind = KINDS.get(chosen.kind, "TIFF")
        if len(levels) > 1:
            kind += f", level {level} of {len(levels)}"
        found = TiffImage(
            array,
            kind,
            _name_axes(axes),
            scale,
            tuple(units.get(a, "") for a in axes),
            names,
            levels,
            chosen.kind in KINDS,
        )
    except Exception:
        file.close()
        raise
    return found, index


def _open(path: str) -> TiffFile:
    try:
        import tifffile
    except ImportError as error:
        raise InputError(
            f"{path} is a TIFF file: that needs tifffile (pip install 'steadystack[tiff]')"
        ) from error
    where = get_place(path)
    try:
        # By its path, where it has one: it may name other files that belong to it.
        return tifffile.TiffFile(where.get_source())
    except FileNotFoundError as error:
        raise InputError(where.describe_missing()) from error
    except (tifffile.TiffFileError, struct.error, ValueError) as error:
        raise InputError(f"{path} is not a TIFF file, or is cut off: {error}") from error


@contextmanager
def _raising_if_torn(path: str) -> Iterator[None]:
    """What tifffile logs of a list of pages that does not fit its file becomes an InputError."""
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("tifffile")
    log.addHandler(handler)
    passed_on, log.propagate = log.propagate, False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.propagate = passed_on
    torn = [text for text in messages if any(words in text for words in TORN)]
    if torn:
        raise InputError(
            f"{path} is cut off or damaged ({torn[0]}): copy it again, or write the pages that can "
            "be read to another file"
        )


def _choose(several: Sequence[TiffPageSeries], path: str, series: int | None) -> int:
    """The index of the image that is meant."""
    if series is None:
        stacks = [i for i, one in enumerate(several) if len(one.shape) > 2]
        series = stacks[0] if len(stacks) == 1 else 0 if len(several) == 1 else None
    listed = "; ".join(f"{i}: {one.axes} {tuple(one.shape)}" for i, one in enumerate(several))
    if series is None:
        raise InputError(f"{path} holds {len(several)} images: set input.series ({listed})")
    if series >= len(several):
        raise InputError(f"input.series {series} does not exist: {path} holds {listed}")
    return series


def _get_series(file: TiffFile, path: str, series: int) -> TiffPageSeries:
    try:
        return file.series[series]
    except IndexError as error:
        raise OSError(f"{path} no longer has image {series}") from error


def _open_as_zarr(file: TiffFile, series: TiffPageSeries, path: str, level: int) -> zarr.Array[Any]:
    try:
        store: Any = series.aszarr(level=level, read_only=True)
        array = zarr.open(store, mode="r")
    except Exception as error:
        raise InputError(f"{path} cannot be read as TIFF: {error}") from error
    assert isinstance(array, zarr.Array)
    weakref.finalize(store, file.close)
    return array


def _name_axes(axes: Sequence[str]) -> tuple[str, ...]:
    """Letters of tifffile as names: samples of a pixel are channels, one unnamed axis is time."""
    unnamed = [axis for axis in axes if axis in UNNAMED]
    names = {"S": "S" if "C" in axes else "C"}
    if len(unnamed) == 1 and "T" not in axes:
        names[unnamed[0]] = "T"
    return tuple(names.get(axis, axis) for axis in axes)


def _read_metadata(
    file: TiffFile, index: int, series: TiffPageSeries
) -> tuple[dict[str, float], dict[str, str], tuple[str, ...]]:
    """Pixel sizes and units by axis, and the names of the channels."""
    if series.kind == "ome" and file.ome_metadata:
        return _read_ome(file.ome_metadata, index)
    sizes, units = _read_tags(series)
    names: tuple[str, ...] = ()
    if file.imagej_metadata:
        told: Mapping[str, Any] = file.imagej_metadata
        unit = str(told.get("unit", "")).replace("\\u00B5", "µ")
        density = {axis: 1 / size for axis, size in _read_density(series).items() if size}
        if unit and unit not in ("pixel", "pixels", "inch"):
            sizes = {**density, "Z": float(told.get("spacing", 1.0))}
            units = dict.fromkeys("XYZ", {"micron": "µm"}.get(unit, unit))
        if told.get("finterval"):
            sizes["T"], units["T"] = float(told["finterval"]), str(told.get("tunit", "second"))
        labels = told.get("Labels")
        channels = int(told.get("channels", 1))
        if labels and 1 < channels <= len(labels):
            names = tuple(str(label) for label in labels[:channels])
    return sizes, units, names


def _read_density(series: TiffPageSeries) -> dict[str, float]:
    """Pixels per unit of the resolution tags."""
    found = {}
    for axis in "XY":
        tag = series.keyframe.tags.get(f"{axis}Resolution")
        if tag is not None and tag.value[0] and tag.value[1]:
            found[axis] = tag.value[0] / tag.value[1]
    return found


def _read_tags(series: TiffPageSeries) -> tuple[dict[str, float], dict[str, str]]:
    """Pixel sizes of the resolution tags; of 1 or 72 dpi, which writers put there unasked, none."""
    tag = series.keyframe.tags.get("ResolutionUnit")
    unit = TAG_UNITS.get(int(tag.value)) if tag is not None else None
    density = _read_density(series)
    if unit is None or any(value in (1, 72, 96, 150, 300) for value in density.values()):
        return {}, {}
    return {a: unit / value for a, value in density.items()}, dict.fromkeys(density, "micrometer")


def _read_ome(text: str, index: int) -> tuple[dict[str, float], dict[str, str], tuple[str, ...]]:
    """The same from OME-XML: sizes are in micrometers and times in seconds unless it says other."""
    try:
        root = ET.fromstring(text)
    except ET.ParseError:
        return {}, {}, ()
    images = [node for node in root.iter() if node.tag.endswith("}Image")]
    if index >= len(images):
        return {}, {}, ()
    pixels = next(node for node in images[index].iter() if node.tag.endswith("}Pixels"))
    sizes, units = {}, {}
    for axis in "XYZ":
        if size := pixels.get(f"PhysicalSize{axis}"):
            sizes[axis] = float(size)
            units[axis] = pixels.get(f"PhysicalSize{axis}Unit", "µm")
    if step := pixels.get("TimeIncrement"):
        sizes["T"], units["T"] = float(step), pixels.get("TimeIncrementUnit", "s")
    channels = [node for node in pixels if node.tag.endswith("}Channel")]
    names = [node.get("Name") or "" for node in channels]
    return sizes, units, tuple(names) if any(names) else ()
