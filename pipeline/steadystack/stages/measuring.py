"""Measure the pairs of a run as a job: settle the settings, measure in rounds, keep a journal."""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from steadystack.checks import (
    check_series,
    explain_doubtful_mask,
    find_what_to_leave_out,
    is_checked,
    run_pilot,
)
from steadystack.cluster import Cluster
from steadystack.dataset import (
    Journal,
    check_holds_no_more,
    check_replaceable,
    discard_journal,
    get_journal_owner,
    get_journal_path,
    load_shifts,
    read_attributes,
    read_pairs,
    save_shifts,
)
from steadystack.durable import get_place
from steadystack.measure import add_second_round, discard_camera_images, measure_pairs
from steadystack.model import GROWN, PILOT, InputError, PairStatus, PairTable, Pilot
from steadystack.pairs import spread_evenly
from steadystack.planning import (
    Growth,
    Setup,
    bound_search,
    decide,
    look_again,
    recall_growth,
    set_up,
)
from steadystack.run_log import Meter, log_stage
from steadystack.stages.results import (
    add_camera_images,
    choose_draft,
    copy_camera_images,
    discard_draft,
    get_draft_path,
    get_lasting_attributes,
    list_estimated_images,
    load_own_shifts,
    make_first_attributes,
    make_run_dataset,
    make_table,
    open_sums,
    recall_choice,
    save_on_stop,
    save_over_journal,
    sum_frames_measured,
)
from steadystack.stages.sharing import gather, list_share_paths
from steadystack.survey import find_reach, follow_object

if TYPE_CHECKING:  # imports Dask's clusters, which are slow to import
    from steadystack.cluster import ClusterOnDemand

MOST_ROUNDS = 3
# How many of the kept pairs are measured again when a series grows, and how far two measurements of
# the same frames may differ, px (rounding of transforms of other sizes).
CHECKED_PAIRS, SAME = 3, 1e-3

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]  # rows measured so far, rows in all


@dataclass(frozen=True, eq=False)
class OpenRun:
    """An open run: its settings fit the stack, and no other run writes its output."""

    setup: Setup
    cluster: ClusterOnDemand
    workers: int | None  # how many fit into memory, if they are on this machine
    progress: Progress | None
    is_share: bool  # whether it measures a share of the pairs, to be gathered by another run

    @property
    def path(self) -> str:
        """Where its dataset lies, which may be a draft beside an older one."""
        return self.setup.shifts_path

    def engine(self) -> Cluster:
        size, frames = self.setup.size, self.setup.series.source.frame_count
        with nullcontext() if self.cluster.is_started else log_stage("starting workers"):
            return self.cluster(self.workers, size.most_bytes(frames, len(self.setup.pairs)))


def settle_settings(setup: Setup) -> Setup:
    """Decide on all "auto" settings of a run; if there are any, a pilot measures a few pairs.

    If camera images are to be made from the stack itself, nothing is changed: they would have to be
    made for every conditioning.
    """
    if setup.is_settled:
        return setup
    whole, path = follow_object(set_up(setup.config, setup.series, setup.before))  # for all shares
    reach = find_reach(whole)
    pilot = Pilot()
    if not list_estimated_images(setup):
        pilot = _run_pilot_of(add_camera_images(bound_search(whole, reach)))
    pilot = replace(pilot, reach=reach, path=path)
    sections = whole.config.preprocess, whole.config.register_
    if all(section.is_decided for section in sections) and not pilot.describe_left_out():
        return setup  # there was nothing to decide
    try:
        decided = decide(setup, pilot)
    except InputError as error:  # filters need memory
        log.warning("pilot: %s is not taken: %s", pilot.outcome.settings, error)
        decided = decide(setup, replace(pilot, chosen=0))
    assert decided.pilot is not None
    for line in decided.pilot.describe():
        log.info("pilot: %s", line)
    return decided


def _run_pilot_of(setup: Setup) -> Pilot:
    if not setup.config.preprocess.is_decided:
        return run_pilot(setup)[0]
    return find_what_to_leave_out(setup)


