"""Read and write the shifts dataset, on disk and on object stores."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import xarray as xr

from steadystack.dataset.columns import FORMAT
from steadystack.dataset.digests import (
    ATTRIBUTES_KEY,
    DIGESTS,
    add_digests,
    has_digests,
    list_changed_parts,
    list_described,
    list_digested,
)
from steadystack.durable import (
    check_nothing_else,
    explain_unwritable,
    explain_unwritten,
    get_place,
)
from steadystack.model import JOINED, InputError, UnreachableError

# Rows per chunk: a checkpoint rewrites whole chunks, but a reader wants few of them.
CHUNK_ROWS = 65536
# A dataset larger than this is written while it is being encoded.
HELD_BYTES = 2**27
WRITTEN_BY = "expected the path of output.shifts, which `steadystack run` writes"
# Errors of xarray on decoding what others put into a file.
AS_STORED: dict[str, Any] = {"decode_times": False, "mask_and_scale": False}
# Attributes on how values are stored, which xarray consumes on reading.
OF_STORAGE = {
    *("_ARRAY_DIMENSIONS", "_FillValue", "missing_value", "coordinates", "grid_mapping"),
    *("units", "calendar", "dtype", "scale_factor", "add_offset"),
}
READ_AT_ONCE = 16  # small files
FIRST_WITH_DIGESTS = 3  # the format
WAY_OUT = (
    "measure again with `steadystack run --overwrite`, or restore a copy of it "
    "(steadystack.edit_shifts writes your own shifts)"
)


def save_shifts(dataset: xr.Dataset, path: str, *, at_once: bool = False) -> None:
    """Write a shifts dataset: a Zarr group, or NetCDF if the path ends in ``.nc``.

    An existing dataset is replaced in one step, so that it can be read at any time, even if a
    process dies. Digests of the content are written, too, for `load_shifts` to check. Raises
    InputError if the existing one contains additions, see `check_holds_no_more`. With `at_once`,
    for a path that is no setting, a full disk leaves nothing to continue with.

    The group is of Zarr format 2: text coordinates and consolidated metadata are part of that
    format, so that every xarray opens it in one step and without a warning.
    """
    dataset = add_digests(dataset)
    way_out = "choose another path" if at_once else "set another output.shifts"
    check_holds_no_more(path, dataset, way_out)
    try:
        if path.endswith(".nc"):
            _write_netcdf(dataset, path)
        else:
            _write_zarr(dataset, path)
    except OSError as error:
        explain = explain_unwritten if at_once else explain_unwritable
        raise explain(path, error) from error


def _write_zarr(dataset: xr.Dataset, path: str) -> None:
    encoding = {
        str(name): {"chunks": tuple(max(min(size, CHUNK_ROWS), 1) for size in variable.shape)}
        for name, variable in dataset.variables.items()
    }
    # Written one by one, a hundred small files take zarr twice as long as all the rest.
    entries: dict[str, Any] = {}
    with get_place(path).replacing() as partial:
        store = entries if dataset.nbytes <= HELD_BYTES else partial
        dataset.to_zarr(store, mode="w", zarr_format=2, encoding=encoding)
        for key, entry in entries.items():
            _write_file(partial / key, entry.to_bytes())


def _write_file(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def load_shifts(path: str, *, any_format: bool = False) -> xr.Dataset:
    """Read a shifts dataset into memory.

    Raises InputError if there is none, one of another format than this version writes, or one whose
    values or attributes are not those that were written; with `any_format` other formats are read,
    too, as far as they have parts in common.
    """
    if not get_place(path).exists():
        raise InputError(f"{path} does not exist: run `steadystack measure` first")
    try:
        dataset = _read(path)
    except (UnreachableError, InputError):
        raise
    except Exception as error:  # xarray may raise anything for a foreign store
        if not _looks_like_dataset(path):
            raise InputError(f"{path} is not a shifts dataset: {WRITTEN_BY}") from error
        raise InputError(
            f"{path} is not a shifts dataset ({_get_first_line(error)}): {WRITTEN_BY}; if it is "
            f"one, it was damaged: {WAY_OUT}"
        ) from error
    if dataset.attrs.get("title") == JOINED:
        raise InputError(
            f"{path} holds several series: expected the shifts of one, as `steadystack join "
            "--each` writes them"
        )
    written = _get_format(dataset)
    if "pair_status" not in dataset and not has_digests(dataset):
        raise InputError(f"{path} is not a shifts dataset: {WRITTEN_BY}")
    if has_digests(dataset) or written >= FIRST_WITH_DIGESTS:
        _check_digests(dataset, path)
    if written != FORMAT and not any_format:
        raise InputError(
            f"{path} was written by another version of steadystack (format {written}, this one "
            f"writes {FORMAT}): measure again (`steadystack run --overwrite`, or another "
            "output.shifts); its shifts can serve as initial_shifts.path"
        )
    return dataset


def read_attributes(path: str) -> dict[str, Any]:
    """Read the attributes of a shifts dataset alone; raises InputError if that is impossible."""
    try:
        with get_place(path).fetching() as local, closing(_open(local, path)) as lazy:
            return {str(name): value for name, value in lazy.attrs.items()}
    except (UnreachableError, InputError):
        raise
    except Exception as error:  # xarray may raise anything for a foreign store
        raise InputError(f"{path} cannot be read ({_get_first_line(error)})") from error


def _open(local: Any, path: str) -> xr.Dataset:
    # All Zarr groups are written consolidated; otherwise xarray warns, and searches on.
    engine: dict[str, Any] = (
        {"engine": "h5netcdf"} if path.endswith(".nc") else {"engine": "zarr", "consolidated": True}
    )
    return xr.open_dataset(local, **engine)


def _read(path: str) -> xr.Dataset:
    """Read a dataset into memory, a variable at a time: an error names the one that is broken."""
    with get_place(path).fetching() as local, closing(_open(local, path)) as lazy:
        for name, variable in lazy.variables.items():
            try:
                variable.load()
            except UnreachableError:
                raise
            except Exception as error:  # decoders may raise anything for damaged bytes
                if not has_digests(lazy):
                    raise
                raise InputError(
                    f"column {name} of {path} cannot be read ({_get_first_line(error)}): the file "
                    f"was damaged; {WAY_OUT}"
                ) from error
        return lazy.load()


def _get_first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _get_format(dataset: xr.Dataset) -> int:
    """Get the format of a dataset; 0 if it is not a number."""
    try:
        return int(dataset.attrs.get("format", 1))
    except (TypeError, ValueError):
        return 0


def _check_digests(dataset: xr.Dataset, path: str) -> None:
    """Raise InputError for values and attributes that are not those that were written."""
    changed = list_changed_parts(dataset)
    if not changed:
        return
    if not has_digests(dataset):
        problem = f"{path} has lost its digests"
    else:
        parts = [
            "the record of attributes" if name == ATTRIBUTES_KEY else f"column {name}"
            for name in changed
        ]
        verb = "does not match its digest" if len(changed) == 1 else "do not match their digests"
        problem = f"{', '.join(parts)} of {path} {verb}"
    raise InputError(f"{problem}: the file was damaged or edited; {WAY_OUT}")


def _looks_like_dataset(path: str) -> bool:
    """Whether it looks like a dataset, so that it is worth saying why it cannot be read."""
    return path.endswith(".nc") or get_place(path).get_child("pair_status").exists()


def check_replaceable(path: str) -> None:
    """Raise InputError if something is at that path that is not a shifts dataset."""
    where = get_place(path)
    if path.endswith(".nc") and where.is_file() and _is_netcdf_of_shifts(path):
        return
    ours = ("pair_status", "series_weight")  # the second for a drift shared by several series
    if where.is_occupied() and not any(where.get_child(name).is_occupied() for name in ours):
        raise InputError(
            f"{path} exists and is not a shifts dataset: it will not be overwritten; move it, or "
            "choose another path"
        )


def check_holds_no_more(
    path: str, also: xr.Dataset | None = None, way_out: str = "set another output.shifts"
) -> None:
    """Raise InputError if a dataset that is to be replaced contains additions by others.

    Additions are variables, groups, files and attributes; those also in the new dataset, `also`,
    are allowed. Anything but an intact dataset of ours is not checked.
    """
    if not get_place(path).exists():
        return
    new = xr.Dataset() if also is None else also
    is_netcdf = path.endswith(".nc")
    attributes, listed = _list_netcdf(path) if is_netcdf else _list_group(path)
    root = attributes.get("", {})
    if (ours := list_digested(root)) is None:
        return
    check_nothing_else(path, listed, {*ours, *new.variables}, way_out)
    written = list_described(root)
    for name, found in attributes.items():
        if written is None or name not in written:
            continue
        kept = new.attrs if not name else new[name].attrs if name in new.variables else ()
        others = sorted({*found} - OF_STORAGE - {DIGESTS, *written[name], *map(str, kept)})
        if others:
            of = f" of {name}" if name else ""
            raise InputError(
                f"the attribute {others[0]!r}{of} in {path} was not written by steadystack, and "
                f"would be lost with {path}, which is to be replaced: keep it elsewhere and "
                f"delete it there, or {way_out}"
            )


def _list_group(path: str) -> tuple[dict[str, Mapping[str, Any]], list[str]]:
    """The attributes in a Zarr group, and all of its content; nothing if it cannot be read.

    Attributes by variable, the group's own under "". They are read one by one, as consolidated
    metadata lack those added later.
    """
    group = get_place(path)
    try:
        attributes: dict[str, Mapping[str, Any]] = {"": dict(group.open_zarr().attrs)}
    except UnreachableError:
        raise
    except Exception:  # anything may lie there
        return {}, []
    listed = group.get_child("zarr.json").list_siblings()
    names = [name for each in listed if (name := each.rsplit("/", 1)[-1])[0] != "."]

    def read(name: str) -> Mapping[str, Any]:
        try:
            with group.get_child(f"{name}/.zattrs".lstrip("/")).open() as file:
                found = json.load(file)
        except (OSError, ValueError):  # there are none, or they are invalid
            return {}
        return found if isinstance(found, Mapping) else {}

    with ThreadPoolExecutor(READ_AT_ONCE) as threads:
        alone = dict(zip(["", *names], threads.map(read, ["", *names]), strict=True))
    return alone | {"": {**attributes[""], **alone[""]}}, listed


def _list_netcdf(path: str) -> tuple[dict[str, Mapping[str, Any]], list[str]]:
    """Like `_list_group`, for a NetCDF file: its attributes, and its variables and groups."""
    try:
        with get_place(path).fetching() as local:
            groups = xr.open_groups(local, engine="h5netcdf", **AS_STORED)
        for group in groups.values():
            group.close()
    except UnreachableError:
        raise
    except Exception:  # anything may lie there
        return {}, []
    root = groups["/"]
    within = [group.split("/")[1] for group in groups if group != "/"]
    attributes = {str(name): variable.attrs for name, variable in root.variables.items()}
    return {**attributes, "": root.attrs}, [*map(str, root.variables), *within]


def _is_netcdf_of_shifts(path: str) -> bool:
    """Whether a file is a shifts dataset, even one that is damaged."""
    try:
        with (
            get_place(path).fetching() as local,
            closing(xr.open_dataset(local, engine="h5netcdf", **AS_STORED)) as lazy,
        ):
            return "pair_status" in lazy or has_digests(lazy)
    except UnreachableError:
        raise
    except Exception:  # xarray may raise anything for a foreign file
        return False


def _write_netcdf(dataset: xr.Dataset, path: str) -> None:
    if find_spec("h5netcdf") is None or find_spec("h5py") is None:
        raise InputError(
            f"{path} is NetCDF: install steadystack[netcdf] (pip install 'steadystack[netcdf]')"
        )
    with get_place(path).replacing() as partial:
        dataset.to_netcdf(partial, engine="h5netcdf")
