"""Recognise formats and locate arrays in them: OME-Zarr, Zarr, xarray groups, TIFF, .npy, ..."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import zarr

from steadystack.conventions import find_spacing, read_times
from steadystack.durable import explaining_unreadable, get_place
from steadystack.file_formats import (
    CZI_SUFFIXES,
    HDF_SUFFIXES,
    LIF_SUFFIXES,
    MRC_SUFFIXES,
    ND2_SUFFIXES,
    NPY_SUFFIX,
    PICTURE_SUFFIXES,
    TIFF_SUFFIXES,
    VIDEO_SUFFIXES,
    explaining_damage,
    open_pixels,
    read_coordinate,
    read_dimension_names,
    split_hdf_path,
)
from steadystack.model import InputError
from steadystack.ome import OmeImage, PyramidLevel, read_image
from steadystack.readers.many_files import locate_hdf_files, locate_pictures, locate_tiff
from steadystack.readers.positions import AXIS_NAMES, choose_image
from steadystack.readers.references import (
    ArrayChoice,
    InFiles,
    InTiff,
    InZarr,
    LocatedArray,
    locate_in_file,
)


@dataclass(frozen=True)
class Format:
    """A format of input files.

    Attributes
    ----------
    suffixes : of its files, in lower case
    locate : finds the chosen array at a path; None if the path is of another format
    """

    suffixes: tuple[str, ...]
    locate: Callable[[str, ArrayChoice], LocatedArray | None]


def find_array(path: str, choice: ArrayChoice) -> LocatedArray:
    """Find the image array at a path.

    Raises InputError if there is none, or if `choice` leaves several.
    """
    if not path:  # an unset shell variable; the working folder is not meant
        raise InputError("the path of the stack is empty: give that of a file, folder or store")
    with explaining_unreadable(path):
        located = _find_by_format(path, choice) or _locate_in_zarr(path, choice)
    reference = located.reference
    in_file = reference.file_reference if isinstance(reference, InFiles) else reference
    if choice.level and not located.levels and not isinstance(in_file, InTiff):
        raise InputError(
            f"input.level {choice.level}: {path} has no levels ({located.kind}): leave it out"
        )
    return located


def _find_by_format(path: str, choice: ArrayChoice) -> LocatedArray | None:
    """Find the image array at a path of any format but Zarr; None if it is of none of them."""
    for file_format in FORMATS:
        located = file_format.locate(path, choice)
        if located is not None:
            return located
    return None


def find_image(path: str, *, is_coded: bool, series: int | None = None) -> LocatedArray:
    """Find the only array at a path, such as a mask; the full resolution of an OME-Zarr image.

    `is_coded`: numbers of an array that xarray has written are decoded; `series`: which image of a
    TIFF file that holds several.
    """
    with explaining_unreadable(path):
        located = _find_by_format(path, ArrayChoice(series=series))
        if located is not None:
            return located
        node = get_place(path).open_zarr()
    if isinstance(node, zarr.Array):
        return _locate_plain_array(path, node, is_coded=is_coded)
    image = read_image(node.attrs, path)
    if image is not None:
        return _locate_ome_image(path, node, image, 0)
    with explaining_damage(path, "its list of arrays"):
        arrays = list(node.arrays())
    if len(arrays) != 1:
        raise InputError(f"{path} holds {len(arrays)} arrays: give the path of one of them")
    name, array = arrays[0]
    return _locate_plain_array(path, array, name, is_coded=is_coded)


def _locate_in_zarr(path: str, choice: ArrayChoice) -> LocatedArray:
    node = get_place(path).open_zarr()
    if isinstance(node, zarr.Array):
        return _locate_plain_array(path, node)
    with explaining_damage(path, "its list of images"):
        node, inner_path = choose_image(node, path, choice.position, choice.series)
    if isinstance(node, zarr.Array):
        return _locate_plain_array(path, node, inner_path)
    image = read_image(node.attrs, path)
    if image is not None:
        return _locate_ome_image(path, node, image, choice.level, inner_path)
    return _locate_xarray_variable(node, path, choice.variable, inner_path)


def _locate_by_reader(path: str, choice: ArrayChoice) -> LocatedArray | None:
    return None if choice.reader is None else locate_in_file("reader", path, choice.reader)


def _locate_raw(path: str, choice: ArrayChoice) -> LocatedArray | None:
    return None if choice.raw is None else locate_in_file("raw", path, choice.raw)


def _locate_hdf(path: str, choice: ArrayChoice) -> LocatedArray | None:
    inside = split_hdf_path(path)
    if inside is None:
        return None
    place = get_place(inside[0])
    if place.is_pattern:
        return None
    if place.has_wildcards and inside[1]:
        raise InputError(
            f"{path}: files of several folders are several stacks: set input.path: '{inside[0]}' "
            f"and input.variable: {inside[1]}"
        )
    return locate_in_file("hdf", path, choice.variable or "")


def _by_suffix(file_format: str, suffixes: tuple[str, ...]) -> Format:
    """A format that is recognised by its suffix, whose files hold one array or numbered ones."""

    def locate(path: str, choice: ArrayChoice) -> LocatedArray | None:
        if not path.lower().endswith(suffixes):
            return None
        return locate_in_file(
            file_format, path, "" if choice.series is None else f"{choice.series}"
        )

    return Format(suffixes, locate)


def _locate_plain_array(
    path: str, array: zarr.Array[Any], name: str = "", *, is_coded: bool = True
) -> LocatedArray:
    return LocatedArray(
        open_pixels(path, name, array, is_coded=is_coded),
        InZarr(name, is_coded),
        f"Zarr v{array.metadata.zarr_format} array",
        read_dimension_names(array),
    )


def _locate_ome_image(
    path: str, group: zarr.Group, image: OmeImage, level: int, inner_path: str = ""
) -> LocatedArray:
    """Locate a level of an OME-Zarr image; `inner_path` is the group's path in the store."""
    name = image.get_level(level).path
    array = _open_level(path, group, name, level)
    shapes = {
        number: tuple(array.shape) if number == level else _read_shape(path, group, entry)
        for number, entry in enumerate(image.levels)
    }
    return LocatedArray(
        open_pixels(path, name, array, is_coded=False),
        InZarr(f"{inner_path}/{name}".strip("/")),
        f"OME-Zarr {image.version} image, level {level} of {len(image.levels)}",
        [axis.name for axis in image.axes],
        image.get_scale(level),
        [axis.unit for axis in image.axes],
        image.channel_names,
        levels=tuple(shape for shape in shapes.values() if shape is not None),
        image=inner_path,
        scale_doubt=image.explain_misfit(level, shapes[level], shapes[0]),
    )


