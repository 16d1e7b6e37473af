"""The stage that hands shifts to other programs."""

from __future__ import annotations

import json
from pathlib import PurePath

import xarray as xr

from steadystack.config import make_config
from steadystack.correct.tables import common_part, frame_rows, napari_layers
from steadystack.model import UNSOLVED, InputError, RunError
from steadystack.store.files import exists, staged
from steadystack.store.pixels import files_of_frames
from steadystack.store.progress import writing
from steadystack.store.shifts import load_shifts, save_shifts
from steadystack.store.stacks import StackSpec, locate
from steadystack.store.tables import write_rows
from steadystack.warp import Box


def export(shifts: str, target: str, *, overwrite: bool = False) -> Box | None:
    """Write a shifts dataset as another file, by the suffix of `target`.

    ``.csv``: a row per frame, with its file if each is in one of many; ``.json``: a layer of napari
    per frame; ``.nc``: all of it, NetCDF.

    Returns
    -------
    The box that is seen in every good frame, pixels of the anchor frame; None if there is none, or
    if the stack is not there any more to tell the shape of a frame.

    Raises
    ------
    InputError
        If there is no such dataset, if it is not solved, or if the target exists or cannot be one.
    """
    suffix = PurePath(target).suffix
    if suffix not in (".csv", ".json", ".nc"):
        raise InputError(f"{target} must end in .csv, .json (for napari) or .nc (NetCDF)")
    if exists(target) and not overwrite:
        raise InputError(f"{target} is there: use --overwrite, or another name")
    found = load_shifts(shifts)
    if (found["component"] == UNSOLVED).all():
        raise InputError(f"{shifts} is not solved yet: run `steadystack solve` first")
    spec = _stack(found)
    shape = None if spec is None else spec.frame_shape
    with writing(target):
        if suffix == ".nc":
            save_shifts(found, target)
        else:
            with staged(target) as partial:
                if suffix == ".csv":
                    write_rows(partial, frame_rows(found, shape, _files(found, spec)))
                else:
                    layers = json.dumps(napari_layers(found), indent=1)
                    partial.write_text(layers, encoding="utf-8")
    return None if shape is None else common_part(found, shape)


def _stack(shifts: xr.Dataset) -> StackSpec | None:
    """The stack that was measured; None if it is not there any more."""
    try:
        config = make_config(json.loads(shifts.attrs["configuration"]))
        spec = locate(**config.input.model_dump())
    except (InputError, RunError, KeyError, ValueError):
        return None
    axes = tuple(str(axis) for axis in shifts["axis"].to_numpy())
    return spec if spec.spatial == axes else None


def _files(shifts: xr.Dataset, spec: StackSpec | None) -> tuple[str, ...] | None:
    """The file of each frame, where the stack is a series of files; None if they are others now."""
    if spec is None or shifts.attrs.get("input_digest", "").split("-")[0] != spec.digest:
        return None
    files = files_of_frames(spec.path, spec.array)
    return files if files is not None and len(files) == shifts.sizes["frame"] else None
