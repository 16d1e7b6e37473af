"""Choose among images of plates and collections, and channels; identify the axes of an array."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import zarr

from steadystack.durable import get_place
from steadystack.file_formats import Pixels, is_picture, is_tiff, split_hdf_path
from steadystack.model import InputError
from steadystack.ome import is_collection, read_plate, read_series, read_well

# Most names that an error lists.
MAX_LISTED = 8
AXIS_NAMES = {
    "t": "t", "time": "t", "frame": "t", "date": "t",
    "c": "c", "channel": "c", "ch": "c", "band": "c",
    "z": "z", "depth": "z", "plane": "z",
    "y": "y", "lat": "y", "latitude": "y", "row": "y",
    "x": "x", "lon": "x", "longitude": "x", "column": "x", "col": "x",
}  # fmt: skip
DEFAULT_AXES = {2: "yx", 3: "tyx"}
# Most entries along an axis: more must be a mistake in the metadata, and would fill the memory.
MOST_PIXELS = 2**24


@dataclass(frozen=True)
class Positions:
    """The images of a plate or a collection.

    Attributes
    ----------
    names : paths of the images in the store, in the plate's order, such as ``B/03/0``
    missing : wells that the plate lists and the store does not hold
    """

    path: str
    names: tuple[str, ...]
    missing: tuple[str, ...] = ()

    def paths(self) -> tuple[str, ...]:
        """Get the full path of every image, in the order of `names`; each can be an input."""
        return tuple(f"{self.path.rstrip('/')}/{name}" for name in self.names)


def list_positions(path: str) -> Positions | None:
    """List the images of the plate or the collection at a path; None if there is neither.

    Reads metadata only.
    """
    node = get_place(path).open_zarr()
    if isinstance(node, zarr.Array):
        return None
    if (wells := read_plate(node.attrs)) is not None:
        return _list_plate(node, path, wells)
    if is_collection(node.attrs):
        return Positions(path, _list_collection(node))
    return None


def choose_image(
    group: zarr.Group, path: str, position: str | None, series: int | None
) -> tuple[zarr.Array[Any] | zarr.Group, str]:
    """Choose the image in a group by position or series; the group itself if it is an image.

    Returns the image and its path in the group, "" for the group itself.
    """
    if (wells := read_plate(group.attrs)) is not None:
        if series is not None:
            raise InputError(f"{path} is a plate: set input.position, not input.series")
        return _choose_in_plate(group, _list_plate(group, path, wells), position)
    if position is not None:
        raise InputError(f"input.position {position!r}: {path} is not a plate")
    if is_collection(group.attrs):
        names = _list_collection(group)
        if series is None and len(names) == 1:
            series = 0
        if series is None:
            raise InputError(
                f"{path} holds several images: set input.series to one of 0 to {len(names) - 1}, "
                f"give the path of one of them, such as {path}/{next(iter(names), '0')}, or set "
                "input.position to all"
            )
        if series >= len(names):
            raise InputError(f"input.series {series} does not exist: {path} has {len(names)}")
        return group[names[series]], names[series]
    if series is not None:
        raise InputError(f"input.series {series}: {path} is not a collection of images")
    return group, ""


def _choose_in_plate(
    group: zarr.Group, positions: Positions, position: str | None
) -> tuple[zarr.Array[Any] | zarr.Group, str]:
    path, names = positions.path, positions.names
    listed = ", ".join(names[:MAX_LISTED]) + (", ..." if len(names) > MAX_LISTED else "")
    if position is None and len(names) == 1:
        position = names[0]
    if position is None:
        raise InputError(
            f"{path} is a plate and holds several images: set input.position to one of its "
            f"{len(names)} ({listed}) or to all"
        )
    position = position.strip("/")
    fields = [name for name in names if name.rsplit("/", 1)[0] == position]
    if len(fields) == 1:
        position = fields[0]
    if position in names:
        return group[position], position
    if fields:
        raise InputError(
            f"input.position {position!r} is a well with {len(fields)} fields: set it to one of "
            f"{', '.join(fields)}"
        )
    if any(position == well or position.startswith(f"{well}/") for well in positions.missing):
        raise InputError(
            f"input.position {position!r}: the plate {path} lists this well, but the store does "
            f"not contain it; it has {listed}"
        )
    close_names = difflib.get_close_matches(position, names, n=1)
    hint = f"did you mean {close_names[0]}?" if close_names else f"it has {listed}"
    raise InputError(f"input.position {position!r} is not in the plate {path}; {hint}")


def _list_plate(group: zarr.Group, path: str, wells: Sequence[str]) -> Positions:
    names, missing = [], []
    for well in wells:
        node = group.get(well)
        fields = read_well(node.attrs) if isinstance(node, zarr.Group) else ()
        present = [field for field in fields if isinstance(node, zarr.Group) and field in node]
        names += [f"{well}/{field}" for field in present]
        if not present:
            missing.append(well)
    if not names:
        raise InputError(f"{path} is a plate, but none of its {len(missing)} wells exists")
    return Positions(path, tuple(names), tuple(missing))


def _list_collection(group: zarr.Group) -> tuple[str, ...]:
    """List the series of a bioformats2raw layout: from its OME group, or else 0, 1, 2, ..."""
    ome_group = group.get("OME")
    if isinstance(ome_group, zarr.Group) and (listed := read_series(ome_group.attrs)):
        return listed
    count = 0
    while str(count) in group:
        count += 1
    return tuple(str(index) for index in range(count))


def find_channel(
    path: str, count: int, names: Sequence[str], channel: int | str | None, has_axis: bool
) -> int | None:
    """Find the index of a channel given by number or name; None if the stack has no such axis.

    `count` and `names` are those of the channels of the stack at `path`.
    """
    if channel is None and count > 1:
        raise InputError(
            f"{path} has {_list_channels(count, names)}: choose one (input.channel, --channel)"
        )
    if isinstance(channel, str):
        if channel not in names and channel.isdecimal():
            return find_channel(path, count, names, int(channel), has_axis)
        if names.count(channel) > 1:
            places = ", ".join(str(i) for i, name in enumerate(names) if name == channel)
            raise InputError(
                f"input.channel {channel!r} is the name of {names.count(channel)} channels: choose "
                f"by number ({places})"
            )
        if channel not in names:
            close_names = difflib.get_close_matches(channel, names, n=1)
            suggestion = f"; did you mean {close_names[0]}?" if close_names else ""
            raise InputError(
                f"input.channel {channel!r} is not a channel of {path}, which has "
                f"{_list_channels(count, names)}{suggestion}"
            )
        return names.index(channel)
    if channel is not None and not 0 <= channel < count:
        raise InputError(
            f"input.channel {channel} is out of range: {path} has {_list_channels(count, names)}"
        )
    return (channel or 0) if has_axis else None


Channel: TypeAlias = int | str | Sequence[int | str] | None


def find_channels(
    path: str, count: int, names: Sequence[str], channel: Channel, has_axis: bool
) -> dict[str, Any]:
    """Find the channels given by numbers or names, as `channel` and `several` of a stack's spec.

    `count` and `names` are those of the channels of the stack at `path`.
    """
    if channel is None or isinstance(channel, int | str):
        return {"channel": find_channel(path, count, names, channel, has_axis)}
    found = [find_channel(path, count, names, one, has_axis) for one in channel]
    indices = [index for index in found if index is not None]
    if not channel or len(set(indices)) < len(indices):
        raise InputError(
            f"input.channel {list(channel)} must name at least one channel, and none twice"
        )
    several = tuple(indices) if len(indices) > 1 else ()
    return {"channel": found[0], "several": several}


def _list_channels(count: int, names: Sequence[str]) -> str:
    """List the channels as text, with what selects them: name, number or nothing."""
    if count == 1:
        return f"one channel, {names[0]}" if names else "one channel, without a name: leave it out"
    if names:
        return f"{count} channels: {', '.join(names)}"
    return f"{count} channels, without names: 0 to {count - 1}"


def identify_axes(array: Pixels, names: Sequence[str] | None, path: str) -> tuple[str, ...]:
    """Identify every array dimension as one of t, c, z, y, x; raises InputError if it cannot be."""
    ndim = len(array.shape)
    if array.dtype.kind not in "biuf":
        raise InputError(f"{path} holds {array.dtype}: real numbers are needed")
    if 0 in array.shape or max(array.shape, default=0) > MOST_PIXELS:
        raise InputError(
            f"{path} has the shape {array.shape}: every axis needs 1 to {MOST_PIXELS} entries; "
            "write its metadata again, or give the path of another array"
        )
    names = list(names or DEFAULT_AXES.get(ndim, ""))
    if not names:
        raise InputError(
            f"{path} has {ndim} dimensions without names: set input.axes, one letter of "
            "tczyx per dimension, such as tcyx"
        )
    if len(names) != ndim:
        raise InputError(
            f"input.axes names {len(names)} axes ({''.join(names)}), but {path} has {ndim} "
            f"dimensions of {tuple(array.shape)}"
        )
    unknown = [name for name in names if name.lower() not in AXIS_NAMES]
    if unknown:
        raise InputError(
            f"axis {unknown[0]!r} of {path} is not one of t, c, z, y, x: set input.axes, one "
            "letter per dimension"
        )
    axes = tuple(AXIS_NAMES[name.lower()] for name in names)
    if len(set(axes)) < len(axes):
        raise InputError(f"an axis occurs twice in {axes} of {path}: set input.axes")
    if not {"y", "x"} <= set(axes):
        raise InputError(f"{path} has the axes {axes}: a frame needs y and x; set input.axes")
    if "t" not in axes:
        single = f"{path} has the axes {', '.join(axes)} and no t: a time-lapse is needed; "
        inside = split_hdf_path(path)
        if is_picture(path) or ((is_tiff(path) or inside) and len(axes) == 2):
            file = inside[0] if inside else path
            dataset = f":{inside[1] or '/entry/data'}" if inside else ""
            raise InputError(
                f"{single}if each frame is a file, give the folder, or a pattern in quotes such "
                f"as '{file.rpartition('/')[0] or '.'}/*.{file.rpartition('.')[2]}{dataset}'"
            )
        raise InputError(f"{single}if one of them is time, set input.axes")
    return axes
