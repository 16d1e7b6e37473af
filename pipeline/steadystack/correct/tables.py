"""Shifts for other programs, no pixel being rewritten: a table of frames, layers of napari."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from steadystack.model import FrameStatus
from steadystack.warp import Box, common_box, whole_shift


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
    values, std = shifts["shift"].to_numpy(), shifts["shift_std"].to_numpy()
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
    values = shifts["shift"].to_numpy()
    good = np.isfinite(values).all(axis=1) & (shifts["component"].to_numpy() == 0)
    return common_box(values[good], shape) if good.any() else None


def napari_layers(shifts: xr.Dataset) -> list[dict[str, Any]]:
    """What napari needs to show every frame at its place: keyword arguments of ``add_image``.

    A layer for every frame with a shift that compares with the anchor's, of the image
    ``stack[frame:frame + 1]``; all share the slider of time. ``frame`` is to be taken out.
    """
    size = pixel_size(shifts).tolist()
    values, part = shifts["shift"].to_numpy(), shifts["component"].to_numpy()
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
