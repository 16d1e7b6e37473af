"""Read the user's tables: pairs, stage positions, weights, shifts of an earlier run."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from steadystack.dataset import load_shifts
from steadystack.durable import explaining_unreadable
from steadystack.model import InputError, as_plain

SEPARATORS = ",;\t"
FRAME_COLUMN = "frame"
WHOLE_NUMBER = re.compile("[-+]?[0-9]{1,18}")  # what 64 bits hold
SHOWN_CHARACTERS = 100  # most characters of a line or value in an error
OLD_VARIABLE = "shift"  # what frame_shift is called in datasets of format 1


@dataclass(frozen=True, eq=False)
class FramePositions:
    """Positions or shifts of frames, as in a file or an array.

    Attributes
    ----------
    values : (frames, axes), NaN where nothing is known
    pixel_size : per axis, if the values are in pixels of a dataset; None: not known, as for text
        files
    unit : of `pixel_size`
    """

    values: NDArray[np.float64]
    pixel_size: tuple[float, ...] | None = None
    unit: str = ""


def read_positions(
    path: str,
    axes: Sequence[str],
    frame_count: int,
    columns: Sequence[str | None] | None = None,
    frames: range | None = None,
) -> FramePositions:
    """Read the positions or shifts of every frame that is used.

    Parameters
    ----------
    path : a CSV file with a heading, or a shifts dataset (.zarr, .nc) with the variable
        ``frame_shift``
        In a CSV file (commas, semicolons or tabs; what stands behind ``#`` is left out), every line
        is a frame, in order, or the one in its column ``frame``; empty cells are not known (NaN).
    axes, frame_count : names of the frame's axes, and number of frames of the stack
    columns : the heading for each of `axes`; an axis whose heading is None has the value 0.
        None: the names of the axes.
    frames : the frames that are used; None: all

    Raises
    ------
    InputError
        With the line or the column that is wrong, or with both numbers of frames.
    """
    with explaining_unreadable(path):
        is_run = Path(path).suffix in (".zarr", ".nc") or Path(path).is_dir()
        run = load_shifts(path, any_format=True) if is_run else None
    if run is not None:
        return _read_run(run, path, axes, frame_count, frames)
    names = list(axes) if columns is None else list(columns)
    if len(names) != len(axes):
        raise InputError(
            f"initial_shifts.columns has {len(names)} names for the axes {', '.join(axes)}"
        )
    key = "initial_shifts.columns, a name for each axis"
    values = _read_columns(path, names, frame_count, key)
    return FramePositions(values if frames is None else values[list(frames)])


def read_weights(
    path: str, column: str, frame_count: int, frames: range | None = None
) -> NDArray[np.float64]:
    """Read the weight of every frame that is used, (frames,), from the column of a CSV file.

    Lines are as in `read_positions`, for the whole stack; `frames` are those used, None: all.
    Raises InputError with the line, the column or the frames that are wrong: weights are 0 or more,
    and every frame has one.
    """
    frames = range(frame_count) if frames is None else frames
    weights = _read_columns(path, [column], frame_count, "mean.column")[list(frames), 0]
    wrong = np.flatnonzero(~(weights >= 0))
    if len(wrong):
        what = "no weight" if np.isnan(weights[wrong[0]]) else f"{weights[wrong[0]]:g}"
        raise InputError(
            f"{path}: frame {frames[wrong[0]]} has {what} in column {column!r}, {len(wrong)} of "
            f"{len(frames)} frames in all: weights are 0 (not used) or more"
        )
    if not weights.any():
        raise InputError(f"{path}: all weights in column {column!r} are 0: no frame is used")
    return weights


def _read_columns(
    path: str, names: Sequence[str | None], frame_count: int, key: str
) -> NDArray[np.float64]:
    """Read columns of a CSV file, (frames, names); NaN where nothing is known.

    `key` of the settings, for an error, chooses other columns.
    """
    lines = _read_lines(path)
    if not lines:
        header = ",".join(name for name in names if name)
        raise InputError(
            f"{path} is empty: it needs a header such as {header} and one line per frame"
        )
    separator = max(SEPARATORS, key=lines[0][1].count)
    (_, heading), *rows = ((place, _split(place, line, separator)) for place, line in lines)
    indices = _find_columns(path, heading, names, key)
    values = np.full((frame_count, len(names)), np.nan)
    line_numbers: dict[int, str] = {}
    for location, row in rows:
        if len(row) > len(heading) and any(row[len(heading) :]):
            raise InputError(
                f"{location}: {len(row)} values for the {len(heading)} columns of the header; "
                "write decimals with a point, not a comma"
            )
        frame = _parse_frame(location, row, indices[-1], len(line_numbers), frame_count)
        if frame in line_numbers:
            raise InputError(f"{location}: frame {frame} is already in {line_numbers[frame]}")
        line_numbers[frame] = location.removeprefix(f"{path}, ")
        values[frame] = [
            0.0 if index is None else _parse_number(location, row, index) for index in indices[:-1]
        ]
    if indices[-1] is None and len(line_numbers) != frame_count:
        raise InputError(
            f"{path} has {len(line_numbers)} lines for {frame_count} frames: give one for each, "
            f"or a column '{FRAME_COLUMN}'"
        )
    return values


def _read_lines(path: str) -> list[tuple[str, str]]:
    """Read the lines of a text file that are not empty, each with a description of its location."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} cannot be read: it is not text in UTF-8 ({error})") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    lines = ((n, line.split("#")[0]) for n, line in enumerate(text.split("\n"), start=1))
    return [(f"{path}, line {number}", line) for number, line in lines if line.strip()]


