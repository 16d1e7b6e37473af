"""Write OME-TIFF files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.durable import get_place
from steadystack.model import InputError
from steadystack.outputs.marks import Origin
from steadystack.outputs.progress import CORRECTED, OWN
from steadystack.outputs.pyramids import PyramidSpec

MADE_OF = "steadystack, made of"
# Units as OME-XML spells them.
UNITS = {
    "nanometer": "nm", "micrometer": "µm", "millimeter": "mm", "meter": "m", "angstrom": "Å",
    "picometer": "pm", "centimeter": "cm", "kilometer": "km", "inch": "in", "second": "s",
    "millisecond": "ms", "microsecond": "µs", "nanosecond": "ns", "minute": "min", "hour": "h",
    "day": "d",
}  # fmt: skip
# Allowed types of pixels, besides booleans, which are written as uint8.
HELD = ("u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8", "c8", "c16")


def check_tiff(path: str, dtype: np.dtype[Any], key: str = CORRECTED) -> None:
    """Refuse what OME-TIFF cannot hold, or a missing tifffile, before anything is read."""
    if find_spec("tifffile") is None:
        raise InputError(f"{key} {path} is TIFF: install steadystack[tiff], or let it end in .zarr")
    check_tiff_holds(path, dtype, key)


def check_tiff_holds(path: str, dtype: np.dtype[Any], key: str = CORRECTED) -> None:
    """Refuse pixels that OME-TIFF cannot hold."""
    if dtype.kind != "b" and dtype.str[1:] not in HELD:
        raise InputError(f"{key} {path}: OME-TIFF cannot hold {dtype}: let it end in .zarr")


def write_ome_tiff(
    path: str,
    planes: Iterator[NDArray[Any]],
    spec: PyramidSpec,
    attributes: Mapping[str, Any],
    digest: str,
    others: Mapping[str, NDArray[Any]] | None = None,
) -> None:
    """Write planes in the order of the axes as one file, uncompressed, which ImageJ reads as well.

    Parameters
    ----------
    planes : (y, x) each; booleans become 0 and 255
    spec : shape and axes
    attributes : the metadata of the OME-Zarr image that it would have been
    digest : hash of what the file is made of, kept in its description with the run that it is of
    others : further images of the same axes, by name, which become series of their own
    """
    import tifffile

    own = attributes.get(OWN, {})
    origin = Origin(digest, own.get("fingerprint", ""), own.get("run", ""))
    dtype = np.dtype(spec.dtype)
    is_boolean = dtype.kind == "b"
    converted_planes = (plane.astype(np.uint8) * 255 if is_boolean else plane for plane in planes)
    written_dtype = np.dtype(np.uint8) if is_boolean else dtype
    size = int(np.prod(spec.shape)) * written_dtype.itemsize
    size += sum(image.nbytes for image in (others or {}).values())
    metadata = _make_metadata(spec, attributes)
    with tifffile.TiffWriter(path, bigtiff=size > 2**32 - 2**25, ome=True) as file:
        file.write(
            converted_planes,
            shape=spec.shape,
            dtype=written_dtype,
            photometric="minisblack",
            metadata=metadata | {"Description": f"{MADE_OF} {origin.dump()}"},
        )
        for name, image in (others or {}).items():
            file.write(image, photometric="minisblack", metadata=metadata | {"Name": name})


def check_own_tiff(path: str, key: str = CORRECTED) -> None:
    """Raise InputError if there is something at a path that `write_ome_tiff` did not write."""
    place = get_place(path)
    if place.is_occupied() and (not place.is_file() or read_tiff_origin(path) is None):
        raise InputError(
            f"{key} {path} exists and was not made by steadystack: it will not be overwritten; "
            f"move it, or set another {key}"
        )


def read_tiff_origin(path: str) -> Origin | None:
    """Read where a TIFF file comes from; None if it was not made here."""
    import tifffile

    try:
        with tifffile.TiffFile(get_place(path).get_source()) as file:
            match = re.search(rf"{MADE_OF} ([\w:]+)", file.ome_metadata or "")
    except (OSError, ValueError, tifffile.TiffFileError):
        return None
    return Origin.parse(match[1]) if match else None


def _make_metadata(spec: PyramidSpec, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Make tifffile's metadata (axes, pixel size, channel names) from those of OME-Zarr."""
    ome = attributes.get("ome", attributes)
    multiscale = ome["multiscales"][0]
    transformations = multiscale["datasets"][0]["coordinateTransformations"]
    metadata: dict[str, Any] = {"axes": "".join(spec.axes).upper(), "Name": multiscale["name"]}
    keys = {"t": "TimeIncrement", **{axis: f"PhysicalSize{axis.upper()}" for axis in "zyx"}}
    for entry, step in zip(multiscale["axes"], transformations[0]["scale"], strict=True):
        key, unit = keys.get(entry["name"]), UNITS.get(entry.get("unit", ""))
        if key and unit:
            metadata |= {key: step, f"{key}Unit": unit}
    channels = ome.get("omero", {}).get("channels", [])
    if channels and "c" in spec.axes:
        labels = [str(channel.get("label", index)) for index, channel in enumerate(channels)]
        metadata["Channel"] = {"Name": labels}
    return metadata
