"""Convert tables of pairs and frames to the shifts dataset (xarray), and back.

The pair rows are the checkpoint of a run: rows whose status is "unmeasured" are still to do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from steadystack.dataset.digests import add_digests
from steadystack.model import (
    ATTRIBUTES,
    BESIDE,
    COLUMNS,
    NODE_DIMS,
    SHIFT_CONVENTION,
    Column,
    FrameTable,
    InputError,
    PairStatus,
    PairTable,
    columns_of,
    hide_in_values,
)
from steadystack.parts import compute_jackknife_std
from steadystack.units import get_comparable_sizes
from steadystack.warp import compute_rotation, compute_rotation_vector, compute_scale

# Raised whenever columns or attributes change: datasets of other versions are refused.
FORMAT = 13
# Rows processed at a time, to limit memory.
STRETCH = 4096
# Columns computed as properties of the table of frames.
OF_OBJECT = ("object_position", "object_position_std")


def make_dataset(
    pairs: PairTable,
    frames: FrameTable | None = None,
    *,
    axes: tuple[str, ...],
    pixel_size: tuple[float, ...] | None = None,
    unit: str = "",
    time: tuple[tuple[float, ...], str] | None = None,
    part_centres: NDArray[np.float64] | None = None,
    frame_numbers: Sequence[int] | None = None,
    channels: Sequence[str] = ("",),
    attributes: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Make the dataset that a run leaves behind.

    Parameters
    ----------
    pairs : PairTable
    frames : FrameTable or None None before the solve: the frames' columns are NaN and their
        component is -2.
    axes : names of the axes of a shift
    pixel_size : one per axis, None if it is not known
    unit : of the pixel size, "" if it is not known
    time : time of every frame and its unit, where the input tells
    part_centres : centres of the parts of the frame (part, axis), pixels; None: not known
    frame_numbers : numbers of the frames in their stack; None: from 0 on
    channels : names of those that were measured
    attributes : written without secrets in URLs; `ATTRIBUTES` lists their names
    """
    frame_count, ndim = len(pairs.frame_read_status), pairs.shift.shape[1]
    frames = frames or FrameTable.unsolved(pairs)
    # No unit and a step of 1: the input does not give the size.
    sizes = pixel_size if unit or (pixel_size and set(pixel_size) != {1.0}) else None
    size = np.array(sizes or (np.nan,) * ndim)
    comparable = get_comparable_sizes(size.tolist(), unit)
    about = {item.name: {"long_name": item.meaning} for item in BESIDE}
    coordinates: dict[str, Any] = {
        "axis": ("axis", list(axes), about["axis"]),
        "channel": ("channel", list(channels), about["channel"]),
        "frame": ("frame", np.array(frame_numbers or range(frame_count), np.int64), about["frame"]),
        "of_axis": ("of_axis", list(axes), about["of_axis"]),
    }
    for name, nodes in zip(NODE_DIMS[-len(frames.nodes) :], frames.nodes, strict=True):
        coordinates[name] = (name, nodes, about[name] | {"units": "pixel"})
    if time is not None:
        # xarray would decode "units": right for "seconds since ...", not for "second".
        key = "units" if " since " in time[1] else "unit"
        coordinates["time"] = ("frame", np.array(time[0]), about["time"] | {key: time[1]})
    columns = [(column, _get_values(column, pairs, frames, comparable)) for column in COLUMNS]
    dataset = xr.Dataset(
        {
            **{
                column.name: (column.choose_dims(values.ndim), values, column.attributes)
                for column, values in columns
            },
            "part_centre": (
                ("part", "axis"),
                np.full(pairs.part_step.shape[1:], np.nan)
                if part_centres is None
                else part_centres,
                about["part_centre"] | {"units": "pixel"},
            ),
            "pixel_size": ("axis", size, about["pixel_size"] | ({"units": unit} if unit else {})),
        },
        coordinates,
        _make_attributes(pairs, attributes or {}),
    )
    return add_digests(dataset)


