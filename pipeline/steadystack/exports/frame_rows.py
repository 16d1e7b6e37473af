"""Make a table of frames: a row for each, with its shift and the box that it is moved to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from steadystack.correction import find_shown_box, get_motion
from steadystack.exports.affines import get_affines, get_pixel_size
from steadystack.model import FrameStatus
from steadystack.warp import Box, find_warped_whole_box, find_whole_box


def make_frame_rows(
    shifts: xr.Dataset, shape: Sequence[int] | None = None, files: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Make a row for every frame of a shifts dataset.

    Parameters
    ----------
    shape : of a frame, pixels; None: not known
    files : the name of the file that contains each frame, if there are several

    Returns
    -------
    rows with ``frame``, ``file`` if given, ``time`` if the dataset has it (dates in ISO 8601),
    ``status``, ``component``; along every axis ``shift_y``, ``shift_std_y`` in pixels and
    ``translate_y``, the shift in the unit of the pixel size (pixels if that is not known); and,
    where the shape is known, the box in which the moved frame lies: ``first_y`` and ``stop_y``,
    whole pixels of the anchor frame, the last one not included. Where frames have a linear motion:
    ``rotation``, degrees, ``scale`` and their deviations, for volumes the rotation vector,
    ``rotation_z``, ``rotation_y``, ``rotation_x``, and its deviations, ``rotation_std_z`` and so
    on; and the matrix that maps a position in the frame to the anchor, pixels: ``y' = affine_yy y +
    affine_yx x + affine_y``, of volumes the same with z. What is not known is None.
    """
    axes = [str(axis) for axis in shifts["axis"].to_numpy()]
    values, std = shifts["frame_shift"].to_numpy(), shifts["frame_shift_std"].to_numpy()
    size, affines = get_pixel_size(shifts), get_affines(shifts)
    rows = []
    for frame, (shift, deviation) in enumerate(zip(values, std, strict=True)):
        row: dict[str, Any] = {"frame": int(shifts["frame"][frame])}
        if files is not None:
            row["file"] = files[frame]
        if "time" in shifts.coords:
            row["time"] = _format_time(shifts["time"].to_numpy()[frame])
        row["status"] = str(FrameStatus.from_code(int(shifts["frame_status"][frame])))
        row["component"] = int(shifts["component"][frame])
        for name, numbers in (
            ("shift", shift),
            ("shift_std", deviation),
            ("translate", shift * size),
        ):
            by_axis = zip(axes, numbers.tolist(), strict=True)
            row |= {
                f"{name}_{axis}": number if np.isfinite(number) else None
                for axis, number in by_axis
            }
        if affines is not None:
            row |= _make_linear_cells(shifts, axes, frame, affines[frame])
        if shape is not None:
            box = _find_box(shift, None if affines is None else affines[frame], shape)
            for at, axis in enumerate(axes):
                row[f"first_{axis}"] = None if box is None else box.first[at]
                row[f"stop_{axis}"] = None if box is None else box.stop[at]
        rows.append(row)
    return rows


def _format_time(time: np.datetime64 | np.floating[Any]) -> str | float | None:
    """A date as ISO 8601 text, or a number; None if not known."""
    if np.isnat(time) if isinstance(time, np.datetime64) else not np.isfinite(time):
        return None
    if isinstance(time, np.datetime64):
        return str(np.datetime_as_string(time, unit="us"))
    return float(time)


def _make_linear_cells(
    shifts: xr.Dataset, axes: Sequence[str], frame: int, affine: NDArray[np.float64]
) -> dict[str, float | None]:
    """Make the cells of a row for the linear motion of its frame."""
    values = {
        name: float(shifts[f"frame_{name}"][frame])
        for name in ("rotation", "rotation_std", "scale", "scale_std")
    }
    if len(axes) > 2:
        for name, column in (("rotation", "vector"), ("rotation_std", "vector_std")):
            vector = shifts[f"frame_rotation_{column}"][frame].to_numpy().tolist()
            values |= {f"{name}_{axis}": angle for axis, angle in zip(axes, vector, strict=True)}
    for axis, row in zip(axes, affine.tolist(), strict=False):
        values |= {
            f"affine_{axis}{of}": number for of, number in zip((*axes, ""), row, strict=True)
        }
    return {name: value if np.isfinite(value) else None for name, value in values.items()}


def _find_box(
    shift: NDArray[np.float64], affine: NDArray[np.float64] | None, shape: Sequence[int]
) -> Box | None:
    """The box in which a moved frame lies; None if its shift is not known."""
    if not np.isfinite(shift).all():
        return None
    if affine is None:
        return find_whole_box(shift[None], shape)
    return find_warped_whole_box(affine[None, :-1, :-1], shift[None], shape)


def find_common_part(shifts: xr.Dataset, shape: Sequence[int]) -> Box | None:
    """The box that is visible in every frame whose shift is relative to the anchor."""
    values = shifts["frame_shift"].to_numpy()
    good = np.isfinite(values).all(axis=1) & (shifts["component"].to_numpy() == 0)
    linear = get_motion(shifts)
    if not good.any():
        return None
    return find_shown_box(values[good], None if linear is None else linear[good], shape)
