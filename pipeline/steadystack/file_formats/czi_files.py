"""Read Zeiss CZI files, whose tiles are joined to planes."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray

from steadystack.file_formats.microscopes import MICROMETER, PlanePixels, choose_number, keep_open
from steadystack.file_formats.picture_files import COLOURS
from steadystack.file_formats.pixels import FileArray, explaining_damage, find_local
from steadystack.model import InputError, Slices

CZI_SUFFIXES = (".czi",)
# Kinds of compression that czifile has supported since 2026.
ZSTD, ZSTD_HEADED = 5, 6
# Times in CZI files are seconds since the start, or days since 1899; no dates are before 1954.
FIRST_DATE = 20000


@dataclass(frozen=True)
class CziTile:
    """A part of a plane: where it lies, and how it is read."""

    scene: int
    place: Mapping[str, int]
    top: int
    left: int
    shape: tuple[int, int, int]  # y, x, samples
    order: int
    dtype: np.dtype[Any]
    load: Callable[[], NDArray[Any]]


def open_czi(path: str, name: str = "") -> FileArray:
    """Open a scene of a CZI file by its number; tiles are joined, uncovered pixels are missing.

    Raises InputError if there are several and none is chosen, or if the file is cut off.
    """
    try:
        import czifile
    except ImportError as error:
        raise InputError(
            f"{path} is a CZI file: that needs czifile (pip install 'steadystack[czi]')"
        ) from error
    source = find_local(path)
    with explaining_damage(path, "the CZI file"), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # from NumPy, about czifile
        return keep_open(czifile.CziFile(source), partial(_find_in_czi, path, name))


def _find_in_czi(path: str, name: str, file: Any) -> FileArray:
    size, end = Path(path).stat().st_size, int(file.header.directory_position)
    if end >= size:
        raise InputError(
            f"{path} is truncated: it has {size} bytes, but the list of its parts is at {end}: "
            "copy it again"
        )
    tiles = _list_tiles(file)
    scenes = sorted({tile.scene for tile in tiles})
    number = choose_number(path, name, "scene", [f"scene {scene}" for scene in scenes])
    tiles = [tile for tile in tiles if tile.scene == scenes[number]]
    tiles[-1].load()  # to make sure that it can be read
    return _describe_czi(path, file, tiles, str(number))


def _list_tiles(file: Any) -> list[CziTile]:
    """List the tiles of full resolution, with czifile before and since 2026."""
    tiles = []
    for order, entry in enumerate(file.subblock_directory):
        if tuple(entry.stored_shape) != tuple(entry.shape):  # a level of a pyramid
            continue
        names = (entry.dims if hasattr(entry, "dims") else entry.axes)[:-1]
        place = dict(zip(names, map(int, entry.start), strict=False))
        sizes = dict(zip(names, map(int, entry.shape), strict=False))
        scene = int(entry.scene_index if hasattr(entry, "scene_index") else place.pop("S", 0))
        if hasattr(entry, "read_segment_data"):
            dtype = entry.dtype.base

            def load(entry: Any = entry) -> NDArray[Any]:
                return np.asarray(entry.read_segment_data(file).data())
        else:
            dtype = np.dtype(str(entry.dtype)[-2:])

            def load(entry: Any = entry) -> NDArray[Any]:
                if entry.compression in (ZSTD, ZSTD_HEADED):
                    return _unpack(entry)
                return np.asarray(entry.data_segment().data(resize=False))

        shape = sizes["Y"], sizes["X"], int(entry.shape[-1])
        top, left = place.pop("Y"), place.pop("X")
        if entry.mosaic_index is not None and entry.mosaic_index >= 0:
            order = int(entry.mosaic_index)
        tiles.append(CziTile(scene, place, top, left, shape, order, dtype, load))
    return tiles


def _unpack(entry: Any) -> NDArray[Any]:
    """Decompress a zstd tile, for czifile before 2026.

    One with a header may store the low bytes of all numbers first, then the high bytes.
    """
    import imagecodecs

    packed, is_split = entry.data_segment().data(raw=True), False
    if entry.compression == ZSTD_HEADED:
        is_split = packed[0] > 1 and packed[1] == 1 and bool(packed[2] & 1)
        packed = packed[packed[0] :]
    numbers: NDArray[Any] = np.frombuffer(imagecodecs.zstd_decode(packed), "u1")
    if is_split:
        numbers = numbers.reshape(2, -1).T
    pixels = np.ascontiguousarray(numbers).reshape(-1).view(str(entry.dtype)[-2:])
    return pixels.reshape(entry.shape)[..., :: -1 if entry.shape[-1] == 3 else 1]


def _describe_czi(path: str, file: Any, tiles: Sequence[CziTile], name: str) -> FileArray:
    samples = {tile.shape[2] for tile in tiles}
    found = {axis: [tile.place[axis] for tile in tiles if axis in tile.place] for axis in "TCZ"}
    planes = {axis: range(min(at), max(at) + 1) for axis, at in found.items() if at}
    outer = [axis for axis, numbers in planes.items() if axis == "T" or len(numbers) > 1]
    others = [
        axis
        for axis in dict.fromkeys(axis for tile in tiles for axis in tile.place)
        if axis not in "TCZ" and len({tile.place.get(axis, 0) for tile in tiles}) > 1
    ]
    if others or len(samples) > 1 or ("C" in outer and samples != {1}):
        what = f"has several planes along {others[0]}" if others else "has colours and channels"
        raise InputError(
            f"{path}: scene {name} {what}, which cannot be read: export it as OME-TIFF"
        )
    depth = samples.pop()
    root = ET.fromstring(file.metadata() or "<none/>")
    axes = [*outer, "Y", "X", *(("C",) if depth > 1 else ())]
    steps = {
        str(node.get("Id")): float(node.findtext("Value") or math.nan) * 1e6  # metres
        for node in root.findall(".//Scaling/Items/Distance")
    }
    nodes = root.findall(".//Information/Image/Dimensions/Channels/Channel")
    names = tuple(node.get("Name") or "" for node in nodes)
    is_named = "C" in outer and all(names) and len(names) == len(planes["C"])
    channels = COLOURS[:depth] if depth > 1 else names if is_named else ()
    return FileArray(
        _join_tiles(tiles, {axis: planes[axis] for axis in outer}),
        "CZI image",
        name,
        axes,
        [steps.get(axis, math.nan) if axis in "ZYX" else math.nan for axis in axes],
        [MICROMETER if axis in "ZYX" and axis in steps else "" for axis in axes],
        _read_czi_times(file, len(planes.get("T", ()))),
        channels,
    )


def _join_tiles(tiles: Sequence[CziTile], planes: Mapping[str, range]) -> PlanePixels:
    """Join tiles to planes, numbered along some axes; the last one is on top of others."""
    top, left = min(tile.top for tile in tiles), min(tile.left for tile in tiles)
    height = max(tile.top + tile.shape[0] for tile in tiles) - top
    width = max(tile.left + tile.shape[1] for tile in tiles) - left
    depth = tiles[0].shape[2]
    dtype = np.result_type(*{tile.dtype for tile in tiles})
    by_plane: dict[tuple[int, ...], list[CziTile]] = {}
    for tile in sorted(tiles, key=lambda tile: tile.order):
        index = tuple(tile.place[axis] - numbers.start for axis, numbers in planes.items())
        by_plane.setdefault(index, []).append(tile)

    def join(index: tuple[int, ...], sides: Slices, is_read: bool) -> NDArray[Any]:
        shape = [side.stop - side.start for side in sides]
        joined = np.full(shape, not is_read, dtype if is_read else bool)
        for tile in by_plane.get(index, ()):
            begins = (tile.top - top, tile.left - left, 0)[: len(sides)]
            both = [
                (max(begin, side.start), min(begin + size, side.stop))
                for begin, size, side in zip(begins, tile.shape, sides, strict=False)
            ]
            if all(low < high for low, high in both):
                place = tuple(
                    slice(low - side.start, high - side.start)
                    for (low, high), side in zip(both, sides, strict=True)
                )
                part = tuple(
                    slice(low - begin, high - begin)
                    for (low, high), begin in zip(both, begins, strict=True)
                )
                whole = tile.shape[: len(sides)]
                joined[place] = tile.load().reshape(whole)[part] if is_read else False
        return joined

    shape = tuple(len(numbers) for numbers in planes.values())
    is_whole = all(
        any(tile.shape[:2] == (height, width) for tile in by_plane.get(index, ()))
        for index in np.ndindex(*shape)
    )
    return PlanePixels(
        shape,
        (height, width, depth) if depth > 1 else (height, width),
        dtype,
        partial(join, is_read=True),
        None if is_whole else partial(join, is_read=False),
    )


def _read_czi_times(file: Any, count: int) -> tuple[tuple[float, ...], str] | None:
    """Read the times of frames, seconds; None: there are none, or they might be dates."""
    if not file.header.attachment_directory_position:
        return None
    with suppress(Exception):  # a damaged attachment: times are not essential
        for attachment in file.attachments():
            if attachment.attachment_entry.name == "TimeStamps":
                times = np.asarray(attachment.data(), float).ravel()
                if (
                    len(times) == count
                    and 0 <= times[0] < FIRST_DATE
                    and (np.diff(times) > 0).all()
                ):
                    return tuple((times - times[0]).tolist()), "s"
    return None
