"""Tables of measured pairs, and the batches in which a journal notes them."""

from __future__ import annotations

import numpy as np

from steadystack.model import PairTable

COLUMNS = (
    "shift",
    "shift_std",
    "ncc",
    "second_peak_ratio",
    "overlap",
    "status",
    "frame_read_status",
)


def unmeasured(frames=20):
    pairs = np.stack([np.arange(frames - 1), np.arange(1, frames)], axis=1)
    return PairTable.unmeasured(pairs, frames, 2)


def measured(seed=0):
    """A table with all rows filled, some of them NaN."""
    table, rng = unmeasured(), np.random.default_rng(seed)
    for name in COLUMNS[:-2]:
        column = getattr(table, name)
        column[:] = rng.normal(size=column.shape)
        column[3] = np.nan
    table.status[:] = rng.integers(1, 9, len(table.status))
    table.frame_read_status[:] = rng.integers(1, 5, len(table.frame_read_status))
    return table


BATCHES = [np.arange(0, 5), np.array([11, 7, 18]), np.arange(5, 7), np.array([], int)]


def assert_equal_tables(one, other):
    for name in COLUMNS:
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes(), name


def with_batches(table, count):
    """What a table looks like after so many of the batches."""
    found = unmeasured()
    for rows in BATCHES[:count]:
        for name in COLUMNS[:-1]:
            getattr(found, name)[rows] = getattr(table, name)[rows]
        seen = np.unique([table.reference[rows], table.moving[rows]])
        found.frame_read_status[seen] = table.frame_read_status[seen]
    return found
