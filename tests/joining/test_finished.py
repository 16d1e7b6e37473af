"""What series have to have in common: times."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

from steadystack.joining.finished import _check_same_times
from steadystack.model import InputError


def with_times(**times) -> dict[str, Any]:
    """Datasets with values of times and what tells their unit, or a number of frames alone."""
    made = {}
    for name, given in times.items():
        if isinstance(given, int):
            made[name] = (None, xr.Dataset(coords={"frame": np.arange(given)}))
        else:
            time = ("frame", np.array(given[0], float), given[1])
            coordinates = {"frame": np.arange(len(given[0])), "time": time}
            made[name] = (None, xr.Dataset(coords=coordinates))
    return made


SECONDS, HOURS = {"unit": "second"}, {"unit": "hour"}


def test_times_are_alike_to_half_a_frame_interval():
    _check_same_times(with_times(a=([0, 10, 20], SECONDS), b=([4, 14, 24.9], SECONDS)))
    with pytest.raises(InputError, match=r"frame 1 of b was taken 6 second .* every 10: "):
        _check_same_times(with_times(a=([0, 10, 20], SECONDS), b=([4, 16, 24], SECONDS)))
    with pytest.raises(InputError, match="b has 2 frames, and a 3: "):
        _check_same_times(with_times(a=([0, 10, 20], SECONDS), b=2))


def test_times_that_are_not_given_by_all_in_one_unit_are_not_compared():
    _check_same_times(with_times(a=([0, 10, 20], SECONDS), b=([5, 6, 7], HOURS)))
    _check_same_times(with_times(a=([0, 10, 20], SECONDS), b=3, c=([90, 91, 92], SECONDS)))
    _check_same_times(with_times(a=([0, 0, 0], SECONDS), b=([1, 2, 3], SECONDS)))


def test_dates_are_compared_whatever_they_count_from():
    one = ([0, 60, 120], {"units": "seconds since 2026-03-02T10:00:00"})
    later = ([0, 1, 2], {"units": "minutes since 2026-03-02T10:00:20"})
    _check_same_times(with_times(a=one, b=later))
    other_day = ([0, 1, 2], {"units": "minutes since 2026-03-03T10:00:20"})
    with pytest.raises(InputError, match="frame 0 of b was taken 86420 s from that of a"):
        _check_same_times(with_times(a=one, b=other_day))


def test_frames_of_other_numbers_are_refused_where_no_time_tells_when_they_were():
    found = with_times(a=4, b=4)
    _check_same_times(found)
    later = found["b"][1].assign_coords(frame=np.arange(1, 5))
    with pytest.raises(InputError, match=r"b has the frames 1 to 4 of its stack, and a 0 to 3: "):
        _check_same_times(found | {"b": (None, later)})
    not_told = with_times(a=([0, 10, np.nan], SECONDS), b=([500, 510, 520], SECONDS))
    _check_same_times(not_told)
    _check_same_times(with_times(a=([3], SECONDS), b=([5], SECONDS)))
