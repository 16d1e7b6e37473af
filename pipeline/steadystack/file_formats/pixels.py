"""The common interface of pixel arrays of all formats; those of Zarr and those in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from itertools import product
from typing import Any, Protocol

import numpy as np
import zarr
from numpy.typing import NDArray

from steadystack.conventions import Coding, read_coding
from steadystack.durable import get_place
from steadystack.model import Bools, InputError, Slices, UnreachableError


class Pixels(Protocol):
    """An array on disk or in memory that is read by regions; every format implements it."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    @property
    def chunks(self) -> tuple[int, ...]:
        """The shape of the smallest blocks that decode by themselves, one size per array axis."""
        ...

    @property
    def shards(self) -> tuple[int, ...] | None:
        """The shape of the files that hold several chunks each; None if each chunk is a file."""
        ...

    @property
    def may_lack(self) -> bool:
        """Whether pixels of the array may be missing from the store.

        A format returns False only if every pixel of the shape is stored, and True where that is
        not known. `open_stack` asks once, before it reads, and gives the stack a coordinate
        ``valid`` if it is True. Reading frames does not ask: `find_missing` decides. It is not part
        of any digest.
        """
        ...

    def describe(self, shape: tuple[int, ...] | None = None) -> Any:
        """Describe the array by all metadata that decide what is read, as plain values.

        With a `shape`, as it would be if the array had this one: fewer frames, the rest alike.

        A format returns what `json.dumps` takes: at least shape and dtype, and whatever else
        changes the pixels, such as codecs, fill value or names of files; nothing that differs
        between two openings of the same array. `digest_metadata` hashes it when a stack is located;
        the hash is stored with a run's results and compared when the run is continued or its
        results are used again. After a change everything is measured anew.
        """
        ...

    def read(self, region: Slices) -> NDArray[Any]:
        """Read a region, one slice with start and stop per array axis."""
        ...

    def find_missing(self, region: Slices, block: NDArray[Any]) -> Bools | None:
        """Find which pixels of `block`, as read from `region`, are not in the store.

        A boolean array of the block's shape, True: missing; None if none is.
        """
        ...


@dataclass(frozen=True)
class FileArray:
    """An array in a file, and what the file says about it.

    Attributes
    ----------
    kind : what was found, in words
    name : of the array in the file, by which it is opened again; "": there is only one
    axes, scale, units : name, size of a pixel and its unit, per array axis; None: not known
    time : time of every frame and its unit; None: not known
    channel_names : names of the channels; (): not known
    codec_std : standard deviation, pixels, of the content's position in a frame, due to a codec
    """

    pixels: Pixels
    kind: str
    name: str = ""
    axes: Sequence[str] | None = None
    scale: Sequence[float] | None = None
    units: Sequence[str] | None = None
    time: tuple[tuple[float, ...], str] | None = None
    channel_names: tuple[str, ...] = ()
    codec_std: float = 0.0


@contextmanager
def explaining_damage(path: str, part: str) -> Iterator[None]:
    """Turn a library's error for a damaged `part` of a file or store into InputError.

    Outages of a store and a lack of memory are not damage, and pass.
    """
    try:
        with get_place(path).explaining_outages():
            yield
    except (InputError, MemoryError, UnreachableError):
        raise
    except Exception as error:  # a codec, a parser and a store may raise anything
        raise InputError(
            f"{path}: {part} cannot be read ({type(error).__name__}: {error}): it is damaged or "
            "not supported; write it again, or give another path"
        ) from error


def find_local(path: str) -> str:
    """Find the local path of a file, for a library that needs one.

    Raises InputError if the file does not exist, or is not local.
    """
    place = get_place(path)
    try:
        source = place.get_source()
    except FileNotFoundError as error:
        raise InputError(place.describe_missing()) from error
    if not isinstance(source, str):
        raise InputError(f"{path}: such files can only be read from this machine: copy it here")
    if not place.is_file():
        raise InputError(f"{path} is a folder" if place.exists() else place.describe_missing())
    return source


def explain_versions(error: Exception) -> str:
    """Explain which versions are incompatible if tifffile misses something in zarr; else the error.

    tifffile then claims that zarr is older than 3, whatever its version.
    """
    if not isinstance(error.__cause__, ImportError):
        return str(error)
    return (
        f"tifffile {version('tifffile')} is not compatible with zarr {zarr.__version__}; pip "
        "install --upgrade tifffile: zarr 3.2 and later need tifffile 2026.5.2 or later"
    )


def find_coding(array: zarr.Array[Any]) -> Coding | None:
    """Find how xarray has encoded an array; None if it holds the values themselves.

    In format 2, xarray takes the fill value of an array for its ``_FillValue``.
    """
    attributes = array.attrs.asdict()
    is_named = array.metadata.zarr_format == 2 and "_ARRAY_DIMENSIONS" in attributes
    return read_coding(attributes, np.dtype(array.dtype), array.fill_value if is_named else None)


