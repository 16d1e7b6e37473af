"""`shifts.steady`: what a shifts dataset does by itself, against the functions that it calls."""

from __future__ import annotations

import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt

import steadystack.accessor
from steadystack import stages
from steadystack.model import FrameStatus, InputError
from steadystack.outputs import write_stack
from support.corrected import TRUTH, frames_of, shifts_of
from support.scenes import Scene
from support.settings import config_of

mpl.use("agg")
LONE = -1


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return frames_of(Scene(3, detail=2.5))


@pytest.fixture(scope="module")
def solved(frames, tmp_path_factory):
    folder = tmp_path_factory.mktemp("solved")
    write_stack(folder / "stack.zarr", frames, pixel_size=(0.5, 0.25), frame_interval=2.0)
    source = {"path": "stack.zarr", "frames": "1:"}
    return stages.run(config_of(folder, input=source, register={"max_shift": 12}))


@pytest.mark.slow
def test_it_is_there_in_either_order_of_imports():
    for code in ("import steadystack, xarray", "import xarray, steadystack"):
        code += "; steadystack.open_stack; xarray.Dataset().steady"
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    alone = "import steadystack, xarray, steadystack.accessor; xarray.Dataset().steady"
    subprocess.run([sys.executable, "-c", alone], check=True, timeout=60)


def test_what_it_hands_on(frames, solved):
    assert solved.steady.verdict == steadystack.verdict(solved)
    stack = frames[1:]
    xr.testing.assert_identical(
        solved.steady.correct(stack, border="crop").compute(),
        steadystack.correct(stack, solved, border="crop").compute(),
    )
    xr.testing.assert_identical(
        solved.steady.mean(stack, weights="precision"),
        steadystack.mean(stack, solved, weights="precision"),
    )
    ax = plt.figure().subplots()
    assert solved.steady.plot(ax) is ax
    assert ax.lines
    plt.close("all")


def test_lengths(solved):
    micrometers = solved.steady.to("um")
    np.testing.assert_allclose(
        micrometers["frame_shift"], solved["frame_shift"] * np.array([0.5, 0.25])
    )
    assert micrometers["frame_shift"].attrs["units"] == "um"
    nanometers = solved.steady.to("nm")
    np.testing.assert_allclose(
        nanometers["frame_shift_std"], solved["frame_shift_std"] * np.array([500, 250])
    )
    xr.testing.assert_equal(solved.steady.to("px")["frame_shift"], solved["frame_shift"])
    with pytest.raises(InputError, match="'miles' is neither px nor a unit of length"):
        solved.steady.to("miles")
    with pytest.raises(InputError, match=r"set input\.pixel_size"):
        shifts_of().steady.to("um")


def test_the_shift_at_a_time_and_of_a_frame(solved):
    values = solved["frame_shift"].to_numpy()
    np.testing.assert_array_equal(solved.steady.at(frame=1), values[0])
    np.testing.assert_array_equal(solved.steady.at(frame=5), values[4])
    np.testing.assert_array_equal(solved.steady.at(time=2.0), values[0])  # of frame 1
    np.testing.assert_allclose(solved.steady.at(time=5.0), (values[1] + values[2]) / 2)
    several = solved.steady.at(time=[1.9, 2.5, 10.0, 10.1])
    assert several.dims == ("time", "axis")
    expected = [[np.nan] * 2, values[0] + (values[1] - values[0]) / 4, values[4], [np.nan] * 2]
    np.testing.assert_allclose(several, expected)
    for given, words in (
        ({"frame": 0}, "there is no frame 0: frames are 1 to 5, 5 of them"),
        ({}, "either a time or a frame"),
        ({"frame": 1, "time": 2.0}, "either a time or a frame"),
    ):
        with pytest.raises(InputError, match=words):
            solved.steady.at(**given)
    with pytest.raises(InputError, match="has no frame times"):
        shifts_of().steady.at(time=1.0)


def test_dates_and_frames_that_do_not_compare():
    start = np.datetime64("2026-01-01T12:00:00", "ns")
    times = start + np.arange(6) * np.timedelta64(60, "s")
    shifts = shifts_of(component=[0, 0, 0, LONE, 0, 0]).assign_coords(time=("frame", times))
    found = shifts.steady.at(time=times[1] + np.timedelta64(30, "s"))
    np.testing.assert_allclose(found, (TRUTH[1] + TRUTH[2]) / 2)
    assert shifts.steady.at(time=times[3]).isnull().all()
    assert shifts.steady.at(time=times[3] + np.timedelta64(9, "s")).isnull().all()
    np.testing.assert_allclose(shifts.steady.at(time=times[2]), TRUTH[2])
    assert shifts.steady.at(frame=3).isnull().all()


def test_times_that_are_unknown_or_not_in_order(solved):
    values = solved["frame_shift"].to_numpy()
    times = [np.nan, 0.0, 4.0, 3.0, 5.0]  # the clock was set back by 2
    shifts = solved.assign_coords(time=("frame", times))
    found = shifts.steady.at(time=[0.0, 1.5, 3.5, 4.5])
    between = [(values[i] + values[j]) / 2 for i, j in ((1, 3), (3, 2), (2, 4))]
    np.testing.assert_allclose(found, [values[1], *between])
    with pytest.raises(InputError, match="no frame has a time: give a frame"):
        solved.assign_coords(time=("frame", [np.nan] * 5)).steady.at(time=0.0)


def test_it_shows_itself(solved, monkeypatch):
    reason = solved.copy()
    reason["frame_status"] = reason["frame_status"].copy()
    reason["frame_status"][2] = FrameStatus.DISSIMILAR.code
    told = repr(solved.steady)
    assert told.splitlines()[0] == f"5 frames: {solved.attrs['verdict']}"
    shown = reason.steady._repr_html_()
    for line in repr(reason.steady).splitlines()[1:]:
        assert "<li>" in shown
        assert line.split("<")[0].split("&")[0].split("'")[0] in shown
    assert "</svg>" in shown
    monkeypatch.setattr("steadystack.plot.canvas.find_spec", lambda name: None)
    assert "<svg" not in solved.steady._repr_html_()


def test_a_dataset_that_is_none_is_reported():
    with pytest.raises(InputError, match="expected a shifts dataset"):
        xr.Dataset().steady.to("um")
    with pytest.raises(InputError, match="expected a shifts dataset"):
        xr.Dataset().steady.plot()
