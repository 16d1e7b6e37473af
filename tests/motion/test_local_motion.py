"""The local motion of series, beside the truth."""

from __future__ import annotations

import json

import numpy as np
import pytest

import steadystack
from steadystack import InputError, estimate_shifts
from steadystack.model import LocalStatus
from steadystack.motion import local_motion, local_prior
from support.local import bent_series
from support.members import slow_but
from support.scenes import ellipse

SETTINGS = {"max_shift": 16, "defects": None, "parts": None}


def measured(frames, grid=None, **settings):
    return estimate_shifts(frames, motion={"model": "local", "grid": grid}, **SETTINGS | settings)


def errors(found, truth):
    """Errors of nodes that are seen, of the frames but the first, with their stated deviations.

    What they are if frames are shifted alone lies between.
    """
    seen = found["frame_local_status"].to_numpy() == LocalStatus.OK.code
    seen[0] = False
    off = found["frame_local_shift"].to_numpy() - truth
    nodes = tuple(range(1, truth.ndim - 1))
    alone = np.expand_dims(found["frame_shift"].to_numpy(), nodes) - truth
    return off[seen], alone[seen], found["frame_local_shift_std"].to_numpy()[seen]


# Of motion of 0.5 px, noise leaves more than a quarter.
@pytest.mark.parametrize(
    ("seed", "size", "less"), slow_but([(1, 2.0, 4)], [(1, 2.0, 4), (2, 0.5, 3.5), (3, 3.0, 4)])
)
@pytest.mark.usefixtures("unchecked")
def test_nodes_go_where_the_frame_does(seed, size, less):
    series = bent_series(seed, size=size)
    mask = ellipse(series.frames.shape[1:], 0.95)
    found = measured(np.where(mask, series.frames, 9.0), mask=mask)
    off, alone, std = errors(found, series.at_nodes(found))
    assert np.sqrt(np.mean(off**2)) < np.sqrt(np.mean(alone**2)) / less
    assert 0.5 < np.sqrt(np.mean((off / std) ** 2)) < 1.6
    assert (found["frame_local_shift"][0] == 0).all()
    assert json.loads(found.attrs["motion"])["model"] == "local"
    assert np.isnan(found["frame_linear"]).all()


@pytest.mark.parametrize(
    ("seed", "shape", "noise"),
    slow_but(
        [(1, (12, 64, 64), 0.2)],
        [(1, (12, 64, 64), 0.2), (2, (40, 64, 64), 0.2), (3, (12, 64, 64), 1.0)],
    ),
)
@pytest.mark.usefixtures("unchecked")
def test_volumes_are_followed_along_three_axes(seed, shape, noise):
    series = bent_series(seed, count=5, shape=shape, size=1.5, noise=noise)
    found = measured(series.frames, max_shift=(4, 8, 8))
    assert found["frame_local_shift"].dims == ("frame", "node_z", "node_y", "node_x", "axis")
    off, alone, std = errors(found, series.at_nodes(found))
    assert (np.sqrt(np.mean(off**2, axis=0)) < np.sqrt(np.mean(alone**2, axis=0)) / 1.5).all()
    assert np.sqrt(np.mean(off**2)) < np.sqrt(np.mean(alone**2)) / 2.5
    assert 0.3 < np.sqrt(np.mean((off / std) ** 2)) < 1.6
    assert (found["frame_local_shift"][0] == 0).all()
    steady = steadystack.correct(series.frames, found).to_numpy()
    alone = found.drop_vars("frame_local_shift")
    shifted = steadystack.correct(series.frames, alone).to_numpy()
    inner = (slice(3, -3), slice(6, -6), slice(6, -6))
    unlike = [
        np.nanstd((each[-1] - series.frames[0])[inner]) - np.sqrt(2) * noise
        for each in (steady, shifted)
    ]
    assert unlike[0] < 0.6 * unlike[1]


@pytest.mark.usefixtures("unchecked")
def test_without_local_motion_nodes_have_the_shift_of_their_frame(caplog):
    series = bent_series(5, size=0.0, noise=0.7)
    with caplog.at_level("INFO"):
        found = measured(series.frames)
    assert "no local motion is seen" in caplog.text
    off = found["frame_local_shift"] - found["frame_shift"]
    assert float(np.abs(off).max()) == 0
    assert (found["frame_local_status"] == LocalStatus.FRAME.code).all()
    std = found["frame_local_shift_std"] - found["frame_shift_std"]
    assert float(np.abs(std).max()) == 0