def _split(location: str, line: str, separator: str) -> list[str]:
    """Split a line into its cells; quotes end on the line where they begin."""
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=separator, strict=True))]
    except csv.Error as error:
        raise InputError(f"{location}: {_cut(line)} cannot be split into cells: {error}") from error


def _cut(text: str) -> str:
    """Format a text for an error: on one line, and shortened if it is long."""
    return repr(text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}...")


def _find_columns(
    path: str, heading: list[str], names: Sequence[str | None], key: str
) -> list[int | None]:
    """Find the indices of the columns of the axes, and last that of the frame, None if missing."""
    headings = [name.lower() for name in heading]
    for name in names:
        if name is not None and headings.count(name.lower()) != 1:
            problem = "no column" if name.lower() not in headings else "several columns"
            raise InputError(
                f"{path} has {problem} {name!r}, but {_cut(', '.join(heading))[1:-1]}: set {key}"
            )
    columns = [None if name is None else headings.index(name.lower()) for name in names]
    return [*columns, headings.index(FRAME_COLUMN) if FRAME_COLUMN in headings else None]


def _parse_frame(
    location: str, row: list[str], index: int | None, next_frame: int, count: int
) -> int:
    """Parse the frame of a row from its cell at `index`; without that column it is `next_frame`."""
    if index is None:
        if next_frame >= count:
            raise InputError(f"{location}: more lines than the {count} frames of the stack")
        return next_frame
    number = _parse_number(location, row, index)
    if not 0 <= number < count or number != int(number):
        raise InputError(
            f"{location}: {_cut(row[index])} is not a frame: frames are 0 to {count - 1}"
        )
    return int(number)


def _parse_number(location: str, row: list[str], index: int) -> float:
    cell = row[index] if index < len(row) else ""
    try:
        if "_" in cell or not cell.isascii():  # Python alone accepts these as numbers
            raise ValueError(cell)
        number = float(cell or "nan")
    except ValueError:
        raise InputError(f"{location}: {_cut(cell)} is not a number") from None
    if np.isinf(number):
        raise InputError(f"{location}: {_cut(cell)} is not a position")
    return number


