"""The stage that solves measured pairs for one shift per frame."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import xarray as xr

from steadystack.checks import (
    check_channel_offsets,
    check_linear_motion,
    check_series,
    is_checked,
    is_majority_confirmed,
    read_local_motion,
    read_unmodelled_motion,
)
from steadystack.cluster import Engine
from steadystack.common_frame import measure_channel_offsets, move_to_outside
from steadystack.dataset import (
    check_holds_no_more,
    digest_solution,
    get_journal_path,
    read_pairs,
)
from steadystack.durable import get_place
from steadystack.measure import refine_shifts
from steadystack.model import (
    FrameTable,
    InputError,
    OutsideOutcome,
    PairStatus,
    PairTable,
    describe_channel_offsets,
)
from steadystack.motion import (
    MOTION_CHOICE,
    ModelChoice,
    choose_model,
    solve_local_motion,
    solve_motion,
)
from steadystack.outputs import is_of_state, name_run
from steadystack.planning import Setup
from steadystack.run_log import collect_versions, log_stage
from steadystack.solve import interpolate_missing, solve_shifts
from steadystack.stages.measuring import OpenRun, measure_all
from steadystack.stages.results import (
    MOTION,
    add_camera_images,
    get_lasting_attributes,
    load_own_shifts,
    make_run_dataset,
    recall_choice,
    save_over_journal,
)
from steadystack.stages.sharing import gather

log = logging.getLogger(__name__)


def solve_series(
    setup: Setup, pairs: PairTable, found: Mapping[str, str], client: Engine = None
) -> FrameTable:
    """Solve the measured pairs for the shift of every frame.

    Parameters
    ----------
    found : results of the checks of these pairs, as attributes of the dataset
    client : reads frames for `solve.refine`, `motion` and `external_reference`
    """
    settings, method = setup.config.solve, setup.method
    frames = _solve_alone(setup, pairs, found)
    motion, source = setup.config.motion, setup.series.source
    how: dict[str, Any] = {
        "anchor": settings.anchor, "robust": settings.robust, "client": client
    }  # fmt: skip
    if motion.is_local:
        how["in_time"] = motion.smooth_in_time
        frames = solve_local_motion(source, pairs, frames, method, motion.grid, **how)
    elif motion.is_more_than_shift:
        frames = solve_motion(
            source,
            pairs,
            frames,
            method,
            motion.model,
            pixel_size=setup.series.comparable_sizes,
            **how,
        )
    if settings.refine:
        frames = refine_shifts(source, pairs, frames, method, settings.refine, client=client)
    if settings.channel_offsets:
        frames = _find_channel_offsets(setup, pairs, frames, client)
    if setup.series.outside is not None:
        frames = move_to_outside(source, pairs, frames, method, setup.series.outside, client=client)
        for line in frames.outside.describe() if frames.outside else ():
            log.info("external reference: %s", line)
    if settings.interpolate is None:
        return frames
    return interpolate_missing(frames, settings.interpolate, setup.series.comparable_sizes)


def _find_channel_offsets(
    setup: Setup, pairs: PairTable, frames: FrameTable, client: Engine
) -> FrameTable:
    """Add the offsets of channels to the frames, and report them in the log."""
    frames = measure_channel_offsets(
        setup.series.source, pairs, frames, setup.method, setup.size, client=client
    )
    labels, axes = setup.config.input.channel_labels, setup.series.source.axes
    found = frames.channel_offset, frames.channel_offset_std, frames.channel_offset_status
    for name, words in describe_channel_offsets(labels, axes, *found):
        log.log(logging.WARNING if words.startswith("not") else logging.INFO, "%s: %s", name, words)
    return frames


def _solve_alone(setup: Setup, pairs: PairTable, found: Mapping[str, str]) -> FrameTable:
    """Solve for frames that only shift."""
    settings = setup.config.solve
    return solve_shifts(
        pairs,
        anchor=settings.anchor,
        robust=settings.robust,
        leave_out_parts=settings.may_leave_out_parts and is_majority_confirmed(found),
    )


def recall_motion(setup: Setup, found: Mapping[Any, Any]) -> Setup:
    """The run with the `motion.model` chosen earlier, if it is auto and one was chosen."""
    choice = ModelChoice.of(found)
    return setup if choice is None else _decide_motion(setup, choice)


def _decide_motion(setup: Setup, choice: ModelChoice) -> Setup:
    motion = setup.config.motion.decide(choice.model)
    return replace(setup, config=setup.config.model_copy(update={"motion": motion}))


def settle_and_solve(
    setup: Setup,
    pairs: PairTable,
    found: Mapping[str, str],
    client: Engine = None,
    before: str = "translation",
) -> tuple[Setup, FrameTable, dict[str, str]]:
    """Choose `motion.model` if it is auto, solve, and repeat the checks with the frames' motion.

    If frames still turn or stretch after the first choice, the model that suits replaces it, once.
    Returns the run, the frames, and the findings including the choice.

    Parameters
    ----------
    found : results of the checks of these pairs, as attributes of the dataset
    client : reads frames
    before : the model that `found` is for
    """
    is_open = recall_motion(setup, found).config.motion.model == "auto"
    settled, found = _settle_motion(setup, pairs, found, client, before)
    frames = solve_series(settled, pairs, found, client)
    checked = dict(found) | _check_again(settled, pairs, frames, found, before, client)
    choice = ModelChoice.of(found) if is_open else None
    better = choice.extend(read_unmodelled_motion(checked)) if choice else None
    if better is None:
        return settled, frames, checked
    log.info("motion.model: %s", better.describe())
    settled, found = _decide_motion(setup, better), {**found, MOTION_CHOICE: better.dump()}
    frames = solve_series(settled, pairs, found, client)
    return settled, frames, found | _check_again(settled, pairs, frames, found, before, client)


def _settle_motion(
    setup: Setup,
    pairs: PairTable,
    found: Mapping[str, str],
    client: Engine = None,
    before: str = "translation",
) -> tuple[Setup, dict[str, str]]:
    """Choose `motion.model` if it is auto; returns the run, and the findings including the choice.

    Parameters are as in `settle_and_solve`.
    """
    setup = recall_motion(setup, found)
    if setup.config.motion.model != "auto":
        return setup, dict(found)
    alone = found if before == "translation" else check_series(setup, pairs)
    choice = choose_model(
        setup.series.source,
        pairs,
        _solve_alone(setup, pairs, found),
        setup.method,
        read_local_motion(alone),
        pixel_size=setup.series.comparable_sizes,
        anchor=setup.config.solve.anchor,
        robust=setup.config.solve.robust,
        client=client,
    )
    log.info("motion.model: %s", choice.describe())
    return _decide_motion(setup, choice), {**found, MOTION_CHOICE: choice.dump()}


def _check_again(
    setup: Setup,
    pairs: PairTable,
    frames: FrameTable,
    found: Mapping[str, str],
    before: str = "translation",
    client: Engine = None,
) -> dict[str, str]:
    """Check offsets of channels, and repeat checks if frames have, or had, a linear motion.

    Returns attributes.

    Parameters
    ----------
    found : results for shifts alone, or for frames with the model `before`
    """
    if setup.config.motion.is_local and before not in ("translation", "local"):
        found = check_series(setup, pairs)
    if setup.config.motion.is_more_than_shift:
        found = check_linear_motion(setup, pairs, frames, found, client)
    elif before != "translation":
        found = check_series(setup, pairs)
    return check_channel_offsets(setup, pairs, frames, found)


def is_solved(opened: OpenRun, dataset: xr.Dataset) -> bool:
    """Whether an earlier run solved the same rows with the same settings and versions."""
    if "verdict" not in dataset.attrs or "configuration" not in dataset.attrs:
        return False
    before = json.loads(dataset.attrs["configuration"]).get("solve")
    motion = json.loads(dataset.attrs["configuration"]).get("motion")
    now = recall_motion(opened.setup, dataset.attrs).config.dump()
    same = before == now["solve"] and motion == now["motion"]
    choice = ModelChoice.of(dataset.attrs)
    is_open = opened.setup.config.motion.model == "auto"
    same &= choice is None or choice.is_used == is_open
    known, outside = OutsideOutcome.of(dataset.attrs), opened.setup.series.outside
    same &= (known and known.digest) == (outside and outside.digest)
    return bool(same and json.loads(dataset.attrs["versions"]) == collect_versions())


def name_state(setup: Setup, shifts: xr.Dataset, path: str) -> str:
    """Name the run and its state for its report at a path, which tells it from other reports."""
    return f"{name_run(setup.config.output.shifts, path)}-{digest_solution(shifts)}"


def is_reported(setup: Setup, shifts: xr.Dataset, path: str) -> bool:
    """Whether the report at a path is that of these solved shifts."""
    return is_of_state(path, name_state(setup, shifts, path))


def load_measured(opened: OpenRun) -> xr.Dataset:
    """Load the dataset of a run, including its shares; InputError if nothing is measured."""
    gather(opened.setup)
    measured = load_own_shifts(opened.setup)
    table = read_pairs(measured)
    if not table.count([PairStatus.UNMEASURED]) and not is_checked(measured.attrs):
        return measure_all(opened, is_solved_next=True)  # the last share is in, or one failed
    if table.count([PairStatus.UNMEASURED]) == len(table.status):
        raise InputError(
            f"no pair of {opened.path} is measured yet: run `steadystack measure` first"
        )
    return measured


def solve_measured(opened: OpenRun, measured: xr.Dataset) -> xr.Dataset:
    """Solve the measured pairs, and write the dataset with the shifts of its frames.

    If that fails, the measured pairs are on disk.
    """
    check_holds_no_more(opened.path)
    try:
        result = _solve_measured(opened, measured)
    except BaseException as error:
        journal = get_place(get_journal_path(opened.path))
        if journal.exists() and not journal.is_cut_off_by(error):
            save_over_journal(measured, opened.path)
        raise
    save_over_journal(result, opened.path)
    return result


def _keep_choice(found: Mapping[str, str], *, is_used: bool) -> dict[str, str]:
    """Mark the choice of `motion.model` in attributes as used or not; a failed one only if used."""
    kept = {name: text for name, text in found.items() if name != MOTION_CHOICE}
    choice = ModelChoice.of(found if is_used else recall_choice(found))
    if choice is not None:
        kept[MOTION_CHOICE] = replace(choice, is_used=is_used).dump()
    return kept


def _solve_measured(opened: OpenRun, measured: xr.Dataset) -> xr.Dataset:
    table, setup = read_pairs(measured), opened.setup
    with log_stage("solving"):
        before = json.loads(measured.attrs.get(MOTION, "{}")).get("model", "translation")
        found = get_lasting_attributes(measured)
        found = _keep_choice(found, is_used=setup.config.motion.model == "auto")
        setup = recall_motion(setup, found)
        reads = setup.config.solve_reads_frames or before != "translation"
        if reads:
            setup = add_camera_images(setup, keep_at=opened.path.rstrip("/"), again=True)
        engine = opened.engine() if reads else None
        setup, frames, found = settle_and_solve(setup, table, found, engine, before)
        return make_run_dataset(setup, table, frames, found)
