"""Images as OME-Zarr pyramids: laid out first, then written region by region."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray

from steadystack.model import InputError, Slices
from steadystack.store.objects import persistently
from steadystack.store.remote import open_node, zarr_store
from steadystack.store.stacks import StackSpec
from steadystack.units import common_unit

Version = Literal["0.4", "0.5"]
VALID = "valid"  # the array of booleans beside the levels
FRACTION = "valid_fraction"
# Units of time as OME-Zarr wants them spelled.
TIME_UNITS = {
    "s": "second", "sec": "second", "second": "second", "seconds": "second", "ms": "millisecond",
    "millisecond": "millisecond", "milliseconds": "millisecond", "min": "minute",
    "minute": "minute", "minutes": "minute", "h": "hour", "hour": "hour", "hours": "hour",
    "day": "day", "days": "day",
}  # fmt: skip


@dataclass(frozen=True)
class Level:
    """An array of a pyramid, per array axis. `factors`: pixels of level 0 in one of these."""

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
    """

    path: str
    axes: tuple[str, ...]
    dtype: str
    version: Version
    levels: tuple[Level, ...]
    valid: Level | None
    fill_value: float
    digest: str

    @property
    def shape(self) -> tuple[int, ...]:
        return self.levels[0].shape


def create_pyramid(
    spec: PyramidSpec, attributes: Mapping[str, Any], codecs: Mapping[str, Any]
) -> None:
    """Make the group and its arrays, without pixels."""
    format_: Literal[2, 3] = 2 if spec.version == "0.4" else 3
    store = zarr_store(spec.path, read_only=False)
    group = zarr.create_group(store, zarr_format=format_, attributes=dict(attributes))
    for level in (*spec.levels, spec.valid):
        if level is None:
            continue
        pixels = level is not spec.valid
        group.create_array(
            level.name,
            shape=level.shape,
            chunks=level.chunks,
            shards=level.shards,
            dtype=spec.dtype if pixels else bool,
            fill_value=np.dtype(spec.dtype).type(spec.fill_value) if pixels else False,
            dimension_names=list(spec.axes) if format_ == 3 else None,
            attributes={"_ARRAY_DIMENSIONS": list(spec.axes)} if format_ == 2 else None,
            chunk_key_encoding={"name": "v2" if format_ == 2 else "default", "separator": "/"},
            config={"write_empty_chunks": True},  # a chunk that is not there would mean: lost
            **(codecs if pixels else {}),
        )


def write_region(spec: PyramidSpec, level: Level, region: Slices, block: NDArray[Any]) -> None:
    """Write whole chunks, or shards, of an array."""
    values = block.reshape([side.stop - side.start for side in region])

    def write() -> None:
        _opened(spec.path, level.name, spec.digest)[region] = values

    persistently(spec.path, write)


@lru_cache(maxsize=64)
def _opened(path: str, name: str, digest: str) -> zarr.Array[Any]:
    array = zarr.open_group(zarr_store(path, read_only=False), mode="r+")[name]
    assert isinstance(array, zarr.Array)
    return array.with_config({"write_empty_chunks": True})


def write_fractions(spec: PyramidSpec, fractions: NDArray[np.float64]) -> None:
    """Beside the image: the known part of every frame and channel, 0..1."""
    group = zarr.open_group(zarr_store(spec.path, read_only=False), mode="r+")
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


def codecs_of(spec: StackSpec, version: Version) -> dict[str, Any]:
    """The codecs of a stack, where they can be taken over: by an array of the same Zarr format."""
    array = _array_of(spec)
    if array is None or array.metadata.zarr_format != (2 if version == "0.4" else 3):
        return {}
    # An order of axes of its own would not fit the new one.
    filters = tuple(f for f in array.filters if type(f).__name__ != "TransposeCodec")
    return {"compressors": array.compressors or None, "filters": filters or None}


def version_of(spec: StackSpec) -> Version:
    """The version of OME-Zarr that goes with the Zarr format of a stack."""
    array = _array_of(spec)
    return "0.4" if array is not None and array.metadata.zarr_format == 2 else "0.5"


def shards_of(spec: StackSpec) -> tuple[int, ...] | None:
    array = _array_of(spec)
    return None if array is None or array.shards is None else tuple(array.shards)


def _array_of(spec: StackSpec) -> zarr.Array[Any] | None:
    """The stack as a Zarr array; None if it is something else."""
    try:
        node = open_node(spec.path)
        found = node if isinstance(node, zarr.Array) else node[spec.array]
    except (InputError, KeyError):
        return None
    return found if isinstance(found, zarr.Array) else None


