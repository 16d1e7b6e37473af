"""Arrays of pixels wherever they lie, read alike: Zarr, TIFF, series of TIFF files, .npy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from itertools import product
from typing import Any, Protocol

import numpy as np
import zarr
from numpy.typing import NDArray

from steadystack.durable import get_place
from steadystack.model import Bools, InputError, Slices

NPY_SUFFIX = ".npy"


class Pixels(Protocol):
    """An array that is read by regions."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    @property
    def chunks(self) -> tuple[int, ...]:
        """The smallest pieces that decode by themselves."""
        ...

    @property
    def shards(self) -> tuple[int, ...] | None: ...

    @property
    def may_lack(self) -> bool:
        """Whether pixels may be missing."""
        ...

    def described(self) -> Any:
        """The metadata that decides what is read, as plain values."""
        ...

    def read(self, region: Slices) -> NDArray[Any]: ...

    def missing(self, region: Slices, block: NDArray[Any]) -> Bools | None:
        """Which pixels of a block that was read are not in the store; None if none is lacking."""
        ...


class ZarrPixels:
    """A Zarr array."""

    def __init__(self, array: zarr.Array[Any]) -> None:
        self.array = array
        self.shape = tuple(int(size) for size in array.shape)
        self.chunks = tuple(int(size) for size in array.chunks)
        self.dtype = np.dtype(array.dtype)
        self.shards = tuple(array.shards) if array.shards is not None else None

    @property
    def may_lack(self) -> bool:
        """Chunks are missing, or lie where nobody can count them: in shards, on a web server."""
        try:
            return self.shards is not None or bool(
                self.array.nchunks_initialized < self.array.nchunks
            )
        except Exception:  # a store that cannot list
            return True

    def described(self) -> Any:
        return self.array.metadata.to_dict()

    def read(self, region: Slices) -> NDArray[Any]:
        return np.asarray(self.array[region])

    def missing(self, region: Slices, block: NDArray[Any]) -> Bools | None:
        """Which pixels of a block belong to chunks that are not in the store.

        Zarr reads a chunk that is not there as its fill value, without a word, and so it reads an
        inner chunk that a shard does not hold. Only a chunk that is all fill value can be missing;
        such a chunk is read once more through an array that differs in nothing but its fill value:
        what changes was never stored.
        """
        fill = np.asarray(0 if self.array.fill_value is None else self.array.fill_value)

        def is_fill(values: NDArray[Any]) -> Bools:
            return np.asarray(np.isnan(values) if fill != fill else values == fill)

        missing = np.zeros(block.shape, bool)
        for piece in _cut_into_chunks(region, self.chunks):
            inside = tuple(
                slice(p.start - r.start, p.stop - r.start)
                for p, r in zip(piece, region, strict=True)
            )
            if is_fill(block[inside]).all():
                missing[inside] = ~is_fill(np.asarray(self._with_other_fill[piece]))
        return missing if missing.any() else None

    @cached_property
    def _with_other_fill(self) -> zarr.Array[Any]:
        """The same array with another fill value: 1 instead of 0, 0 instead of anything else."""
        known = self.array
        fill = np.asarray(0 if known.fill_value is None else known.fill_value, known.dtype)
        other = (fill == 0).astype(known.dtype)[()]
        core = known.async_array
        metadata = replace(core.metadata, fill_value=other)
        return zarr.Array(zarr.AsyncArray(metadata, core.store_path, core.config))


def _cut_into_chunks(region: Sequence[slice], chunks: Sequence[int]) -> list[Slices]:
    """The parts of a region that lie in one chunk each."""
    per_axis = []
    for part, size in zip(region, chunks, strict=True):
        starts = range(part.start // size * size, part.stop, size)
        per_axis.append(
            [slice(max(start, part.start), min(start + size, part.stop)) for start in starts]
        )
    return list(product(*per_axis))


class PlainPixels:
    """An array in memory, or of a file that is mapped into it."""

    shards = None
    may_lack = False

    def __init__(self, values: NDArray[Any]) -> None:
        self.values = values
        self.shape: tuple[int, ...] = values.shape
        self.dtype = values.dtype
        self.chunks = (1, *self.shape[1:]) if self.shape else ()

    def described(self) -> Any:
        return [self.shape, str(self.dtype)]

    def read(self, region: Slices) -> NDArray[Any]:
        return np.array(self.values[region])

    def missing(self, region: Slices, block: NDArray[Any]) -> None:
        return None


def open_npy(path: str) -> PlainPixels:
    """A .npy file; mapped into memory if it is on this machine."""
    try:
        return PlainPixels(get_place(path).load_array())
    except FileNotFoundError as error:
        raise InputError(get_place(path).describe_missing()) from error
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{path} cannot be read as .npy: {error}") from error
