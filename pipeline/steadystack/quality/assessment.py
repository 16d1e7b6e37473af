"""Judge a series from its dataset alone, at any time.

The results of the run's checks are attributes of the dataset.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from steadystack.checks import CHECKED, read_check, read_failed_checks
from steadystack.common_frame import ChannelTurning
from steadystack.dataset import (
    add_digests,
    check_holds_no_more,
    check_replaceable,
    is_edited,
    read_frames,
    read_pairs,
    save_shifts,
)
from steadystack.durable import check_link, get_place, make_absolute
from steadystack.model import (
    EDITED,
    JOINED,
    NO_COMPONENT,
    PILOT,
    Finding,
    FixedPatternEffect,
    FrameStatus,
    FrameTable,
    InputError,
    LocalMotion,
    LocalStatus,
    MajorityCheck,
    MaskCheck,
    OtherConditioning,
    OutsideOutcome,
    PairTable,
    Pilot,
    ProbeCheck,
    Reason,
    SharpnessCheck,
    Trust,
    Verdict,
    as_shifts,
)
from steadystack.motion import ModelChoice, UnmodelledMotion
from steadystack.pairs import choose_strategy
from steadystack.quality.advice import AdviceSettings
from steadystack.quality.judge import judge_series

# The subjects of the checks, in the order of `CHECKED`.
SUBJECTS = (
    "what stands still in the camera",
    "what moves independently",
    "what the mask excludes",
    "pairs far apart",
    "parts of the frame that disagree",
    "the sharpness of the mean",
    "other conditionings",
    "how frames turn and stretch beyond their model",
    "how channels turn and stretch relative to each other",
)


def verdict(shifts: xr.Dataset) -> Verdict:
    """Judge how far to trust a solved shifts dataset, from `estimate_shifts` or `run`.

    The verdict's `trust` is "good", "check" or "unreliable", for the reasons in `reasons`. An edit
    of the shifts after the solve is a reason, too. Where the pairs of frames are not in the dataset
    (joined series, selected variables), it is the verdict that was written with it.

    Raises
    ------
    InputError
        If this is not a shifts dataset, or if the attributes with its verdict are lost.
    """
    shifts = as_shifts(shifts)
    attributes = dict(shifts.attrs)
    if is_edited(shifts):
        attributes.setdefault(EDITED, "")
    is_stored = attributes.get("title") == JOINED or "pair_status" not in shifts
    needed = "verdict_reasons" if is_stored else "configuration"
    if needed not in attributes:
        raise InputError(
            f"the dataset has no verdict: its attributes, such as {needed}, are missing; xarray "
            "may have dropped them: call verdict on the dataset as it was written"
        )
    if is_stored:
        return Verdict.of([*_find_edit(attributes), *Verdict.read(attributes).findings])
    return judge_stored(read_pairs(shifts), read_frames(shifts), attributes)


def edit_shifts(
    shifts: xr.Dataset, frame_shift: xr.DataArray | NDArray[Any], *, path: str | Path | None = None
) -> xr.Dataset:
    """Replace the frames' shifts in a solved dataset, which is then marked as edited.

    The measurements of the pairs stay unchanged, and the verdict lists the edit as a reason to
    look. A changed shift has no standard deviation; a frame that had no shift of its own becomes
    "interpolated". `steadystack correct` uses the edited dataset at the path of output.shifts; the
    next `solve`, or a `run` that solves again, overwrites it with its own shifts.

    Parameters
    ----------
    shifts : the dataset of `estimate_shifts` or `run`; it is not changed
    frame_shift : (frames, axes) pixels, for all frames, relative to the anchor; NaN: no shift
    path : where to write the result as well: .zarr, or .nc for NetCDF; an existing shifts dataset
        is replaced

    Returns
    -------
    Dataset
        With the new shifts, verdict and digests, and with the attribute ``edited``.

    Raises
    ------
    InputError
        If the dataset is not solved, or the shifts are not real numbers of the shape of its shifts.
    """
    needed = "component", "frame_status", "frame_shift_std", "object_position"
    shifts = as_shifts(shifts, *needed, "object_position_std")
    before = shifts["frame_shift"].to_numpy()
    after = _check_shifts(frame_shift, before.shape)
    is_changed = ~((before == after) | (np.isnan(before) & np.isnan(after))).all(axis=1)
    has_shift = np.isfinite(after).all(axis=1)
    had_shift = np.isfinite(before).all(axis=1)
    component, status = shifts["component"].to_numpy(), shifts["frame_status"].to_numpy()
    middle = np.array(shifts["object_position"]) + before  # the same in all frames
    given = {
        "frame_shift": np.where(is_changed[:, None], after, before),
        "frame_shift_std": np.where(is_changed[:, None], np.nan, shifts["frame_shift_std"]),
        "object_position": np.where(
            is_changed[:, None], _find_common(middle) - after, shifts["object_position"]
        ),
        "object_position_std": np.where(is_changed[:, None], np.nan, shifts["object_position_std"]),
        "component": np.where(is_changed, np.where(has_shift, 0, NO_COMPONENT), component),
        "frame_status": np.where(
            is_changed & has_shift & ~had_shift, FrameStatus.INTERPOLATED.code, status
        ),
    }
    if shifts.get("frame_local_shift", xr.DataArray(np.nan)).notnull().any():
        given |= _edit_local_shifts(shifts, after, is_changed)
    edited = shifts.assign(
        {
            name: (shifts[name].dims, values.astype(shifts[name].dtype), shifts[name].attrs)
            for name, values in given.items()
        }
    )
    edited = edited.assign_attrs({EDITED: datetime.now(UTC).isoformat(timespec="seconds")})
    edited = add_digests(edited.assign_attrs(verdict(edited).attributes()))
    if path is not None:
        location = check_link(str(path), make_absolute(str(path), Path.cwd()))
        with get_place(location).holding_lock():
            check_replaceable(location)
            check_holds_no_more(location, edited, "choose another path")
            save_shifts(edited, location, at_once=True)
    return edited


def _find_common(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Find the first known row (columns,) of rows that are equal where known; NaN if none is."""
    known = rows[np.isfinite(rows).all(axis=1)]
    return np.asarray(known[0] if len(known) else np.full(rows.shape[1], np.nan))