def convert_positions(initial_shifts: Any, axes: Sequence[str], frame_count: int) -> FramePositions:
    """Convert shifts in memory, in pixels: an array (frames, axes), DataArray or shifts dataset."""
    if isinstance(initial_shifts, xr.Dataset):
        return _read_run(initial_shifts, "initial_shifts", axes, frame_count)
    if isinstance(initial_shifts, xr.DataArray) and set(initial_shifts.dims) == {"frame", "axis"}:
        initial_shifts = initial_shifts.transpose("frame", "axis")
    shift = np.asarray(as_plain(initial_shifts))
    if shift.shape != (frame_count, len(axes)) or shift.dtype.kind not in "iuf":
        raise InputError(
            f"initial_shifts has the shape {shift.shape} and holds {shift.dtype}: real numbers of "
            f"the shape {(frame_count, len(axes))} are needed, a shift in pixels for each frame"
        )
    return FramePositions(shift.astype(np.float64))


def _read_run(
    shifts: xr.Dataset,
    name: str,
    axes: Sequence[str],
    frame_count: int,
    frames: range | None = None,
) -> FramePositions:
    """Read the shifts of an earlier run; NaN outside of the largest component of its pair graph.

    Shifts of different components have no common zero. `frames` are those used of a stack of
    `frame_count`; the run may have more frames, or the whole stack.
    """
    if frames is not None and "frame" in shifts.coords:
        place = {int(number): i for i, number in enumerate(shifts["frame"].to_numpy())}
        if all(frame in place for frame in frames):
            shifts, frame_count = shifts.isel(frame=[place[f] for f in frames]), len(frames)
    variable = "frame_shift" if "frame_shift" in shifts else OLD_VARIABLE
    if variable not in shifts or shifts[variable].dims != ("frame", "axis"):
        raise InputError(
            f"{name} has no variable frame_shift over frame and axis: it is not a shifts dataset"
        )
    shift_axes = [str(axis) for axis in shifts["axis"].to_numpy()]
    count = shifts.sizes["frame"]
    if shift_axes != list(axes) or count != frame_count:
        raise InputError(
            f"{name} has shifts of {count} frames along {', '.join(shift_axes)}, but the stack has "
            f"{frame_count}, with the axes {', '.join(axes)}"
        )
    values = shifts[variable].to_numpy().astype(np.float64)
    if "component" in shifts and (shifts["component"] >= 0).any():
        component = shifts["component"].to_numpy()
        largest = np.bincount(component[component >= 0]).argmax()
        values = np.where((component == largest)[:, None], values, np.nan)
    if "pixel_size" not in shifts or not np.isfinite(shifts["pixel_size"]).all():
        return FramePositions(values)
    size = tuple(float(step) for step in shifts["pixel_size"].to_numpy())
    return FramePositions(values, size, str(shifts["pixel_size"].attrs.get("units", "")))


def read_pair_list(path: str) -> NDArray[np.int64]:
    """Read pairs of frames (reference, moving) from a CSV file, an integer array (pairs, 2).

    Each line holds two whole numbers; a first line of words is a heading, empty lines and what
    stands behind ``#`` are left out.

    Raises InputError with the line that is no pair.
    """
    pairs: list[tuple[int, int]] = []
    for location, line in _read_lines(path):
        row = _split(location, line, ",")
        if not any(row) or (not pairs and row == ["reference", "moving"]):
            continue
        try:
            reference, moving = (_parse_index(cell) for cell in row)
        except ValueError:
            raise InputError(
                f"{location}: {_cut(line)} is not a pair: two whole numbers, reference,moving"
            ) from None
        pairs.append((reference, moving))
    return np.array(pairs, np.int64).reshape(-1, 2)


def _parse_index(cell: str) -> int:
    """Parse a whole number of plain digits; raises ValueError for anything else."""
    if not WHOLE_NUMBER.fullmatch(cell):
        raise ValueError(cell)
    return int(cell)


def digest_pairs(pairs: NDArray[np.int64]) -> str:
    """Hash a list of pairs, (pairs, 2), to 16 hexadecimal digits."""
    return hashlib.sha256(np.ascontiguousarray(pairs, "<i8").tobytes()).hexdigest()[:16]