def _make_attributes(pairs: PairTable, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of the dataset, in the order of `ATTRIBUTES`; others are not allowed."""
    values = {
        "title": "Frame shifts",
        "format": FORMAT,
        "convention": SHIFT_CONVENTION,
        "failures": _group_by_reason(pairs.failures),
        **attributes,
    }
    order = [item.name for item in ATTRIBUTES]
    if unknown := set(values) - set(order):
        raise ValueError(f"a shifts dataset has no attributes {', '.join(sorted(unknown))}")
    return {name: hide_in_values(values[name]) for name in sorted(values, key=order.index)}


def _get_values(
    column: Column, pairs: PairTable, frames: FrameTable, pixel_size: tuple[float, ...] | None
) -> NDArray[Any]:
    """Get the values of a column of the dataset."""
    if column.name == "frame_ncc":
        return _compute_median_ncc(pairs, len(pairs.frame_read_status))
    if column.name in OF_OBJECT:
        return np.asarray(getattr(frames, column.name))
    if column.name == "frame_rotation":
        in_plane = frames.linear.shape[1] == 2
        unknown = np.full(len(frames.linear), np.nan)
        return compute_rotation(frames.linear, pixel_size) if in_plane else unknown
    if column.name == "frame_rotation_vector":
        is_volume = frames.linear.shape[1] == 3
        unknown = np.full(frames.shift.shape, np.nan)
        return compute_rotation_vector(frames.linear, pixel_size) if is_volume else unknown
    if column.name == "frame_scale":
        return compute_scale(frames.linear)
    if column.name == "pair_part_std":
        return _compute_part_std(pairs.part_step)
    if column.name == "pair_status":  # the solve has the last word
        return np.where(frames.rejected, PairStatus.REJECTED.code, pairs.status).astype(np.int8)
    values: NDArray[Any] = getattr(pairs if column.table == "pairs" else frames, column.field)
    return values


def read_pairs(dataset: xr.Dataset) -> PairTable:
    """Read the table of pairs from a shifts dataset, as they were measured.

    Results of the solve are dropped: pairs that it rejected are ok.
    """
    columns = _check_columns(dataset, "pairs")
    rejected = columns["status"] == PairStatus.REJECTED.code
    columns["status"] = np.where(rejected, PairStatus.OK.code, columns["status"]).astype(np.int8)
    failures = json.loads(dataset.attrs.get("failures", "{}"))
    reasons = {row: reason for reason, rows in failures.items() for row in rows}
    return PairTable(**columns, failures=reasons)


def read_frames(dataset: xr.Dataset) -> FrameTable:
    """Read the table of frames from a solved shifts dataset."""
    return FrameTable(
        **_check_columns(dataset, "frames"),
        rejected=dataset["pair_status"].to_numpy() == PairStatus.REJECTED.code,
        anchors=tuple(json.loads(dataset.attrs.get("anchors", "[]"))),
        nodes=tuple(dataset[name].to_numpy() for name in NODE_DIMS if name in dataset.dims),
    )


def _check_columns(dataset: xr.Dataset, table: Literal["pairs", "frames"]) -> dict[str, Any]:
    """Get the fields of a table; raises InputError if the dataset does not match the schema."""
    fields = {}
    for column in columns_of(table):
        variable = dataset.variables.get(column.name)
        if variable is None or variable.dims != column.choose_dims(variable.ndim):
            has = "none" if variable is None else f"one over {', '.join(map(str, variable.dims))}"
            raise InputError(
                f"a shifts dataset has a variable {column.name} over {', '.join(column.dims)}, "
                f"but this one has {has}"
            )
        fields[column.field] = variable.to_numpy().astype(column.dtype, copy=False)
    return fields


def _compute_part_std(steps: NDArray[np.float32]) -> NDArray[np.float64]:
    """Error of every pair from its parts (pairs, axes), computed in batches of rows."""
    std = np.full((len(steps), steps.shape[-1]), np.nan)
    for begin in range(0, len(steps), STRETCH):
        some = steps[begin : begin + STRETCH]
        if not np.isnan(some).all():  # they are NaN before they are measured
            std[begin : begin + STRETCH] = compute_jackknife_std(some)
    return std


def _compute_median_ncc(
    pairs: PairTable, frame_count: int
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Median NCC of every frame's usable pairs; NaN where there is none."""
    ends = np.concatenate([pairs.reference[pairs.ok], pairs.moving[pairs.ok]])
    values = np.tile(pairs.ncc[pairs.ok], 2)
    order = np.lexsort((values, ends))
    ends, values = ends[order], values[order]
    frames, first, count = np.unique(ends, return_index=True, return_counts=True)
    median = np.full(frame_count, np.nan)
    median[frames] = (values[first + (count - 1) // 2] + values[first + count // 2]) / 2
    return median


def _group_by_reason(failures: Mapping[int, str]) -> str:
    """The rows for every reason, as JSON."""
    rows: dict[str, list[int]] = {}
    for row, reason in failures.items():
        rows.setdefault(reason, []).append(row)
    return json.dumps(rows)
