"""The dataset of all frames: times of series that tell them, and what is written and read again."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import steadystack
from steadystack.dataset import save_shifts
from steadystack.joining import describe_means, join_solved
from steadystack.joining.joined_shifts import _join_times
from steadystack.model import Finding, InputError, Reason, Trust, Verdict
from support.members import slow_but
from support.scenes import Scene
from support.sessions import COUNT, SIZE, session, solved, three_sessions


def with_time(values, **about):
    return xr.Dataset(coords={"time": ("frame", np.array(values), about)})


def test_times_are_joined_where_they_can_be_compared():
    without = xr.Dataset(coords={"frame": np.arange(2)})
    seconds = with_time([0.0, 1.5], unit="second")
    values, about = _join_times([seconds, without, seconds], [2, 2, 2])
    np.testing.assert_array_equal(values, [0, 1.5, np.nan, np.nan, 0, 1.5])
    assert about["unit"] == "second"
    hours = with_time([0.0, 1.0], unit="hour")
    assert _join_times([seconds, hours], [2, 2]) is None
    assert _join_times([without, without], [2, 2]) is None


def test_dates_are_dates_whatever_they_count_from():
    monday = with_time([0.0, 60.0], units="seconds since 2026-03-02T10:00:00")
    friday = with_time([0.0, 1.0], units="hours since 2026-03-06T09:00:00")
    values, _ = _join_times([monday, friday], [2, 2])
    expected = ["2026-03-02T10:00", "2026-03-02T10:01", "2026-03-06T09:00", "2026-03-06T10:00"]
    np.testing.assert_array_equal(values, np.array(expected, "datetime64[ns]"))


@pytest.mark.parametrize("suffix", slow_but([".zarr"], [".zarr", ".nc"]))
def test_it_is_read_as_it_was_written(tmp_path, suffix):
    if suffix == ".nc":
        pytest.importorskip("h5netcdf")
    (first, _), (second, _), _ = three_sessions(2)
    joined = join_solved([solved("a", first), solved("b", second)]).dataset
    path = tmp_path / f"joined{suffix}"
    save_shifts(joined, str(path))
    read = xr.open_zarr(path) if suffix == ".zarr" else xr.open_dataset(path, engine="h5netcdf")
    xr.testing.assert_equal(read.load(), joined)
    assert read.attrs == joined.attrs
    lines = list(describe_means(joined))
    assert lines[0] == "a: 0.000 ± 0.000, 0.000 ± 0.000 px (mean of 8 frames)"
    assert lines[1].startswith("b: ")


def test_a_verdict_on_several_series_is_the_one_that_was_written():
    (first, _), (second, _), _ = three_sessions(2)
    both = join_solved([solved("a", first), solved("b", second)])
    joined, written = both.dataset, Verdict.read(both.dataset.attrs)
    found = Finding(Trust.CHECK, Reason.TURNING, "a and b rotate or stretch")
    told = joined.assign_attrs(Verdict.of([found]).attributes())
    one = (joined["series"] == "b").to_numpy()
    for dataset in (joined, joined.isel(frame=one), joined[["frame_shift"]]):
        assert steadystack.verdict(dataset) == dataset.steady.verdict == written
    assert steadystack.verdict(told).findings == (found,)
    assert repr(told.steady) == f"{2 * COUNT} frames: check\na and b rotate or stretch"
    assert "a and b rotate" in told.steady._repr_html_()
    edited = told.assign(frame_shift=told["frame_shift"] + 1)
    codes = [finding.code for finding in steadystack.verdict(edited).findings]
    assert codes == [Reason.EDITED, Reason.TURNING]
    for lost in (joined.drop_attrs(), both.each["a"].drop_attrs()):
        with pytest.raises(InputError, match="its attributes, such as configuration, are missing"):
            steadystack.verdict(lost)
    # a number of a frame is that of a frame in each of them
    with pytest.raises(InputError, match=r"several series \(a, b\): select one first, .* \"a\""):
        joined.steady.at(frame=1)
    at = joined.isel(frame=one).steady.at(frame=1)
    np.testing.assert_array_equal(at, joined["frame_shift"][COUNT + 1])


@pytest.mark.parametrize("seed", [4, 21])  # the first part is of the scene, or of another
def test_each_has_all_parts_that_were_joined(seed):
    scene, rng = Scene(4, waves=120), np.random.default_rng(4)
    early, truth = session(Scene(seed, waves=120), rng)
    late, truth_late = session(scene, rng, (16, -15))  # further than pairs are searched
    whole, truth_whole = session(scene, rng, (8, -7))
    broken = np.concatenate([early, late])
    joined = join_solved([solved("whole", whole), solved("broken", broken)])
    own, known = joined.each["broken"], np.arange(2 * COUNT) >= (0 if seed == 4 else COUNT)
    assert own["component"].to_numpy().tolist() == (~known).astype(int).tolist()
    of_all = joined.dataset.isel(frame=(joined.dataset["series"] == "broken").to_numpy())
    assert of_all["component"].to_numpy().tolist() == (-1 * ~known).tolist()
    np.testing.assert_array_equal(own["frame_shift"][known], of_all["frame_shift"][known])
    assert np.isnan(of_all["frame_shift"][~known]).all()
    error = own["frame_shift"].to_numpy() - np.concatenate([truth, truth_late]) + truth_whole[0]
    assert np.abs(error[known]).max() < 0.15
    steady = steadystack.correct(broken, own).to_numpy()
    assert np.isnan(steady[~known]).all()
    expected = scene.view(SIZE, truth_whole[0])  # as in the frame that lies at 0
    for frame in steady[known]:
        shown = np.isfinite(frame)
        assert np.corrcoef(frame[shown], expected[shown])[0, 1] > 0.8


def changed(seed, matrix):
    """Two sessions of a scene, the second of which a matrix turns or stretches about its middle."""
    scene, rng = Scene(seed, waves=120), np.random.default_rng(seed)
    shape = (104, 112)  # parts of smaller frames are too small to be compared
    first, _ = session(scene, rng, noise=0.3, shape=shape)
    truth = np.cumsum(rng.normal(0, 0.6, (COUNT, 2)), axis=0) + rng.uniform(-9, 9, 2)
    middle = (np.array(shape) - 1) / 2
    places = (np.moveaxis(np.indices(shape), 0, -1) - middle) @ np.transpose(matrix) + middle
    second = np.stack([scene.look(places + shift) for shift in truth])
    return first, second + rng.normal(0, 0.3, second.shape)


@pytest.mark.parametrize(
    ("matrix", "is_told"),
    [
        ([[1.0, 0.0], [0.0, 1.0]], False),
        ([[1.0, 0.04], [-0.04, 1.0]], True),  # turned by 2.3 degrees
        ([[1.04, 0.0], [0.0, 1.04]], True),  # another magnification
    ],
)
@pytest.mark.parametrize("seed", slow_but([11], [11, *range(30, 40)]))
def test_series_that_rotate_or_stretch_against_each_other_are_reported(seed, matrix, is_told):
    """Two or three series have fewer pairs of means than the checks of a series ask for."""
    runs = [solved(name, frames) for name, frames in zip("ab", changed(seed, matrix), strict=True)]
    found = steadystack.Verdict.read(join_solved(runs).dataset.attrs)
    words = [each.words for each in found.findings if each.code == "turning"]
    assert bool(words) == is_told
    assert all("between the means of the series: a and b rotate or stretch" in w for w in words)
    assert (found.trust == "good") != is_told


def test_groups_of_series_that_rotate_against_each_other_are_reported():
    """Series of one group overlap most with those of their own."""
    still, turned = changed(11, [[1.0, 0.04], [-0.04, 1.0]])
    rng = np.random.default_rng(1)
    runs = [
        solved(name, frames + rng.normal(0, 0.3, frames.shape))
        for name, frames in zip("abcde", (still, still, still, turned, turned), strict=True)
    ]
    found = steadystack.Verdict.read(join_solved(runs).dataset.attrs)
    (words,) = [each.words for each in found.findings if each.code == "turning"]
    named = words.removeprefix("between the means of the series: ").split(" rotate")[0]
    assert {len({"a", "b", "c"} & {name}) for name in named.split(" and ")} == {0, 1}


@pytest.mark.slow
def test_volumes_are_joined():
    rng, world, shape = np.random.default_rng(6), Scene(6, ndim=3), (8, 48, 52)
    runs, truths = [], []
    for number, name in enumerate("abc"):
        jump = np.array([0.8, 5.3, -7.1]) * number
        truth = np.cumsum(rng.normal(0, 0.4, (5, 3)), axis=0) + jump
        frames = np.stack([world.view(shape, shift) for shift in truth])
        frames = frames + 0.3 * rng.normal(size=frames.shape)
        bounds = {"max_shift": [3, 6, 6]}
        runs.append(solved(name, frames, np.ones(shape, bool), register=bounds))
        truths.append(truth)
    joined = join_solved(runs).dataset
    error = joined["frame_shift"].to_numpy() - np.concatenate(truths)
    error -= error[runs[0].members[0]].mean(axis=0)
    ratio = error / joined["frame_shift_std"].to_numpy()
    assert 0.6 < np.sqrt(np.mean(np.square(ratio))) < 1.6
