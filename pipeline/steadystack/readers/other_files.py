"""Arrays that other libraries read: HDF5 and NeXus, MRC, and what a function of the user does."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.conventions import Coding, find_spacing, read_coding, read_times
from steadystack.durable import get_place
from steadystack.model import Bools, InputError, Slices
from steadystack.readers.pixels import PlainPixels, explaining_damage

HDF_SUFFIXES = (".h5", ".hdf5", ".hdf", ".nxs", ".emd", ".nc")
MRC_SUFFIXES = (".mrc", ".mrcs", ".st")
# A file and a dataset in it, as in scan.h5:/entry/data
_INSIDE = re.compile(rf"(.+(?:{'|'.join(map(re.escape, HDF_SUFFIXES))})):(/.*)", re.IGNORECASE)
ANGSTROM = "angstrom"


@dataclass(frozen=True)
class FileArray:
    """An array in a file, and what the file says of it.

    Attributes
    ----------
    name : of the array in the file; "": there is only one
    axes, scale, units : name, size of a pixel and its unit, per array axis; None: not known
    time : time of every frame and its unit; None: not known
    """

    pixels: Any
    name: str = ""
    axes: Sequence[str] | None = None
    scale: Sequence[float] | None = None
    units: Sequence[str] | None = None
    time: tuple[tuple[float, ...], str] | None = None


def split_hdf_path(path: str) -> tuple[str, str | None] | None:
    """Split a path into an HDF5 file and a dataset in it, if it names one; None: no HDF5 file."""
    inside = _INSIDE.fullmatch(path)
    if inside:
        return inside[1], inside[2]
    return (path, None) if path.lower().endswith(HDF_SUFFIXES) else None


class HdfPixels:
    """A dataset of an HDF5 file; chunks that were never written are missing."""

    shards = None

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self.coding: Coding | None = read_coding(_read_attributes(dataset), dataset.dtype)
        self.shape: tuple[int, ...] = tuple(dataset.shape)
        self.dtype = dataset.dtype if self.coding is None else self.coding.dtype
        whole = (1, *self.shape[1:]) if self.shape else ()
        self.chunks: tuple[int, ...] = tuple(dataset.chunks or whole)

    @property
    def may_lack(self) -> bool:
        """Whether chunks are missing."""
        if self.dataset.chunks is None:
            return False
        count = int(np.prod([-(-n // c) for n, c in zip(self.shape, self.chunks, strict=True)]))
        return int(self.dataset.id.get_num_chunks()) < count

    def describe(self) -> Any:
        coding = None if self.coding is None else repr(self.coding)
        return [self.shape, str(self.dataset.dtype), self.dataset.chunks, coding]

    def read(self, region: Slices) -> NDArray[Any]:
        stored = np.asarray(self.dataset[region])
        return stored if self.coding is None else self.coding.decode(stored)

    def find_missing(self, region: Slices, block: NDArray[Any]) -> Bools | None:
        """Find which pixels of a block belong to chunks that were never written."""
        if not self.may_lack:
            return None
        missing = np.zeros(block.shape, bool)
        for begin in self._list_chunks(region):
            if self.dataset.id.get_chunk_info_by_coord(begin).byte_offset is None:
                missing[
                    tuple(
                        slice(max(b - side.start, 0), b + size - side.start)
                        for b, size, side in zip(begin, self.chunks, region, strict=True)
                    )
                ] = True
        return missing if missing.any() else None

    def _list_chunks(self, region: Slices) -> Iterator[tuple[int, ...]]:
        yield from product(
            *(
                range(side.start // size * size, side.stop, size)
                for side, size in zip(region, self.chunks, strict=True)
            )
        )


def open_hdf(path: str, variable: str | None = None) -> FileArray:
    """Open a dataset of an HDF5 file: the one that is named, NeXus's default, or the only one.

    Raises InputError if there is no such dataset, or if several may be meant.
    """
    try:
        import h5py
    except ImportError as error:
        raise InputError(
            f"{path} is an HDF5 file: that needs h5py (pip install 'steadystack[hdf5]')"
        ) from error
    file_path, named = split_hdf_path(path) or (path, None)
    place = get_place(file_path)
    with explaining_damage(file_path, "the HDF5 file"):
        try:
            file = h5py.File(place.get_source(), "r", locking="best-effort")
        except FileNotFoundError as error:
            raise InputError(place.describe_missing()) from error
        dataset = _choose_dataset(h5py, file, file_path, named or variable)
        pixels = HdfPixels(dataset)
        axes, scale, units, time = _read_hdf_axes(h5py, dataset)
    return FileArray(pixels, str(dataset.name), axes, scale, units, time)


def _choose_dataset(h5py: Any, file: Any, path: str, name: str | None) -> Any:
    found: dict[str, Any] = {}

    def collect(_: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and node.ndim >= 3 and node.dtype.kind in "biuf":
            found[node.name] = node

    if name is not None:
        node = file.get(name)
        if isinstance(node, h5py.Dataset):
            return node
        if isinstance(node, h5py.Group):
            node.visititems(collect)
    else:
        signal = _follow_default(h5py, file)
        if signal is not None:
            return signal
        file.visititems(collect)
    if len(found) == 1:
        return next(iter(found.values()))
    listed = ", ".join(sorted(found)) or "none"
    raise InputError(
        f"{path}: {'there is no dataset ' + repr(name) if name else 'no dataset is chosen'}: set "
        f"input.variable, or write {path}:/name (datasets with 3 or more dimensions: {listed})"
    )


def _follow_default(h5py: Any, file: Any) -> Any:
    """The dataset that a NeXus file plots by default; None: it names none."""
    group = file
    while isinstance(group, h5py.Group):
        attributes = _read_attributes(group)
        if "signal" in attributes:
            signal = group.get(str(attributes["signal"]))
            return signal if isinstance(signal, h5py.Dataset) and signal.ndim >= 3 else None
        group = group.get(str(attributes["default"])) if "default" in attributes else None
    return None


def _read_hdf_axes(h5py: Any, dataset: Any) -> tuple[Any, Any, Any, Any]:
    """Read names, spacing and units of axes, and times, from dimension scales or NeXus's axes."""
    beside = _read_attributes(dataset.parent)
    nexus = np.ravel(beside.get("axes", ())).tolist() if "signal" in beside else []
    if len(nexus) == dataset.ndim:
        names = [str(name) for name in nexus]
        along = [dataset.parent.get(name) for name in names]
    else:
        along = [dim[0] if len(dim) else None for dim in dataset.dims]
        names = [
            dim.label or (one.name.rsplit("/", 1)[-1] if one is not None else "")
            for dim, one in zip(dataset.dims, along, strict=True)
        ]
    if not all(name and name != "." for name in names):
        return None, None, None, None
    scale, units, time = [], [], None
    for axis, one in enumerate(along):
        is_numbers = isinstance(one, h5py.Dataset) and one.ndim == 1 and one.dtype.kind in "iuf"
        values = np.asarray(one[:]) if is_numbers else None
        attributes = _read_attributes(one) if is_numbers else {}
        unit = str(attributes.get("units", ""))
        if axis == 0 and values is not None and names[0].lower() in ("t", "time"):
            time = read_times(values, unit, str(attributes.get("calendar", "")))
        scale.append(find_spacing(values))
        units.append(unit)
    return names, scale, units, time


