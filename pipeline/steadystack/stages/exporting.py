"""The stage that hands shifts to other programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
import xarray as xr

from steadystack.config import make_config
from steadystack.dataset import load_shifts, save_shifts
from steadystack.durable import place
from steadystack.model import UNSOLVED, FrameStatus, InputError, RunError
from steadystack.outputs import write_rows, writing
from steadystack.readers import StackSpec, locate
from steadystack.warp import Box, common_box, whole_shift


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
    if place(target).exists() and not overwrite:
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
            with place(target).replaced() as partial:
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
    files = spec.array.files_of_frames(spec.path)
    return files if files is not None and len(files) == shifts.sizes["frame"] else None


def frame_rows(
    shifts: xr.Dataset, shape: Sequence[int] | None = None, files: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """A row for every frame of a shifts dataset.

    Parameters
    ----------
    shape : of a frame, pixels; None: not known
    files : the name of the file that each frame is in, where there are several

    Returns
    -------
    rows with ``frame``, ``file`` if it is given, ``time`` where the dataset has it, ``status``,
    ``component``; along every axis ``shift_y``, ``shift_std_y`` in pixels and ``translate_y``, the
    shift in the unit of the pixel size (pixels if that is not known); and, where the shape is
    known, the box in which the moved frame lies: ``first_y`` and ``stop_y``, whole pixels of the
    anchor frame, the last one not included. What is not known is None.
    """
    axes = [str(axis) for axis in shifts["axis"].to_numpy()]
    values, std = shifts["frame_shift"].to_numpy(), shifts["frame_shift_std"].to_numpy()
    size = pixel_size(shifts)
    rows = []
    for frame, (shift, deviation) in enumerate(zip(values, std, strict=True)):
        row: dict[str, Any] = {"frame": frame}
        if files is not None:
            row["file"] = files[frame]
        if "time" in shifts.coords:
            row["time"] = float(shifts["time"][frame])
        row["status"] = str(FrameStatus.from_code(int(shifts["frame_status"][frame])))
        row["component"] = int(shifts["component"][frame])
        known = bool(np.isfinite(shift).all())
        for name, numbers in (
            ("shift", shift),
            ("shift_std", deviation),
            ("translate", shift * size),
        ):
            found = zip(axes, numbers.tolist(), strict=True)
            row |= {f"{name}_{axis}": one if np.isfinite(one) else None for axis, one in found}
        if shape is not None:
            first = whole_shift(shift).tolist() if known else [None] * len(axes)
            for axis, begin, side in zip(axes, first, shape, strict=True):
                row[f"first_{axis}"] = begin
                row[f"stop_{axis}"] = None if begin is None else begin + side
        rows.append(row)
    return rows


def pixel_size(shifts: xr.Dataset) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Size of a pixel along every axis; 1 where it is not known."""
    return np.nan_to_num(shifts["pixel_size"].to_numpy().astype(np.float64), nan=1.0)


def common_part(shifts: xr.Dataset, shape: Sequence[int]) -> Box | None:
    """The box that is seen in every frame with a shift that compares with the anchor's."""
    values = shifts["frame_shift"].to_numpy()
    good = np.isfinite(values).all(axis=1) & (shifts["component"].to_numpy() == 0)
    return common_box(values[good], shape) if good.any() else None


def napari_layers(shifts: xr.Dataset) -> list[dict[str, Any]]:
    """What napari needs to show every frame at its place: keyword arguments of ``add_image``.

    A layer for every frame with a shift that compares with the anchor's, of the image
    ``stack[frame:frame + 1]``; all share the slider of time. ``frame`` is to be taken out.
    """
    size = pixel_size(shifts).tolist()
    values, part = shifts["frame_shift"].to_numpy(), shifts["component"].to_numpy()
    return [
        {
            "frame": frame,
            "name": f"frame {frame}",
            "scale": [1.0, *size],
            "translate": [float(frame), *(shift * size).tolist()],
        }
        for frame, shift in enumerate(values)
        if np.isfinite(shift).all() and part[frame] == 0
    ]
