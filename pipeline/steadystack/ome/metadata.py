"""OME-Zarr metadata as types: read leniently, as many writers have many habits.

Specification: https://ngff.openmicroscopy.org/0.4/ and /0.5/. Only what is needed is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from steadystack.model import InputError


class _Lenient(BaseModel):
    """An entry of the metadata; keys that are not fields are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, coerce_numbers_to_str=True)


class Axis(_Lenient):
    """An axis of an image: its name, and its unit where it has one."""

    name: str
    unit: str = ""

    @field_validator("unit", mode="before")
    @classmethod
    def _convert_none(cls, unit: Any) -> Any:
        return unit or ""


class Transformation(_Lenient):
    """A step from array indices to physical coordinates."""

    type: str = ""
    scale: tuple[float, ...] = ()
    translation: tuple[float, ...] = ()


class PyramidLevel(_Lenient):
    """A level of a pyramid: the path of its array in the group of the image."""

    path: str
    transformations: tuple[Transformation, ...] = Field((), alias="coordinateTransformations")


class _Multiscale(_Lenient):
    axes: tuple[Axis, ...] = ()
    datasets: tuple[Any, ...] = ()
    version: str | None = None
    transformations: tuple[Transformation, ...] = Field((), alias="coordinateTransformations")

    @field_validator("axes", mode="before")
    @classmethod
    def _convert_old_axes(cls, axes: Any) -> Any:
        """Convert axes of versions before 0.4, which are names alone."""
        names = axes if isinstance(axes, list | tuple) else axes or ()
        return [{"name": axis} if isinstance(axis, str) else axis for axis in names]


@dataclass(frozen=True)
class OmeImage:
    """An image of one or several levels.

    Attributes
    ----------
    version : of OME-Zarr
    axes : per array axis
    levels : from the full resolution to the coarsest; None for one that cannot be understood
    common : transformations of all levels, after their own
    omero : how channels are shown, as the metadata have it
    """

    version: str
    axes: tuple[Axis, ...]
    levels: tuple[PyramidLevel | None, ...]
    common: tuple[Transformation, ...] = ()
    omero: Mapping[str, Any] = field(default_factory=dict)

    @property
    def channel_names(self) -> tuple[str, ...]:
        channels = self.omero.get("channels")
        entries = channels if isinstance(channels, list) else []
        return tuple(
            str(entry.get("label", number)) if isinstance(entry, Mapping) else str(number)
            for number, entry in enumerate(entries)
        )

    def get_level(self, number: int) -> PyramidLevel:
        """Get a level by its number; raises InputError if it does not exist."""
        if not 0 <= number < len(self.levels):
            raise InputError(
                f"input.level {number} does not exist: levels are 0 to {len(self.levels) - 1}"
            )
        level = self.levels[number]
        if level is None:
            raise InputError(f"the OME-Zarr metadata of level {number} cannot be understood")
        return level

    def get_scale(self, number: int) -> list[float] | None:
        """Get the size of a pixel that a level states along each axis; None if it states none.

        Raises InputError if the number of sizes is not the number of axes.
        """
        level, scale = self.get_level(number), list[float]()
        for transformation in (*self.common, *level.transformations):
            if transformation.type != "scale":
                continue
            if len(transformation.scale) != len(self.axes):
                stated = ", ".join(f"{size:g}" for size in transformation.scale)
                raise InputError(
                    f"level {level.path} has the scale [{stated}] for {len(self.axes)} axes"
                )
            scale = _multiply(scale or [1.0] * len(self.axes), transformation.scale)
        return scale or None

    def compute_placement(self, number: int) -> tuple[list[float], list[float]]:
        """Compute the size of a pixel and the position of the first one along each axis of a level.

        The level's own transformations come first, then those of all levels.
        """
        scale, origin = [1.0] * len(self.axes), [0.0] * len(self.axes)
        for transformation in (*self.get_level(number).transformations, *self.common):
            if transformation.type == "scale":
                scale = _multiply(scale, transformation.scale)
                origin = _multiply(origin, transformation.scale)
            elif transformation.type == "translation":
                origin = [a + b for a, b in zip(origin, transformation.translation, strict=True)]
        return scale, origin


def _multiply(values: Sequence[float], factors: Sequence[float]) -> list[float]:
    return [value * factor for value, factor in zip(values, factors, strict=True)]


def get_ome_attributes(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Get the OME-Zarr attributes of a group: those under "ome" since version 0.5, all before."""
    nested = attributes.get("ome")
    return nested if isinstance(nested, Mapping) else attributes


def read_image(attributes: Mapping[str, Any], path: str) -> OmeImage | None:
    """Read the image that a group is from its attributes; None if it is none.

    Raises InputError, with the path of the group, for metadata that cannot be understood.
    """
    ome = get_ome_attributes(attributes)
    multiscales = ome.get("multiscales")
    if "multiscales" not in ome:
        return None
    entries = multiscales if isinstance(multiscales, list) else []
    if not entries or not isinstance(entries[0], Mapping):
        raise InputError(f"{path}: its OME-Zarr metadata lists no multiscales")
    try:
        multiscale = _Multiscale.model_validate(entries[0])
    except ValidationError as error:
        first = error.errors()[0]
        location = ".".join(map(str, ("multiscales", 0, *first["loc"])))
        raise InputError(
            f"{path}: its OME-Zarr metadata cannot be understood: {location}: {first['msg']}"
        ) from error
    version = str(ome.get("version") or multiscale.version or "0.4")
    if not multiscale.axes:
        raise InputError(
            f"OME-Zarr {version} without axes is not supported (0.4 and 0.5 are): give the path "
            "of an array inside, and input.axes"
        )
    omero = ome.get("omero")
    return OmeImage(
        version,
        multiscale.axes,
        tuple(_read_level(entry) for entry in multiscale.datasets),
        multiscale.transformations,
        omero if isinstance(omero, Mapping) else {},
    )


def _read_level(entry: Any) -> PyramidLevel | None:
    try:
        return PyramidLevel.model_validate(entry)
    except ValidationError:
        return None


def read_plate(attributes: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Read the paths of the wells of a plate, in its order; None if the group is no plate."""
    plate = get_ome_attributes(attributes).get("plate")
    return None if plate is None else _read_paths(plate, "wells")


def read_well(attributes: Mapping[str, Any]) -> tuple[str, ...]:
    """Read the paths of the images in a well; ("0",) if it does not list them."""
    return _read_paths(get_ome_attributes(attributes).get("well"), "images") or ("0",)


def _read_paths(entry: Any, key: str) -> tuple[str, ...]:
    listed = entry.get(key) if isinstance(entry, Mapping) else None
    entries = listed if isinstance(listed, list) else []
    items = (item for item in entries if isinstance(item, Mapping) and "path" in item)
    return tuple(str(item["path"]) for item in items)


def is_collection(attributes: Mapping[str, Any]) -> bool:
    """Whether a group holds images and is none itself; some writers mark images as collections."""
    ome = get_ome_attributes(attributes)
    return "bioformats2raw.layout" in {**attributes, **ome} and "multiscales" not in ome


def read_series(attributes: Mapping[str, Any]) -> tuple[str, ...]:
    """Read the paths of a collection's images from the attributes of its group ``OME``.

    Empty if they are not listed.
    """
    listed = get_ome_attributes(attributes).get("series")
    return tuple(map(str, listed)) if isinstance(listed, list) else ()