def _read_attributes(node: Any) -> dict[str, Any]:
    """Read attributes as text and plain arrays."""
    found = {}
    for name, value in node.attrs.items():
        if isinstance(value, bytes):
            value = value.decode(errors="replace")
        elif isinstance(value, np.ndarray) and value.shape == (1,):
            value = value[0]
        found[name] = value
    return found


def open_mrc(path: str) -> FileArray:
    """Open an MRC2014 file of this machine, mapped into memory.

    Its images are frames, those of a stack of volumes volumes; its pixels are in angstroms.
    """
    try:
        import mrcfile
    except ImportError as error:
        raise InputError(
            f"{path} is an MRC file: that needs mrcfile (pip install 'steadystack[mrc]')"
        ) from error
    source = get_place(path).get_source()
    if not isinstance(source, str):
        raise InputError(f"{path}: MRC files are read from this machine only: copy it here")
    if not Path(source).exists():
        raise InputError(get_place(path).describe_missing())
    with explaining_damage(path, "the MRC file"), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of numpy 2.5, to mrcfile
        with mrcfile.mmap(source, mode="r") as file:
            values, size = file.data, file.voxel_size
    axes = "tzyx"[-values.ndim :] if values.ndim != 3 else "tyx"
    steps = {axis: float(size[axis]) or np.nan for axis in "xyz"}
    scale = [steps.get(axis, np.nan) for axis in axes]
    units = [ANGSTROM if axis in steps else "" for axis in axes]
    return FileArray(PlainPixels(values), "", list(axes), scale, units)


