"""A series that grows: what was measured of its first frames stays, and what they decided."""

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

# Frames of which something was not there to be measured: it may be there now.
LOOKED_AT_AGAIN = tuple(
    status.code for status in (FrameStatus.MISSING, FrameStatus.INCOMPLETE, FrameStatus.UNREADABLE)
)
# Frames that an array may have had room for before they were written.
MAY_COME = tuple(
    status.code for status in (FrameStatus.MISSING, FrameStatus.INCOMPLETE, FrameStatus.FLAT)
)


def recall_growth(setup: Setup, undecided: Setup, paths: Sequence[str]) -> Setup:
    """Recall what a series had measured when it had fewer frames.

    Parameters
    ----------
    setup : the run as an earlier call decided on it, where its dataset is there
    undecided : the run as the settings have it
    paths : where its dataset may lie; the first that can be gone on with counts

    Returns
    -------
    the run with `growth`, and as the first frames decided, if the dataset is one of its first
    frames; with the pairs of a series that has grown before; else as it is

    Raises
    ------
    InputError
        If pairs are measured in several channels, or `mask.saturation: auto` finds another value in
        all frames than in the first.
    """
    fingerprint = setup.config.fingerprint(setup.series.digest)
    existing = list[str]()
    with suppress(InputError):  # other stages say so, if it matters
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
            # `input.frames` may end inside the stack, which has more frames, and it as many
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
    """The table with the pairs of frames to be measured that were not there, and are now.

    An array may have room for frames that are written later; where it cannot tell what was never
    written, they are of one value until then.
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
    """Whether a frame is there now that was missing, in part, or of one value."""
    is_whole = read.status is FrameStatus.OK
    return is_whole and not (was_flat and is_of_one_value(read.image[read.valid]))


def _read_history(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Read how a series has grown before; empty: it has not."""
    history: Mapping[str, Any] = json.loads(attributes.get(GROWN, "{}"))
    return history


def _find_earlier(undecided: Setup, count: int, attributes: Mapping[str, Any]) -> Setup | None:
    """Find the run of a dataset of so many frames, with these attributes; None: it is no such."""
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
        pilot = Pilot()  # nothing was found to decide
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
    """Add the pairs that were kept when the series grew, and which its plan does not hold."""
    count = _read_history(attributes).get("kept", 0)
    if not count:
        return setup
    table, planned = read_pairs(load_shifts(path)), len(setup.pairs)
    pairs = np.stack([table.reference, table.moving], axis=1)[planned : planned + count]
    return replace(setup, pairs=np.concatenate([setup.pairs, pairs]))


def _grow(undecided: Setup, pilot: Pilot | None, growth: Growth) -> Setup:
    """The run that goes on from what a dataset holds, as its pilot decided."""
    setup = undecided if pilot is None else decide(undecided, pilot)
    table = _join(growth.table, setup.pairs, setup.series.source.frame_count)
    growth = replace(growth, table=table, kept=len(table.status) - len(setup.pairs))
    pairs = np.stack([table.reference, table.moving], axis=1)
    return replace(setup, pairs=pairs, growth=growth)


def _join(before: PairTable, planned: np.ndarray[Any, np.dtype[np.int64]], count: int) -> PairTable:
    """Join what was measured with the pairs that are planned now, of so many frames.

    Planned pairs come first; behind them those that were measured and are not planned now.
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
