"""Read pixel sizes of TIFF files: from OME-XML, ImageJ, GeoTIFF and resolution tags."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPageSeries

# Resolution units of the TIFF tag, in micrometers; the first means no unit.
TAG_UNITS = {2: 25400.0, 3: 10000.0}
# GeoTIFF: the tags of the scale and of the affine transformation, and units by their EPSG code.
KEYS_TAG, SCALE_TAG, TRANSFORMATION_TAG = 34735, 33550, 34264
MODEL, LINEAR, ANGULAR, SYSTEM = 1024, 3076, 2054, 3072  # keys
PROJECTED, GEOGRAPHIC = 1, 2
LINEAR_UNITS = {9001: (1.0, "meter"), 9002: (0.3048, "meter"), 9003: (1200 / 3937, "meter")}
DEGREE = 9102
UTM = (*range(32601, 32661), *range(32701, 32761))  # in metres, even if a file does not say so


def read_metadata(
    file: TiffFile, index: int, series: TiffPageSeries
) -> tuple[dict[str, float], dict[str, str], tuple[str, ...]]:
    """Read pixel sizes and units by axis, and the names of the channels."""
    if series.kind == "ome" and file.ome_metadata:
        return _read_ome(file.ome_metadata, index)
    sizes, units = _read_geotiff(series) or _read_tags(series)
    names: tuple[str, ...] = ()
    if file.imagej_metadata:
        imagej: Mapping[str, Any] = file.imagej_metadata
        unit = str(imagej.get("unit", "")).replace("\\u00B5", "µ")
        density = {axis: 1 / size for axis, size in _read_density(series).items() if size}
        if unit and unit not in ("pixel", "pixels", "inch"):
            sizes = {**density, "Z": _parse_number(imagej.get("spacing"))}
            units = dict.fromkeys("XYZ", {"micron": "µm"}.get(unit, unit))
        if imagej.get("finterval"):
            sizes["T"] = _parse_number(imagej["finterval"])
            units["T"] = str(imagej.get("tunit", "second"))
        labels, channels = imagej.get("Labels"), imagej.get("channels", 1)
        if isinstance(labels, list) and isinstance(channels, int) and 1 < channels <= len(labels):
            names = tuple(str(label) for label in labels[:channels])
    return sizes, units, names


def list_ome_files(file: TiffFile) -> tuple[str, ...]:
    """List the files with the pixels of an OME-TIFF, if its OME-XML names them."""
    try:
        root = ET.fromstring(file.ome_metadata or "<none/>")
    except ET.ParseError:
        return ()
    names = (node.get("FileName") for node in root.iter() if node.tag.endswith("}UUID"))
    return tuple(dict.fromkeys(name for name in names if name))


def _parse_number(value: Any) -> float:
    """Parse a number in the metadata; NaN if it is not one."""
    try:
        return float(value)
    except (OverflowError, TypeError, ValueError):
        return math.nan


def _read_density(series: TiffPageSeries) -> dict[str, float]:
    """Read the resolution tags: pixels per resolution unit along X and Y; 0 is ignored."""
    density = {}
    for axis in "XY":
        tag = series.keyframe.tags.get(f"{axis}Resolution")
        value = None if tag is None else tag.value
        if isinstance(value, tuple) and len(value) == 2 and all(value):
            density[axis] = value[0] / value[1]
    return density


def _read_tags(series: TiffPageSeries) -> tuple[dict[str, float], dict[str, str]]:
    """Read pixel sizes, micrometers, and units from the resolution tags.

    Values such as 1 or 72, which writers fill in by default, are ignored.
    """
    tag = series.keyframe.tags.get("ResolutionUnit")
    value = None if tag is None else tag.value
    unit = TAG_UNITS.get(int(value)) if isinstance(value, int) else None
    density = _read_density(series)
    if unit is None or any(value in (1, 72, 96, 150, 300) for value in density.values()):
        return {}, {}
    return {a: unit / value for a, value in density.items()}, dict.fromkeys(density, "micrometer")


def _read_geotiff(series: TiffPageSeries) -> tuple[dict[str, float], dict[str, str]] | None:
    """Read pixel sizes and units from GeoTIFF tags; None: the file is not GeoTIFF.

    Empty if the unit is not given; a transformation may rotate, but not shear.
    """
    tags = series.keyframe.tags
    words, scale, matrix = (tags.valueof(tag) for tag in (KEYS_TAG, SCALE_TAG, TRANSFORMATION_TAG))
    if not isinstance(words, tuple) or (scale is None and matrix is None):
        return None
    keys = {words[i]: words[i + 3] for i in range(4, len(words) - 3, 4) if words[i + 1] == 0}
    factor, unit = LINEAR_UNITS[9001] if keys.get(SYSTEM) in UTM else (math.nan, "")
    if keys.get(MODEL) == PROJECTED and LINEAR in keys:
        factor, unit = LINEAR_UNITS.get(keys[LINEAR], (math.nan, ""))
    elif keys.get(MODEL) == GEOGRAPHIC:
        factor, unit = (1.0, "degree") if keys.get(ANGULAR, DEGREE) == DEGREE else (math.nan, "")
    try:
        if scale is None:
            a, b, _, _, c, d = (float(number) for number in matrix[:6])
            scale = math.hypot(a, c), math.hypot(b, d)
        sizes = {axis: factor * float(size) for axis, size in zip("XY", scale, strict=False)}
    except (TypeError, ValueError):
        return {}, {}
    return ({}, {}) if math.isnan(factor) else (sizes, dict.fromkeys(sizes, unit))


def _read_ome(text: str, index: int) -> tuple[dict[str, float], dict[str, str], tuple[str, ...]]:
    """Read pixel sizes and units by axis, and channel names, of image `index` from OME-XML.

    Without a unit, sizes are in micrometers and times in seconds.
    """
    try:
        root = ET.fromstring(text)
    except ET.ParseError:
        return {}, {}, ()
    images = [node for node in root.iter() if node.tag.endswith("}Image")]
    if index >= len(images):
        return {}, {}, ()
    pixels = next((node for node in images[index].iter() if node.tag.endswith("}Pixels")), None)
    if pixels is None:
        return {}, {}, ()
    sizes, units = {}, {}
    for axis in "XYZ":
        if size := pixels.get(f"PhysicalSize{axis}"):
            sizes[axis] = _parse_number(size)
            units[axis] = pixels.get(f"PhysicalSize{axis}Unit", "µm")
    if step := pixels.get("TimeIncrement"):
        sizes["T"] = _parse_number(step)
        units["T"] = pixels.get("TimeIncrementUnit", "s")
    channels = [node for node in pixels if node.tag.endswith("}Channel")]
    names = [node.get("Name") or "" for node in channels]
    return sizes, units, tuple(names) if any(names) else ()
