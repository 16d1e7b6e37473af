"""What is known of shifts before: searches centred on it find what wide ones find."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from itertools import product

import numpy as np
import pytest
from click.testing import CliRunner

from steadystack import guide, stages
from steadystack.cli import main
from steadystack.config import load_config, make_config
from steadystack.dataset import save_shifts
from steadystack.measure import measure_pairs
from steadystack.model import InputError, PairStatus, PairTable, as_stack
from steadystack.outputs import write_stack
from steadystack.planning import make_series, open_series, set_up
from steadystack.readers import ArrayFrames
from steadystack.stages import estimate_shifts as estimate
from support.members import slow_but
from support.scenes import Scene, ellipse
from support.settings import write_run

WIDE = 30


def series(ndim: int, count: int = 9, noise: float = 0.2):
    """Frames of a scene that jumps; the shifts that lay them on frame 0."""
    return tuple(array.copy() for array in made_series(ndim, count, noise))


@cache
def made_series(ndim: int, count: int, noise: float):
    rng = np.random.default_rng(ndim)
    shape = (96, 80) if ndim == 2 else (12, 48, 40)
    steps = rng.uniform(-9, 9, (count, ndim)) * ([1, 1] if ndim == 2 else [0.15, 0.9, 0.9])
    shift = np.cumsum(steps, axis=0)
    shift -= shift[0]
    scene = Scene(1, ndim, detail=2.0)
    frames = np.stack([scene.view(shape, at) for at in shift])
    return (frames + rng.normal(0, noise, frames.shape)).astype(np.float32), shift


def masks_of(kind: str, frames: np.ndarray):
    shape, rng = frames.shape[1:], np.random.default_rng(5)
    if kind == "none":
        return None
    if kind == "static":
        return ellipse(shape)
    if kind == "few dead":
        return ellipse(shape) & (rng.random(frames.shape) > 0.002)
    return ellipse(shape) & (rng.random(frames.shape) > 0.2)


def measured(frames, mask, bounds, initial_shifts=None, tile=None, cell=None):
    register = {"max_shift": bounds, "fft_tile": tile}
    config = make_config({"input": {"path": "memory"}, "register": register, "pairs": {"width": 3}})
    source = ArrayFrames.checked(as_stack(frames), mask)
    setup = set_up(config, make_series(source, initial_shifts))
    method = setup.method
    if cell is not None:
        method = replace(method, cell=(cell,) * (frames.ndim - 1))
    table = PairTable.unmeasured(setup.pairs, source.frame_count, frames.ndim - 1)
    *_, (table, _) = measure_pairs(source, table, method, setup.size)
    return table


# How it is searched, what the masks are, and the number of axes.
SEARCHES = list(
    product(
        ["whole", "tiles", "one cell", "cells"], ["none", "static", "few dead", "per frame"], [2, 3]
    )
)
USUAL_SEARCHES = [
    (how, kind, ndim)
    for how, kind, ndim in SEARCHES
    if (ndim == 2 and (how == "cells" or kind == "static")) or (how, kind) == ("tiles", "static")
]


@cache
def measured_wide(ndim, kind, tile):
    frames, _ = series(ndim)
    bounds = WIDE if ndim == 2 else [6, WIDE, WIDE]
    return measured(frames, masks_of(kind, frames), bounds, tile=tile)


@pytest.mark.parametrize(("how", "kind", "ndim"), slow_but(USUAL_SEARCHES, SEARCHES))
def test_a_search_around_the_prior_finds_what_a_wide_one_finds(ndim, kind, how):
    frames, shift = series(ndim)
    mask = masks_of(kind, frames)
    near = 4 if ndim == 2 else [2, 4, 4]
    tile = 32 if how == "tiles" else None
    cell = {"one cell": 101, "cells": 5}.get(how)
    rng = np.random.default_rng(7)
    initial_shifts = shift + rng.uniform(-1, 1, shift.shape) * (
        [1.5, 1.5] if ndim == 2 else [0.5, 1.5, 1.5]
    )
    wide = measured_wide(ndim, kind, tile)
    close = measured(frames, mask, near, initial_shifts, tile, cell)
    true = shift[wide.moving] - shift[wide.reference]
    comparable = wide.ok & (np.abs(wide.shift - true).max(axis=1) < 0.2)
    assert comparable.mean() > 0.85
    assert close.ok[comparable].all()
    np.testing.assert_allclose(close.shift[comparable], wide.shift[comparable], atol=2e-4)
    np.testing.assert_allclose(close.shift_std[comparable], wide.shift_std[comparable], rtol=0.02)
    np.testing.assert_allclose(close.ncc[comparable], wide.ncc[comparable], atol=2e-5)
    np.testing.assert_allclose(close.overlap[comparable], wide.overlap[comparable], rtol=1e-6)


def test_a_prior_of_zeros_changes_no_number():
    frames, _ = series(2)
    mask = masks_of("static", frames)
    plain = measured(frames, mask, WIDE)
    zeros = measured(frames, mask, WIDE, np.zeros((len(frames), 2)))
    for name in ("shift", "shift_std", "ncc", "second_peak_ratio", "overlap", "status"):
        np.testing.assert_array_equal(getattr(zeros, name), getattr(plain, name))


@pytest.mark.parametrize("kind", slow_but(["static", "per frame"], ["none", "static", "per frame"]))
def test_frames_in_blocks(monkeypatch, kind):
    frames, shift = series(2)
    mask = masks_of(kind, frames)
    initial_shifts = shift + np.random.default_rng(0).uniform(-1.5, 1.5, shift.shape)
    whole = measured(frames, mask, 4, initial_shifts)
    monkeypatch.setattr("steadystack.ncc.tiles.BLOCK_PIXELS", 2048)
    cut = measured(frames, mask, 4, initial_shifts)
    assert whole.ok.all()
    assert cut.ok.all()
    np.testing.assert_allclose(cut.shift, whole.shift, atol=2e-4)
    np.testing.assert_allclose(cut.overlap, whole.overlap)


def test_what_lies_beyond_the_window_is_at_its_bound_or_not_found():
    frames, shift = series(2)
    initial_shifts = shift.copy()
    initial_shifts[4:] += [7.0, 0.0]  # all pairs across are looked for 7 px off
    found = measured(frames, None, 4, initial_shifts)
    across = (found.reference < 4) & (found.moving >= 4)
    assert found.ok[~across].all()
    assert not found.ok[across].any()
    assert (found.status[across] == PairStatus.AT_SEARCH_LIMIT.code).any()


def test_frames_that_do_not_touch_by_the_prior_are_not_looked_at():
    frames, shift = series(2)
    initial_shifts = shift.copy()
    initial_shifts[4:] += [500.0, 0.0]
    found = measured(frames, None, 4, initial_shifts)
    across = (found.reference < 4) & (found.moving >= 4)
    assert found.ok[~across].all()
    assert (found.status[across] == PairStatus.LOW_OVERLAP.code).all()
    with pytest.raises(InputError, match=r"do not overlap: check initial_shifts\.unit"):
        measured(frames, None, 4, 1000 * np.arange(len(frames))[:, None] * np.ones(2))


@pytest.mark.slow
def test_what_stands_still_is_in_the_camera_whatever_the_prior_is():
    frames, shift = series(2, count=30)
    frames += 0.5 * Scene(9).view(frames.shape[1:], (0, 0)).astype(np.float32)
    initial_shifts = shift + np.random.default_rng(2).uniform(-1, 1, shift.shape)
    options = {"pairs": {"width": 3}}
    wide = estimate(frames, max_shift=WIDE, **options)
    near = estimate(frames, max_shift=4, initial_shifts=initial_shifts, **options)
    effects = [json.loads(one.attrs["fixed_pattern_effect"]) for one in (wide, near)]
    assert effects[0]["certain"]
    for key, value in effects[0].items():
        assert effects[1][key] == pytest.approx(value, rel=1e-3)
    cured = estimate(
        frames,
        max_shift=4,
        initial_shifts=initial_shifts,
        preprocess={"fixed_pattern": "estimate"},
        **options,
    )
    errors = [np.abs(one["frame_shift"].to_numpy() - shift).max() for one in (near, cured)]
    assert errors[1] < 0.1 < errors[0]


@pytest.mark.usefixtures("no_look_at_what_stands_still")
def test_the_second_pass_goes_with_a_prior():
    frames, shift = series(2, count=16, noise=1.0)
    initial_shifts = shift + np.random.default_rng(2).uniform(-1, 1, shift.shape)
    errors = []
    for polish in (0, 1):
        found = estimate(
            frames,
            initial_shifts=initial_shifts,
            max_shift=4,
            pairs={"width": 3},
            solve={"refine": polish},
        )
        errors.append(np.sqrt(np.mean((found["frame_shift"].to_numpy() - shift) ** 2)))
    assert errors[1] < errors[0] < 0.2


@pytest.mark.usefixtures("no_look_at_what_stands_still")
def test_a_second_round_looks_where_the_prior_says():
    frames, shift = series(2, count=20)
    for bad in (9, 10, 11):
        frames[bad] = Scene(50 + bad).view(frames.shape[1:], (0, 0))
    initial_shifts = shift + np.random.default_rng(2).uniform(-1, 1, shift.shape)
    found = estimate(
        frames, initial_shifts=initial_shifts, max_shift=4, pairs={"width": 3, "extra": 0.5}
    )
    good = np.setdiff1d(np.arange(20), [9, 10, 11])
    assert (found["component"][good] == 0).all()
    assert np.abs(found["frame_shift"].to_numpy() - shift)[good].max() < 0.1


# In files: the keys of the section, and what is wrong with them


def run_at(folder, initial_shifts, text=None, **sections):
    frames, shift = series(2)
    write_stack(folder / "stack.zarr", frames, pixel_size=(0.5, 0.25))
    if text is not None:
        (folder / "positions.csv").write_text(text)
    usual = {
        "register": {"max_shift": 4},
        "pairs": {"width": 3},
        "initial_shifts": {"path": "positions.csv", **initial_shifts},
    }
    return load_config(write_run(folder, **usual | sections)), shift


def lines(heading, values, separator=","):
    rows = [separator.join(f"{v:.3f}" for v in row) for row in values]
    return "\n".join([separator.join(heading), *rows]) + "\n"


@pytest.mark.parametrize(
    ("keys", "write"),
    [
        pytest.param({}, lambda s: lines(["y", "x"], s), marks=pytest.mark.slow),
        pytest.param({}, lambda s: lines(["X", "Y"], s[:, ::-1], ";"), marks=pytest.mark.slow),
        ({"kind": "drift"}, lambda s: lines(["y", "x"], -s, "\t")),
        pytest.param(
            {"unit": "um"},
            lambda s: lines(["y", "x"], s * [0.5, 0.25]),
            marks=pytest.mark.slow,
        ),
        ({"unit": "nm", "scale": [-1, 1]}, lambda s: lines(["y", "x"], s * [-500, 250])),
        ({"columns": ["stage v", "stage u"]}, lambda s: lines(["stage u", "stage v"], s[:, ::-1])),
        pytest.param(
            {},
            lambda s: lines(["frame", "y", "x"], np.column_stack([range(len(s)), s])[::-1]),
            marks=pytest.mark.slow,
        ),
        (
            {"missing": "interpolate"},
            lambda s: lines(["y", "x"], s).replace(
                "\n" + lines(["y", "x"], s).split("\n")[4], "\n,"
            ),
        ),
    ],
)
@pytest.mark.usefixtures("no_look_at_what_stands_still")
def test_positions_in_a_text_file(tmp_path, keys, write):
    config, shift = run_at(tmp_path, keys, write(series(2)[1]))
    known = open_series(config)[0].initial_shifts
    rows = np.arange(len(shift)) != 3 if keys.get("missing") else slice(None)
    np.testing.assert_allclose(known[rows], shift[rows], atol=0.01)
    if keys.get("missing"):
        np.testing.assert_allclose(known[3], (shift[2] + shift[4]) / 2, atol=0.01)
    else:
        found = stages.run(config)
        assert np.abs(found["frame_shift"].to_numpy() - shift).max() < 0.1
        assert (
            "around the initial shifts"
            in CliRunner().invoke(main, ["plan", str(tmp_path / "run.yaml")]).output
        )
        assert dict(guide.check(config))["initial shifts"].endswith("counts from them")


@pytest.mark.parametrize(
    ("keys", "text", "words"),
    [
        ({}, "y,x\n1,2\n", "1 lines for 9 frames"),
        ({}, "y,x\n" + "1,2\n" * 10, "line 11: more lines than the 9 frames"),
        ({}, "y,x\n1,2\n\n1,two\n", "line 4: 'two' is not a number"),
        ({}, "y,x\n1,inf\n", "line 2: 'inf' is not a position"),
        ({}, "a,b\n1,2\n", "no column 'y', but a, b"),
        ({}, "y,y,x\n1,2,3\n", "several columns 'y'"),
        ({}, "", "is empty"),
        ({}, "frame,y,x\n9,1,2\n", "'9' is not a frame: frames are 0 to 8"),
        ({}, "frame,y,x\n0,1,2\n0,1,2\n", "frame 0 is already in line 2"),
        ({}, "frame,y,x\n0,1,2\n", r"no value for 8 of 9 frames \(1, 2, .*missing to interp"),
        ({"columns": ["y"]}, "y,x\n1,2\n", "1 names for the axes y, x"),
        ({"scale": [1.0, 2.0, 3.0]}, "y,x\n" + "1,2\n" * 9, "3 values for the axes y, x"),
        ({"scale": 0}, "", "scale 0.0 must not be 0"),
        ({"unit": "mile"}, "", "'mile' is neither px nor"),
        ({"path": "nowhere.csv"}, "", "cannot be read"),
        ({"path": "nowhere.zarr"}, "", "does not exist"),
    ],
)
def test_what_is_wrong_with_a_prior_is_said_before_anything_is_read(tmp_path, keys, text, words):
    with pytest.raises(InputError, match=words):
        stages.run(run_at(tmp_path, keys, text)[0])
    assert not (tmp_path / "shifts.zarr").exists()


def test_a_prior_needs_a_bound_around_it_and_a_unit_needs_a_pixel_size(tmp_path):
    text = lines(["y", "x"], series(2)[1])
    with pytest.raises(InputError, match=r"needs register\.max_shift"):
        stages.plan(run_at(tmp_path, {}, text, register={})[0])
    write_stack(tmp_path / "bare.zarr", series(2)[0])
    config, _ = run_at(tmp_path, {"unit": "um"}, text, input={"path": "bare.zarr"})
    with pytest.raises(InputError, match="needs a pixel size"):
        stages.plan(config)


@pytest.mark.usefixtures("no_look_at_what_stands_still")
def test_shifts_of_a_coarser_run(tmp_path):
    """Found at half the resolution; they are in its pixels, twice as large."""
    frames, shift = series(2)
    coarse = frames.reshape(len(frames), 48, 2, 40, 2).mean(axis=(2, 4))
    write_stack(tmp_path / "coarse.zarr", coarse, pixel_size=(1.0, 0.5))
    at_half = write_run(
        tmp_path,
        "coarse",
        input={"path": "coarse.zarr"},
        register={"max_shift": 16},
        output={"shifts": "coarse-shifts.zarr"},
    )
    first = stages.run(load_config(at_half))
    config, _ = run_at(tmp_path, {"path": "coarse-shifts.zarr"})
    known = open_series(config)[0].initial_shifts
    np.testing.assert_allclose(known, 2 * first["frame_shift"], rtol=1e-6)
    found = stages.run(config)
    assert np.abs(found["frame_shift"].to_numpy() - shift).max() < 0.1
    short = first.isel(frame=slice(8))
    save_shifts(short.drop_encoding(), str(tmp_path / "short.zarr"))
    with pytest.raises(InputError, match="has shifts of 8 frames along y, x"):
        stages.plan(run_at(tmp_path, {"path": "short.zarr"})[0])


@pytest.mark.usefixtures("no_look_at_what_stands_still")
def test_other_positions_are_another_run(tmp_path):
    shift = series(2)[1]
    stages.run(run_at(tmp_path, {}, lines(["y", "x"], shift))[0])
    with pytest.raises(InputError, match=r"the contents of initial_shifts\.path [^;]*\.csv\)"):
        stages.run(run_at(tmp_path, {}, lines(["y", "x"], shift + [1, 2] * (shift > 0)))[0])
    with pytest.raises(InputError, match=r"initial_shifts\.kind"):
        stages.run(run_at(tmp_path, {"kind": "drift"}, lines(["y", "x"], shift))[0])


@pytest.mark.usefixtures("no_look_at_what_stands_still")
def test_what_python_takes_as_a_prior():
    frames, shift = series(2)
    first = estimate(frames, max_shift=WIDE, pairs={"width": 2})
    options = {"max_shift": 3, "pairs": {"width": 2}}
    results = [
        estimate(frames, initial_shifts=one, **options)
        for one in (first, first["frame_shift"], shift)
    ]
    for found in results:
        assert np.abs(found["frame_shift"].to_numpy() - shift).max() < 0.1
    with pytest.raises(InputError, match=r"shape \(8, 2\).*\(9, 2\) are needed"):
        estimate(frames, initial_shifts=shift[1:], **options)
    gap = np.where(np.arange(9)[:, None] == 4, np.nan, shift)
    with pytest.raises(InputError, match=r"no value for 1 of 9 frames \(4\)"):
        estimate(frames, initial_shifts=gap, **options)


@pytest.mark.slow  # test_run.py compares clusters by default
def test_a_cluster_finds_the_same(tmp_path):
    text = lines(["y", "x"], series(2)[1])
    here = stages.run(run_at(tmp_path, {}, text)[0])
    cluster = {"kind": "local", "workers": 2}
    config, _ = run_at(tmp_path, {}, text, cluster=cluster, output={"shifts": "other.zarr"})
    there = stages.run(config)
    for name in here.data_vars:
        np.testing.assert_array_equal(there[name], here[name], err_msg=str(name))
