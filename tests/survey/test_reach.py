"""How far is searched: from pairs of coarse frames, on drifts that are known."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from steadystack.config import make_config
from steadystack.model import Pilot
from steadystack.ncc import tiles
from steadystack.planning import bound_search, make_series, set_up
from steadystack.readers import ArrayFrames
from steadystack.survey import find_reach
from support.scenes import Scene, ellipse


def draw(path, shape, seed=0, detail=3.0):
    scene = Scene(seed, detail=detail)
    frames = np.array([scene.view(shape, -where) for where in path])
    return frames + np.random.default_rng(seed).normal(0, 0.5, frames.shape)


def opened(frames, mask=None, **sections):
    source = ArrayFrames.checked(xr.DataArray(frames, dims=("t", "y", "x")), mask)
    given = {"input": {"path": "memory"}} | sections
    return set_up(make_config(given), make_series(source))


def walk(step, count=10, seed=0):
    return np.cumsum(np.random.default_rng(seed).normal(0, step, (count, 2)), axis=0)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    ("shape", "step"), [((150, 160), 1.0), ((150, 160), 7.0), ((300, 280), 12)]
)
def test_the_search_covers_what_the_pairs_move_by(shape, step, masked):
    path = walk(step)
    frames, mask = draw(path, shape, detail=4.0), None
    if masked:
        mask = ellipse(shape, 0.9)
        frames[:, ~mask] = 5 * np.random.default_rng(1).normal(size=shape)[~mask]  # stands still
    setup = opened(frames, mask, pairs={"width": 2})
    farthest = np.abs(path[setup.pairs[:, 1]] - path[setup.pairs[:, 0]]).max(axis=0)
    reach = find_reach(setup)
    assert reach.pairs == len(setup.pairs) == 17
    assert reach.found >= 15
    assert (np.array(reach.bounds) > 1.3 * farthest).all()
    assert (np.array(reach.bounds) < np.maximum(2 * farthest + 25, 33)).all()
    bounded = bound_search(setup, reach)
    assert bounded.method.search.max_shift == reach.bounds
    assert bounded.method.widen
    assert bounded.size.most_bytes(10, 17) >= bounded.size.again_bytes > 0
    assert Pilot.parse(Pilot(reach=reach).dump()).reach == reach


@pytest.mark.parametrize("negative", [[4], [5, 6, 7, 8, 9]])
def test_negatives_move_as_their_positives_do(negative):
    frames = draw(walk(5.0), (150, 160))
    expected = find_reach(opened(frames))
    frames[negative] *= -1
    assert find_reach(opened(frames)) == expected


def test_where_little_would_be_won_every_shift_is_searched():
    frames = draw(walk(1.0), (60, 60))
    reach = find_reach(opened(frames))
    assert reach.found > 0.9 * reach.pairs
    assert reach.bounds is None
    assert bound_search(opened(frames), reach).method.search.max_shift is None
    assert reach.describe().startswith("search: at every shift, as ")


@pytest.mark.parametrize("frames", [np.zeros((4, 150, 180)), None])
def test_where_most_pairs_say_nothing_a_quarter_is_searched_at_first(frames):
    if frames is None:
        frames = np.random.default_rng(0).normal(size=(10, 150, 180))
    reach = find_reach(opened(frames))
    assert reach.found < reach.pairs / 2
    assert reach.bounds == (37, 45)
    assert reach.widen


def test_blocks_have_a_guess(monkeypatch):
    monkeypatch.setattr(tiles, "BLOCK_PIXELS", 4000)
    setup = opened(draw(walk(1.0, 3), (150, 40)))
    reach = find_reach(setup)
    assert reach.bounds == (37, 10)
    assert not bound_search(setup, reach).method.widen
    assert "a guess" in reach.describe()


@pytest.mark.parametrize("max_shift", [None, 12, [12, 14]])
def test_what_is_set_is_not_asked_for(max_shift):
    setup = opened(draw(walk(1.0, 4), (60, 60)), register={"max_shift": max_shift})
    assert find_reach(setup) is None
    assert bound_search(setup, None) is setup
