"""Rows and columns of a camera, looked for before a run, in series whose lines are known."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import xarray as xr

from steadystack.config import make_config
from steadystack.model import Pilot
from steadystack.planning import decide, make_series, set_up
from steadystack.readers import ArrayFrames
from steadystack.survey import find_lines
from support.defective import lined_series
from support.members import slow_but
from support.scenes import Scene, ellipse


def look(frames, mask=None, **sections):
    source = ArrayFrames.checked(xr.DataArray(frames, dims=("t", "y", "x")), mask)
    given = {"input": {"path": "memory"}, "register": {"max_shift": 32}} | sections
    setup = set_up(make_config(given), make_series(source))
    return find_lines(setup), setup


@pytest.mark.parametrize(
    ("seed", "masked"), slow_but([(0, False), (1, True)], product(range(40), [False, True]))
)
def test_rows_and_columns_are_found(seed, masked, hurried):
    frames, _, rows, columns = lined_series(seed)
    mask = ellipse(frames[0].shape) if masked else None
    found, setup = look(frames, mask)
    assert "stand still in the camera, and are subtracted" in found.describe()
    valid = np.ones(frames[0].shape, bool) if mask is None else mask
    for axis, lines, made in ((1, found.rows, rows), (0, found.columns, columns)):
        pixels = np.minimum(valid.sum(axis)[1:], valid.sum(axis)[:-1])
        left = np.diff(np.array(lines) - made)
        assert np.average(left**2, weights=pixels) < 0.1 * np.average(
            np.diff(made) ** 2, weights=pixels
        )
    raised = [max(lines) - np.array(lines) for lines in (found.rows, found.columns)]
    read = decide(setup, Pilot(lines=found)).series.source.read(3)
    np.testing.assert_allclose(read.image, frames[3] + np.add.outer(*raised), rtol=1e-5)


@pytest.mark.parametrize("seed", slow_but(range(2), range(100)))
@pytest.mark.parametrize("rate", [0.02, 0.2, 1.0])
def test_of_a_camera_without_lines_none_are_found(seed, rate, hurried):
    found, _ = look(lined_series(seed, rate=rate, size=0)[0])
    assert not found.rows
    assert not found.columns


def test_of_a_scene_that_hardly_moves_nothing_can_be_said(hurried):
    found, setup = look(lined_series(1, rate=0.003)[0])
    assert found.lined
    assert not found.rows + found.columns
    assert "moves too little" in found.describe()
    assert decide(setup, Pilot(lines=found)).series.digest == setup.series.digest


def test_stripes_of_the_scene_are_not_the_cameras(hurried):
    rng = np.random.default_rng(3)
    scene, shifts = Scene(3, detail=3), np.cumsum(rng.normal(0, 1, (24, 2)), axis=0)
    stripes = [np.sin(0.9 * (np.arange(120) + x)) for _, x in shifts]
    frames = np.stack([scene.view((110, 120), shift) for shift in shifts])
    frames = frames / frames.std() + 2 * np.stack(stripes)[:, None]
    found, _ = look(frames + 0.3 * rng.normal(size=frames.shape))
    assert not found.columns


def test_where_they_are_not_asked_for_they_are_not_looked_for(hurried):
    frames, _, _, _ = lined_series(0)
    source = ArrayFrames.checked(xr.DataArray(frames, dims=("t", "y", "x")))
    given = {"input": {"path": "memory"}, "mask": {"defects": None}}
    assert find_lines(set_up(make_config(given), make_series(source))) is None
    assert look(frames[:11])[0] is None


@pytest.mark.parametrize(
    "preprocess",
    slow_but([{"square_root": True}], [{"square_root": True}, {"logarithm": True}]),
)
def test_of_few_photons_lines_are_found_under_a_root_and_a_logarithm(preprocess, hurried):
    frames, _, _, columns = lined_series(4, noise=0.0)
    counts = np.random.default_rng(4).poisson(np.maximum(frames - 600, 0) / 40).astype("u2")
    found, setup = look(counts, preprocess=preprocess)
    slopes = np.diff(columns) / 40
    assert np.mean((np.diff(found.columns) - slopes) ** 2) < 0.1 * np.mean(slopes**2)
    read = decide(setup, Pilot(lines=found)).series.source.read(0)
    assert (read.image >= counts[0]).all()


def test_with_a_flat_field_lines_are_not_looked_for(tmp_path, hurried):
    frames, _, _, _ = lined_series(0)
    np.save(tmp_path / "flat.npy", np.ones(frames[0].shape))
    flat_field = {"flat_field": str(tmp_path / "flat.npy")}
    assert look(frames, preprocess=flat_field)[0] is None
