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
    step, origin : size of a pixel, and place of the first one
    unit : for axes that have one
    omero : as OME-Zarr has it; empty: nothing is known
    """

    step: dict[str, float] = field(default_factory=lambda: dict.fromkeys("tczyx", 1.0))
    origin: dict[str, float] = field(default_factory=lambda: dict.fromkeys("tczyx", 0.0))
    unit: dict[str, str] = field(default_factory=dict)
    omero: Mapping[str, Any] = field(default_factory=dict)

    def axis(self, name: str) -> dict[str, str]:
        entry = {"name": name, "type": KINDS.get(name, "space")}
        return entry | ({"unit": self.unit[name]} if self.unit.get(name) else {})


def make_image_attributes(
    axes: Sequence[str],
    levels: Sequence[tuple[str, Sequence[int]]],
    where: Coordinates,
    *,
    name: str,
    version: OmeVersion = "0.5",
    first: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """The attributes of the group of an image.

    Parameters
    ----------
    axes : names out of t, c, z, y, x in array order
    levels : path of each level's array, and pixels of level 0 in one of its along each axis
    where : coordinates of the image that it is made of
    first : its first pixel along axes that do not begin with that image's first one
    """
    begin = first or {}
    datasets = []
    for path, by in levels:
        factors = dict(zip(axes, by, strict=True))
        steps = [where.step[axis] * factors[axis] for axis in axes]
        # A pixel of a coarser level lies in the middle of those that it is made of.
        begins = [
            where.origin[axis] + where.step[axis] * (begin.get(axis, 0) + (factors[axis] - 1) / 2)
            for axis in axes
        ]
        transformations: list[dict[str, Any]] = [{"type": "scale", "scale": steps}]
        if any(begins):
            transformations.append({"type": "translation", "translation": begins})
        datasets.append({"path": path, "coordinateTransformations": transformations})
    entries = [where.axis(axis) for axis in axes]
    multiscale: dict[str, Any] = {"name": name, "axes": entries, "datasets": datasets}
    more = {"omero": where.omero} if where.omero else {}
    if version == "0.4":
        return {"multiscales": [{"version": "0.4", **multiscale}], **more}
    return {"ome": {"version": "0.5", "multiscales": [multiscale], **more}}