def image_metadata(
    source: StackSpec, spec: PyramidSpec, first: Mapping[str, int], name: str
) -> dict[str, Any]:
    """The attributes that make the group an OME-Zarr image, with all that the source tells.

    Parameters
    ----------
    first : first pixel of the image along each spatial axis, pixels of the source
    """
    axes, scale, origin, omero = _described(source)
    entries = [axes[axis] for axis in spec.axes]
    datasets = []
    for level in spec.levels:
        factors = dict(zip(spec.axes, level.factors, strict=True))
        steps = [scale[axis] * factors[axis] for axis in spec.axes]
        # A pixel of a coarser level lies in the middle of those that it is made of.
        begins = [
            origin[axis] + scale[axis] * (first.get(axis, 0) + (factors[axis] - 1) / 2)
            for axis in spec.axes
        ]
        transformations: list[dict[str, Any]] = [{"type": "scale", "scale": steps}]
        if any(begins):
            transformations.append({"type": "translation", "translation": begins})
        datasets.append({"path": level.name, "coordinateTransformations": transformations})
    multiscale: dict[str, Any] = {"name": name, "axes": entries, "datasets": datasets}
    more = {"omero": omero} if omero else {}
    if spec.version == "0.4":
        return {"multiscales": [{"version": "0.4", **multiscale}], **more}
    return {"ome": {"version": "0.5", "multiscales": [multiscale], **more}}


def _described(
    source: StackSpec,
) -> tuple[dict[str, dict[str, str]], dict[str, float], dict[str, float], Mapping[str, Any] | None]:
    """What a stack tells of its axes: their entries, steps, origins; and of its channels."""
    kinds = {"t": "time", "c": "channel"}
    axes = {axis: {"name": axis, "type": kinds.get(axis, "space")} for axis in "tczyx"}
    scale, origin = dict.fromkeys("tczyx", 1.0), dict.fromkeys("tczyx", 0.0)
    multiscale, omero = _ome_of(source)
    if multiscale is not None:
        given = [entry if isinstance(entry, dict) else {} for entry in multiscale["axes"]]
        steps, begins = _transformed(multiscale, source.array.rsplit("/", 1)[-1], len(given))
        for axis, entry, step, begin in zip(source.axes, given, steps, begins, strict=True):
            axes[axis] |= {"unit": entry["unit"]} if entry.get("unit") else {}
            scale[axis], origin[axis] = step, begin
    told = [axes[axis].get("unit", "") for axis in source.spatial]
    sizes = [scale[axis] for axis in source.spatial]
    if common_unit(sizes, told) != (source.pixel_size, source.unit):
        for axis, size in zip(source.spatial, source.pixel_size, strict=True):
            scale[axis] = size
            axes[axis] |= {"unit": source.unit} if source.unit else {}
    if multiscale is None and source.time is not None and len(source.time[0]) > 1:
        times, unit = np.asarray(source.time[0]), TIME_UNITS.get(source.time[1])
        step = float(times[-1] - times[0]) / (len(times) - 1)
        if unit and step > 0 and np.allclose(np.diff(times), step, rtol=1e-6):
            axes["t"]["unit"], scale["t"], origin["t"] = unit, step, float(times[0])
    return axes, scale, origin, omero


def _ome_of(source: StackSpec) -> tuple[Any, Any]:
    """The entry of the image and of its channels in the metadata of an OME-Zarr stack."""
    if not source.kind.startswith("OME-Zarr"):
        return None, None
    node = open_node(source.path)
    inside = source.array.rpartition("/")[0]
    group = node[inside] if inside and isinstance(node, zarr.Group) else node
    attributes: dict[str, Any] = dict(group.attrs)
    ome = attributes.get("ome", attributes)
    return ome["multiscales"][0], ome.get("omero")


def _transformed(
    multiscale: Mapping[str, Any], name: str, ndim: int
) -> tuple[Sequence[float], Sequence[float]]:
    """Step and origin of a level along each axis: its own transformations, then those of all."""
    own = next(d for d in multiscale["datasets"] if d["path"].rsplit("/", 1)[-1] == name)
    scale, origin = np.ones(ndim), np.zeros(ndim)
    steps = [
        *own.get("coordinateTransformations", []),
        *multiscale.get("coordinateTransformations", []),
    ]
    for step in steps:
        if step.get("type") == "scale":
            scale, origin = scale * step["scale"], origin * step["scale"]
        elif step.get("type") == "translation":
            origin = origin + step["translation"]
    return scale.tolist(), origin.tolist()
