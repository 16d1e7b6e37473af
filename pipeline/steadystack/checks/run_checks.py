"""Make all checks of a run: once, on some of its frames and pairs, with results in the dataset."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from steadystack.checks.fixed_pattern_check import check_fixed_pattern
from steadystack.checks.mask_check import check_mask
from steadystack.checks.moving_parts import check_channels, check_moving_parts
from steadystack.checks.pilot import check_other_conditionings
from steadystack.checks.probe_pairs import check_majority, check_probe_pairs
from steadystack.checks.probing import check_far_pairs, check_linear_pairs
from steadystack.checks.sampling import (
    MOST_FRAMES,
    KeptFrames,
    crop_to_middle,
    drop_interpolated,
    sample_pairs,
)
from steadystack.checks.sharpness import check_sharpness
from steadystack.cluster import Engine, Failure, run_tasks
from steadystack.measure import Sample, has_shift
from steadystack.model import (
    EDITED,
    FixedPatternEffect,
    FrameSource,
    FrameTable,
    LocalMotion,
    PairTable,
)
from steadystack.motion import (
    LINEAR_MODELS,
    UnmodelledMotion,
    measure_linear_strengths,
)
from steadystack.object_windows import measure_in_windows
from steadystack.pairs import spread_evenly
from steadystack.planning import Setup
from steadystack.solve import leave_out_strange_parts, solve_shifts
from steadystack.survey import add_separable, is_background_subtracted, measure_repeats

log = logging.getLogger(__name__)

# The attributes of the dataset with the results of the checks.
CHECKED = (
    "fixed_pattern_effect",
    "local_motion",
    "mask_check",
    "probe_check",
    "majority_check",
    "sharpness_check",
    "other_conditioning",
    "unmodelled_motion",
    "channel_turning",
)
FIXED_PATTERN_EFFECT, LOCAL_MOTION, MASK, PROBES, MAJORITY, SHARPNESS = CHECKED[:6]
OTHER, UNMODELLED, CHANNELS = CHECKED[6:]
FAILED_CHECKS = "failed_checks"  # the attribute with the names of checks that failed, and why

MOST_ROWS = 20_000  # if more pairs are usable, a sample is checked
MOST_STALE = 3.0  # largest pull relative to the shift: not known if nearly everything repeats
REPEATED = 32  # pairs checked for parts that one frame repeats from the other
LEAST_STALE = 0.5  # of the error from noise: a smaller pull is ignored
# Most frames used to see whether the scene's motion separates it from a fixed pattern, or whether
# a background was subtracted, and fewest for the latter.
SEPARATED, FEWEST_AVERAGED = 64, 4


@dataclass(frozen=True)
class _Evidence:
    """The input of the checks that are tasks by themselves, on a worker if there are any.

    Attributes
    ----------
    setup : of the run, without pairs
    table : the usable pairs, or a sample of them
    solved : the solution
    masked : the frames with the masks of the settings only
    left_out : number of parts of the frame that were left out before measuring
    in_windows : whether frames are windows that follow an object, in which the object stands still
        and the camera moves
    """

    setup: Setup
    table: PairTable
    solved: FrameTable
    masked: FrameSource
    left_out: int
    in_windows: bool = False


def check_series(setup: Setup, table: PairTable, client: Engine = None) -> dict[str, str]:
    """Check what could be wrong with the shifts of a measured table; attributes of the dataset.

    Returns the result of each check as JSON by the name of its attribute; null: no result. Checks
    that fail by an error of their own are null, too, and are listed in `FAILED_CHECKS`.

    Raises
    ------
    RunError
        If the scheduler is gone, or if there are no workers.
    """
    in_windows = setup.method.places is not None
    table = measure_in_windows(table, setup.method.places)
    setup = replace(setup, method=replace(setup.method, places=None))
    source, settings = KeptFrames(setup.series.source), setup.config.solve
    masked: FrameSource = source
    left_out = len(setup.pilot.parts.boxes) if setup.pilot and setup.pilot.parts else 0
    if left_out:
        masked = KeptFrames(setup.series.source_before_pilot)
    setup = replace(setup, series=replace(setup.series, source=source), pairs=setup.pairs[:0])
    whole = solve_shifts(table, leave_out_parts=False)
    solved = leave_out_strange_parts(whole)
    found = _make({MAJORITY: partial(check_majority, setup, table, solved, whole, client)})
    majority = _keep(found[MAJORITY])
    if majority is None or not majority.confirmed or not settings.may_leave_out_parts:
        solved = whole
    usable = np.flatnonzero(table.ok)
    if len(usable) > MOST_ROWS:
        usable = sample_pairs(table, usable, MOST_ROWS)
    evidence = _Evidence(setup, table.select_pairs(usable), solved, masked, left_out, in_windows)
    found |= _make_in_tasks(evidence, client)
    found |= _make(
        {
            PROBES: partial(check_probe_pairs, setup, table, solved, client),
            OTHER: partial(check_other_conditionings, setup, table, client),
        }
    )
    return _write({name: found.get(name) for name in CHECKED})


def _make(checks: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
    """Make checks here; the result of one that fails is a `Failure`, unless it stops the run."""
    return dict(run_tasks(None, _call, checks.items()))


def _call(check: Callable[[], Any]) -> Any:
    return check()


def _keep(result: Any) -> Any:
    """Return the result of a check; None if it failed."""
    return None if isinstance(result, Failure) else result


def _write(
    results: Mapping[str, Any], failed_before: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Make the attributes with the results of checks, and those that failed, earlier ones too."""
    failed = {name: why for name, why in (failed_before or {}).items() if name not in results}
    for name, result in results.items():
        if isinstance(result, Failure):
            log.warning("%s could not be made: %s", name, result.reason)
            log.debug("%s", name, exc_info=result.error)
            failed[name] = result.reason
    kept = {name: _keep(result) for name, result in results.items()}
    written = {name: json.dumps(asdict(one) if one else None) for name, one in kept.items()}
    return written | {FAILED_CHECKS: json.dumps(failed)}