def _open_level(path: str, group: zarr.Group, name: str, level: int) -> zarr.Array[Any]:
    try:
        with explaining_damage(path, f"level {level}, the array {name!r},"):
            array = group.get(name)
    except InputError as error:
        raise InputError(f"{error}; or set another input.level") from error
    if array is None:
        raise InputError(
            f"{path}: level {level} should be the array {name!r}, which does not exist: set "
            "another input.level, or give the path of an array inside"
        )
    if not isinstance(array, zarr.Array):
        raise InputError(
            f"{path}: level {level}: {name!r} is a group and not an array: set another input.level"
        )
    return array


def _read_shape(path: str, group: zarr.Group, level: PyramidLevel | None) -> tuple[int, ...] | None:
    """Read the shape of another level, not its pixels; None if that is not possible."""
    try:
        with explaining_damage(path, "a level"):
            array = None if level is None else group.get(level.path)
    except InputError:
        return None
    return tuple(array.shape) if isinstance(array, zarr.Array) else None


def _locate_xarray_variable(
    group: zarr.Group, path: str, variable: str | None, inner_path: str
) -> LocatedArray:
    name, array = variable or "", None
    if variable is not None:
        with explaining_damage(path, f"the array {variable!r}"):
            array = group.get(variable)
    if not isinstance(array, zarr.Array):
        name, array = _choose_variable(group, path, variable)
    names = read_dimension_names(array)
    scale, units, time = [], [], None
    for dimension in names or []:
        values, unit, calendar = read_coordinate(path, group, dimension)
        if AXIS_NAMES.get(dimension.lower()) == "t" and values is not None:
            time = read_times(values, unit, calendar)
        scale.append(find_spacing(values))
        units.append(unit)
    return LocatedArray(
        open_pixels(path, name, array, is_coded=True),
        InZarr(f"{inner_path}/{name}".strip("/"), is_coded=True),
        "xarray Zarr group",
        names,
        scale or None,
        units or None,
        time=time,
    )


def _choose_variable(
    group: zarr.Group, path: str, variable: str | None
) -> tuple[str, zarr.Array[Any]]:
    """Choose the only array of a group that may be a stack; raises InputError if there is none."""
    try:
        arrays = dict(group.arrays())
    except Exception as error:  # a web server that lists nothing, or a damaged array
        raise InputError(
            f"{path} does not list its arrays: give the path of one of them ({error})"
        ) from error
    stacks = [name for name, array in arrays.items() if array.ndim >= 3]
    if variable is None and len(stacks) == 1:
        return stacks[0], arrays[stacks[0]]
    listed = ", ".join(sorted(stacks)) or "none"
    raise InputError(
        f"{path} is a Zarr group without an OME-Zarr image: set input.variable to the array "
        f"to register (arrays with 3 or more dimensions: {listed})"
    )


# Every format but Zarr; the first one that locates an array at a path is used, Zarr if none does.
FORMATS = (
    Format((), _locate_by_reader),
    Format((), _locate_raw),
    _by_suffix("npy", (NPY_SUFFIX,)),
    Format(HDF_SUFFIXES, _locate_hdf),
    _by_suffix("mrc", MRC_SUFFIXES),
    _by_suffix("video", VIDEO_SUFFIXES),
    _by_suffix("czi", CZI_SUFFIXES),
    _by_suffix("lif", LIF_SUFFIXES),
    _by_suffix("nd2", ND2_SUFFIXES),
    Format(TIFF_SUFFIXES, locate_tiff),
    Format(PICTURE_SUFFIXES, locate_pictures),
    Format((), locate_hdf_files),
)
ZARR_SUFFIXES = (".zarr",)
# Suffixes of inputs, which are not part of the name of what the input shows.
INPUT_SUFFIXES = tuple(
    f"{prefix}{suffix}"
    for prefix in (".ome", "")
    for suffixes in (ZARR_SUFFIXES, *(file_format.suffixes for file_format in FORMATS))
    for suffix in suffixes
)
