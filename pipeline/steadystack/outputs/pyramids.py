"""Write images as OME-Zarr pyramids: created empty first, then filled region by region."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray

from steadystack.durable import get_place
from steadystack.model import Slices
from steadystack.ome import OmeVersion

VALID = "valid"  # the array of booleans beside the levels
FRACTION = "valid_fraction"


@dataclass(frozen=True)
class Level:
    """An array of a pyramid; everything per array axis.

    Attributes
    ----------
    name : of the array
    shape, chunks, shards : pixels; shards None: none
    factors : pixels of level 0 in one pixel of the array
    """

    name: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None
    factors: tuple[int, ...]


@dataclass(frozen=True)
class PyramidSpec:
    """An image to be written: small and picklable.

    Attributes
    ----------
    path : of the group
    axes : names in the order t, c, z, y, x
    dtype : of the pixels
    version : of OME-Zarr
    levels : level 0 is the full resolution
    valid : the array that says which pixels of level 0 are known; None: it is not written
    fill_value : what is written where nothing is known
    digest : of what is written
    others : arrays beside the levels, laid out as level 0: the data type of each by its name
    """

    path: str
    axes: tuple[str, ...]
    dtype: str
    version: OmeVersion
    levels: tuple[Level, ...]
    valid: Level | None
    fill_value: float
    digest: str
    others: tuple[tuple[str, str], ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Pixels of level 0 along each array axis."""
        return self.levels[0].shape


def create_pyramid(
    spec: PyramidSpec, attributes: Mapping[str, Any], codecs: Mapping[str, Any]
) -> None:
    """Make the group and its arrays, without pixels."""
    format_: Literal[2, 3] = 2 if spec.version == "0.4" else 3
    store = get_place(spec.path).make_zarr_store(read_only=False)
    group = zarr.create_group(store, zarr_format=format_, attributes=dict(attributes))
    arrays = [(level, spec.dtype, spec.fill_value) for level in spec.levels]
    for name, dtype in spec.others:
        fill = np.nan if np.dtype(dtype).kind == "f" else 0
        arrays.append((replace(spec.levels[0], name=name), dtype, fill))
    if spec.valid is not None:
        arrays.append((spec.valid, "bool", False))
    for level, dtype, fill in arrays:
        holds_pixels = level is not spec.valid
        group.create_array(
            level.name,
            shape=level.shape,
            chunks=level.chunks,
            shards=level.shards,
            dtype=dtype,
            fill_value=np.dtype(dtype).type(fill),
            dimension_names=list(spec.axes) if format_ == 3 else None,
            attributes={"_ARRAY_DIMENSIONS": list(spec.axes)} if format_ == 2 else None,
            chunk_key_encoding={"name": "v2" if format_ == 2 else "default", "separator": "/"},
            config={"write_empty_chunks": True},  # missing chunks would count as lost
            **(codecs if holds_pixels else {}),
        )


def write_region(spec: PyramidSpec, level: Level, region: Slices, block: NDArray[Any]) -> None:
    """Write a region of whole chunks, or shards, of an array; retries while the store is away.

    `block` are its pixels in the order of the axes; axes of one pixel may be missing.
    """
    values = block.reshape([side.stop - side.start for side in region])

    def write() -> None:
        _open_array(spec.path, level.name, spec.digest)[region] = values

    get_place(spec.path).retry_while_away(write)


@lru_cache(maxsize=64)
def _open_array(path: str, name: str, digest: str) -> zarr.Array[Any]:
    """Open an array of a pyramid for writing; `digest` tells new pyramids at the path from old."""
    array = zarr.open_group(get_place(path).make_zarr_store(read_only=False), mode="r+")[name]
    assert isinstance(array, zarr.Array)
    return array.with_config({"write_empty_chunks": True})


def write_fractions(spec: PyramidSpec, fractions: NDArray[np.float64]) -> None:
    """Write the known share of every frame and channel, 0..1, as an array beside the levels.

    `fractions` are (frames, channels).
    """
    group = zarr.open_group(get_place(spec.path).make_zarr_store(read_only=False), mode="r+")
    dims = [axis for axis in spec.axes if axis in ("t", "c")]
    array = group.create_array(
        FRACTION,
        shape=tuple(spec.shape[spec.axes.index(axis)] for axis in dims),
        dtype="f8",
        dimension_names=dims if group.metadata.zarr_format == 3 else None,
        attributes={"_ARRAY_DIMENSIONS": dims},
        overwrite=True,
    )
    array[...] = fractions.reshape(array.shape)
