"""Find the stack of a shifts dataset by its settings, and check the targets of exports."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import PurePath

import xarray as xr

from steadystack.config import make_config
from steadystack.durable import paths_overlap
from steadystack.model import InputError, RunError, hide_secrets
from steadystack.readers import StackSpec, locate_stack

DISPLACEMENTS = ".displacements.ome.zarr"
AFFINES, SUFFIXES = ".affines.json", (".csv", ".json", ".yml", ".yaml", ".xml", ".nc")


def find_export_suffix(target: str) -> str:
    """Find the suffix that says what to export; raises InputError for unknown ones."""
    suffix = DISPLACEMENTS if target.endswith(DISPLACEMENTS) else PurePath(target).suffix
    if suffix not in (*SUFFIXES, DISPLACEMENTS):
        raise InputError(
            f"{target} must end in .csv, .json (for napari), .affines.json (a matrix for each "
            f"frame), .yml or .yaml (for biahub), .xml (for BigDataViewer), {DISPLACEMENTS} "
            "(displacement fields for points) or .nc (NetCDF)"
        )
    return suffix


def explain_local(target: str) -> InputError:
    """Make the error for a target that cannot hold local motion."""
    return InputError(
        f"{target} can only hold shifts and matrices, but these frames move locally (motion.model "
        f"local): export .nc, which holds everything, {DISPLACEMENTS}, whose fields move points, "
        "or .csv, which holds the frames' own shifts"
    )


def locate_measured_stack(shifts: xr.Dataset) -> StackSpec | None:
    """Locate the stack that was measured; None if it no longer exists."""
    try:
        config = make_config(json.loads(shifts.attrs["configuration"]))
        spec = locate_stack(**config.input.model_dump())
    except (InputError, RunError, KeyError, ValueError):
        return None
    axes = tuple(str(axis) for axis in shifts["axis"].to_numpy())
    return spec if spec.spatial == axes else None


def check_export_target(target: str, shifts_path: str, shifts: xr.Dataset) -> None:
    """Refuse a target in or around the dataset, or a store of its run."""
    try:
        config = make_config(json.loads(shifts.attrs["configuration"]))
        stores = [config.input.one_path, config.output.corrected or "", config.output.mean or ""]
    except (InputError, KeyError, ValueError):
        stores = []
    zarr_stores = (path for path in stores if path.rstrip("/").endswith(".zarr"))
    refuse_inside(target, [shifts_path, *zarr_stores])


def refuse_inside(target: str, paths: Iterable[str]) -> None:
    """Raise InputError if a target lies in one of the paths, or around it."""
    for path in paths:
        if paths_overlap(target, path):
            raise InputError(
                f"{target} would be inside {hide_secrets(path)} or around it: nothing is written "
                "into stores that hold something else; choose a path beside it"
            )


def list_measured_files(shifts: xr.Dataset, spec: StackSpec | None) -> tuple[str, ...] | None:
    """List the file of each frame, if the stack is a series of files; None if the files changed."""
    if spec is None or shifts.attrs.get("input_digest", "").split("-")[0] != spec.digest:
        return None
    files = spec.array.list_frame_files(spec.path)
    return files if files is not None and len(files) == shifts.sizes["frame"] else None