class ZarrPixels:
    """A Zarr array; with a coding, its pixels are the decoded values."""

    def __init__(self, array: zarr.Array[Any], coding: Coding | None = None) -> None:
        self.array, self.coding = array, coding
        self.shape = tuple(int(size) for size in array.shape)
        self.chunks = tuple(int(size) for size in array.chunks)
        self.dtype = np.dtype(array.dtype) if coding is None else coding.dtype
        self.shards = tuple(array.shards) if array.shards is not None else None

    @property
    def may_lack(self) -> bool:
        """Whether chunks are missing, or cannot be counted, as in shards and on web servers."""
        try:
            return self.shards is not None or bool(
                self.array.nchunks_initialized < self.array.nchunks
            )
        except Exception:  # a store that cannot list
            return True

    def describe(self, shape: tuple[int, ...] | None = None) -> Any:
        metadata = self.array.metadata.to_dict() | ({"shape": shape} if shape else {})
        return metadata if self.coding is None else [metadata, repr(self.coding)]

    def read(self, region: Slices) -> NDArray[Any]:
        stored = np.asarray(self.array[region])
        return stored if self.coding is None else self.coding.decode(stored)

    def find_missing(self, region: Slices, block: NDArray[Any]) -> Bools | None:
        """Find which pixels of a block belong to chunks that are not in the store.

        Zarr silently reads a missing chunk, or a missing inner chunk of a shard, as the fill value.
        Only a chunk that is all fill value can be missing; such a chunk is read again through an
        array with another fill value: pixels that change were never stored.
        """
        stored_fill = np.asarray(0 if self.array.fill_value is None else self.array.fill_value)
        fill = stored_fill
        if self.coding is not None:
            fill = self.coding.decode(stored_fill.astype(self.array.dtype)[None])[0]

        missing = np.zeros(block.shape, bool)
        for piece in _cut_into_chunks(region, self.chunks):
            within = tuple(
                slice(p.start - r.start, p.stop - r.start)
                for p, r in zip(piece, region, strict=True)
            )
            if _equals(block[within], fill).all():
                missing[within] = ~_equals(np.asarray(self._with_other_fill[piece]), stored_fill)
        return missing if missing.any() else None

    @cached_property
    def _with_other_fill(self) -> zarr.Array[Any]:
        """The array with another fill value: 1 instead of 0, 0 instead of anything else."""
        array = self.array
        fill = np.asarray(0 if array.fill_value is None else array.fill_value, array.dtype)
        other_fill = (fill == 0).astype(array.dtype)[()]
        core = array.async_array
        metadata = replace(core.metadata, fill_value=other_fill)
        return zarr.Array(zarr.AsyncArray(metadata, core.store_path, core.config))


def open_pixels(path: str, name: str, array: zarr.Array[Any], *, is_coded: bool) -> ZarrPixels:
    """Open the array at the path `name` in the store; raises InputError for odd metadata."""
    with explaining_damage(path, f"the array {name!r}"):
        return ZarrPixels(array, find_coding(array) if is_coded else None)


def read_dimension_names(array: zarr.Array[Any]) -> list[str] | None:
    """Read dimension names as Zarr v3, or xarray in Zarr v2, writes them; None: there are none."""
    names: Any = getattr(array.metadata, "dimension_names", None)
    names = names or array.attrs.get("_ARRAY_DIMENSIONS")
    if isinstance(names, str) or not isinstance(names, Sequence):
        return None
    return [str(name) for name in names] if names and all(names) else None


def read_coordinate(
    path: str, group: zarr.Group, name: str
) -> tuple[NDArray[Any] | None, str, str]:
    """Read the values of a coordinate, its unit and calendar; None, "", "" if there is none.

    A damaged one counts as none: a stack can be measured without it.
    """
    try:
        with explaining_damage(path, f"the coordinate {name!r}"):
            array = group.get(name)
            if not isinstance(array, zarr.Array) or array.ndim != 1:
                return None, "", ""
            if np.dtype(array.dtype).kind not in "iuf":
                return None, "", ""
            values = ZarrPixels(array, find_coding(array)).read((slice(0, array.shape[0]),))
    except InputError:
        return None, "", ""
    unit, calendar = (array.attrs.get(key) or "" for key in ("units", "calendar"))
    return values, str(unit), str(calendar)


def _equals(values: NDArray[Any], number: NDArray[Any]) -> Bools:
    """Whether values are a number, which may be NaN."""
    return np.asarray(np.isnan(values) if number != number else values == number)


def _cut_into_chunks(region: Sequence[slice], chunks: Sequence[int]) -> list[Slices]:
    """Cut a region into regions that lie in one chunk each."""
    per_axis = []
    for side, size in zip(region, chunks, strict=True):
        starts = range(side.start // size * size, side.stop, size)
        per_axis.append(
            [slice(max(start, side.start), min(start + size, side.stop)) for start in starts]
        )
    return list(product(*per_axis))


class PlainPixels:
    """An array in memory, or in a file that is mapped into memory."""

    shards = None
    may_lack = False

    def __init__(self, values: NDArray[Any]) -> None:
        self.values = values
        self.shape: tuple[int, ...] = values.shape
        self.dtype = values.dtype
        self.chunks = (1, *self.shape[1:]) if self.shape else ()

    def describe(self, shape: tuple[int, ...] | None = None) -> Any:
        return [shape or self.shape, str(self.dtype)]

    def read(self, region: Slices) -> NDArray[Any]:
        return np.array(self.values[region])

    def find_missing(self, region: Slices, block: NDArray[Any]) -> None:
        return None
