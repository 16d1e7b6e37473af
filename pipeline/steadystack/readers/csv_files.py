"""What is known of shifts before a run: positions in a text file, shifts of an earlier run."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from steadystack.dataset import load_shifts
from steadystack.model import InputError

SEPARATORS = ",;\t"
FRAME = "frame"
BEFORE = "shift"  # what frame_shift is called in datasets of format 1


@dataclass(frozen=True, eq=False)
class FramePositions:
    """Numbers (frames, axes) as they were found, NaN where nothing is told.

    `pixel_size` and `unit` are those of the pixels that they are in, where a dataset tells; of a
    text file nobody knows (None).
    """

    values: NDArray[np.float64]
    pixel_size: tuple[float, ...] | None = None
    unit: str = ""


def read_positions(
    path: str, axes: Sequence[str], frame_count: int, columns: Sequence[str | None] | None = None
) -> FramePositions:
    """The positions or shifts of every frame.

    Parameters
    ----------
    path : a CSV file with a heading, or a shifts dataset (.zarr, .nc) with the variable
        ``frame_shift``
        In a CSV file (commas, semicolons or tabs; what stands behind ``#`` is left out), every line
        is a frame, in order, or the one that its column ``frame`` names; empty cells are not known.
    columns : the headings for each of `axes`; None for an axis of which nothing is known: 0.
        None: the names of the axes.

    Raises
    ------
    InputError
        That names the line or the column, or tells both numbers of frames.
    """
    if Path(path).suffix in (".zarr", ".nc") or Path(path).is_dir():
        return _read_run(load_shifts(path, any_format=True), path, axes, frame_count)
    names = list(axes) if columns is None else list(columns)
    if len(names) != len(axes):
        raise InputError(
            f"initial_shifts.columns has {len(names)} names for the axes {', '.join(axes)}"
        )
    text = _read_text(path)
    lines = [(n, line.split("#")[0]) for n, line in enumerate(text.splitlines(), start=1)]
    lines = [(number, line) for number, line in lines if line.strip()]
    if not lines:
        raise InputError(
            f"{path} is empty: it needs a header such as {','.join(axes)} and one line per frame"
        )
    heading = lines[0][1]
    separator = max(SEPARATORS, key=heading.count)
    rows = csv.reader((line for _, line in lines), delimiter=separator)
    cells = [[cell.strip() for cell in row] for row in rows]
    places = _find_columns(path, cells[0], names)
    values = np.full((frame_count, len(axes)), np.nan)
    told: dict[int, int] = {}
    for row, (number, _) in zip(cells[1:], lines[1:], strict=True):
        where = f"{path}, line {number}"
        frame = _parse_frame(where, row, places[-1], len(told), frame_count)
        if frame in told:
            raise InputError(f"{where}: frame {frame} is already in line {told[frame]}")
        told[frame] = number
        values[frame] = [
            0.0 if place is None else _parse_number(where, row, place) for place in places[:-1]
        ]
    if places[-1] is None and len(told) != frame_count:
        raise InputError(
            f"{path} has {len(told)} lines for {frame_count} frames: give one for each, or a "
            f"column '{FRAME}'"
        )
    return FramePositions(values)


def _read_text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read: {why}") from error


def _find_columns(path: str, heading: list[str], names: Sequence[str | None]) -> list[int | None]:
    """Where the columns of the axes stand, and that of the frame's number, if there is one."""
    known = [name.lower() for name in heading]
    for name in names:
        if name is not None and known.count(name.lower()) != 1:
            times = "no column" if name.lower() not in known else "several columns"
            raise InputError(
                f"{path} has {times} {name!r}, but {', '.join(heading)}: set "
                "initial_shifts.columns, a name for each axis"
            )
    found = [None if name is None else known.index(name.lower()) for name in names]
    return [*found, known.index(FRAME) if FRAME in known else None]


def _parse_frame(where: str, row: list[str], place: int | None, following: int, count: int) -> int:
    if place is None:
        if following >= count:
            raise InputError(f"{where}: more lines than the {count} frames of the stack")
        return following
    number = _parse_number(where, row, place)
    if not 0 <= number < count or number != int(number):
        raise InputError(f"{where}: {row[place]!r} is not a frame: frames are 0 to {count - 1}")
    return int(number)


def _parse_number(where: str, row: list[str], place: int) -> float:
    cell = row[place] if place < len(row) else ""
    try:
        number = float(cell or "nan")
    except ValueError:
        raise InputError(f"{where}: {cell!r} is not a number") from None
    if np.isinf(number):
        raise InputError(f"{where}: {cell!r} is not a position")
    return number


def convert_positions(initial_shifts: Any, axes: Sequence[str], frame_count: int) -> FramePositions:
    """Shifts in pixels that are in memory: an array, a DataArray or a shifts dataset."""
    if isinstance(initial_shifts, xr.Dataset):
        return _read_run(initial_shifts, "initial_shifts", axes, frame_count)
    if isinstance(initial_shifts, xr.DataArray) and set(initial_shifts.dims) == {"frame", "axis"}:
        initial_shifts = initial_shifts.transpose("frame", "axis")
    shift = np.asarray(initial_shifts)
    if shift.shape != (frame_count, len(axes)) or shift.dtype.kind not in "iuf":
        raise InputError(
            f"initial_shifts has the shape {shift.shape} and holds {shift.dtype}: real numbers of "
            f"the shape {(frame_count, len(axes))} are needed, a shift in pixels for each frame"
        )
    return FramePositions(shift.astype(np.float64))


def _read_run(
    found: xr.Dataset, name: str, axes: Sequence[str], frame_count: int
) -> FramePositions:
    """The shifts of an earlier run, of its largest part: those of others do not compare."""
    variable = "frame_shift" if "frame_shift" in found else BEFORE
    if variable not in found or found[variable].dims != ("frame", "axis"):
        raise InputError(
            f"{name} has no variable frame_shift over frame and axis: it is not a shifts dataset"
        )
    given = [str(axis) for axis in found["axis"].to_numpy()]
    count = found.sizes["frame"]
    if given != list(axes) or count != frame_count:
        raise InputError(
            f"{name} has shifts of {count} frames along {', '.join(given)}, but the stack has "
            f"{frame_count}, with the axes {', '.join(axes)}"
        )
    values = found[variable].to_numpy().astype(np.float64)
    if "component" in found and (found["component"] >= 0).any():
        part = found["component"].to_numpy()
        largest = np.bincount(part[part >= 0]).argmax()
        values = np.where((part == largest)[:, None], values, np.nan)
    if "pixel_size" not in found or not np.isfinite(found["pixel_size"]).all():
        return FramePositions(values)
    size = tuple(float(step) for step in found["pixel_size"].to_numpy())
    return FramePositions(values, size, str(found["pixel_size"].attrs.get("units", "")))


def read_pair_list(path: str) -> NDArray[np.int64]:
    """The pairs (reference, moving) of a CSV file, an integer array (pairs, 2).

    Each line holds two whole numbers; a first line of words is a heading, empty lines and what
    stands behind ``#`` are left out.

    Raises InputError that names the line.
    """
    text = _read_text(path)
    pairs: list[tuple[int, int]] = []
    rows = csv.reader(line.split("#")[0] for line in text.splitlines())
    for number, cells in enumerate(rows, start=1):
        row = [cell.strip() for cell in cells]
        if not any(row) or (not pairs and row == ["reference", "moving"]):
            continue
        try:
            reference, moving = map(int, row)
        except ValueError:
            raise InputError(
                f"{path}, line {number}: {','.join(cells)!r} is not a pair: two whole numbers, "
                "reference,moving"
            ) from None
        pairs.append((reference, moving))
    return np.array(pairs, np.int64).reshape(-1, 2)


def digest_pairs(pairs: NDArray[np.int64]) -> str:
    """A short hash of a list of pairs."""
    return hashlib.sha256(np.ascontiguousarray(pairs, "<i8").tobytes()).hexdigest()[:16]
