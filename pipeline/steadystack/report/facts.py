"""The summary of a page: what its reader wants to know first, as names and values."""

from __future__ import annotations

import numpy as np
import xarray as xr

from steadystack.model import LocalStatus, OutsideOutcome, PairStatus, describe_channel_offsets
from steadystack.plot import NodeShifts


def list_facts(shifts: xr.Dataset) -> list[tuple[str, str]]:
    """List what a reader wants to know first, as names and values."""
    shift = shifts["frame_shift"].to_numpy()
    shift = shift[np.isfinite(shift).all(axis=1)]
    total, pairs = shifts.sizes["frame"], shifts.sizes["pair"]
    is_ok = shifts["pair_status"].to_numpy() == PairStatus.OK.code
    facts = [
        ("frames with a shift", f"{len(shift)} of {total}"),
        ("usable pairs", f"{int(is_ok.sum())} of {pairs}"),
    ]
    if len(shift):
        names = [str(name) for name in shifts["axis"].to_numpy()]
        spans = shift.max(axis=0) - shift.min(axis=0)
        steps = np.linalg.norm(np.diff(shift, axis=0), axis=1)
        std = shifts["frame_shift_std"].to_numpy()
        facts.append(
            (
                "range",
                ", ".join(f"{name} {span:.2f} px" for name, span in zip(names, spans, strict=True)),
            )
        )
        if len(steps):
            facts.append(("median step", f"{np.median(steps):.3f} px"))
        if np.isfinite(std).any():
            facts.append(("median std of a shift", f"{np.nanmedian(std):.3f} px"))
    facts += _list_turns(shifts) + _list_channel_offsets(shifts)
    outside = OutsideOutcome.of(shifts.attrs)
    if outside is not None:
        facts.append(("external reference", "; ".join(outside.describe())))
    residual = shifts["pair_residual"].to_numpy()[is_ok]
    if np.isfinite(residual).any():
        facts.append(("rms residual", f"{np.sqrt(np.nanmean(residual**2)):.3f} px"))
    return facts


def _list_turns(shifts: xr.Dataset) -> list[tuple[str, str]]:
    """List rotation and scale over the series, if they were measured.

    Each with the deviation of the frame that is farthest from the anchor.
    """
    vectors = [
        (f"turn about {axis}", "frame_rotation_vector", {"axis": at}, 0.0, 1.0, " degree")
        for at, axis in enumerate(shifts["axis"].to_numpy().tolist())
    ]
    lines = []
    for name, column, part, middle, scale, unit in (
        ("turn", "frame_rotation", {}, 0.0, 1.0, " degree"),
        *vectors,
        ("scale", "frame_scale", {}, 1.0, 100.0, " %"),
    ):
        value, std = (shifts[each].isel(part).to_numpy() for each in (column, f"{column}_std"))
        value = value - middle
        known = np.flatnonzero(np.isfinite(value) & np.isfinite(std))
        if len(known):
            farthest = known[np.argmax(np.abs(value[known]))]
            low, high = scale * value[known].min(), scale * value[known].max()
            lines.append((name, f"{low:+.3f} to {high:+.3f}{unit} ± {scale * std[farthest]:.3f}"))
    return lines + _list_local_shifts(shifts)


def _list_local_shifts(shifts: xr.Dataset) -> list[tuple[str, str]]:
    """List how far nodes differ from the shift of their frame, and which most, if known."""
    nodes = NodeShifts.of(shifts)
    if nodes is None:
        return []
    grid = f"{nodes.grid} nodes"
    if nodes.is_flat:
        return [("local motion", f"none is seen: all {grid} have the shift of their frame")]
    place = frame, row, column = nodes.find_farthest()
    line = (
        f"up to {nodes.describe_farthest()} from the shift of the frame: frame "
        f"{int(shifts['frame'][frame])} at {nodes.describe_place(row, column)}, of {grid}"
    )
    is_seen = nodes.status[place] == LocalStatus.OK.code
    return [("local motion", line if is_seen else f"{line}; nothing is seen there")]


def _list_channel_offsets(shifts: xr.Dataset) -> list[tuple[str, str]]:
    """List the offsets of channels, if they were asked for."""
    names = ("channel", "axis", "channel_offset", "channel_offset_std", "channel_offset_status")
    labels, axes, offset, std, status = (shifts[name].to_numpy() for name in names)
    if status[0] == PairStatus.UNMEASURED.code:
        return []
    return list(describe_channel_offsets(labels.tolist(), axes.tolist(), offset, std, status))
