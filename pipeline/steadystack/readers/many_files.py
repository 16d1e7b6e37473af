"""Locate the stack in TIFF files, pictures or HDF5 files, given by a pattern or folder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from steadystack.durable import get_place
from steadystack.file_formats import (
    HDF_SUFFIXES,
    PICTURE_SUFFIXES,
    TIFF_SUFFIXES,
    TiffImage,
    ZarrPixels,
    explaining_damage,
    is_picture,
    is_tiff,
    open_hdf,
    read_tiff,
    split_hdf_path,
)
from steadystack.model import InputError
from steadystack.readers.composed import list_series_files, open_files
from steadystack.readers.positions import AXIS_NAMES
from steadystack.readers.references import (
    ArrayChoice,
    InFile,
    InFiles,
    InTiff,
    LocatedArray,
    locate_in_file,
)


def locate_tiff(path: str, choice: ArrayChoice) -> LocatedArray | None:
    """Locate the image in a TIFF file, or in a pattern or folder of them; None: no TIFF."""
    if is_tiff(path):
        return _describe_tiff(*read_tiff(path, choice.series, choice.level), choice.level)
    files = list_series_files(path, TIFF_SUFFIXES)
    if files is None:
        return None
    if not get_place(path).is_pattern and list_series_files(path, PICTURE_SUFFIXES):
        raise InputError(
            f"{path} holds TIFF files and pictures: give a pattern that matches the wanted ones, "
            f"such as '{path.rstrip('/')}/*.tif'"
        )
    return _locate_series(path, files, choice.series, choice.level, choice.axes)


def _describe_tiff(image: TiffImage, index: int, level: int) -> LocatedArray:
    return LocatedArray(
        ZarrPixels(image.array),
        InTiff(index, level),
        image.kind,
        image.axes,
        image.scale,
        image.units,
        image.channel_names,
        levels=image.levels,
    )


def _locate_series(
    path: str, files: Sequence[str], series: int | None, level: int, axes: str | None
) -> LocatedArray:
    """Locate a stack in many TIFF files with one or several frames each, concatenated."""
    if not files:
        raise InputError(f"{path}: no TIFF file matches")
    image, index = read_tiff(files[0], series, level)
    if len(files) > 1 and len(image.files) > 1:
        raise InputError(
            f"{files[0]} is part of an OME-TIFF of {len(image.files)} files, and stands for all of "
            "them: give the path of this file alone (or read them one by one with input.reader)"
        )
    first, reference = _describe_tiff(image, index, level), InTiff(index, level)
    if axes is None and not image.names_axes:
        _check_named(path, first)
    return _join_files(path, files, first, reference, axes)


def _check_named(path: str, first: LocatedArray) -> None:
    """Raise InputError if files with unnamed axes hold more than one frame each."""
    if len(first.pixels.shape) > 2:
        raise InputError(
            f"the files of {path} hold {first.pixels.shape} each, without axis names: set "
            "input.axes, such as tyx (frames, one file after the other) or tzyx (a volume per "
            "file)"
        )


def _join_files(
    path: str,
    files: Sequence[str],
    first: LocatedArray,
    reference: InTiff | InFile,
    axes: str | None,
) -> LocatedArray:
    axis_names, ndim = list(first.axes or ()), len(first.pixels.shape)
    if axes is not None:
        is_joined = len(axes) == ndim and axes[0] == "t"
    else:
        is_joined = (
            ndim > 2 and AXIS_NAMES.get(axis_names[0].lower()) == "t" and "I" not in axis_names
        )
    scale, units = list(first.scale or ()), list(first.units or ())
    return LocatedArray(
        open_files(files, reference, is_joined),
        InFiles.from_files(files, reference, is_joined),
        _name_files(files, first.kind),
        axis_names if is_joined or not axis_names else ["t", *axis_names],
        scale if is_joined or not scale else [math.nan, *scale],
        units if is_joined or not units else ["", *units],
        first.channel_names,
    )


def locate_hdf_files(path: str, choice: ArrayChoice) -> LocatedArray | None:
    """Locate the stack in HDF5 files: those of a folder, or of a pattern and a dataset in each.

    Each dataset is a frame, a volume or several frames; files are concatenated. None: no such
    files.
    """
    inside = split_hdf_path(path)
    if inside and not inside[1]:
        return None
    files = list_series_files(path, HDF_SUFFIXES)
    if files is None:
        return None
    if not files:
        raise InputError(f"{path}: no HDF5 file matches")
    named = inside[1] if inside else choice.variable
    found = open_hdf(files[0], named or "", fewest=2)
    first, reference = locate_in_file("hdf", files[0], found.name), InFile("hdf", found.name)
    if choice.axes is None and not first.axes:
        _check_named(path, first)
    return _join_files(path, files, replace(first, kind="HDF5"), reference, choice.axes)


def locate_pictures(path: str, choice: ArrayChoice) -> LocatedArray | None:
    """Locate a picture, or the stack of those of a pattern or folder; None: there are none."""
    if is_picture(path):
        return locate_in_file("picture", path)
    files = list_series_files(path, PICTURE_SUFFIXES)
    if files is None:
        return None
    if not files:
        raise InputError(f"{path}: no picture matches")
    endings = sorted({file.rpartition(".")[2].lower().replace("jpeg", "jpg") for file in files})
    if len(endings) > 1:
        raise InputError(
            f"{path} holds pictures that end in .{', .'.join(endings)}: give a pattern that "
            f"matches the wanted ones, such as '{path.rstrip('/')}/*.{endings[0]}'"
        )
    first, reference = locate_in_file("picture", files[0]), InFile("picture")
    with explaining_damage(files[0], "the picture"):
        first.pixels.read(tuple(slice(0, 1) for _ in first.pixels.shape))
    return LocatedArray(
        open_files(files, reference, False),
        InFiles.from_files(files, reference, False),
        _name_files(files, f"{endings[0].upper()}"),
        ["t", *(first.axes or ())],
        channel_names=first.channel_names,
    )


def _name_files(files: Sequence[str], kind: str) -> str:
    names = [name.rsplit("/", 1)[-1] for name in files]
    if len(names) == 1:
        return f"1 {kind} file, {names[0]}, no other matches"
    return f"{len(names)} {kind} files, {names[0]} to {names[-1]}"
