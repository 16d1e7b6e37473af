"""Make the dataset of a drift that positions share, and one for each position."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from steadystack.dataset import add_digests
from steadystack.joining.finished import SolvedSeries
from steadystack.joining.joined_shifts import JoinedSeries, describe_run, label
from steadystack.joining.shared_drift import SharedDrift, list_parts, solve_shared_drift
from steadystack.model import (
    JOINED,
    NO_COMPONENT,
    SHARED_DRIFT,
    SHIFT_CONVENTION,
    Finding,
    FrameStatus,
    Reason,
    Trust,
    Verdict,
)
from steadystack.quality import LARGE_ERROR_PX
from steadystack.run_log import collect_versions
from steadystack.stages import make_run_dataset

# Reasons for a position's verdict that the other positions compensate, or that the shared drift
# repeats; not those that a camera or a scene may cause in all positions.
COMPENSATED = (
    Reason.LOST_FRAMES, Reason.PARTS, Reason.LARGE_ERRORS, Reason.ANCHOR, Reason.DISSIMILAR_FRAMES,
    Reason.REJECTED_PAIRS, Reason.CONTRADICTIONS, Reason.PAIRS_LOW_NCC, Reason.PAIRS_AMBIGUOUS,
    Reason.PAIRS_LOW_OVERLAP,
)  # fmt: skip
# Largest share of its frames in which a position may contradict the others without being reported.
MAY_CONTRADICT = 0.05
# A position this many times further off than its errors state is reported.
FAR_OFF = 2.0
# The share of frames without a shift that makes the result unreliable.
MANY_LOST = 0.5


def join_shared_drift(series: Sequence[SolvedSeries], path: str = "") -> JoinedSeries:
    """One set of shifts for all positions that share a stage, each solved in itself.

    `path` is where the joined dataset is to lie, for those of the positions to name it. Nothing is
    read or written.
    """
    drift = solve_shared_drift(list(list_parts(series)), len(series))
    own = [make_run_dataset(one.setup, one.pairs, one.frames, one.known) for one in series]
    status = _find_status(series, drift)
    shared = list(_judge(series, drift))
    findings = [*shared, *_judge_positions(series, drift, own)]
    columns = _make_columns(drift, status)
    variables: dict[str, Any] = {
        name: (own[0][name].dims, values, own[0][name].attrs) for name, values in columns.items()
    }
    variables |= _describe_positions(drift)
    variables["pixel_size"] = own[0]["pixel_size"].variable
    coordinates: dict[str, Any] = {
        "axis": own[0]["axis"].variable,
        "frame": own[0]["frame"].variable,
        "series": ("series", [one.name for one in series], label("name of the series")),
    }
    if "time" in own[0].coords:
        coordinates["time"] = own[0]["time"].variable
    about = [_describe(drift, position) for position in range(len(series))]
    runs = [describe_run(one, dataset) for one, dataset in zip(series, own, strict=True)]
    shapes = {dataset.attrs["frame_shape"] for dataset in own}
    attributes = {
        "title": JOINED,
        "convention": SHIFT_CONVENTION,
        **({"frame_shape": shapes.pop()} if len(shapes) == 1 else {}),
        "anchors": json.dumps([] if drift.anchor is None else [drift.anchor]),
        "series": json.dumps([run | one for run, one in zip(runs, about, strict=True)]),
        "versions": json.dumps(collect_versions()),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        **Verdict.of(finding for _, finding in findings).attributes(),
    }
    each = {}
    for position, (one, dataset) in enumerate(zip(series, own, strict=True)):
        mine = [finding for name, finding in findings if name in (None, one.name)]
        told = {
            SHARED_DRIFT: json.dumps({"path": path} | about[position]),
            "anchors": attributes["anchors"],
            **Verdict.of(mine).attributes(),
        }
        if drift.anchor is not None:
            each[one.name] = _put_into(dataset, columns, told)
    return JoinedSeries(add_digests(xr.Dataset(variables, coordinates, attributes)), each)


def _make_columns(drift: SharedDrift, status: NDArray[np.int8]) -> dict[str, NDArray[Any]]:
    """The columns on frames given by the shared drift, in the form of a shifts dataset."""
    return {
        "frame_shift": drift.shift,
        "frame_shift_std": drift.std,
        "frame_status": status,
        "component": np.where(drift.known, 0, NO_COMPONENT),
    }


def _describe_positions(
    drift: SharedDrift,
) -> dict[str, tuple[tuple[str, ...], Any, dict[str, str]]]:
    """The variables on positions in the joined dataset."""
    return {
        "series_residual": (("series", "frame", "axis"), drift.residual, label(
            "shift of the series, up to a constant of its own, minus the shared drift; where the "
            "shared drift is not known in any frame, minus the median of the series; NaN: it has "
            "no shift",
            "pixel")),
        "series_weight": (("series", "frame"), drift.weight, label(
            "weight of the series in the shared drift of the frame, 0 to 1")),
        "series_contradicts": (("series", "frame"), drift.contradicts.astype(np.int8), label(
            "1: in this frame the series contradicts others, and is not used")),
        "series_agrees": (("series",), drift.agrees.astype(np.int8), label(
            "0: the series goes its own way, and is not used in any frame")),
        "series_rms": (("series",), drift.rms, label(
            "root mean square length of series_residual, where others also have a shift", "pixel")),
        "series_excess": (("series",), drift.excess, label(
            "root mean square of series_residual divided by the stated error")),
    }  # fmt: skip


def _put_into(
    own: xr.Dataset, columns: dict[str, NDArray[Any]], told: dict[str, str]
) -> xr.Dataset:
    """The dataset of a position with the shared shifts; its pairs are unchanged."""
    known = np.isfinite(columns["frame_shift"]).all(axis=1)
    status = own["frame_status"].to_numpy()
    has_cause = ~known & (status != FrameStatus.OK.code)
    given = columns | {
        "frame_stated_std": columns["frame_shift_std"],
        "frame_status": np.where(has_cause, status, columns["frame_status"]),
    }
    given |= {
        name: np.full(own[name].shape, np.nan)
        for name in ("frame_part_std", "frame_part_step", "frame_part_weight")
    }
    changed = own.assign(
        {
            name: (own[name].dims, values.astype(own[name].dtype), own[name].attrs)
            for name, values in given.items()
        }
    )
    return add_digests(changed.assign_attrs(told))


def _find_status(series: Sequence[SolvedSeries], drift: SharedDrift) -> NDArray[np.int8]:
    """The status of every frame's shared shift: ok, or why there is none."""
    own = np.stack([one.frames.status for one in series])
    status = np.full(own.shape[1], FrameStatus.OK.code, np.int8)
    for frame in np.flatnonzero(~drift.known).tolist():
        if drift.apart[frame]:
            status[frame] = FrameStatus.DISCONNECTED.code
        elif drift.has_shift[:, frame].any():
            status[frame] = FrameStatus.INCONSISTENT.code
        else:
            status[frame] = Counter(own[:, frame].tolist()).most_common(1)[0][0]
    return status


