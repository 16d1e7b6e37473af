"""The verdict of a dataset, and shifts that are edited on purpose."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import steadystack
from steadystack.dataset import load_shifts
from steadystack.model import FrameStatus, InputError, Reason, Trust
from support.framed import scenes


@pytest.fixture(scope="module")
def solved():
    return steadystack.estimate_shifts(scenes(5), max_shift=4)


def test_the_verdict_names_shifts_that_were_changed(solved):
    assert Reason.EDITED not in [found.code for found in steadystack.verdict(solved).findings]
    changed = solved.assign(frame_shift=solved["frame_shift"] + 9)
    finding = steadystack.verdict(changed).findings[0]
    assert (finding.trust, finding.code) == (Trust.CHECK, Reason.EDITED)
    assert steadystack.verdict(changed).trust is not Trust.GOOD


@pytest.mark.parametrize("name", ["s.zarr", "s.nc"])
def test_edited_shifts_say_so_wherever_they_go(tmp_path, solved, name):
    values = solved["frame_shift"].to_numpy().copy()
    values[2] += [1.5, -2]
    edited = steadystack.edit_shifts(solved, values, path=str(tmp_path / name))
    np.testing.assert_array_equal(edited["frame_shift"], values)
    assert np.isnan(edited["frame_shift_std"][2]).all()
    same = [0, 1, 3, 4]
    xr.testing.assert_equal(
        edited["frame_shift_std"].isel(frame=same), solved["frame_shift_std"].isel(frame=same)
    )
    found = load_shifts(str(tmp_path / name))
    xr.testing.assert_equal(found, edited)
    assert found.attrs["edited"]
    assert found.attrs["verdict"] != "good"
    assert steadystack.verdict(found).findings[0].code is Reason.EDITED
    assert "edited at 20" in steadystack.verdict(found).reasons[0]
    assert "edited" not in solved.attrs
    steadystack.correct(scenes(5), edited)  # without a warning, which would be an error here


def test_a_frame_without_a_shift_is_given_one_and_moved(solved):
    lost = solved.copy(deep=True)
    lost["frame_shift"][3] = np.nan
    lost["component"][3] = -1
    lost["frame_status"][3] = FrameStatus.DISCONNECTED.code
    values = np.array(solved["frame_shift"])
    values[3] = [1, 2]
    edited = steadystack.edit_shifts(lost, values)
    assert edited["component"][3] == 0
    assert edited["frame_status"][3] == FrameStatus.INTERPOLATED.code
    moved = steadystack.correct(scenes(5).astype(float), edited, interpolation="nearest")
    np.testing.assert_array_equal(moved[3, 1:, 2:], scenes(5)[3, :-1, :-2])


def test_a_frame_may_lose_its_shift(solved):
    values = xr.DataArray(np.array(solved["frame_shift"]).T, dims=("axis", "frame"))
    values[:, 4] = np.nan
    edited = steadystack.edit_shifts(solved, values)
    assert edited["component"].to_numpy().tolist() == [0, 0, 0, 0, -1]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.zeros((4, 2)), r"shape \(4, 2\) and holds float64: real numbers of the shape \(5, 2\)"),
        (np.zeros((5, 2), complex), "holds complex128"),
        (np.full((5, 2), np.inf), "frame_shift of frame 0 is infinite"),
    ],
)
def test_shifts_that_are_none_are_refused(solved, values, words):
    with pytest.raises(InputError, match=words):
        steadystack.edit_shifts(solved, values)


def test_only_a_dataset_is_edited(solved):
    with pytest.raises(InputError, match="expected a shifts dataset"):
        steadystack.edit_shifts("s.zarr", np.zeros((5, 2)))