@pytest.mark.usefixtures("unchecked")
def test_what_fields_are_in_time_is_chosen_anew_in_every_round(monkeypatch):
    """What boxes say before their fields are found would say too much of noise."""
    rounds, chosen = [], []
    go, choose = local_motion._go_round, local_prior._choose_chain
    monkeypatch.setattr(local_motion, "_go_round", lambda *a: rounds.append(0) or go(*a))
    monkeypatch.setattr(local_prior, "_choose_chain", lambda *a: chosen.append(0) or choose(*a))
    series = bent_series(1, count=6, shape=(72, 80), size=3.0)
    found = estimate_shifts(
        series.frames, motion={"model": "local", "smooth_in_time": True}, **SETTINGS
    )
    off, alone, _ = errors(found, series.at_nodes(found))
    assert np.sqrt(np.mean(off**2)) < np.sqrt(np.mean(alone**2)) / 2
    assert len(chosen) == len(rounds) >= 3


@pytest.mark.slow
def test_few_series_without_local_motion_get_a_field():
    fields = 0
    for seed in range(12):
        found = measured(bent_series(seed, count=6, size=0.0, noise=[0.1, 0.7][seed % 2]).frames)
        off = (found["frame_local_shift"] - found["frame_shift"])[1:]
        assert float(np.sqrt(((off / found["frame_local_shift_std"][1:]) ** 2).mean())) < 1.4
        fields += float(np.abs(off).max()) > 0
    assert fields <= 1


@pytest.mark.usefixtures("unchecked")
def test_frames_that_are_not_known_have_no_local_shift():
    series = bent_series(4, count=5)
    series.frames[3] = 1.0  # flat
    found = measured(series.frames, [4, 5])
    assert found["frame_local_shift"].shape == (5, 4, 5, 2)
    np.testing.assert_allclose(found["node_y"], np.linspace(0, 111, 4))
    np.testing.assert_allclose(found["node_x"], np.linspace(0, 119, 5))
    assert np.isnan(found["frame_local_shift"][3]).all()
    assert (found["frame_local_status"][3] == LocalStatus.UNKNOWN.code).all()
    known = np.delete(found["frame_local_shift"].to_numpy(), 3, axis=0)
    assert np.isfinite(known).all()
    between = measured(series.frames, [4, 5], solve={"interpolate": "linear"})
    given = between["frame_local_shift"].to_numpy()
    np.testing.assert_allclose(given[3], (given[2] + given[4]) / 2)
    assert (between["frame_local_status"][3] == LocalStatus.FRAME.code).all()
    moved = steadystack.correct(series.frames, found)
    assert np.isnan(moved[3]).all()
    assert np.isfinite(moved[2]).any()


def test_what_it_does_not_do_is_reported_before_work_starts():
    frames = np.random.default_rng(1).normal(size=(3, 64, 64))
    with pytest.raises(InputError, match=r"\[3, 3\] has 2 values.*3 axes"):
        measured(np.zeros((3, 12, 32, 32)), [3, 3], max_shift=3)
    with pytest.raises(InputError, match=r"2 nodes along z.*12 pixels carry 2|5 nodes along z"):
        measured(np.zeros((3, 12, 32, 32)), [5, 3, 3], max_shift=3)
    with pytest.raises(InputError, match="at least 8 pixels along"):
        measured(np.zeros((3, 5, 32, 32)), max_shift=3)
    with pytest.raises(InputError, match=r"motion\.grid has 9 nodes along y.*allow at most 6"):
        measured(frames, [9, 4])
    with pytest.raises(InputError, match=r"grid.*is for local motion, but model is rigid"):
        estimate_shifts(frames, motion={"model": "rigid", "grid": [4, 4]})
    with pytest.raises(InputError, match=r"solve\.refine 1 to 0"):
        measured(frames, solve={"refine": 1})
    with pytest.raises(InputError, match="grid"):
        measured(frames, [1, 4])
