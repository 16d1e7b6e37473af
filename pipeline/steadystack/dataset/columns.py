"""The shifts dataset in memory: tables of pairs and frames as an xarray dataset, and back.

The pair rows are the checkpoint of a run: rows whose status is "unmeasured" are still to do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from steadystack.model import (
    SHIFT_CONVENTION,
    UNSOLVED,
    FrameStatus,
    FrameTable,
    PairStatus,
    PairTable,
    Status,
)

# Raised whenever columns or attributes are others than before: other versions are refused.
FORMAT = 2


def shifts_dataset(
    pairs: PairTable,
    frames: FrameTable | None = None,
    *,
    axes: tuple[str, ...],
    pixel_size: tuple[float, ...] | None = None,
    unit: str = "",
    time: tuple[tuple[float, ...], str] | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """The dataset that a run leaves behind.

    Parameters
    ----------
    pairs : PairTable
    frames : FrameTable or None
        None before the solve: the frames' columns are NaN and their component is -2.
    axes : names of the axes of a shift
    pixel_size : one per axis, None if it is not known
    unit : of the pixel size, "" if it is not known
    time : time of every frame and its unit, where the input tells
    attributes : written as they are: configuration, fingerprint, versions, provenance
    """
    frame_count, ndim = len(pairs.frame_status), pairs.shift.shape[1]
    frames = frames or _unsolved(pairs)
    # No unit and no step but 1: the input tells nothing of the size.
    told = pixel_size if unit or (pixel_size and set(pixel_size) != {1.0}) else None
    size = np.array(told or (np.nan,) * ndim)
    coordinates: dict[str, Any] = {"axis": list(axes), "frame": np.arange(frame_count)}
    if time is not None:
        # "units" would have xarray decode it: right for "seconds since ...", not for "second".
        key = "units" if " since " in time[1] else "unit"
        coordinates["time"] = ("frame", np.array(time[0]), {key: time[1]})
    return xr.Dataset(
        {
            **_frame_columns(pairs, frames),
            **_pair_columns(pairs, frames),
            "pixel_size": ("axis", size, _about("size of a pixel", unit)),
        },
        coordinates,
        {
            "title": "Frame shifts",
            "format": FORMAT,
            "convention": SHIFT_CONVENTION,
            "failures": _by_reason(pairs.failures),
            **(attributes or {}),
        },
    )


def _frame_columns(pairs: PairTable, frames: FrameTable) -> dict[str, Any]:
    ncc = _median_ncc(pairs, len(pairs.frame_status))
    deviation = "standard deviation of the shift relative to the anchor of the frame's component"
    component = "connected part of the pair graph; -1: no pair that fits, -2: not solved yet"
    columns = {
        "shift": (frames.shift, _about("shift to apply to the frame", "pixel")),
        "shift_std": (frames.shift_std, _about(deviation, "pixel")),
        "frame_status": (frames.status, _flags(FrameStatus)),
        "frame_reading": (pairs.frame_status, _flags(FrameStatus)),
        "component": (frames.component, _about(component)),
        "pair_count": (frames.pair_count, _about("number of pairs in the solution")),
        "frame_ncc": (ncc, _about("median NCC of the frame's usable pairs")),
    }
    return _over("frame", columns)


def _pair_columns(pairs: PairTable, frames: FrameTable) -> dict[str, Any]:
    shift = "shift that lays the moving frame on the reference"
    runner_up = "significance of the best other lag over that of the peak"
    overlap = "overlapping valid pixels over the smaller number of valid pixels"
    residual = "pair shift minus what the solution says"
    columns = {
        "pair_reference": (pairs.reference, _about("frame that stays")),
        "pair_moving": (pairs.moving, _about("frame that is moved")),
        "pair_shift": (pairs.shift, _about(shift, "pixel")),
        "pair_std": (pairs.std, _about("standard deviation", "pixel")),
        "pair_residual": (frames.residual, _about(residual, "pixel")),
        "pair_ncc": (pairs.ncc, _about("masked NCC at the peak")),
        "pair_runner_up": (pairs.runner_up, _about(runner_up)),
        "pair_overlap": (pairs.overlap, _about(overlap)),
        "pair_weight": (frames.weight, _about("weight in the solution", "pixel-2")),
        "pair_status": (
            np.where(frames.rejected, PairStatus.REJECTED.code, pairs.status).astype(np.int8),
            _flags(PairStatus),
        ),
    }
    return _over("pair", columns)


def _over(dim: str, columns: Mapping[str, tuple[Any, Any]]) -> dict[str, Any]:
    """Columns as xarray takes them: over `dim`, and over the axes where they have two dims."""
    return {
        name: ((dim, "axis")[: values.ndim], values, attributes)
        for name, (values, attributes) in columns.items()
    }


def _about(long_name: str, units: str | None = None) -> dict[str, str]:
    return {"long_name": long_name} | ({"units": units} if units else {})


def read_pairs(dataset: xr.Dataset) -> PairTable:
    """The table of pairs that a shifts dataset holds, as they were measured.

    What the solve said of them, and of frames, is left behind: pairs that it rejected are ok.
    """
    status = dataset["pair_status"].to_numpy().astype(np.int8)
    rejected = status == PairStatus.REJECTED.code
    return PairTable(
        reference=dataset["pair_reference"].to_numpy().astype(np.int64),
        moving=dataset["pair_moving"].to_numpy().astype(np.int64),
        shift=dataset["pair_shift"].to_numpy(),
        std=dataset["pair_std"].to_numpy(),
        ncc=dataset["pair_ncc"].to_numpy(),
        runner_up=dataset["pair_runner_up"].to_numpy(),
        overlap=dataset["pair_overlap"].to_numpy(),
        status=np.where(rejected, PairStatus.OK.code, status).astype(np.int8),
        frame_status=dataset["frame_reading"].to_numpy().astype(np.int8),
        failures={
            row: reason
            for reason, rows in json.loads(dataset.attrs.get("failures", "{}")).items()
            for row in rows
        },
    )


def read_frames(dataset: xr.Dataset) -> FrameTable:
    """The table of frames that a solved shifts dataset holds."""
    return FrameTable(
        shift=dataset["shift"].to_numpy(),
        shift_std=dataset["shift_std"].to_numpy(),
        component=dataset["component"].to_numpy(),
        pair_count=dataset["pair_count"].to_numpy(),
        status=dataset["frame_status"].to_numpy().astype(np.int8),
        weight=dataset["pair_weight"].to_numpy(),
        residual=dataset["pair_residual"].to_numpy(),
        rejected=dataset["pair_status"].to_numpy() == PairStatus.REJECTED.code,
        anchors=tuple(json.loads(dataset.attrs.get("anchors", "[]"))),
    )


def _unsolved(pairs: PairTable) -> FrameTable:
    frame_count, ndim = len(pairs.frame_status), pairs.shift.shape[1]
    return FrameTable(
        shift=np.full((frame_count, ndim), np.nan),
        shift_std=np.full((frame_count, ndim), np.nan),
        component=np.full(frame_count, UNSOLVED, np.int64),
        pair_count=np.zeros(frame_count, np.int64),
        status=pairs.frame_status,
        weight=np.full(len(pairs.status), np.nan),
        residual=np.full(pairs.shift.shape, np.nan),
        rejected=np.zeros(len(pairs.status), bool),
        anchors=(),
    )


def _median_ncc(pairs: PairTable, frame_count: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Median NCC of every frame's usable pairs; NaN where there is none."""
    ends = np.concatenate([pairs.reference[pairs.ok], pairs.moving[pairs.ok]])
    values = np.tile(pairs.ncc[pairs.ok], 2)
    order = np.lexsort((values, ends))
    ends, values = ends[order], values[order]
    frames, first, count = np.unique(ends, return_index=True, return_counts=True)
    median = np.full(frame_count, np.nan)
    median[frames] = (values[first + (count - 1) // 2] + values[first + count // 2]) / 2
    return median


def _by_reason(failures: Mapping[int, str]) -> str:
    """As JSON: the rows of every reason."""
    rows: dict[str, list[int]] = {}
    for row, reason in failures.items():
        rows.setdefault(reason, []).append(row)
    return json.dumps(rows)


def _flags(statuses: type[Status]) -> dict[str, Any]:
    """CF attributes that explain the codes of a status."""
    return {
        "flag_values": np.array([status.code for status in statuses], np.int8),
        "flag_meanings": " ".join(statuses),
    }