def _make_in_tasks(evidence: _Evidence, client: Engine) -> dict[str, Any]:
    """Make the checks that are tasks by themselves; the result of one that fails is a `Failure`."""
    source = evidence.setup.series.source
    if source.in_memory or source.frame_count > MOST_FRAMES:
        client = None
    names = [LOCAL_MOTION, FIXED_PATTERN_EFFECT, SHARPNESS, UNMODELLED, MASK]  # the longest first
    if evidence.in_windows:
        names = [LOCAL_MOTION, SHARPNESS]
    return dict(run_tasks(client, _make_check, ((name, name) for name in names), evidence))


def _make_check(name: str, evidence: _Evidence) -> Any:
    """A task: make one of these checks."""
    setup, table, solved = evidence.setup, evidence.table, evidence.solved
    source, method = setup.series.source, setup.method
    if name == LOCAL_MOTION:
        return check_moving_parts(source, method, table, solved, setup.series.comparable_sizes)
    if name == FIXED_PATTERN_EFFECT:
        found = check_fixed_pattern(source, method, setup.size, table, solved, evidence.left_out)
        found = _add_subtracted(_add_separable_share(found, setup, solved), evidence)
        return _add_repeats(found, evidence)
    if name == SHARPNESS:
        return check_sharpness(setup, solved)
    if name == UNMODELLED:
        return check_linear_pairs(source, method, table, solved, setup.series.comparable_sizes)
    return check_mask(evidence.masked, table)


def _add_separable_share(
    found: FixedPatternEffect | None, setup: Setup, solved: FrameTable
) -> FixedPatternEffect | None:
    """Add how much the scene's motion separates from a fixed pattern estimated from the series."""
    if setup.config.preprocess.fixed_pattern != "estimate":
        return found
    shifts = solved.anchored_shift
    frames = spread_evenly(np.flatnonzero(has_shift(shifts)), SEPARATED)
    method = replace(crop_to_middle(setup.method), fixed_pattern=None)
    sample = Sample(setup.series.source, method, setup.size, frames, np.ones(len(frames)))
    return add_separable(found, sample, shifts[frames])


def _add_subtracted(
    found: FixedPatternEffect | None, evidence: _Evidence
) -> FixedPatternEffect | None:
    """Add whether a background made of all frames was subtracted, unless there are too many."""
    setup, frames = evidence.setup, np.flatnonzero(evidence.table.is_readable)
    if not FEWEST_AVERAGED <= len(frames) <= SEPARATED:
        return found
    method = crop_to_middle(setup.method)
    sample = Sample(setup.series.source, method, setup.size, frames, np.ones(len(frames)))
    if not is_background_subtracted(sample):
        return found
    return replace(found or FixedPatternEffect(), subtracted=True)


def _add_repeats(
    found: FixedPatternEffect | None, evidence: _Evidence
) -> FixedPatternEffect | None:
    """Add the share of blocks that frames repeat exactly, and how far that may pull shifts.

    The pull, px rms along an axis, is the largest over separations, as blocks that are skipped
    again and again lag far behind. The effect of a known video codec is already in the stated
    errors.
    """
    setup, shifts = evidence.setup, evidence.solved.anchored_shift
    known = np.flatnonzero(has_shift(shifts))
    if setup.series.codec_std or len(known) < 2:
        return found
    region, share, stale, apart = crop_to_middle(setup.method).whole_region, 0.0, 0.0, 1
    while apart < len(known) and (share or apart == 1):
        first = np.asarray(spread_evenly(np.arange(len(known) - apart), REPEATED))
        pairs = np.stack([known[first], known[first + apart]], axis=1)
        repeated = measure_repeats(setup.series.source, region, pairs)
        way = float(np.sqrt(np.mean((shifts[pairs[:, 1]] - shifts[pairs[:, 0]]) ** 2)))
        stale = max(stale, way * min(repeated / max(1 - repeated, 1e-9), MOST_STALE))
        share, apart = share or repeated, 2 * apart
    stated = float(np.sqrt(np.nanmean(np.square(evidence.solved.stated_std[known]))))
    if not share or stale < LEAST_STALE * stated:
        return found
    return replace(found or FixedPatternEffect(), repeated=share, stale=stale)


