"""Record what a corrected stack was written with, and keep chunks of it when its series grows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from steadystack.durable import check_nothing_else, get_place, link_file
from steadystack.model import Slices
from steadystack.outputs.progress import LISTED, OWN
from steadystack.outputs.pyramids import FRACTION, VALID, Level, PyramidSpec

SHIFT, LINEAR = "frame_shift", "frame_linear"  # arrays beside the levels
MAX_LEVELS = 64  # more than an image can have: each has half the pixels along a side


@dataclass(frozen=True, eq=False)
class Written:
    """What a complete corrected stack was written with.

    Attributes
    ----------
    path : where it is
    digest : of all that determines its pixels
    how : hash of its settings
    fingerprint : of the measurement that its shifts are from
    sides : of the regions that tasks wrote, per array axis
    shift : (frames, axes) pixels, as frames were moved; NaN: blank; infinite: pixels were missing,
        or the frame could not be read
    linear : (frames, axes, axes) about the middle of a frame; None: frames were shifted alone
    fraction : known share of every frame and channel (frames, channels)
    """

    path: str
    digest: str
    how: str
    fingerprint: str
    sides: tuple[int, ...]
    shift: NDArray[np.float64]
    linear: NDArray[np.float64] | None
    fraction: NDArray[np.float64]


def read_written(path: str) -> Written | None:
    """Read what the corrected stack at a path was written with; None: not known."""
    place = get_place(path)
    if not place.open_build().is_whole():
        return None
    try:
        group = zarr.open_group(place.make_zarr_store(), mode="r")
        own: Any = group.attrs[OWN]
        shift, fraction = (np.asarray(_open(group, name)[...]) for name in (SHIFT, FRACTION))
        linear = np.asarray(_open(group, LINEAR)[...]) if LINEAR in group else None
        return Written(
            path, str(own["digest"]), str(own["how"]), str(own["fingerprint"]),
            tuple(map(int, own["sides"])), shift, linear, fraction.reshape(len(shift), -1),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, FileNotFoundError):
        return None  # it was written by an earlier version, or is not ours


def check_image_holds_no_more(path: str, key: str) -> None:
    """Raise InputError if the stack or mean to be replaced at a path contains additions by others.

    These may be labels, or notes. Only images of ours are checked.
    """
    place = get_place(path)
    if not path.rstrip("/").endswith(".zarr") or not place.open_build().is_whole():
        return
    try:
        with place.explaining_outages():
            own: Any = zarr.open_group(place.make_zarr_store(), mode="r").attrs[OWN]
        ours = {VALID, FRACTION, SHIFT, LINEAR, *own.get(LISTED, ())}
    except (AttributeError, KeyError, TypeError, ValueError, FileNotFoundError):
        return
    listed, levels = place.get_child("zarr.json").list_siblings(), map(str, range(MAX_LEVELS))
    check_nothing_else(path, listed, {*levels, *ours}, f"set another {key}")


def write_motion(
    spec: PyramidSpec, shift: NDArray[np.float64], linear: NDArray[np.float64] | None
) -> None:
    """Write how frames were moved as arrays beside the levels, for `read_written`."""
    group = zarr.open_group(get_place(spec.path).make_zarr_store(read_only=False), mode="r+")
    for name, values in ((SHIFT, shift), (LINEAR, linear)):
        if values is None:
            continue
        dims = ["t", "axis", "of_axis"][: values.ndim]
        array = group.create_array(
            name,
            shape=values.shape,
            dtype="f8",
            dimension_names=dims if group.metadata.zarr_format == 3 else None,
            attributes={"_ARRAY_DIMENSIONS": dims},
            overwrite=True,
        )
        array[...] = values


def is_laid_out_alike(spec: PyramidSpec, path: str) -> bool:
    """Whether the image at a path has the same chunks per frame as one being laid out."""
    ours, theirs = (zarr.open_group(name, mode="r") for name in (spec.path, path))
    time = spec.axes.index("t")
    return all(
        level.name in theirs
        and _describe(_open(ours, level.name), time) == _describe(_open(theirs, level.name), time)
        for level in _list_arrays(spec)
    )


def link_region(spec: PyramidSpec, path: str, regions: Mapping[str, Slices]) -> bool:
    """Link the chunks of a region from the image at a path into the one being laid out.

    `regions` are its slices by name of the array. False: some of its chunks are missing.
    """
    return all(
        link_file(f"{path}/{key}", f"{spec.path}/{key}")
        for level in _list_arrays(spec)
        for key in _list_chunks(spec, level, regions[level.name])
    )


def _list_chunks(spec: PyramidSpec, level: Level, region: Slices) -> Iterator[str]:
    """List the keys of the chunks, or shards, of a region of an array."""
    array = _open(zarr.open_group(spec.path, mode="r"), level.name)
    numbers = (
        range(side.start // size, -(-side.stop // size))
        for side, size in zip(region, level.shards or level.chunks, strict=True)
    )
    for coordinates in product(*numbers):
        yield f"{level.name}/{array.metadata.encode_chunk_key(coordinates)}"


def _list_arrays(spec: PyramidSpec) -> Sequence[Level]:
    return spec.levels if spec.valid is None else (*spec.levels, spec.valid)


def _open(group: zarr.Group, name: str) -> zarr.Array[Any]:
    array = group[name]
    assert isinstance(array, zarr.Array)
    return array


def _describe(array: zarr.Array[Any], time: int) -> str:
    """Describe an array, except its number of frames."""
    shape = [size for axis, size in enumerate(array.shape) if axis != time]
    metadata = array.metadata.to_dict() | {"shape": shape}
    return json.dumps(metadata, sort_keys=True, default=str)