class FunctionPixels:
    """An array, in memory or lazy, that a function of the user returns for a path."""

    shards = None
    may_lack = False

    def __init__(self, array: Any, digest: str) -> None:
        self.array, self.digest = array, digest
        self.shape: tuple[int, ...] = tuple(int(size) for size in array.shape)
        self.dtype = np.dtype(array.dtype)
        chunks = getattr(array, "chunksize", None) or getattr(array, "chunks", None)
        whole = (1, *self.shape[1:]) if self.shape else ()
        is_plain = chunks is not None and all(isinstance(size, int) for size in chunks)
        self.chunks: tuple[int, ...] = tuple(chunks) if chunks and is_plain else whole

    def describe(self) -> Any:
        return [self.shape, str(self.dtype), self.digest]

    def read(self, region: Slices) -> NDArray[Any]:
        block = self.array[region]
        if hasattr(block, "compute"):  # in this task: no worker waits for another
            block = block.compute(scheduler="synchronous")
        return np.asarray(block)

    def find_missing(self, region: Slices, block: NDArray[Any]) -> None:
        return None


def open_with(reader: str, path: str) -> FileArray:
    """Call a reader of the user, ``file.py:function`` or ``package:function``, for a path.

    The function returns anything with shape, dtype and slices: an array in memory, a dask or zarr
    array, a `DataArray`, whose dims then name the axes. What it does not know it leaves out.
    """
    function, digest = _load_reader(reader)
    try:
        array = function(path)
    except InputError:
        raise
    except Exception as error:  # a reader of the user may raise anything
        raise InputError(f"input.reader {reader}: {type(error).__name__}: {error}") from error
    axes = [str(dim) for dim in array.dims] if hasattr(array, "dims") else None
    array = array.data if axes is not None else array
    if not all(hasattr(array, name) for name in ("shape", "dtype", "__getitem__")):
        raise InputError(
            f"input.reader {reader} returns a {type(array).__name__} for {path}, not an array: "
            "something with shape, dtype and slices is needed"
        )
    return FileArray(FunctionPixels(array, digest), "", axes)


def _load_reader(reader: str) -> tuple[Callable[[str], Any], str]:
    """The function of a reader, and a digest of the file that it is in."""
    module_name, _, name = reader.rpartition(":")
    if not module_name or not name.isidentifier():
        raise InputError(
            f"input.reader {reader!r} is neither file.py:function nor package.module:function"
        )
    if not module_name.endswith(".py"):
        try:
            module, digest = importlib.import_module(module_name), module_name
        except ImportError as error:
            raise InputError(f"input.reader: {module_name} cannot be imported: {error}") from error
    else:
        try:
            content = Path(module_name).read_bytes()
        except OSError as error:
            raise InputError(
                f"input.reader: {module_name} cannot be read: {error.strerror}"
            ) from error
        digest = hashlib.sha256(content).hexdigest()[:16]
        module = _run_file(module_name, digest)
    function = getattr(module, name, None)
    if not callable(function):
        raise InputError(f"input.reader: {module_name} has no function {name}")
    return function, digest


@lru_cache(maxsize=8)
def _run_file(path: str, digest: str) -> Any:
    """Import a file under a name of its own; once, for what it holds."""
    name = f"steadystack_reader_{digest}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where its classes are looked for
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise InputError(f"input.reader: {path}: {type(error).__name__}: {error}") from error
    return module
