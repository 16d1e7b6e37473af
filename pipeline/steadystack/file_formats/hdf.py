"""Read datasets of HDF5 and NeXus files, and the metadata of their axes."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystack.conventions import Coding, find_spacing, read_coding, read_times
from steadystack.durable import get_place
from steadystack.file_formats.pixels import FileArray, explaining_damage
from steadystack.model import Bools, InputError, Slices

HDF_SUFFIXES = (".h5", ".hdf5", ".hdf", ".nxs", ".emd", ".hspy", ".nc")
# Where Velox stores images: y, x and frames.
VELOX = re.compile("/Data/Image/[^/]+/Data")
# What HyperSpy writes as the unit of an axis without one, and its possible axis names.
UNDEFINED, STACK_AXES = ("<undefined>", "None", "_None"), set("tzyx") | {"time"}
MOST_LISTED = 3  # most names of datasets that an error lists
# A file and a dataset in it, as in scan.h5:/entry/data
_INSIDE = re.compile(rf"(.+(?:{'|'.join(map(re.escape, HDF_SUFFIXES))})):(/.*)", re.IGNORECASE)


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
        """Whether chunks are missing, or all of a dataset without chunks."""
        if self.dataset.chunks is None:
            return self._is_unwritten
        count = int(np.prod([-(-n // c) for n, c in zip(self.shape, self.chunks, strict=True)]))
        return int(self.dataset.id.get_num_chunks()) < count

    @property
    def _is_unwritten(self) -> bool:
        """Whether the dataset is not chunked, and has no storage in the file either."""
        if self.dataset.chunks is not None or self.dataset.is_virtual:
            return False
        from h5py import h5d

        return bool(self.dataset.id.get_space_status() == h5d.SPACE_STATUS_NOT_ALLOCATED)

    def describe(self, shape: tuple[int, ...] | None = None) -> Any:
        coding = None if self.coding is None else repr(self.coding)
        return [shape or self.shape, str(self.dataset.dtype), self.dataset.chunks, coding]

    def read(self, region: Slices) -> NDArray[Any]:
        stored = np.asarray(self.dataset[region])
        return stored if self.coding is None else self.coding.decode(stored)

    def find_missing(self, region: Slices, block: NDArray[Any]) -> Bools | None:
        """Find which pixels of a block belong to chunks that were never written."""
        if not self.may_lack:
            return None
        missing = np.full(block.shape, self._is_unwritten)
        if self._is_unwritten:
            return missing
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


def _check_sources(path: str, dataset: Any) -> None:
    """Raise InputError if a source file of a virtual dataset is missing, which would read as 0."""
    if not dataset.is_virtual:
        return
    folder = Path(os.fsdecode(dataset.file.filename)).parent
    for source in dataset.virtual_sources():
        name = source.file_name
        if name != "." and "%" not in name and not (folder / name).exists():
            raise InputError(
                f"{path}: {dataset.name} refers to datasets in other files, and {name} is missing: "
                "restore it, or read the existing files one by one"
            )


def open_hdf(path: str, variable: str = "", fewest: int = 3) -> FileArray:
    """Open a dataset of an HDF5 file: the named one, the NeXus default, or the only one.

    `path` or `variable` may name it; one that is not named must have `fewest` dimensions or more.

    Raises InputError if there is no such dataset, or if several could be meant.
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
        dataset = _choose_dataset(h5py, file, file_path, named or variable or None, fewest)
        _check_sources(file_path, dataset)
        pixels = HdfPixels(dataset)
        axes, scale, units, time = _read_hdf_axes(h5py, dataset)
    name = str(dataset.name)
    return FileArray(pixels, f"HDF5 dataset {name}", name, axes, scale, units, time)


