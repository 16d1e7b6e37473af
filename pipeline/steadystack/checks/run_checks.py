"""All checks of a run: made once, on some frames and pairs, and kept in the dataset."""

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
from steadystack.checks.moving_parts import check_moving_parts
from steadystack.checks.pilot import check_other_conditionings
from steadystack.checks.probe_pairs import check_majority, check_probe_pairs
from steadystack.checks.sampling import MOST_FRAMES, KeptFrames, crop_to_middle, sample_pairs
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
from steadystack.motion import LINEAR_MODELS, UnmodelledMotion, look_once, measure_strengths
from steadystack.object_windows import measure_in_windows
from steadystack.pairs import spread_evenly
from steadystack.planning import Setup
from steadystack.solve import leave_out_strange_parts, solve_shifts
from steadystack.survey import measure_repeats, tell_separable

log = logging.getLogger(__name__)

# The attributes of the dataset that hold what the checks found.
FIXED_PATTERN_EFFECT, LOCAL_MOTION, MASK, PROBES, MAJORITY, SHARPNESS, OTHER, UNMODELLED = (
    CHECKED
) = (
    "fixed_pattern_effect",
    "local_motion",
    "mask_check",
    "probe_check",
    "majority_check",
    "sharpness_check",
    "other_conditioning",
    "unmodelled_motion",
)
FAILED_CHECKS = "failed_checks"  # the attribute that names those that could not be made, and why


MOST_ROWS = 20_000  # of more usable pairs a sample is looked at
MOST_STALE = 3.0  # times their way at most: where nearly all repeats, it is not known
REPEATED = 32  # pairs that are asked whether one frame repeats parts of the other
LEAST_STALE = 0.5  # of the error by noise: what holds back by less is no matter
SEPARATED = 64  # frames by which it is told whether a fixed pattern can be told from the scene


@dataclass(frozen=True)
class _Evidence:
    """What checks look at that measure by themselves: on a worker, if there are any.

    `setup` has no pairs, `table` the usable rows; `masked` are the frames as the settings mask
    them; so many parts of the frame are `left_out` before. `in_windows`: frames are windows that
    follow an object, in which the scene stands still and the camera does not.
    """

    setup: Setup
    table: PairTable
    solved: FrameTable
    masked: FrameSource
    left_out: int
    in_windows: bool = False


def check_series(setup: Setup, table: PairTable, client: Engine = None) -> dict[str, str]:
    """Check what could be wrong with the shifts of a measured table; attributes of the dataset.

    Returns the result of each check as JSON by the name of its attribute; null: nothing to tell.
    Checks that fail by an error of their own, which are null, too, are in `FAILED_CHECKS`.

    Raises
    ------
    RunError
        If the scheduler is gone, or no worker comes.
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
    found |= _look_for_each(evidence, client)
    found |= _make(
        {
            PROBES: partial(check_probe_pairs, setup, table, solved, client),
            OTHER: partial(check_other_conditionings, setup, table, client),
        }
    )
    return _write({name: found.get(name) for name in CHECKED})


def _make(checks: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
    """The results of checks that measure with the engine themselves; `Failure` of one that fails.

    Errors that stop a run are raised.
    """
    return dict(run_tasks(None, _call, checks.items()))


def _call(check: Callable[[], Any]) -> Any:
    return check()


def _keep(result: Any) -> Any:
    """The result of a check; None if it failed."""
    return None if isinstance(result, Failure) else result


def _write(
    results: Mapping[str, Any], failed_before: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The attributes that hold results of checks, and which of all failed."""
    failed = {name: why for name, why in (failed_before or {}).items() if name not in results}
    for name, result in results.items():
        if isinstance(result, Failure):
            log.warning("%s could not be made: %s", name, result.reason)
            log.debug("%s", name, exc_info=result.error)
            failed[name] = result.reason
    kept = {name: _keep(result) for name, result in results.items()}
    written = {name: json.dumps(asdict(one) if one else None) for name, one in kept.items()}
    return written | {FAILED_CHECKS: json.dumps(failed)}


def _look_for_each(evidence: _Evidence, client: Engine) -> dict[str, Any]:
    """The results of the checks that measure by themselves, each a task of its own.

    Of one that fails it is a `Failure`.
    """
    source = evidence.setup.series.source
    if source.in_memory or source.frame_count > MOST_FRAMES:
        client = None
    names = [LOCAL_MOTION, FIXED_PATTERN_EFFECT, SHARPNESS, MASK]  # the longest first
    if evidence.in_windows:
        names = [LOCAL_MOTION, SHARPNESS]
    return dict(run_tasks(client, _look_for, ((name, name) for name in names), evidence))


