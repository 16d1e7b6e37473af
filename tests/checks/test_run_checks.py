"""All checks of a run: the same wherever they are made, and a check that fails is told."""

from __future__ import annotations

import json

import numpy as np
import pytest
import zarr
from distributed import Client, LocalCluster

from bench_verdict import noisy, views, wander
from steadystack.checks import run_checks
from steadystack.checks.run_checks import CHECKED, check_series
from steadystack.config import make_config
from steadystack.measure import measure_pairs
from steadystack.model import PairTable, RunError, as_stack
from steadystack.planning import make_series, open_series, set_up
from steadystack.readers import ArrayFrames


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


@pytest.mark.slow
def test_checks_find_the_same_on_workers_as_in_the_process(tmp_path, frames):
    path = tmp_path / "stack.zarr"
    stack = zarr.create_array(path, shape=frames.shape, chunks=(1, *frames.shape[1:]), dtype="f4")
    stack[:] = frames
    config = make_config(
        {
            "input": {"path": str(path)},
            "register": {"max_shift": 24},
            "output": {"shifts": str(tmp_path / "shifts.zarr")},
        }
    )
    setup = set_up(config, open_series(config)[0])
    table = measure(setup)
    here = check_series(setup, table)
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        there = check_series(setup, table, client)
    assert list(here) == list(CHECKED)
    assert there == here
    assert json.loads(here["local_motion"])["pairs"] == 12
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


def test_a_check_that_cannot_be_made_is_told(frames, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError("nothing to divide by")

    config = make_config({"input": {"path": "memory"}, "register": {"max_shift": 24}})
    setup = set_up(config, make_series(ArrayFrames.checked(as_stack(frames), None)))
    monkeypatch.setattr(run_checks, "check_sharpness", fail)
    with pytest.raises(RunError, match="sharpness_check: ZeroDivisionError: nothing to divide by"):
        check_series(setup, measure(setup))