def check_linear_motion(
    setup: Setup,
    table: PairTable,
    solved: FrameTable,
    found: Mapping[str, str],
    client: Engine = None,
) -> dict[str, str]:
    """Repeat checks with the linear, or local, motion of frames; attributes of the dataset.

    `found` are the results of the checks on shifts alone. With linear motion, distant pairs alone
    replace the probe check. What shifts leave unexplained in a few frames is dropped.
    """
    uncached, source = setup, KeptFrames(setup.series.source)
    setup = replace(setup, series=replace(setup.series, source=source))
    sizes, own = setup.series.comparable_sizes, drop_interpolated(solved)
    again: dict[str, Callable[[], Any]] = {
        LOCAL_MOTION: partial(check_moving_parts, source, setup.method, table, solved, sizes),
        UNMODELLED: partial(_measure_unmodelled_motion, uncached, table, own, client),
    }
    if not setup.config.motion.is_local:  # shifts stay as they are
        again |= {
            SHARPNESS: partial(check_sharpness, setup, solved),
            PROBES: partial(check_far_pairs, uncached, table, own, client),
        }
    pattern = read_check(found, FIXED_PATTERN_EFFECT)
    if pattern and pattern.get("unexplained"):
        found = {**found, FIXED_PATTERN_EFFECT: json.dumps({**pattern, "unexplained": 0.0})}
    return {**found, **_write(_make(again), read_failed_checks(found))}


def check_channel_offsets(
    setup: Setup, table: PairTable, solved: FrameTable, found: Mapping[str, str]
) -> dict[str, str]:
    """Check the offsets of channels of a solved series; attributes, with those `found` before."""
    check = partial(check_channels, setup, table, solved)
    return {**found, **_write(_make({CHANNELS: check}), read_failed_checks(found))}


def _measure_unmodelled_motion(
    setup: Setup, table: PairTable, solved: FrameTable, client: Engine
) -> UnmodelledMotion | None:
    """Measure the linear motion of frames that their model does not have.

    None if there is no model with more kinds of motion, or if too few frames are known.
    """
    model = setup.config.motion.model
    if model not in LINEAR_MODELS[:-1]:
        return None
    strengths = measure_linear_strengths(
        setup.series.source,
        table,
        solved,
        setup.method,
        pixel_size=setup.series.comparable_sizes,
        anchor=setup.config.solve.anchor,
        robust=setup.config.solve.robust,
        client=client,
    )
    beyond = list(strengths.items())[LINEAR_MODELS.index(model) + 1 :]
    return UnmodelledMotion(dict(beyond)) if strengths else None


def read_failed_checks(attributes: Mapping[Any, Any]) -> dict[str, str]:
    """Read which checks failed, by the names of their attributes, and why."""
    return dict(json.loads(attributes.get(FAILED_CHECKS, "{}")))


def is_checked(attributes: Mapping[Any, Any], *, failed_again: bool = True) -> bool:
    """Whether all checks have been made, and none has to be made again.

    With `failed_again`, failed checks have to be, except for edited shifts, which would be lost.
    """
    if set(CHECKED) - set(attributes):
        return False
    return not (failed_again and read_failed_checks(attributes) and EDITED not in attributes)


def is_majority_confirmed(attributes: Mapping[Any, Any]) -> bool:
    """Whether a check confirmed that parts of the frame are to be left out of the shifts."""
    found = read_check(attributes, MAJORITY)
    return bool(found and found["confirmed"])


def read_local_motion(attributes: Mapping[Any, Any]) -> LocalMotion | None:
    """Read how parts of the frame move relative to the whole; None: the check has no result."""
    return LocalMotion(**found) if (found := read_check(attributes, LOCAL_MOTION)) else None


def read_unmodelled_motion(attributes: Mapping[Any, Any]) -> UnmodelledMotion | None:
    """Read the linear motion that the model of the frames does not have; None: not measured."""
    return UnmodelledMotion.of(read_check(attributes, UNMODELLED))


def read_check(attributes: Mapping[Any, Any], name: str) -> Any:
    """Read the fields of the result of a check from its attribute; None: there is no result."""
    return json.loads(attributes.get(name, "null"))