def _look_for(name: str, evidence: _Evidence) -> Any:
    """The result of one of these checks."""
    setup, table, solved = evidence.setup, evidence.table, evidence.solved
    source, method = setup.series.source, setup.method
    if name == LOCAL_MOTION:
        return check_moving_parts(source, method, table, solved, setup.series.comparable_sizes)
    if name == FIXED_PATTERN_EFFECT:
        found = check_fixed_pattern(source, method, setup.size, table, solved, evidence.left_out)
        return _ask_what_repeats(_ask_what_is_separable(found, setup, solved), evidence)
    if name == SHARPNESS:
        return check_sharpness(setup, solved)
    return check_mask(evidence.masked, table)


def _ask_what_is_separable(
    found: FixedPatternEffect | None, setup: Setup, solved: FrameTable
) -> FixedPatternEffect | None:
    """Add what the scene's motion tells from a fixed pattern, if that was estimated with it."""
    if setup.config.preprocess.fixed_pattern != "estimate":
        return found
    shifts = solved.anchored_shift
    frames = spread_evenly(np.flatnonzero(has_shift(shifts)), SEPARATED)
    method = replace(crop_to_middle(setup.method), fixed_pattern=None)
    sample = Sample(setup.series.source, method, setup.size, frames, np.ones(len(frames)))
    return tell_separable(found, sample, shifts[frames])


def _ask_what_repeats(
    found: FixedPatternEffect | None, evidence: _Evidence
) -> FixedPatternEffect | None:
    """Add what neighbouring frames repeat of each other bit by bit, and how far that holds back.

    The latter, px rms along an axis, is that of the separation at which it is most: what is skipped
    again and again stays behind for long. What a known codec of a video does is in the stated
    errors already.
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
    found = found or FixedPatternEffect(0, 0.0, 0.0, error=0.0, certain=False)
    return replace(found, repeated=share, stale=stale)


def check_linear_motion(
    setup: Setup,
    table: PairTable,
    solved: FrameTable,
    found: Mapping[str, str],
    client: Engine = None,
) -> dict[str, str]:
    """Check what is left beside the linear, or local, motion of frames; attributes of the dataset.

    `found` is what the checks found of shifts alone: what pairs far apart say of them is not kept,
    as such pairs turn, nor what shifts leave unexplained of a few frames.
    """
    as_it_is, source = setup, KeptFrames(setup.series.source)
    setup = replace(setup, series=replace(setup.series, source=source))
    sizes = setup.series.comparable_sizes
    again: dict[str, Callable[[], Any]] = {
        LOCAL_MOTION: partial(check_moving_parts, source, setup.method, table, solved, sizes),
        UNMODELLED: partial(_measure_unmodelled_motion, as_it_is, table, solved, client),
    }
    if not setup.config.motion.is_local:  # shifts stay as they are
        again |= {SHARPNESS: partial(check_sharpness, setup, solved), PROBES: lambda: None}
    pattern = json.loads(found.get(FIXED_PATTERN_EFFECT, "null"))
    if pattern and pattern.get("unexplained"):
        found = {**found, FIXED_PATTERN_EFFECT: json.dumps({**pattern, "unexplained": 0.0})}
    return {**found, **_write(_make(again), read_failed_checks(found))}


def _measure_unmodelled_motion(
    setup: Setup, table: PairTable, solved: FrameTable, client: Engine
) -> UnmodelledMotion | None:
    """Measure by how much frames turn, stretch or shear as their linear model cannot.

    None where there is no model that can do more, or too few frames are known.
    """
    model = setup.config.motion.model
    if model not in LINEAR_MODELS[:-1]:
        return None
    source, settings = setup.series.source, setup.config.solve
    left = look_once(
        source,
        table,
        solved,
        setup.method,
        LINEAR_MODELS[-1],
        pixel_size=setup.series.comparable_sizes,
        anchor=settings.anchor,
        robust=settings.robust,
        client=client,
    )
    kinds = list(measure_strengths(left, len(source.frame_shape)).items())
    return UnmodelledMotion(dict(kinds[LINEAR_MODELS.index(model) + 1 :])) if kinds else None


def read_failed_checks(attributes: Mapping[Any, Any]) -> dict[str, str]:
    """Which checks could not be made, by the names of their attributes, and why."""
    return dict(json.loads(attributes.get(FAILED_CHECKS, "{}")))


def is_checked(attributes: Mapping[Any, Any], *, failed_again: bool = True) -> bool:
    """Whether all checks have been made, and none that failed is to be made again.

    With `failed_again` they are, but for those of shifts that were edited: these would be lost.
    """
    if set(CHECKED) - set(attributes):
        return False
    return not (failed_again and read_failed_checks(attributes) and EDITED not in attributes)


def is_majority_confirmed(attributes: Mapping[Any, Any]) -> bool:
    """Whether parts of the frame are to be left out of the shifts, as a check found."""
    found = json.loads(attributes.get(MAJORITY, "null"))
    return bool(found and found["confirmed"])


def read_local_motion(attributes: Mapping[Any, Any]) -> LocalMotion | None:
    """How parts of the frame move against the whole, as a check found; None: it could not tell."""
    found = json.loads(attributes.get(LOCAL_MOTION, "null"))
    return LocalMotion(**found) if found else None
