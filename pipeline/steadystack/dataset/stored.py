"""The shifts dataset on disk and on object stores."""

from __future__ import annotations

from importlib.util import find_spec

import xarray as xr

from steadystack.dataset.columns import FORMAT
from steadystack.durable import explain_unwritable, get_place
from steadystack.model import InputError, UnreachableError

# Rows of a chunk: a checkpoint rewrites whole chunks, a reader wants few.
CHUNK_ROWS = 65536
WRITTEN_BY = "expected the path of output.shifts, which `steadystack run` writes"


def save_shifts(dataset: xr.Dataset, path: str) -> None:
    """Write a shifts dataset: a Zarr group, or NetCDF if the path ends in ``.nc``.

    What is there is replaced in one step: it can be read at any time, whenever a process dies.

    The group is of Zarr format 2: text coordinates and consolidated metadata are part of that
    format, so that every xarray opens it in one step and without a warning.
    """
    try:
        if path.endswith(".nc"):
            _write_netcdf(dataset, path)
        else:
            _write_zarr(dataset, path)
    except OSError as error:
        raise explain_unwritable(path, error) from error


def _write_zarr(dataset: xr.Dataset, path: str) -> None:
    encoding = {
        str(name): {"chunks": tuple(max(min(size, CHUNK_ROWS), 1) for size in variable.shape)}
        for name, variable in dataset.variables.items()
    }
    with get_place(path).replacing() as partial:
        dataset.to_zarr(partial, mode="w", zarr_format=2, encoding=encoding)


def load_shifts(path: str, *, any_format: bool = False) -> xr.Dataset:
    """Read a shifts dataset into memory.

    Raises InputError if there is none, or one of another format than this version writes; with
    `any_format` that is taken, too, for what it has in common with ours.
    """
    where = get_place(path)
    if not where.exists():
        raise InputError(f"{path} does not exist: run `steadystack measure` first")
    try:
        with where.fetching() as local:
            if path.endswith(".nc"):
                dataset = xr.load_dataset(local, engine="h5netcdf")
            else:  # consolidated, as they are all written: else xarray warns, and looks on
                dataset = xr.load_dataset(local, engine="zarr", consolidated=True)
    except UnreachableError:
        raise
    except Exception as error:  # whatever a store of something else makes xarray raise
        why = f" ({str(error).splitlines()[0]})" if _looks_like_dataset(path) else ""
        raise InputError(f"{path} is not a shifts dataset{why}: {WRITTEN_BY}") from error
    if "pair_status" not in dataset:
        raise InputError(f"{path} is not a shifts dataset: {WRITTEN_BY}")
    written = int(dataset.attrs.get("format", 1))
    if written != FORMAT and not any_format:
        raise InputError(
            f"{path} was written by another version of steadystack (format {written}, this one "
            f"writes {FORMAT}): measure again (--overwrite, or another output.shifts); its shifts "
            "can serve as initial_shifts.path"
        )
    return dataset


def _looks_like_dataset(path: str) -> bool:
    """Whether it is worth to say why it cannot be read."""
    return path.endswith(".nc") or get_place(path).get_child("pair_status").exists()


def check_replaceable(path: str) -> None:
    """Raise InputError if something is at that path that is not a shifts dataset."""
    where = get_place(path)
    if (
        path.endswith(".nc")
        and where.is_file()
        and "pair_status" in load_shifts(path, any_format=True)
    ):
        return
    if where.is_occupied() and not where.get_child("pair_status").is_occupied():
        raise InputError(f"{path} is not a shifts dataset: it will not be overwritten")


def _write_netcdf(dataset: xr.Dataset, path: str) -> None:
    if find_spec("h5netcdf") is None or find_spec("h5py") is None:
        raise InputError(
            f"{path} is NetCDF: install steadystack[netcdf] (pip install 'steadystack[netcdf]')"
        )
    with get_place(path).replacing() as partial:
        dataset.to_netcdf(partial, engine="h5netcdf")
