"""Continue a series that has grown: earlier measurements, and decisions based on them, are kept."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from steadystack.dataset import (
    get_journal_owner,
    load_shifts,
    read_attributes,
    read_pairs,
    replay_journal,
)
from steadystack.durable import get_place
from steadystack.model import (
    FRAME_FIELDS,
    GROWN,
    PILOT,
    STACK_FRAMES,
    Frame,
    FrameSource,
    FrameStatus,
    InputError,
    PairStatus,
    PairTable,
    Pilot,
    is_of_one_value,
)
from steadystack.planning.layout import Setup, decide
from steadystack.planning.series import Growth, Series, list_earlier_series

log = logging.getLogger(__name__)

# Statuses of frames that were missing or incomplete: they may be complete now.
LOOKED_AT_AGAIN = tuple(
    status.code for status in (FrameStatus.MISSING, FrameStatus.INCOMPLETE, FrameStatus.UNREADABLE)
)
# Statuses of frames for which an array may have had room before they were written.
MAY_COME = tuple(
    status.code for status in (FrameStatus.MISSING, FrameStatus.INCOMPLETE, FrameStatus.FLAT)
)


def recall_growth(setup: Setup, undecided: Setup, paths: Sequence[str]) -> Setup:
    """Recall what a series had measured when it had fewer frames.

    Parameters
    ----------
    setup : the run with the decisions of an earlier call, if its dataset exists
    undecided : the run as the settings have it
    paths : where its dataset may lie; the first one that can be continued is used

    Returns
    -------
    the run with `growth` and the decisions based on its first frames, if the dataset is one of
    those; with the pairs of a series that has grown before; else unchanged

    Raises
    ------
    InputError
        If pairs are measured in several channels, or `mask.saturation: auto` finds another value in
        all frames than in the first.
    """
    fingerprint = setup.config.fingerprint(setup.series.digest)
    existing = list[str]()
    with suppress(InputError):  # other stages report it, if it matters
        existing += [path for path in paths if get_place(path).exists()]
    for path in existing:
        with suppress(InputError):
            attributes = read_attributes(path)
            if attributes.get("fingerprint") == fingerprint:
                return _add_kept_pairs(setup, path, attributes)
    for path in existing:
        with suppress(InputError):
            dataset = load_shifts(path)
            count, owner = dataset.sizes["frame"], get_journal_owner(dataset)
            now = setup.series.source.frame_count
            # `input.frames` may end inside the stack: that grew, but the series did not
            if count > now or (count == now and setup.config.input.frames is None):
                continue
            earlier = _find_earlier(undecided, count, dataset.attrs)
            if earlier is not None:
                break
    else:
        return setup
    if (source := undecided.series.source).channels:
        raise InputError(
            f"the stack has grown from {count} to {source.frame_count} frames, and a series that "
            "is measured in several channels cannot be continued: set another output.shifts, or "
            "measure it again with `steadystack run --overwrite`"
        )
    _check_saturation(undecided.series, earlier.series, count)
    table = read_pairs(dataset)
    replay_journal(path, owner, table)
    history = _read_history(dataset.attrs)
    frames = (*history.get("frames", []), count)
    fingerprints = (*history.get("fingerprints", []), dataset.attrs["fingerprint"])
    return _grow(undecided, earlier.pilot, Growth(path, owner, frames, fingerprints, table))


def look_again(table: PairTable, source: FrameSource) -> PairTable:
    """Mark the pairs of frames that were missing, and exist now, as still to be measured.

    An array may have room for frames that are written later; if it does not record what was never
    written, these frames hold a single value until then.
    """
    frames = np.flatnonzero(np.isin(table.frame_read_status, MAY_COME)).tolist()
    flat = table.frame_read_status == FrameStatus.FLAT.code
    there = [frame for frame in frames if _is_there(source.read(frame), bool(flat[frame]))]
    if not there:
        return table
    log.info("%d frames that were missing, incomplete or of one value are there now", len(there))
    rows = np.isin(table.reference, there) | np.isin(table.moving, there)
    table.status[rows] = PairStatus.UNMEASURED.code
    table.frame_read_status[there] = FrameStatus.UNMEASURED.code
    return table


def _is_there(read: Frame, was_flat: bool) -> bool:
    """Whether a frame that was missing, incomplete or of one value is complete now."""
    is_whole = read.status is FrameStatus.OK
    return is_whole and not (was_flat and is_of_one_value(read.image[read.valid]))


def _read_history(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Read how a series has grown before; empty if it has not."""
    history: Mapping[str, Any] = json.loads(attributes.get(GROWN, "{}"))
    return history


