"""The attributes that make a Zarr group an OME-Zarr image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

OmeVersion = Literal["0.4", "0.5"]

KINDS = {"t": "time", "c": "channel"}
# Units of time as OME-Zarr wants them spelled.
TIME_UNITS = {
    "s": "second", "sec": "second", "second": "second", "seconds": "second", "ms": "millisecond",
    "millisecond": "millisecond", "milliseconds": "millisecond", "min": "minute",
    "minute": "minute", "minutes": "minute", "h": "hour", "hour": "hour", "hours": "hour",
    "day": "day", "days": "day",
}  # fmt: skip


@dataclass
class Coordinates:
    """Where the pixels of an image lie, by the names of its axes, and how its channels are shown.

    Attributes
    ----------
    step, origin : size of a pixel, and position of the first one, by axis
    unit : for axes that have one
    omero : the attribute of OME-Zarr that says how channels are shown; empty: not known
    """

    step: dict[str, float] = field(default_factory=lambda: dict.fromkeys("tczyx", 1.0))
    origin: dict[str, float] = field(default_factory=lambda: dict.fromkeys("tczyx", 0.0))
    unit: dict[str, str] = field(default_factory=dict)
    omero: Mapping[str, Any] = field(default_factory=dict)

    def make_axis(self, name: str) -> dict[str, str]:
        """Make the entry of an axis in the metadata: its name, type and, if known, unit."""
        entry = {"name": name, "type": KINDS.get(name, "space")}
        return entry | ({"unit": self.unit[name]} if self.unit.get(name) else {})


def make_image_attributes(
    axes: Sequence[str],
    levels: Sequence[tuple[str, Sequence[int]]],
    coordinates: Coordinates,
    *,
    name: str,
    version: OmeVersion = "0.5",
    first: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Make the attributes of the group of an image.

    Parameters
    ----------
    axes : names out of t, c, z, y, x in array order
    levels : path of each level's array, and how many pixels of level 0 one pixel of the level
        spans along each axis
    coordinates : those of the source image
    first : index of the first pixel in the source image, by axis; 0 where it is not given
    """
    first_pixel = first or {}
    datasets = []
    for path, level_factors in levels:
        factors = dict(zip(axes, level_factors, strict=True))
        steps = [coordinates.step[axis] * factors[axis] for axis in axes]
        # A pixel of a coarser level lies in the middle of the pixels of level 0 that it spans.
        offsets = [first_pixel.get(axis, 0) + (factors[axis] - 1) / 2 for axis in axes]
        origins = [
            coordinates.origin[axis] + coordinates.step[axis] * offset
            for axis, offset in zip(axes, offsets, strict=True)
        ]
        transformations: list[dict[str, Any]] = [{"type": "scale", "scale": steps}]
        if any(origins):
            transformations.append({"type": "translation", "translation": origins})
        datasets.append({"path": path, "coordinateTransformations": transformations})
    entries = [coordinates.make_axis(axis) for axis in axes]
    multiscale: dict[str, Any] = {"name": name, "axes": entries, "datasets": datasets}
    display = {"omero": coordinates.omero} if coordinates.omero else {}
    if version == "0.4":
        return {"multiscales": [{"version": "0.4", **multiscale}], **display}
    return {"ome": {"version": "0.5", "multiscales": [multiscale], **display}}
