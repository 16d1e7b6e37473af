"""Lengths and sizes with units."""

from __future__ import annotations

import pytest

from steadystack.model import InputError
from steadystack.units import parse_bytes, parse_shift_bounds


@pytest.mark.parametrize(
    ("max_shift", "bounds"),
    [
        (None, None),
        (12, (12, 12)),
        ([3, 4], (3, 4)),
        ("3 um", (6, 12)),
        ("3.1 µm", (7, 13)),
        (["500 nm", 9], (1, 9)),
        ("7.5 px", (8, 8)),
    ],
)
def test_lengths_become_pixels(max_shift, bounds):
    assert parse_shift_bounds(max_shift, (0.5, 0.25), "micrometer") == bounds


@pytest.mark.parametrize(
    ("max_shift", "unit", "words"),
    [
        ("3 parsec", "micrometer", "neither pixels nor a length"),
        ("three", "micrometer", "neither pixels nor a length"),
        ("3 um", "", "needs a pixel size with a unit"),
        ([1, 2, 3], "micrometer", "3 values for 2 axes"),
    ],
)
def test_lengths_that_say_nothing_are_refused(max_shift, unit, words):
    with pytest.raises(InputError, match=words):
        parse_shift_bounds(max_shift, (0.5, 0.25), unit)


def test_sizes():
    assert parse_bytes("512 MiB") == 2**29
    assert parse_bytes("1.5gb") == 1_500_000_000
    assert parse_bytes("512") is None
