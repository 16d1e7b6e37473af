"""OME-Zarr metadata as types: read leniently, as many writers have many habits.

Specification: https://ngff.openmicroscopy.org/0.4/ and /0.5/. What is not needed is not looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from steadystack.model import InputError


class _Lenient(BaseModel):
    """A part of the metadata; what it holds besides is not looked at."""

    model_config = ConfigDict(extra="ignore", frozen=True, coerce_numbers_to_str=True)


class Axis(_Lenient):
    """An axis of an image: its name, and its unit where it has one."""

    name: str
    unit: str = ""

    @field_validator("unit", mode="before")
    @classmethod
    def _none_is_none(cls, unit: Any) -> Any:
        return unit or ""


class Transformation(_Lenient):
    """A step from array indices to physical coordinates."""

    type: str = ""
    scale: tuple[float, ...] = ()
    translation: tuple[float, ...] = ()


class PyramidLevel(_Lenient):
    """A level of a pyramid: the path of its array in the group of the image."""

    path: str
    steps: tuple[Transformation, ...] = Field((), alias="coordinateTransformations")


class _Multiscale(_Lenient):
    axes: tuple[Axis, ...] = ()
    datasets: tuple[Any, ...] = ()
    version: str | None = None
    steps: tuple[Transformation, ...] = Field((), alias="coordinateTransformations")

    @field_validator("axes", mode="before")
    @classmethod
    def _axes_of_0_3(cls, axes: Any) -> Any:
        """Before version 0.4 axes were names alone."""
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
    omero : how channels are shown, as it stands there
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

    def level(self, number: int) -> PyramidLevel:
        """A level by its number; raises InputError if it is not there."""
        if not 0 <= number < len(self.levels):
            raise InputError(
                f"input.level {number} does not exist: levels are 0 to {len(self.levels) - 1}"
            )
        found = self.levels[number]
        if found is None:
            raise InputError(f"the OME-Zarr metadata of level {number} cannot be understood")
        return found

    def scale_of(self, number: int) -> list[float] | None:
        """The size of a pixel that a level states along each axis; None if it states none.

        Raises InputError if it states it for another number of axes.
        """
        level, scale = self.level(number), list[float]()
        for step in (*self.common, *level.steps):
            if step.type != "scale":
                continue
            if len(step.scale) != len(self.axes):
                stated = ", ".join(f"{size:g}" for size in step.scale)
                raise InputError(
                    f"level {level.path} has the scale [{stated}] for {len(self.axes)} axes"
                )
            scale = _times(scale or [1.0] * len(self.axes), step.scale)
        return scale or None

    def placed(self, number: int) -> tuple[list[float], list[float]]:
        """The size of a pixel and the place of the first one, of a level along each axis.

        Its own transformations come first, then those of all levels.
        """
        scale, origin = [1.0] * len(self.axes), [0.0] * len(self.axes)
        for step in (*self.level(number).steps, *self.common):
            if step.type == "scale":
                scale, origin = _times(scale, step.scale), _times(origin, step.scale)
            elif step.type == "translation":
                origin = [a + b for a, b in zip(origin, step.translation, strict=True)]
        return scale, origin


def _times(values: Sequence[float], factors: Sequence[float]) -> list[float]:
    return [value * factor for value, factor in zip(values, factors, strict=True)]


def ome_attributes(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """The OME-Zarr part of a group's attributes: under "ome" since version 0.5, all before."""
    nested = attributes.get("ome")
    return nested if isinstance(nested, Mapping) else attributes


def read_image(attributes: Mapping[str, Any], path: str) -> OmeImage | None:
    """The image that a group is, by its attributes; None if it is none.

    Raises InputError, with the path of the group, for metadata that cannot be understood.
    """
    ome = ome_attributes(attributes)
    listed = ome.get("multiscales")
    if "multiscales" not in ome:
        return None
    if not isinstance(listed, list) or not listed or not isinstance(listed[0], Mapping):
        raise InputError(f"{path}: its OME-Zarr metadata lists no multiscales")
    try:
        found = _Multiscale.model_validate(listed[0])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, ("multiscales", 0, *first["loc"])))
        raise InputError(
            f"{path}: its OME-Zarr metadata cannot be understood: {where}: {first['msg']}"
        ) from error
    version = str(ome.get("version") or found.version or "0.4")
    if not found.axes:
        raise InputError(
            f"OME-Zarr {version} without axes is not supported (0.4 and 0.5 are): give the path "
            "of an array inside, and input.axes"
        )
    omero = ome.get("omero")
    return OmeImage(
        version,
        found.axes,
        tuple(_read_level(entry) for entry in found.datasets),
        found.steps,
        omero if isinstance(omero, Mapping) else {},
    )


def _read_level(entry: Any) -> PyramidLevel | None:
    try:
        return PyramidLevel.model_validate(entry)
    except ValidationError:
        return None


def read_plate(attributes: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The paths of the wells of a plate, in its order; None if it is no plate."""
    plate = ome_attributes(attributes).get("plate")
    return None if plate is None else _read_paths(plate, "wells")


def read_well(attributes: Mapping[str, Any]) -> tuple[str, ...]:
    """The paths of the images in a well; its first if it does not list them."""
    return _read_paths(ome_attributes(attributes).get("well"), "images") or ("0",)


def _read_paths(entry: Any, key: str) -> tuple[str, ...]:
    listed = entry.get(key) if isinstance(entry, Mapping) else None
    entries = listed if isinstance(listed, list) else []
    return tuple(str(one["path"]) for one in entries if isinstance(one, Mapping) and "path" in one)


def is_collection(attributes: Mapping[str, Any]) -> bool:
    """Whether a group holds images and is none itself: some writers mark their images likewise."""
    ome = ome_attributes(attributes)
    return "bioformats2raw.layout" in {**attributes, **ome} and "multiscales" not in ome


def read_series(attributes: Mapping[str, Any]) -> tuple[str, ...]:
    """The images of a collection as its group ``OME`` lists them; none if it does not."""
    listed = ome_attributes(attributes).get("series")
    return tuple(map(str, listed)) if isinstance(listed, list) else ()