def _choose_dataset(h5py: Any, file: Any, path: str, name: str | None, fewest: int) -> Any:
    found: dict[str, Any] = {}

    def collect(_: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and node.ndim >= 2 and node.dtype.kind in "biuf":
            found[node.name] = node

    if name is not None:
        node = file.get(name)
        if isinstance(node, h5py.Dataset):
            return node
        if isinstance(node, h5py.Group):
            node.visititems(collect)
    else:
        signal = _follow_default(h5py, file)
        if signal is not None and signal.ndim >= fewest:
            return signal
        file.visititems(collect)
    chosen = [one for one in found.values() if one.ndim >= fewest]
    if len(chosen) == 1:
        return chosen[0]
    problem = f"there is no dataset {name!r}" if name else "no dataset is chosen"
    if found and not chosen:
        raise InputError(_explain_flat(path, sorted(found)))
    listed = ", ".join(sorted(one.name for one in chosen)) or "none"
    or_write = f", or write {path}:/name" if fewest > 2 else ""  # that file alone is no stack
    raise InputError(
        f"{path}: {problem}: set input.variable{or_write} (datasets with {fewest} or more "
        f"dimensions: {listed})"
    )


def _explain_flat(path: str, names: list[str]) -> str:
    """Say what to do with a file whose datasets all have two dimensions."""
    listed = ", ".join(names[:MOST_LISTED]) + ", ..." * (len(names) > MOST_LISTED)
    return (
        f"{path}: all datasets have two dimensions ({listed}), but a stack has three: if every "
        f"file holds one frame, give their folder, or a pattern such as '*.h5:{names[0]}'; if "
        "the frames are datasets of one file, set input.reader to a function of your own that "
        "stacks them"
    )


def _follow_default(h5py: Any, file: Any) -> Any:
    """The dataset that a NeXus file plots by default; None if it names none."""
    group = file
    while isinstance(group, h5py.Group):
        attributes = _read_attributes(group)
        if "signal" in attributes:
            signal = group.get(str(attributes["signal"]))
            return signal if isinstance(signal, h5py.Dataset) else None
        group = group.get(str(attributes["default"])) if "default" in attributes else None
    return None


def _read_hdf_axes(h5py: Any, dataset: Any) -> tuple[Any, Any, Any, Any]:
    """Read names, spacing and units of axes, and times, from dimension scales or NeXus's axes."""
    beside = _read_attributes(dataset.parent)
    nexus = np.ravel(beside.get("axes", ())).tolist() if "signal" in beside else []
    if len(nexus) == dataset.ndim:
        names = [str(name) for name in nexus]
        along = [dataset.parent.get(name) for name in names]
    elif "axis-0" in dataset.parent:
        return _read_hyperspy_axes(dataset)
    elif VELOX.fullmatch(dataset.name) and dataset.ndim == 3:
        return (["y", "x", "t"], *_read_velox_scale(dataset), None)
    elif "emd_group_type" in beside:  # EMD of Berkeley: dim1, dim2, ...
        along = [dataset.parent.get(f"dim{number + 1}") for number in range(dataset.ndim)]
        named = [{} if one is None else _read_attributes(one) for one in along]
        names = [str(one.get("name", "")).strip().lower() for one in named]
        if not set(names) <= STACK_AXES or len(set(names)) < len(names):
            return None, None, None, None
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
        if unit.startswith("["):  # EMD: [n_m]
            unit = unit.strip("[]").replace("_", "")
        count = dataset.shape[axis]
        if values is not None and len(values) == count and names[axis].lower() in ("t", "time"):
            time = read_times(values, unit, str(attributes.get("calendar", "")))
        scale.append(find_spacing(values))
        units.append(unit)
    return names, scale, units, time


def _read_hyperspy_axes(dataset: Any) -> tuple[Any, Any, Any, Any]:
    """Read names, spacing and units of axes, and times, from the groups axis-0, axis-1, ...

    Names that are not those of a stack's axes, as of unnamed axes, count as unknown.
    """
    found = [dataset.parent.get(f"axis-{number}") for number in range(dataset.ndim)]
    about = [{} if one is None else _read_attributes(one) for one in found]
    steps = [_read_number(one, "scale") for one in about]
    if None in steps:
        return None, None, None, None
    scale = [abs(step) for step in steps if step is not None]  # some axes count backwards
    names = [str(one.get("name", "")).lower() for one in about]
    units = [str(one.get("units", "")) for one in about]
    units = ["" if unit in UNDEFINED else unit for unit in units]
    known = names if set(names) <= STACK_AXES and len(set(names)) == len(names) else None
    time = None
    for axis, name in enumerate(known or ()):
        if name in ("t", "time") and scale[axis]:
            first = _read_number(about[axis], "offset") or 0.0
            counted = first + scale[axis] * np.arange(dataset.shape[axis])
            time = read_times(counted, units[axis], "")
    return known, scale, units, time


def _read_velox_scale(dataset: Any) -> tuple[list[float], list[str]]:
    """Read the size of a pixel along y, x and t from the JSON of an EMD file of Velox."""
    try:
        text = bytes(dataset.parent["Metadata"][:, 0]).partition(b"\0")[0]
        about = json.loads(text)["BinaryResult"]
        scale = [float(about["PixelSize"][side]) for side in ("height", "width")]
        units = [str(about[f"PixelUnit{axis}"]) for axis in "YX"]
    except (IndexError, KeyError, OSError, TypeError, ValueError):  # none, or damaged
        return [np.nan] * 3, [""] * 3
    return [*scale, np.nan], [*units, ""]


def _read_number(attributes: dict[str, Any], name: str) -> float | None:
    """Read a number of an axis; None if there is none, or if it is not finite."""
    value = attributes.get(name)
    if isinstance(value, int | float | np.number) and np.isfinite(value):
        return float(value)
    return None


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
