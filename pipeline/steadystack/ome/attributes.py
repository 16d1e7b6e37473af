"""The attributes that make a Zarr group an OME-Zarr image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from steadystack.units import NAMES, find_micrometers, is_size

OmeVersion = Literal["0.4", "0.5"]

KINDS = {"t": "time", "c": "channel"}
# Units of time as OME-Zarr wants them spelled, by symbols and, in the singular, by names.
TIME_UNITS = {
    "ns": "nanosecond", "us": "microsecond", "µs": "microsecond", "μs": "microsecond",
    "ms": "millisecond", "msec": "millisecond", "s": "second", "sec": "second", "min": "minute",
    "h": "hour", "hr": "hour", "d": "day",
}  # fmt: skip
TIME_NAMES = ("nanosecond", "microsecond", "millisecond", "second", "minute", "hour", "day")


def find_time_unit(unit: str) -> str | None:
    """Find how OME-Zarr spells a unit of time, which may count since a date; None if it is none."""
    text = unit.partition(" since ")[0].strip()
    name = text.lower().removesuffix("s")
    return name if name in TIME_NAMES else TIME_UNITS.get(text) or TIME_UNITS.get(text.lower())


def find_length_unit(unit: str) -> str | None:
    """Find how OME-Zarr spells a unit of length, micrometer for µm; None if it is none."""
    micrometers = find_micrometers(unit)
    return next((name for name, size in NAMES.items() if size == micrometers), None)


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

    def replace_step(self, axis: str, step: float) -> None:
        """Put another step, which may be in another unit; the origin stays as far in pixels."""
        if is_size(step) and is_size(self.step[axis]):
            self.origin[axis] *= step / self.step[axis]
        self.step[axis] = step

    def drop_unknown(self) -> None:
        """Put a step of 1 without a unit, which says nothing, where a step is not known."""
        for axis, step in self.step.items():
            if not is_size(step):
                self.step[axis], self.unit[axis] = 1.0, ""
            if not math.isfinite(self.origin[axis]):
                self.origin[axis] = 0.0

    def make_axis(self, name: str) -> dict[str, str]:
        """Make the entry of an axis in the metadata: its name, type and, if known, unit."""
        entry = {"name": name, "type": KINDS.get(name, "space")}
        unit = self.unit.get(name, "")
        if entry["type"] != "channel":
            unit = (find_time_unit if name == "t" else find_length_unit)(unit) or unit
        return entry | ({"unit": unit} if unit else {})


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