def _describe(drift: SharedDrift, position: int) -> dict[str, Any]:
    """Describe the outcome of a position; null: not known."""
    values = {"rms_px": float(drift.rms[position]), "excess": float(drift.excess[position])}
    return {
        "agrees": bool(drift.agrees[position]),
        **{name: value if np.isfinite(value) else None for name, value in values.items()},
        "frames_of_others": int((drift.known & ~drift.has_shift[position]).sum()),
    }


def _judge(
    series: Sequence[SolvedSeries], drift: SharedDrift
) -> Iterator[tuple[str | None, Finding]]:
    """Find what speaks against the shared drift: of which position (None: all), and what."""
    has_any = drift.has_shift.any(axis=1)
    asked, agree = int(has_any.sum()), int((has_any & drift.agrees).sum())
    if asked == 1:
        words = (
            "only one position has shifts, and no other one confirms that they are those of "
            "the stage"
        )
        yield None, Finding(Trust.CHECK, Reason.NO_MAJORITY, words)
    elif 2 * agree <= asked and asked:
        words = (
            f"{agree} of {asked} positions agree, no majority: they do not share a drift, or most "
            "of their shifts are wrong; look at them one by one, and join those that are right"
        )
        yield None, Finding(Trust.UNRELIABLE, Reason.NO_MAJORITY, words)
    elif (alone := int(drift.is_alone.any(axis=0).sum())) > MANY_LOST * len(drift.known):
        words = f"{alone} of {len(drift.known)} frames are known from a single position"
        yield None, Finding(Trust.CHECK, Reason.NO_MAJORITY, words)
    errors = np.nanmax(np.where(drift.known[:, None], drift.std, 0), axis=1)
    if (errors > 0).any() and (typical := float(np.median(errors[errors > 0]))) > LARGE_ERROR_PX:
        words = f"the shared drift is known only to about {typical:.1f} px"
        yield None, Finding(Trust.CHECK, Reason.LARGE_ERRORS, words)
    if lost := int((~drift.known).sum()):
        total = len(drift.known)
        trust = Trust.UNRELIABLE if lost > MANY_LOST * total else Trust.CHECK
        words = f"{lost} of {total} frames have no shift that positions agree on"
        yield None, Finding(trust, Reason.LOST_FRAMES, words)
    for position in range(len(series)):
        name = series[position].name
        told = _describe_own_drift(name, drift, position)
        if told is not None:
            yield name, Finding(Trust.CHECK, Reason.OWN_DRIFT, told)