def _edit_local_shifts(
    shifts: xr.Dataset, after: NDArray[np.float64], is_changed: NDArray[np.bool_]
) -> dict[str, NDArray[Any]]:
    """Move the local shifts of frames whose shifts were changed; their errors become NaN."""
    local, before = shifts["frame_local_shift"].to_numpy(), shifts["frame_shift"].to_numpy()
    nodes = tuple(range(1, local.ndim - 1))
    off = local - np.expand_dims(before, nodes)
    moved = np.where(np.isfinite(off), off, 0) + np.expand_dims(after, nodes)
    has_shift = np.isfinite(after).all(axis=1)
    word = np.where(has_shift, LocalStatus.FRAME.code, LocalStatus.UNKNOWN.code)
    changed = np.expand_dims(is_changed, nodes)
    status = shifts["frame_local_status"].to_numpy()
    lacks = np.isnan(local).any(axis=-1) | ~np.expand_dims(has_shift, nodes)
    return {
        "frame_local_shift": np.where(changed[..., None], moved, local),
        "frame_local_shift_std": np.where(
            changed[..., None], np.nan, shifts["frame_local_shift_std"].to_numpy()
        ),
        "frame_local_status": np.where(changed & lacks, np.expand_dims(word, nodes), status),
    }


def _check_shifts(given: Any, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Check new shifts of frames: real numbers of this shape, in the order (frames, axes)."""
    if isinstance(given, xr.DataArray) and set(given.dims) == {"frame", "axis"}:
        given = given.transpose("frame", "axis")
    values = np.asarray(given)
    if values.shape != shape or values.dtype.kind not in "iuf":
        raise InputError(
            f"frame_shift has the shape {values.shape} and holds {values.dtype}: real numbers of "
            f"the shape {shape} are needed, a shift in pixels for each frame"
        )
    if np.isinf(values).any():
        frame = int(np.flatnonzero(np.isinf(values).any(axis=1))[0])
        raise InputError(
            f"frame_shift of frame {frame} is infinite: give pixels, or NaN for no shift"
        )
    return values.astype(np.float64)


def judge_stored(table: PairTable, frames: FrameTable, attributes: Mapping[Any, Any]) -> Verdict:
    """Judge solved tables, with the settings and results of checks in a dataset's attributes.

    Checks that are missing or null are ignored; those that failed are findings.
    """
    settings = json.loads(attributes["configuration"])
    pattern, motion, mask, probes, majority, sharpness, other, beside, apart = (
        read_check(attributes, name) for name in CHECKED
    )
    mask_check = MaskCheck(**mask) if mask else None
    pilot = Pilot.parse(attributes[PILOT]) if PILOT in attributes else Pilot()
    judged = judge_series(
        table,
        frames,
        settings["solve"]["anchor"],
        advice=_read_advice_settings(settings, len(frames.shift), mask_check, other),
        fixed_pattern=FixedPatternEffect(**pattern) if pattern else None,
        motion=LocalMotion(**motion) if motion else None,
        mask=mask_check,
        probes=ProbeCheck(**probes) if probes else None,
        majority=MajorityCheck(**majority) if majority else None,
        sharpness=SharpnessCheck(**sharpness) if sharpness else None,
        parts=pilot.parts,
        field=pilot.field_of_view,
        outside=OutsideOutcome.of(attributes),
        choice=ModelChoice.in_force(attributes),
        unmodelled=UnmodelledMotion.of(beside),
        channels=_list_channels(settings),
        turning=ChannelTurning(**apart) if apart else None,
    )
    failed = _find_failed_checks(attributes)
    return Verdict.of([*_find_edit(attributes), *failed, *judged.findings])


def _find_edit(attributes: Mapping[Any, Any]) -> Iterator[Finding]:
    """Report that shifts were edited; the other findings are then not about them."""
    if EDITED in attributes:
        when = f" at {attributes[EDITED]}" if attributes[EDITED] else ""
        words = (
            f"shifts of frames were edited{when} after the solve: the other reasons are those of "
            "the measured pairs"
        )
        yield Finding(Trust.CHECK, Reason.EDITED, words)


def _find_failed_checks(attributes: Mapping[Any, Any]) -> Iterator[Finding]:
    """Find checks that failed, as the faults that they look for may be present."""
    names = dict(zip(CHECKED, SUBJECTS, strict=True))
    for name, reason in read_failed_checks(attributes).items():
        yield Finding(
            Trust.CHECK,
            Reason.FAILED_CHECKS,
            f"{names.get(name, name)} could not be checked ({reason}): run again; if it fails "
            "again, report it as a bug",
        )


def _list_channels(settings: Mapping[str, Any]) -> list[str]:
    """List the names or numbers of the measured channels; [] if there is only one."""
    channel = settings.get("input", {}).get("channel")
    return [str(one) for one in channel] if isinstance(channel, list) else []


def _read_advice_settings(
    settings: Mapping[str, Any],
    frame_count: int,
    mask: MaskCheck | None,
    other: Mapping[str, Any] | None,
) -> AdviceSettings:
    """Read the settings that advice depends on, and a conditioning that was found to help.

    Masks that are arrays are not in the settings: the check of the mask shows that there is one.
    """
    register, preprocess, pairs = (
        settings.get(name, {}) for name in ("register", "preprocess", "pairs")
    )
    pair_settings = {name: pairs[name] for name in ("strategy", "width", "extra") if name in pairs}
    if "strategy" in pairs:
        pair_settings["strategy"] = choose_strategy(pairs["strategy"], frame_count)
    bound = register.get("max_shift")
    if isinstance(bound, list) and len(set(bound)) == 1:
        bound = bound[0]
    return AdviceSettings(
        max_shift=bound,
        min_overlap=register.get("min_overlap"),
        high_pass=preprocess.get("high_pass"),
        fixed_pattern=preprocess.get("fixed_pattern") is not None,
        masked=mask is not None and mask.valid < 1,
        initial_shifts=settings.get("initial_shifts", {}).get("path") is not None,
        separations=tuple(pairs.get("separations", ())),
        motion=settings.get("motion", {}).get("model", "translation"),
        helps=OtherConditioning(**other) if other else None,
        **pair_settings,
    )
