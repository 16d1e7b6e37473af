"""CF attributes mean to us what they mean to xarray, and to the netCDF library."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from steadystack.conventions import find_spacing, read_coding, read_times
from steadystack.model import InputError

STORED = np.array([[-32768, -9999, -1, 0], [1, 7, 100, 32767]])


@pytest.mark.parametrize("dtype", ["i2", ">i2", "i4", "u2", "f4", "f8"])
@pytest.mark.parametrize(
    "attributes",
    [
        {"_FillValue": 0},
        {"missing_value": 7},
        {"missing_value": [7], "_FillValue": 7},
        {"scale_factor": 0.01, "add_offset": 279.0},
        {"scale_factor": 0.01, "add_offset": 279.0, "_FillValue": 0},
        {"add_offset": -3},
        {"scale_factor": 2.0},
        {},
    ],
    ids=str,
)
def test_values_are_those_of_xarray(dtype, attributes):
    stored = np.where(STORED < 0, 0 if dtype == "u2" else STORED, STORED).astype(dtype)
    plain = np.dtype(dtype)
    given = {
        key: np.ravel(value).astype(plain)[0] if key in ("_FillValue", "missing_value") else value
        for key, value in attributes.items()
    }
    expected = xr.conventions.decode_cf_variable("a", xr.Variable(("y", "x"), stored, given))
    coding = read_coding(attributes, plain)
    values = stored if coding is None else coding.decode(stored)
    np.testing.assert_array_equal(values, expected.to_numpy())
    assert values.dtype.newbyteorder("=") == expected.dtype.newbyteorder("=")


def test_integers_without_a_sign_are_those_of_xarray():
    stored, fill = STORED.astype("i2"), np.int16(-1)
    attributes = {"_Unsigned": "true", "_FillValue": fill}
    expected = xr.conventions.decode_cf_variable("a", xr.Variable(("y", "x"), stored, attributes))
    values = read_coding(attributes, stored.dtype).decode(stored)
    np.testing.assert_array_equal(values, expected.to_numpy())


@pytest.mark.parametrize(
    ("attributes", "valid"),
    [
        ({"valid_min": 0}, [[0, 0, 0, 1], [1, 1, 1, 1]]),
        ({"valid_max": 7}, [[1, 1, 1, 1], [1, 1, 0, 0]]),
        ({"valid_range": [-1, 100]}, [[0, 0, 1, 1], [1, 1, 1, 0]]),
        ({"missing_value": [7, -9999]}, [[1, 0, 1, 1], [1, 0, 1, 1]]),
    ],
)
def test_what_is_out_of_range_is_no_data(attributes, valid):
    """xarray hands these on undone; CF 2.5.1 and the netCDF library take them for missing."""
    coding = read_coding(attributes | {"scale_factor": 0.5}, np.dtype("i2"))
    values = coding.decode(STORED.astype("i2"))
    np.testing.assert_array_equal(values, np.where(valid, STORED * 0.5, np.nan))


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"scale_factor": "ten"}, "attribute scale_factor is 'ten', not a number: correct it"),
        ({"add_offset": [1, 2]}, r"attribute add_offset is \[1, 2\], not a number"),
        ({"scale_factor": float("nan")}, "scale_factor is nan, not a number"),
        ({"valid_range": 3}, "attribute valid_range is 3, not two numbers"),
        ({"_FillValue": "none"}, "_FillValue is 'none', not a number"),
        ({"missing_value": {}}, "missing_value is {}, not numbers"),
    ],
)
def test_attributes_that_are_no_numbers_are_reported(attributes, words):
    with pytest.raises(InputError, match=words):
        read_coding(attributes, np.dtype("i2"))


def test_spacing_that_is_none_is_not_known():
    assert find_spacing(np.array([3.0, 2.5, 2.0])) == 0.5
    for values in (None, [1.0], [1, 1, 1], [1, 2, 9], [1, np.nan, 3], [0, np.inf, 1], list("abc")):
        assert np.isnan(find_spacing(None if values is None else np.array(values)))


def test_dates_are_times():
    dates = np.array(["2020-01-01T00:00:10", "2020-01-01T00:01:10", "NaT"], "datetime64[s]")
    times, unit = read_times(dates, "")
    np.testing.assert_array_equal(times, (0, 60, np.nan))
    decoded = xr.decode_cf(xr.Dataset({"t": ("t", np.array(times[:2]), {"units": unit})}))
    np.testing.assert_array_equal(decoded["t"].to_numpy(), dates[:2])
    durations = np.array([0, 1500], "timedelta64[ms]")
    assert read_times(durations, "") == ((0.0, 1.5), "second")
    assert read_times(np.array([1, 2]), "days since 1850-01-01", "noleap") == ((1.0, 2.0), "days")
    assert read_times(np.array([1, 2]), "hours since 2020-01-01", "standard")[1] == (
        "hours since 2020-01-01"
    )


def test_a_date_that_is_not_known_has_no_time():
    dates = np.array(["2020-01-01", "NaT", "2020-01-03"], "datetime64[ns]")
    stored = xr.conventions.encode_cf_variable(xr.Variable("t", dates))
    assert stored.dtype.kind == "i"
    times, unit = read_times(stored.to_numpy(), stored.attrs["units"])
    np.testing.assert_array_equal(times, (0, np.nan, 2))
    assert unit.startswith("days since 2020-01-01")