def _describe_own_drift(name: str, drift: SharedDrift, position: int) -> str | None:
    """Describe how a position contradicts the others; None: it does not."""
    fights, count = (int(one[position].sum()) for one in (drift.contradicts, drift.has_shift))
    where = f"it contradicts others in {fights} of its {count} frames"
    if not drift.agrees[position]:
        return (
            f"{name} goes its own way, by {drift.rms[position]:.2f} px, "
            f"{drift.excess[position]:.1f} times the stated error: {where}, and is not used"
        )
    if fights > max(MAY_CONTRADICT * count, 1):
        return f"{name}: {where}, and is not used there"
    if drift.excess[position] > FAR_OFF:
        return (
            f"{name} differs from the shared drift by {drift.rms[position]:.2f} px, "
            f"{drift.excess[position]:.1f} times the stated error"
        )
    return None


def _judge_positions(
    series: Sequence[SolvedSeries], drift: SharedDrift, own: Sequence[xr.Dataset]
) -> Iterator[tuple[str, Finding]]:
    """Findings of the runs of positions that count, unless the others compensate for them.

    What makes a position unreliable makes the whole result unreliable if that holds for half of
    them or more, else worth a check.
    """
    counting = [n for n in range(len(series)) if drift.agrees[n] and drift.has_shift[n].any()]
    shares = [2 * drift.is_alone[n].sum() < drift.has_shift[n].sum() for n in range(len(series))]
    left = {
        series[n].name: [
            finding
            for finding in Verdict.read(own[n].attrs).findings
            if finding.code not in COMPENSATED or not shares[n]
        ]
        for n in counting
    }
    bad = sum(any(one.trust is Trust.UNRELIABLE for one in some) for some in left.values())
    worst = Trust.UNRELIABLE if 2 * bad >= len(counting) else Trust.CHECK
    for name, some in left.items():
        for finding in some:
            trust = worst if finding.trust is Trust.UNRELIABLE else finding.trust
            yield name, replace(finding, trust=trust, words=f"{name}: {finding.words}")


def describe_positions(joined: xr.Dataset) -> Iterator[str]:
    """Describe how each position fits the shared drift, a line for each."""
    known = np.isfinite(joined["frame_shift"].to_numpy()).all(axis=1)
    for number, name in enumerate(joined["series"].to_numpy().tolist()):
        has_shift = np.isfinite(joined["series_residual"].to_numpy()[number]).all(axis=1)
        of_others = int((known & ~has_shift).sum())
        rms, excess = (float(joined[key][number]) for key in ("series_rms", "series_excess"))
        if np.isfinite(rms):
            line = f"{rms:.3f} px from the shared drift, {excess:.2f} times the stated error"
        else:
            line = "no shift that can be compared"
        if not joined["series_agrees"].to_numpy()[number]:
            fights = int(joined["series_contradicts"].to_numpy()[number].sum())
            line = f"goes its own way and is not used, {line}, in {fights} frames"
        if of_others:
            line += f"; {of_others} of {len(known)} frames from others alone"
        yield f"{name}: {line}"
