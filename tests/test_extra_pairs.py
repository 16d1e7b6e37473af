"""A second round of pairs: where the first one left the graph weak, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import steadystack
from helpers import Scene
from steadystack import stages
from steadystack.config import make_config
from steadystack.dataset import load_shifts
from steadystack.model import LONE, InputError
from steadystack.outputs import write_stack
from steadystack.pairs import extra_pairs, select_pairs
from steadystack.pairs.weak import CUT_PAIRS
from steadystack.solve.graph import components

CONFIG = steadystack.load_config


def chosen(pairs, used, count, budget=100, readable=None, **options):
    """The pairs that are added, by hand and by the parts that the used ones make."""
    pairs, used = np.array(pairs), np.array(used, bool)
    part = components(*pairs[used].T, count, 0)
    readable = np.ones(count, bool) if readable is None else readable
    found = extra_pairs(pairs, used, part, readable, budget, **options)
    return [tuple(pair) for pair in found.tolist()]


def without(pairs, bad):
    return ~np.isin(pairs, list(bad)).any(axis=1)


def test_two_islands_are_joined_by_the_closest_frames():
    pairs = [(0, 1), (1, 2), (0, 2), (2, 3), (3, 4), (4, 5), (5, 6), (4, 6)]
    used = [1, 1, 1, 0, 0, 1, 1, 1]  # frame 3 fits nothing
    assert chosen(pairs, used, 7, budget=1) == [(2, 4)]
    assert chosen(pairs, used, 7, budget=3) == [(2, 4), (2, 5), (1, 4)]


def test_every_island_gets_its_pair_before_any_gets_a_second_one():
    pairs = select_pairs(30, "consecutive")
    used = without(pairs, {9, 19, 20, 21})
    assert chosen(pairs, used, 30, budget=2) == [(8, 10), (18, 22)]
    assert set(chosen(pairs, used, 30, budget=4)[2:]) == {(8, 11), (18, 23)}


def test_islands_that_alternate_in_time_are_joined_once():
    pairs = [(0, 2), (2, 4), (1, 3), (3, 5), (4, 6)]
    assert chosen(pairs, [1] * 5, 7, budget=1) == [(0, 1)]
    many = chosen(pairs, [1] * 5, 7)
    assert len(many) == CUT_PAIRS
    assert all((a + b) % 2 for a, b in many)


def test_a_frame_whose_neighbours_are_bad_gets_pairs_further_away():
    count, bad, lonely = 24, {8, 9, 10, 12, 13, 14}, 11
    pairs = select_pairs(count, "window", width=4)
    used = without(pairs, bad)
    assert used[(pairs == lonely).any(axis=1)].sum() == 2
    added = chosen(pairs, used, count, readable=~np.isin(np.arange(count), list(bad)))
    of_it = [pair for pair in added if lonely in pair]
    assert of_it
    assert not {tuple(pair) for pair in pairs.tolist()} & set(added)
    assert all(abs(a - b) > 4 for a, b in added)
    assert not {frame for pair in added for frame in pair} & bad


def test_a_frame_without_any_pair_gets_the_closest_that_were_not_tried():
    pairs = select_pairs(12, "window", width=2)
    used = without(pairs, {5})
    added = [pair for pair in chosen(pairs, used, 12) if 5 in pair]
    assert added[:2] in ([(2, 5), (5, 8)], [(5, 8), (2, 5)])


def test_a_thin_cut_gets_pairs_across_it():
    pairs = select_pairs(20, "window", width=4)
    crossing = (pairs[:, 0] <= 9) & (pairs[:, 1] > 9)
    used = ~crossing
    used[np.flatnonzero(crossing)[4]] = True  # one of ten is left
    added = chosen(pairs, used, 20)
    across = [pair for pair in added if pair[0] <= 9 < pair[1]]
    assert len(across) >= CUT_PAIRS - 1
    assert added[0] in across


def test_a_frame_known_less_well_than_those_around_it_gets_pairs():
    pairs = select_pairs(15, "window", width=4)
    std = np.sqrt(np.arange(15.0))  # as it grows away from the anchor
    assert chosen(pairs, [1] * len(pairs), 15, std=std) == []
    std[7] *= 2
    assert chosen(pairs, [1] * len(pairs), 15, std=std) == [(2, 7), (7, 12)]


@pytest.mark.parametrize(
    ("strategy", "options"),
    [
        ("consecutive", {}),
        ("window", {"width": 3}),
        ("lags", {"lags": [1, 4]}),
        ("strides", {"width": 3}),
        ("reference", {"reference": 2}),
        ("all", {}),
    ],
)
def test_nothing_is_added_where_the_graph_is_as_planned(strategy, options):
    pairs = select_pairs(40, strategy, **options)
    assert chosen(pairs, [1] * len(pairs), 40) == []


def test_pairs_that_cannot_be_found_and_frames_that_cannot_be_read_are_left_out():
    pairs = select_pairs(20, "window", width=3)
    used = without(pairs, {9, 10})
    lit = ~np.isin(np.arange(20), [9, 10])
    added = chosen(pairs, used, 20, readable=lit)
    assert added
    assert not {9, 10} & {frame for pair in added for frame in pair}
    near = [pair for pair in added if pair[1] - pair[0] < 5]
    assert near
    assert len(near) < len(added)
    reach = chosen(pairs, used, 20, readable=lit, within_reach=lambda one, other: other - one < 5)
    assert reach
    assert all(other - one < 5 for one, other in reach)
    assert chosen(pairs, used, 20, budget=0, readable=lit) == []


@settings(max_examples=60, deadline=None)
@given(st.integers(3, 40), st.integers(1, 5), st.floats(0, 1), st.integers(0, 30), st.integers())
def test_what_is_added_is_new_within_the_budget_and_the_same_again(
    count, width, part, budget, seed
):
    rng = np.random.default_rng(abs(seed))
    pairs = select_pairs(count, "window", width=width)
    used = rng.random(len(pairs)) < part
    readable = rng.random(count) > 0.1
    used &= readable[pairs].all(axis=1)
    added = chosen(pairs, used, count, budget, readable)
    assert len(added) == len(set(added)) <= budget
    assert not set(added) & {tuple(pair) for pair in pairs.tolist()}
    assert all(one < other and readable[one] and readable[other] for one, other in added)
    assert added == chosen(pairs, used, count, budget, readable)
    larger = chosen(pairs, used, count, budget + 5, readable)
    assert larger[: len(added)] == added


# A series that falls apart: frames of another scene in a row, as many as the window is wide.

COUNT, BAD = 24, (10, 11, 12)


def broken_series(seed: int = 3):
    rng = np.random.default_rng(seed)
    shift = np.cumsum(rng.uniform(-1.5, 2, (COUNT, 2)), axis=0)
    shift -= shift[0]
    scene = Scene(2)
    frames = np.stack([scene.view((96, 96), at) for at in shift])
    for frame in BAD:
        frames[frame] = Scene(100 + frame).view((96, 96), (0, 0))
    frames = 1000 + 200 * (frames + rng.normal(0, 0.3, frames.shape))
    return frames.astype(np.uint16), shift


def settings_at(folder, **pairs):
    folder.mkdir(exist_ok=True)
    write_stack(folder / "stack.zarr", broken_series()[0])
    text = {
        "input": {"path": "stack.zarr"},
        "register": {"max_shift": 16},
        "pairs": {"width": 3, **pairs},
        "cluster": {"kind": "in-process"},
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(text))
    return CONFIG(folder / "run.yaml")


def test_a_series_that_falls_apart_is_joined():
    frames, shift = broken_series()
    options = {"strategy": "window", "width": 3}
    apart = steadystack.estimate_shifts(frames, max_shift=16, pairs=options)
    joined = steadystack.estimate_shifts(frames, max_shift=16, pairs={**options, "extra": 0.5})
    assert int(apart["component"].max()) == 1
    assert int(joined["component"].max()) == 0
    good = np.setdiff1d(np.arange(COUNT), BAD)
    errors = joined["shift"].to_numpy()[good] - shift[good]
    assert np.abs(errors).max() < 0.1
    assert set(np.flatnonzero(joined["component"] == LONE)) == set(BAD)
    first = apart.sizes["pair"]
    assert first < joined.sizes["pair"] <= 1.5 * first
    rows = slice(first)
    for name in ("pair_shift", "pair_ncc", "pair_moving"):
        np.testing.assert_array_equal(joined[name][rows], apart[name])
    across = (joined["pair_reference"] < BAD[0]) & (joined["pair_moving"] > BAD[-1])
    assert int(across.sum()) >= CUT_PAIRS


def test_a_strong_series_gets_no_second_round():
    frames, _ = broken_series()
    good = frames[: BAD[0]]
    found = steadystack.estimate_shifts(good, max_shift=16, pairs={"width": 3, "extra": 1.0})
    assert found.sizes["pair"] == len(select_pairs(len(good), "window", width=3))


class Stopped(Exception):
    pass


@pytest.mark.parametrize(
    ("at", "suffix"), [(20, ".zarr"), (66, ".zarr"), (72, ".zarr"), (72, ".nc")]
)
def test_a_run_stopped_in_either_round_goes_on_to_the_same_rows(tmp_path, monkeypatch, at, suffix):
    monkeypatch.setattr("steadystack.measure.budget.TASK_PIXELS", 1e5)  # some pairs are a task
    config = settings_at(tmp_path / "one", extra=0.4)
    output = config.output.model_copy(update={"shifts": str(tmp_path / f"one/shifts{suffix}")})
    config = config.model_copy(update={"output": output})
    whole = stages.run(settings_at(tmp_path / "two", extra=0.4))
    assert at < whole.sizes["pair"]

    def stop(done, total):
        if done >= at:
            raise Stopped

    with pytest.raises(Stopped):
        stages.run(config, progress=stop)
    left = load_shifts(config.output.shifts)
    resumed = stages.run(config)
    assert left.attrs["fingerprint"] == resumed.attrs["fingerprint"]
    for name in whole.data_vars:
        np.testing.assert_array_equal(resumed[name], whole[name], err_msg=str(name))
    assert stages.verdict(resumed) == stages.verdict(whole)


def test_a_second_round_can_be_asked_for_later(tmp_path, monkeypatch):
    without_it = stages.run(settings_at(tmp_path))
    config = settings_at(tmp_path, extra=0.4)
    with_it = stages.run(config)
    assert with_it.sizes["pair"] > without_it.sizes["pair"]
    assert with_it.attrs["fingerprint"] == without_it.attrs["fingerprint"]
    assert not (tmp_path / "shifts.zarr.before").exists()
    monkeypatch.setattr("steadystack.readers.frames.StackFrames.read", None)
    again = stages.measure(config)
    assert again.sizes["pair"] == with_it.sizes["pair"]
    assert stages.plan(config).extra_pairs == np.ceil(0.4 * without_it.sizes["pair"])


def test_a_budget_is_no_negative_number():
    with pytest.raises(InputError, match=r"pairs\.extra"):
        steadystack.estimate_shifts(broken_series()[0], max_shift=16, pairs={"extra": -0.1})


def test_the_budget_is_no_part_of_the_fingerprint():
    digest = "of an input"
    for pairs in ({}, {"width": 3}, {"strategy": "lags"}):
        prints = {
            make_config({"input": {"path": "a"}, "pairs": {**pairs, **extra}}).fingerprint(digest)
            for extra in ({}, {"extra": 0.2}, {"extra": 0.0})
        }
        assert len(prints) == 1, pairs
