"""Read microscope files plane by plane: Leica LIF and Nikon ND2."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import product
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.file_formats.pixels import (
    FileArray,
    explaining_damage,
    find_local,
)
from steadystack.model import Bools, InputError, Slices

LIF_SUFFIXES = (".lif",)
ND2_SUFFIXES = (".nd2",)
# Most images of a file that an error lists.
MAX_LISTED = 8
MICROMETER = "micrometer"


# Reads y, x (and samples) of a plane, given by indices along the leading axes, and a region.
PlaneReader = Callable[[tuple[int, ...], Slices], NDArray[Any]]


class PlanePixels:
    """Planes of y, x (and samples, if any), stacked along leading axes."""

    shards = None

    def __init__(
        self,
        outer: tuple[int, ...],
        plane: tuple[int, ...],
        dtype: np.dtype[Any],
        read_plane: PlaneReader,
        find_lacking: PlaneReader | None = None,
    ) -> None:
        self.shape = outer + plane
        self.dtype, self.chunks = dtype, (1,) * len(outer) + plane
        self._count, self._read_plane, self._find_lacking = len(outer), read_plane, find_lacking
        self._lock = Lock()  # a file has a single read position

    @property
    def may_lack(self) -> bool:
        return self._find_lacking is not None

    def describe(self, shape: tuple[int, ...] | None = None) -> Any:
        return [shape or self.shape, str(self.dtype)]

    def read(self, region: Slices) -> NDArray[Any]:
        return self._join(region, self._read_plane, self.dtype)

    def find_missing(self, region: Slices, block: NDArray[Any]) -> Bools | None:
        """Find the pixels of a block that no part of the file covers."""
        if self._find_lacking is None:
            return None
        missing = self._join(region, self._find_lacking, np.dtype(bool))
        return missing if missing.any() else None

    def _join(self, region: Slices, read: PlaneReader, dtype: np.dtype[Any]) -> NDArray[Any]:
        outer, sides = region[: self._count], region[self._count :]
        joined = np.empty([side.stop - side.start for side in region], dtype)
        with self._lock:
            for index in product(*(range(side.start, side.stop) for side in outer)):
                place = tuple(i - side.start for i, side in zip(index, outer, strict=True))
                joined[place] = read(index, sides)
        return joined


def keep_open(file: Any, find: Callable[[Any], FileArray]) -> FileArray:
    """Find an array in an open file; the file is closed when the array is freed."""
    try:
        found = find(file)
    except BaseException:
        file.close()
        raise
    weakref.finalize(found.pixels, file.close)
    return found


def choose_number(path: str, name: str, noun: str, listed: Sequence[str]) -> int:
    """Choose one of several images by its number, used as name; "" for the only one."""
    shown = [f"{number}: {text}" for number, text in enumerate(listed[:MAX_LISTED])]
    shown += [f"and {len(listed) - MAX_LISTED} more"] if len(listed) > MAX_LISTED else []
    if not listed:
        raise InputError(f"{path} holds no {noun}")
    if not name and len(listed) > 1:
        raise InputError(
            f"{path} holds {len(listed)} {noun}s: set input.series ({'; '.join(shown)})"
        )
    number = int(name or 0)
    if number >= len(listed):
        raise InputError(f"input.series {number} does not exist: {path} holds {'; '.join(shown)}")
    return number


def open_lif(path: str, name: str = "") -> FileArray:
    """Open an image of a LIF file, by its number.

    Raises InputError if there are several and none is chosen, or if the file is cut off.
    """
    try:
        import liffile
    except ImportError as error:
        raise InputError(
            f"{path} is a LIF file: that needs liffile (pip install 'steadystack[lif]')"
        ) from error
    source = find_local(path)
    with explaining_damage(path, "the LIF file"):
        return keep_open(liffile.LifFile(source, squeeze=False), partial(_find_in_lif, path, name))


def _find_in_lif(path: str, name: str, file: Any) -> FileArray:
    images = list(file.images)
    listed = [f"{image.name} {tuple(image.sizes.values())}" for image in images]
    number = choose_number(path, name, "image", listed)
    image = images[number]
    sizes: dict[str, int] = dict(image.sizes)
    if image.is_flim:
        raise InputError(f"{path}: image {number} holds lifetimes: set another input.series")
    inner = [axis for axis in ("Y", "X", "S") if axis in sizes]
    outer = [axis for axis in sizes if axis not in inner and (sizes[axis] > 1 or axis == "T")]
    if list(sizes)[-len(inner) :] != inner:
        raise InputError(f"{path}: image {number} is scanned along {', '.join(sizes)}, not y and x")
    size, end = Path(path).stat().st_size, image.memory_block.offset + image.nbytes
    if size < end:
        raise InputError(
            f"{path} is truncated: it has {size} bytes, and image {number} ends at {end}: copy it "
            "again"
        )

    def read_plane(index: tuple[int, ...], sides: Slices) -> NDArray[Any]:
        plane = image.frame(**dict(zip(outer, index, strict=True)))
        return np.asarray(plane).reshape([sizes[axis] for axis in inner])[sides]

    shape = tuple(sizes[axis] for axis in outer), tuple(sizes[axis] for axis in inner)
    pixels = PlanePixels(*shape, np.dtype(image.dtype), read_plane)
    steps, units = _read_lif_steps(image)
    axes = [*outer, *inner]
    named = [axis.replace("S", "C") if "C" not in outer else axis for axis in axes]
    channels = [
        node.get("LUTName") or ""
        for node in image.xml_element.findall(".//ImageDescription/Channels/ChannelDescription")
    ]
    is_named = all(channels) and len(set(channels)) == len(channels)
    return FileArray(
        pixels,
        f"LIF image {image.name}",
        str(number),
        named,
        [steps.get(axis, math.nan) for axis in axes],
        [units.get(axis, "") for axis in axes],
        _read_lif_times(image, sizes.get("T", 1)),
        tuple(channels) if is_named else (),
    )


def _read_lif_steps(image: Any) -> tuple[dict[str, float], dict[str, str]]:
    """Read the step along each axis, and its unit, from the extent from first to last pixel."""
    steps, units = {}, {}
    for node in image.xml_element.findall(".//ImageDescription/Dimensions/DimensionDescription"):
        axis = {"1": "X", "2": "Y", "3": "Z", "4": "T"}.get(str(node.get("DimID")))
        with suppress(KeyError, ValueError, ZeroDivisionError):
            step = float(node.attrib["Length"]) / (int(node.attrib["NumberOfElements"]) - 1)
            if axis is not None:
                is_metre = node.get("Unit") == "m"
                steps[axis] = abs(step) * (1e6 if is_metre else 1)
                units[axis] = MICROMETER if is_metre else str(node.get("Unit", ""))
    return steps, units


def _read_lif_times(image: Any, count: int) -> tuple[tuple[float, ...], str] | None:
    """Read the time of the first plane of every frame; None: not known, or in another order."""
    stamps = image.timestamps
    if stamps is None or count < 2 or len(stamps) < count or len(stamps) % count:
        return None
    seconds = (stamps - stamps[0]).astype("timedelta64[ms]").astype(float) / 1000
    times = seconds.reshape(count, -1)[:, 0]
    if (np.diff(seconds) < 0).any() or (np.diff(times) <= 0).any():
        return None
    return tuple(times.tolist()), "s"


def open_nd2(path: str, name: str = "") -> FileArray:
    """Open a position of an ND2 file, by its number.

    Raises InputError if there are several and none is chosen, or if the file is cut off.
    """
    try:
        import nd2
    except ImportError as error:
        raise InputError(
            f"{path} is an ND2 file: that needs nd2 (pip install 'steadystack[nd2]')"
        ) from error
    source = find_local(path)
    with explaining_damage(path, "the ND2 file"):
        return keep_open(nd2.ND2File(source), partial(_find_in_nd2, path, name))


def _find_in_nd2(path: str, name: str, file: Any) -> FileArray:
    sizes: dict[str, int] = dict(file.sizes)
    positions = [f"position {number}" for number in range(sizes.pop("P", 1))]
    position = choose_number(path, name, "position", positions)
    outer = [axis for axis in sizes if axis not in "CYXS"]
    inner = [axis for axis in sizes if axis in "CYXS"]
    loops = {
        tuple(int(loop.get(axis, 0)) for axis in outer): number
        for number, loop in enumerate(file.loop_indices)
        if int(loop.get("P", position)) == position
    }

    def read_planes(index: tuple[int, ...], sides: Slices) -> NDArray[Any]:
        frame = np.asarray(file.read_frame(loops[index]))
        return frame.reshape([sizes[axis] for axis in inner])[sides]

    # nd2 reads images that are not in the file as zeros
    places = getattr(getattr(file, "_rdr", None), "_frame_offsets", None)

    def find_lacking(index: tuple[int, ...], sides: Slices) -> NDArray[Any]:
        is_lacking = places is not None and loops[index] not in places
        return np.full([side.stop - side.start for side in sides], is_lacking)

    lacks = places is not None and any(number not in places for number in loops.values())
    shape = tuple(sizes[axis] for axis in outer), tuple(sizes[axis] for axis in inner)
    pixels = PlanePixels(*shape, np.dtype(file.dtype), read_planes, find_lacking if lacks else None)
    pixels.read(tuple(slice(size - 1, size) for size in pixels.shape))
    axes = [*outer, *inner]
    voxel = file.voxel_size()
    steps = {axis: float(getattr(voxel, axis.lower())) for axis in "XYZ"}
    channels = tuple(str(entry.channel.name) for entry in file.metadata.channels or ())
    times = None
    if "T" in sizes:
        firsts = [
            loops[tuple(t if axis == "T" else 0 for axis in outer)] for t in range(sizes["T"])
        ]
        with suppress(Exception):  # events that a file lacks
            stamps = [file.frame_metadata(n).channels[0].time.relativeTimeMs for n in firsts]
            times = tuple((float(stamp) - float(stamps[0])) / 1000 for stamp in stamps), "s"
    return FileArray(
        pixels,
        "ND2 image",
        str(position),
        [axis.replace("S", "C") if "C" not in axes else axis for axis in axes],
        [steps.get(axis, math.nan) for axis in axes],
        [MICROMETER if axis in steps else "" for axis in axes],
        times,
        channels if len(channels) == sizes.get("C", 0) else (),
    )