def recall_settings(setup: Setup) -> Setup:
    """The run with the decisions of an earlier call, if its dataset, or a share of it, exists.

    If there are several, the one measured with the same settings counts.
    """
    if setup.config.is_decided:
        return setup
    found = setup
    for attributes in _read_begun(setup.config.output.shifts):
        pilot = attributes.get(PILOT)  # earlier versions stored none if nothing was auto
        try:
            recalled = decide(setup, Pilot.parse(pilot) if pilot else Pilot())
        except (ValueError, InputError):
            continue  # it is from a run with other settings, or not ours
        fingerprint = recalled.config.fingerprint(recalled.series.digest)
        if attributes.get("fingerprint") == fingerprint:
            return recalled
        if pilot and not setup.config.object_.is_followed:  # a path belongs to one mask and anchor
            found = recalled if found is setup else found
    return found


def recall_run(undecided: Setup) -> Setup:
    """The run with the decisions of an earlier call, even if the series had fewer frames then."""
    path = undecided.config.output.shifts
    return recall_growth(recall_settings(undecided), undecided, (get_draft_path(path), path))


def begin(setup: Setup, overwrite: bool) -> Setup:
    """Begin the run; it writes a draft if its dataset is to replace an existing one.

    For a grown series, the dataset begins with what was measured before.
    """
    growth, path = setup.growth, setup.config.output.shifts
    if growth is None:
        return choose_draft(setup, overwrite)
    draft = get_draft_path(path)
    measured = load_shifts(growth.path)
    if get_journal_owner(measured) != growth.owner:
        raise InputError(f"another run has changed {growth.path} meanwhile: start this one again")
    if growth.path != draft:
        if get_place(draft).exists():
            raise InputError(
                f"the stack has grown, but {draft} was started with other settings: continue with "
                f"those, delete it to go on with {path}, or use `steadystack run --overwrite`"
            )
        discard_draft(path)  # remains of an earlier one
        copy_camera_images(growth.path, draft)
    setup = replace(setup, draft=draft, growth=None)
    with log_stage("checking earlier pairs"):
        _check_kept(setup, growth)
        open_sums(setup).check(measured.attrs, growth.path)
    history = {name: getattr(growth, name) for name in ("frames", "fingerprints", "kept")}
    known = make_first_attributes(setup) | {GROWN: json.dumps(history)}
    known |= recall_choice(measured.attrs)
    save_shifts(make_run_dataset(setup, growth.table, known=known), draft)
    discard_journal(draft)
    first, now = growth.frames[0], setup.series.source.frame_count
    kept = len(growth.table.status) - int(growth.table.to_do.sum())
    log.info("%s: %d measured pairs are kept", growth.describe(now), kept)
    log.info("what was decided before measuring stays as decided from the first %d frames", first)
    return setup


def _check_kept(setup: Setup, growth: Growth) -> None:
    """Measure some of the kept pairs again, in case their frames were replaced.

    Raises InputError if one has another result than before.
    """
    rows = spread_evenly(np.flatnonzero(growth.table.ok), CHECKED_PAIRS)
    if not len(rows):
        return
    setup = add_camera_images(setup, keep_at=setup.shifts_path.rstrip("/"), again=True)
    kept = growth.table.select_pairs(rows)
    pairs = np.stack([kept.reference, kept.moving], axis=1)
    found = PairTable.unmeasured(pairs, len(kept.frame_read_status), *kept.sizes_of_pair)
    deque(measure_pairs(setup.series.source, found, setup.method, setup.size), maxlen=0)
    same = found.ok & (np.abs(found.shift - kept.shift) <= SAME).all(axis=1)
    for row in np.flatnonzero(~same)[:1].tolist():
        raise InputError(
            f"the stack has grown from {growth.frames[-1]} frames, but these have changed: the "
            f"shift of frames {pairs[row].tolist()} was {kept.shift[row].round(4)} px, and is "
            f"{found.shift[row].round(4)} px: use `steadystack run --overwrite` to start over, "
            "or another output.shifts"
        )


def _read_begun(path: str) -> list[dict[str, str]]:
    """The attributes of all that a run with this output has begun: draft, dataset and shares.

    What cannot be read is skipped: other stages report it, if it matters.
    """
    found = []
    with suppress(InputError):
        for begun in (get_draft_path(path), path, *list_share_paths(path)):
            if get_place(begun).exists():
                with suppress(InputError):
                    found.append(read_attributes(begun))
    return found


