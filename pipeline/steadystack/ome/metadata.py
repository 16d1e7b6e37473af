"""OME-Zarr metadata as types: read leniently, as many writers have many habits.

Specification: https://ngff.openmicroscopy.org/0.4/ and /0.5/. Only what is needed is read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from steadystack.model import InputError
from steadystack.units import is_size


class _Lenient(BaseModel):
    """An entry of the metadata; keys that are not fields are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, coerce_numbers_to_str=True)


class Axis(_Lenient):
    """An axis of an image: its name, and its unit where it has one."""

    name: str
    unit: str = ""

    @field_validator("unit", mode="before")
    @classmethod
    def _drop_others(cls, unit: Any) -> str:
        return unit if isinstance(unit, str) else ""


class Transformation(_Lenient):
    """A step from array indices to physical coordinates; a number that is none is not known, NaN.

    The lists are empty where they are not stated, or stand in a file, which is not read.
    """

    type: Any = ""
    scale: tuple[float, ...] = ()
    translation: tuple[float, ...] = ()

    @field_validator("scale", "translation", mode="before")
    @classmethod
    def _convert_numbers(cls, values: Any) -> tuple[float, ...]:
        return tuple(map(_convert_number, values)) if isinstance(values, list | tuple) else ()


def _convert_number(value: Any) -> float:
    try:
        return float(value) if isinstance(value, int | float | str) else math.nan
    except (OverflowError, ValueError):
        return math.nan


def _select_mappings(entries: Any) -> list[Any]:
    """Select what can be understood of a list of entries; [] if it is no list."""
    return [entry for entry in entries if isinstance(entry, Mapping)] if _is_list(entries) else []


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


class _Transformed(_Lenient):
    """An entry with transformations; those that cannot be understood are left out."""

    transformations: tuple[Transformation, ...] = Field((), alias="coordinateTransformations")

    @field_validator("transformations", mode="before")
    @classmethod
    def _leave_out_others(cls, entries: Any) -> list[Any]:
        return _select_mappings(entries)


class PyramidLevel(_Transformed):
    """A level of a pyramid: the path of its array in the group of the image."""

    path: str


class _Multiscale(_Transformed):
    axes: tuple[Axis, ...] = ()
    datasets: tuple[Any, ...] = ()
    version: Any = None

    @field_validator("axes", mode="before")
    @classmethod
    def _convert_old_axes(cls, axes: Any) -> Any:
        """Convert axes of versions before 0.4, which are names alone."""
        names = axes if _is_list(axes) or isinstance(axes, str) else ()
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
        return tuple(_read_label(entry) or str(number) for number, entry in enumerate(entries))

    def get_level(self, number: int) -> PyramidLevel:
        """Get a level by its number; raises InputError if it does not exist."""
        if not 0 <= number < len(self.levels):
            raise InputError(
                f"input.level {number} does not exist: levels are 0 to {len(self.levels) - 1}"
            )
        level = self.levels[number]
        if level is None:
            raise InputError(
                f"the OME-Zarr metadata of level {number} states no path of an array: set another "
                "input.level, or give the path of the array, and input.axes"
            )
        return level

    def get_scale(self, number: int) -> list[float] | None:
        """Get the size of a pixel that a level states along each axis; None if it states none.

        A size that is none, such as 0, is NaN. Raises InputError if the number of sizes is not the
        number of axes.
        """
        level = self.get_level(number)
        stated = [t for t in (*self.common, *level.transformations) if t.type == "scale"]
        for transformation in stated:
            if len(transformation.scale) not in (0, len(self.axes)):
                sizes = ", ".join(f"{size:g}" for size in transformation.scale)
                raise InputError(
                    f"level {level.path} has the scale [{sizes}] for {len(self.axes)} axes: "
                    "correct it in the metadata, or give the path of the array, input.axes and "
                    "input.pixel_size"
                )
        scale = self._compute_placement(stated)[0]
        return [size if is_size(size) else math.nan for size in scale] if stated else None

    def compute_placement(self, number: int) -> tuple[list[float], list[float]]:
        """Compute the size of a pixel and the position of the first one along each axis of a level.

        The level's own transformations come first, then those of all levels. What is not known is
        NaN.
        """
        return self._compute_placement([*self.get_level(number).transformations, *self.common])

    def _compute_placement(
        self, transformations: Sequence[Transformation]
    ) -> tuple[list[float], list[float]]:
        unknown = [math.nan] * len(self.axes)
        scale, origin = [1.0] * len(self.axes), [0.0] * len(self.axes)
        for transformation in transformations:
            if transformation.type == "scale":
                factors = transformation.scale or unknown
                scale, origin = _multiply(scale, factors), _multiply(origin, factors)
            elif transformation.type == "translation":
                steps = transformation.translation
                offsets = steps if len(steps) == len(self.axes) else unknown
                origin = [a + b for a, b in zip(origin, offsets, strict=True)]
        return scale, origin

    def explain_misfit(
        self, number: int, shape: Sequence[int] | None, full_shape: Sequence[int] | None
    ) -> str:
        """Explain why the scale of a level does not fit its shape beside level 0; "" if it does.

        Shapes may be rounded either way: a scale fits if it would for one pixel more or less.
        """
        if number == 0 or shape is None or full_shape is None or self.levels[0] is None:
            return ""
        try:
            scale, full_scale = self.get_scale(number), self.get_scale(0)
        except InputError:
            return ""
        if scale is None or full_scale is None or not len(scale) == len(shape) == len(full_shape):
            return ""
        sides = zip(shape, full_shape, scale, full_scale, strict=True)
        for size, full_size, step, full_step in sides:
            factor = step / full_step
            is_fitting = full_size / (size + 1) <= factor <= full_size / max(size - 1, 0.5)
            if math.isfinite(factor) and not is_fitting:
                return (
                    f"level {number} has {tuple(shape)} pixels and states the scale {scale}, level "
                    f"0 has {tuple(full_shape)} and states {full_scale}"
                )
        return ""


def _multiply(values: Sequence[float], factors: Sequence[float]) -> list[float]:
    return [value * factor for value, factor in zip(values, factors, strict=True)]


def _read_label(entry: Any) -> str:
    """Read the name of a channel; "" if it has none."""
    label = entry.get("label") if isinstance(entry, Mapping) else None
    return str(label) if isinstance(label, str | int | float) else ""


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
        raise InputError(
            f"{path}: its OME-Zarr metadata lists no multiscales: give the path of an array "
            "inside, and input.axes"
        )
    try:
        multiscale = _Multiscale.model_validate(entries[0])
    except ValidationError as error:
        first = error.errors()[0]
        location = ".".join(map(str, ("multiscales", 0, *first["loc"])))
        raise InputError(
            f"{path}: its OME-Zarr metadata cannot be understood: {location}: {first['msg']}: "
            "correct it, or give the path of an array inside, and input.axes"
        ) from error
    stated = [ome.get("version"), multiscale.version, "0.4"]
    version = next(version for version in stated if version and isinstance(version, str | float))
    if not multiscale.axes:
        raise InputError(
            f"OME-Zarr {version} without axes is not supported (0.4 and 0.5 are): give the path "
            "of an array inside, and input.axes"
        )
    omero = ome.get("omero")
    return OmeImage(
        str(version),
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