def _find_earlier(undecided: Setup, count: int, attributes: Mapping[str, Any]) -> Setup | None:
    """Find the run that made a dataset of `count` frames with these attributes; None: none did."""
    for setup in _list_earlier(undecided, count, attributes):
        if setup.config.fingerprint(setup.series.digest) == attributes.get("fingerprint"):
            return setup
    return None


def _list_earlier(undecided: Setup, count: int, attributes: Mapping[str, Any]) -> Iterator[Setup]:
    known = json.loads(attributes.get(STACK_FRAMES, "null"))
    for series in list_earlier_series(undecided.config, undecided.series, count, known):
        earlier = replace(undecided, series=series)
        if undecided.config.is_decided:
            yield earlier
            continue
        pilot = Pilot()  # there was nothing to decide
        if PILOT in attributes:
            try:
                pilot = Pilot.parse(attributes[PILOT])
            except ValueError:
                continue
        yield decide(earlier, pilot)


def _check_saturation(series: Series, earlier: Series, count: int) -> None:
    now, then = series.validity.saturation, earlier.validity.saturation
    if now != then:
        raise InputError(
            f"mask.saturation auto was {then:g} for the first {count} frames, and is {now:g} now "
            f"that there are {series.source.frame_count}: `steadystack run --overwrite` measures "
            "all of them again, or set input.frames to the first frames, and another output.shifts"
        )


def _add_kept_pairs(setup: Setup, path: str, attributes: Mapping[str, Any]) -> Setup:
    """Add the pairs that were kept when the series grew and that are not in its plan."""
    count = _read_history(attributes).get("kept", 0)
    if not count:
        return setup
    table, planned = read_pairs(load_shifts(path)), len(setup.pairs)
    pairs = np.stack([table.reference, table.moving], axis=1)[planned : planned + count]
    return replace(setup, pairs=np.concatenate([setup.pairs, pairs]))


def _grow(undecided: Setup, pilot: Pilot | None, growth: Growth) -> Setup:
    """The run that continues a dataset, with the decisions of its pilot."""
    setup = undecided if pilot is None else decide(undecided, pilot)
    table = _join(growth.table, setup.pairs, setup.series.source.frame_count)
    growth = replace(growth, table=table, kept=len(table.status) - len(setup.pairs))
    pairs = np.stack([table.reference, table.moving], axis=1)
    return replace(setup, pairs=pairs, growth=growth)


def _join(before: PairTable, planned: np.ndarray[Any, np.dtype[np.int64]], count: int) -> PairTable:
    """Join the measured pairs with those that are now planned, of `count` frames.

    Planned pairs come first, then those that were measured but are no longer planned.
    """
    again = np.isin(before.frame_read_status, (*LOOKED_AT_AGAIN, FrameStatus.FLAT.code))
    kept = np.flatnonzero(~before.to_do & ~again[before.reference] & ~again[before.moving])
    numbers = before.reference[kept] * count + before.moving[kept]
    of_plan = planned[:, 0] * count + planned[:, 1]
    behind = kept[~np.isin(numbers, of_plan)]
    more = np.stack([before.reference[behind], before.moving[behind]], axis=1)
    pairs = np.concatenate([planned, more])
    table = PairTable.unmeasured(pairs, count, *before.sizes_of_pair)
    of_all = pairs[:, 0] * count + pairs[:, 1]
    order = np.argsort(of_all)
    table.take_results(order[np.searchsorted(of_all, numbers, sorter=order)], before, kept)
    frames = np.flatnonzero(~again)
    for name in FRAME_FIELDS:
        getattr(table, name)[frames] = getattr(before, name)[frames]
    return table