def measure_all(opened: OpenRun, *, is_solved_next: bool = False) -> xr.Dataset:
    """Measure all pairs, into the dataset on disk; continues where an earlier run stopped.

    If it is solved next, which writes it anyway, new results stay in the journal until then.
    """
    with log_stage("beginning"):
        dataset = _load_begun(opened)
    table = _add_second_round(opened, look_again(read_pairs(dataset), opened.setup.series.source))
    missing, rows = int(table.to_do.sum()), len(table.status)
    checked = opened.is_share or is_checked(dataset.attrs, failed_again=is_solved_next)
    if not missing and table.same_pairs(read_pairs(dataset)) and checked:
        log.info("all %d pairs are already measured", rows)
        if get_place(get_journal_path(opened.path)).exists():  # the results may be nowhere else
            save_over_journal(dataset, opened.path)
        return dataset
    if not opened.is_share and (doubt := explain_doubtful_mask(opened.setup)) is not None:
        log.warning("%s", doubt)
    with log_stage("preparing"):
        setup = add_camera_images(
            opened.setup, keep_at=opened.path.rstrip("/"), again=missing < rows
        )
    dataset, table = _measure_in_rounds(opened, setup, dataset, table)
    attributes = get_lasting_attributes(dataset, is_settled=False)
    attributes |= sum_frames_measured(setup, table, attributes)
    if not opened.is_share:
        with log_stage("quality checks"):
            attributes |= check_series(setup, table, opened.engine())
    dataset = make_run_dataset(setup, table, known=attributes)
    if not is_solved_next:
        save_over_journal(dataset, opened.path)
    return dataset


def _measure_in_rounds(
    opened: OpenRun, setup: Setup, dataset: xr.Dataset, table: PairTable
) -> tuple[xr.Dataset, PairTable]:
    """Measure the pairs of the strategy, then the extra pairs that the result calls for.

    Pairs that failed before and are measured now may call for others; rounds are limited.
    """
    for _ in range(MOST_ROUNDS):
        if not table.to_do.any():
            break
        dataset = _select_rows(opened, dataset, table)
        with (
            log_stage("measuring"),
            Journal(opened.path, get_journal_owner(dataset), table) as journal,
        ):
            table = _measure_missing(opened, setup, dataset, table, journal)
        further = _add_second_round(opened, table)
        if further.same_pairs(table):
            break  # all that is left to do has failed
        table = further
    return dataset, table


def _add_second_round(opened: OpenRun, table: PairTable) -> PairTable:
    """Append the second round's pairs to the table once those of the first are measured.

    A share knows only its own pairs, and gets none.
    """
    setup = opened.setup
    if opened.is_share:
        return table
    return add_second_round(table, setup.method, len(setup.pairs), setup.config.pairs.extra)


def _select_rows(opened: OpenRun, dataset: xr.Dataset, table: PairTable) -> xr.Dataset:
    """Extend the dataset on disk to the rows of the table, after a second round was added."""
    check_holds_no_more(opened.path)  # checked before measuring, as the dataset is replaced then
    if not table.same_pairs(read_pairs(dataset)):
        dataset = make_run_dataset(opened.setup, table, known=get_lasting_attributes(dataset))
        save_shifts(dataset, opened.path)
    return dataset


def _load_begun(opened: OpenRun) -> xr.Dataset:
    """The dataset that an earlier run with the same settings left, or a new one."""
    gather(opened.setup)
    if get_place(opened.path).exists():
        return load_own_shifts(opened.setup)
    check_replaceable(opened.path)
    discard_camera_images(opened.path)
    known = make_first_attributes(opened.setup)
    dataset = make_run_dataset(opened.setup, make_table(opened.setup), known=known)
    save_shifts(dataset, opened.path)
    return dataset


def _measure_missing(
    opened: OpenRun, setup: Setup, dataset: xr.Dataset, table: PairTable, journal: Journal
) -> PairTable:
    """Measure the missing rows of the table; results go to the journal first."""
    source, method, size, meter = setup.series.source, setup.method, setup.size, Meter()
    try:
        rows = measure_pairs(
            source, table, method, size, client=opened.engine(), on_batch=journal.append
        )
        for table, done in rows:
            meter(done, len(table.status))
            if opened.progress is not None:
                opened.progress(done, len(table.status))
    except BaseException as error:
        if get_place(opened.path).is_cut_off_by(error):
            raise  # it waited long enough; results are safe in the journal
        done = len(table.status) - table.count([PairStatus.UNMEASURED])  # and the current batch
        error.add_note(f"{done} of {len(table.status)} pairs are measured and saved")
        known = get_lasting_attributes(dataset)
        save_on_stop(make_run_dataset(setup, table, known=known), opened.path)
        raise
    return table
