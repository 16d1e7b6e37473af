"""All checks of a run: the same wherever they are made, and one that fails is a finding."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import zarr
from distributed import Client, LocalCluster

import steadystack
from bench_verdict import noisy, views, wander
from steadystack import stages
from steadystack.checks import run_checks
from steadystack.checks.run_checks import (
    CHECKED,
    check_series,
    is_checked,
    read_failed_checks,
)
from steadystack.config import make_config
from steadystack.measure import measure_pairs
from steadystack.model import PairTable, as_stack
from steadystack.planning import make_series, open_series, set_up
from steadystack.readers import ArrayFrames
from support.members import slow_but
from support.scenes import Scene


@pytest.fixture(scope="module")
def frames():
    rng = np.random.default_rng(4)
    frames = noisy(rng, views(rng, wander(rng, 0.4)))
    frames[:, 20:40, 60:90] = np.nan
    return frames


def measure(setup):
    source = setup.series.source
    table = PairTable.unmeasured(setup.pairs, source.frame_count, 2)
    *_, (table, _) = measure_pairs(source, table, setup.method, setup.size)
    return table


def write_stack(folder, frames):
    """Write frames to a Zarr array; the settings of a run of it."""
    path = folder / "stack.zarr"
    stack = zarr.create_array(path, shape=frames.shape, chunks=(1, *frames.shape[1:]), dtype="f4")
    stack[:] = frames
    return make_config(
        {
            "input": {"path": str(path)},
            "register": {"max_shift": 24},
            "cluster": {"kind": "in-process"},
            "output": {"shifts": str(folder / "shifts.zarr"), "report": None},
        }
    )


@pytest.mark.slow
def test_checks_find_the_same_on_workers_as_in_the_process(tmp_path, frames):
    config = write_stack(tmp_path, frames)
    setup = set_up(config, open_series(config)[0])
    table = measure(setup)
    here = check_series(setup, table)
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        there = check_series(setup, table, client)
    assert list(here) == [*CHECKED, "failed_checks"]
    assert there == here
    assert json.loads(here["local_motion"])["pairs"] == 6  # of 12, as no part moves
    assert json.loads(here["probe_check"])["detail_excess"] > 0
    assert json.loads(here["mask_check"])["valid"] == pytest.approx(
        np.isfinite(frames).mean(), abs=0.01
    )


def test_of_many_pairs_some_are_looked_at(frames, monkeypatch):
    config = make_config({"input": {"path": "memory"}, "register": {"max_shift": 24}})
    setup = set_up(config, make_series(ArrayFrames.checked(as_stack(frames), None)))
    table, seen = measure(setup), []
    monkeypatch.setattr(run_checks, "MOST_ROWS", 40)
    monkeypatch.setattr(run_checks, "check_mask", lambda _, table: seen.append(table))
    check_series(setup, table)
    assert table.ok.sum() > 40
    assert len(seen[0].status) == 40
    assert seen[0].ok.all()


def fail(*_):
    raise ZeroDivisionError("nothing to divide by")


def test_a_check_that_fails_costs_no_result(frames, monkeypatch):
    config = make_config({"input": {"path": "memory"}, "register": {"max_shift": 24}})
    setup = set_up(config, make_series(ArrayFrames.checked(as_stack(frames), None)))
    table = measure(setup)
    whole = check_series(setup, table)
    assert is_checked(whole)
    for name in ("check_sharpness", "check_majority", "check_probe_pairs"):
        monkeypatch.setattr(run_checks, name, fail)
    found = check_series(setup, table)
    reason = "ZeroDivisionError: nothing to divide by"
    failed = ["majority_check", "sharpness_check", "probe_check"]
    assert read_failed_checks(found) == dict.fromkeys(failed, reason)
    assert not is_checked(found)
    assert {found[name] for name in failed} == {"null"}
    others = set(CHECKED) - set(failed)
    assert {name: found[name] for name in others} == {name: whole[name] for name in others}


@pytest.fixture(scope="module")
def failed_once(tmp_path_factory, frames):
    """Settings and shifts of a run of which a check failed, and a copy of the dataset."""
    folder = tmp_path_factory.mktemp("failed")
    config = write_stack(folder, frames)
    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(run_checks, "check_sharpness", fail)
        shifts = steadystack.run(config)
    return config, shifts, shutil.copytree(config.output.shifts, folder / "kept.zarr")


@pytest.fixture
def failed(failed_once):
    """The same, as it was on disk."""
    config, shifts, kept = failed_once
    shutil.rmtree(config.output.shifts)
    shutil.copytree(kept, config.output.shifts)
    return config, shifts


@pytest.mark.xdist_group("failed checks")
def test_a_run_with_a_failed_check_is_to_be_looked_at_and_checks_again(failed):
    config, shifts = failed
    assert shifts.attrs["verdict"] == "check"
    (reason,) = json.loads(shifts.attrs["verdict_reasons"])
    assert reason["code"] == "failed_checks"
    assert "sharpness of the mean could not be checked (ZeroDivisionError" in reason["words"]
    again = steadystack.run(config)
    assert read_failed_checks(again.attrs) == {}
    assert again.attrs["verdict"] == "good"
    assert again.frame_shift.equals(shifts.frame_shift)


@pytest.mark.xdist_group("failed checks")
@pytest.mark.parametrize("how", ["solved again", "measured again", "edited"])
def test_a_failed_check_is_made_again_where_that_loses_nothing(failed, how):
    config, shifts = failed
    if how == "edited":
        moved = shifts.frame_shift + 1
        steadystack.edit_shifts(shifts, moved, path=config.output.shifts)
        found = steadystack.run(config)
        assert found.frame_shift.equals(moved)
        assert list(read_failed_checks(found.attrs)) == ["sharpness_check"]
    elif how == "measured again":
        assert stages.measure(config).frame_shift.equals(shifts.frame_shift)
    else:
        found = stages.solve(config)
        assert found.attrs["verdict"] == "good"
        assert read_failed_checks(found.attrs) == {}


@pytest.mark.parametrize("dtype", slow_but(["f2", "?"], ["f2", "?", "g", ">f2"]))
def test_checks_are_made_of_any_numbers(dtype):
    """Most of SciPy's filters know neither half precision nor booleans."""
    rng, scene = np.random.default_rng(1), Scene(3)
    frames = np.stack([scene.view((96, 96), (0.7 * i, 0.5 * i)) for i in range(18)])
    frames += 0.1 * rng.normal(size=frames.shape)
    frames = frames > 0.3 if dtype == "?" else (100 + 20 * frames).astype(dtype)
    found = steadystack.estimate_shifts(frames, max_shift=16)
    assert json.loads(found.attrs["failed_checks"]) == {}
    np.testing.assert_allclose(found["frame_shift"][-1], (0.7 * 17, 0.5 * 17), atol=0.1)
