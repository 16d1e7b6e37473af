"""Tables of measured pairs, and the batches in which a journal notes them."""

from __future__ import annotations

import numpy as np

from steadystack.model import FRAME_FIELDS, PAIR_RESULTS, PairTable

PAIR_COLUMNS = tuple(column.field for column in PAIR_RESULTS)
STATUSES = {"status": 9, "frame_read_status": 5}  # codes from 1 to below


def unmeasured(frames=20):
    pairs = np.stack([np.arange(frames - 1), np.arange(1, frames)], axis=1)
    return PairTable.unmeasured(pairs, frames, 2)


def measured(seed=0):
    """A table with all rows filled, some of them NaN."""
    table, rng = unmeasured(), np.random.default_rng(seed)
    for name in (*PAIR_COLUMNS, *FRAME_FIELDS):
        column = getattr(table, name)
        if name in STATUSES:
            column[:] = rng.integers(1, STATUSES[name], len(column))
        else:
            column[:] = rng.normal(size=column.shape)
            column[3] = np.nan
    return table


BATCHES = [np.arange(0, 5), np.array([11, 7, 18]), np.arange(5, 7), np.array([], int)]


def assert_equal_tables(one, other):
    for name in (*PAIR_COLUMNS, *FRAME_FIELDS):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes(), name


def with_batches(table, count):
    """What a table looks like after so many of the batches."""
    found = unmeasured()
    for rows in BATCHES[:count]:
        for name in PAIR_COLUMNS:
            getattr(found, name)[rows] = getattr(table, name)[rows]
        seen = np.unique([table.reference[rows], table.moving[rows]])
        for name in FRAME_FIELDS:
            getattr(found, name)[seen] = getattr(table, name)[seen]
    return found
