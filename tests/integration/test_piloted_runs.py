"""Runs that decide on their conditioning: before measuring, once, and the same in every stage."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import xarray as xr

from steadystack import estimate_shifts, stages
from steadystack.config import make_config
from steadystack.dataset import load_shifts
from steadystack.model import InputError, Pilot
from steadystack.outputs import write_stack
from steadystack.stages import measuring
from support.members import slow_but
from support.smooth import smooth_series

DECIDED = {"low_pass": 2.0, "high_pass": None}


def settings(folder, preprocess=None, shifts="shifts.zarr", memory="2 MiB", **sections):
    return make_config(
        {
            "input": {"path": "stack.zarr"},
            "mask": {"field_of_view": None},  # a matter of its own
            "preprocess": preprocess or {},
            "register": {"max_shift": 12},
            "pairs": {"width": 2},
            "output": {"shifts": shifts},
            "cluster": {"kind": "in-process", "task_memory": memory},
            **sections,
        },
        folder,
    )


@pytest.fixture(scope="module")
def series():
    frames, truth = smooth_series(8)
    return frames[:10, :64, :64].astype("f4"), truth[:10]


@pytest.fixture
def folder(tmp_path, series, no_look_at_what_stands_still):
    write_stack(tmp_path / "stack.zarr", series[0])
    return tmp_path


@pytest.fixture(scope="module")
def whole(series, tmp_path_factory):
    """What a run finds that never stopped."""
    folder = tmp_path_factory.mktemp("whole")
    write_stack(folder / "stack.zarr", series[0])
    return stages.run(settings(folder))


@pytest.fixture
def pilots(monkeypatch):
    """How many pilots have run."""
    ran = []

    def run_pilot(setup, run=measuring.run_pilot):
        ran.append(setup)
        return run(setup)

    monkeypatch.setattr(measuring, "run_pilot", run_pilot)
    return ran


def same_values(one, other):
    for name in one.variables:
        assert one[name].to_numpy().tobytes() == other[name].to_numpy().tobytes(), name


def get_used(dataset):
    preprocess = json.loads(dataset.attrs["configuration"])["preprocess"]
    return {name: preprocess[name] for name in DECIDED}


def test_a_series_that_is_lost_as_it_is_is_found(folder, series, pilots, caplog):
    with caplog.at_level("INFO"):
        found = stages.run(settings(folder))
    error = found["frame_shift"].to_numpy() - series[1]
    assert np.sqrt(np.mean(error**2)) < 1  # of details of 12 to 20 px
    assert get_used(found) == DECIDED
    pilot = Pilot.parse(found.attrs["pilot"])
    assert pilot.trials[0].found < 6 <= pilot.outcome.found
    for line in pilot.describe():
        assert f"pilot: {line}" in caplog.text
    by_hand = stages.run(settings(folder, DECIDED, "by-hand.zarr"))
    same_values(found, by_hand)
    assert found.attrs["fingerprint"] == by_hand.attrs["fingerprint"]
    assert "pilot" not in by_hand.attrs
    assert len(pilots) == 1
    off = stages.run(settings(folder, dict.fromkeys(DECIDED), "off.zarr"))
    assert np.isnan(off["frame_shift"]).any()
    alone = {"field_of_view": None, "pairs": {"width": 2}}
    in_memory = estimate_shifts(series[0], max_shift=12, **alone)
    np.testing.assert_array_equal(in_memory["frame_shift"], found["frame_shift"])
    assert in_memory.attrs["pilot"] == found.attrs["pilot"]


def test_every_stage_goes_by_what_was_decided(folder, pilots):
    measured = stages.measure(settings(folder))
    again = settings(folder, output={"shifts": "shifts.zarr", "report": "page.html"})
    solved = stages.solve(again)
    stages.report(again)
    corrected = {"shifts": "shifts.zarr", "corrected": "corrected.zarr"}
    stages.correct(settings(folder, output=corrected, memory="64 MiB"))
    stages.plan(again)
    stages.run(again)
    assert len(pilots) == 1
    assert solved.attrs["pilot"] == measured.attrs["pilot"]
    page = (folder / "page.html").read_text()
    for line in Pilot.parse(solved.attrs["pilot"]).describe():
        assert line in page
    stages.run(settings(folder), overwrite=True)
    assert len(pilots) == 2


class Stop(BaseException):
    """As a signal does."""


@pytest.mark.parametrize(
    "overwrite", slow_but([True], [False, True])
)  # then beside an older dataset
def test_a_run_that_was_stopped_goes_on_with_what_it_decided(folder, pilots, whole, overwrite):
    if overwrite:  # beside an older dataset
        stages.run(settings(folder, dict.fromkeys(DECIDED)))

    def stop(done, total):
        if done >= 3:
            raise Stop

    with pytest.raises(Stop):
        stages.run(settings(folder), overwrite=overwrite, progress=stop)
    count, begins = len(pilots), []
    found = stages.run(settings(folder), progress=lambda done, total: begins.append(done))
    assert begins[0] >= 3
    assert len(pilots) == count
    same_values(found, whole)


def test_a_pilot_that_is_stopped_leaves_nothing(folder, monkeypatch):
    """The third conditioning is never tried to the end."""
    from steadystack.checks import pilot

    make, made = pilot._make_trial, []

    def stop(*arguments):
        made.append(arguments)
        if len(made) == 3:
            raise Stop
        return make(*arguments)

    monkeypatch.setattr(pilot, "_make_trial", stop)
    with pytest.raises(Stop):
        stages.run(settings(folder))
    assert not (folder / "shifts.zarr").exists()
    found = stages.run(settings(folder))
    assert get_used(found) == DECIDED


@pytest.mark.slow
def test_shares_decide_alike_and_are_gathered(folder, pilots, whole):
    for part in ("1/3", "2/3"):
        stages.measure(settings(folder), batches=part)
    count = len(pilots)
    stages.measure(settings(folder))
    assert len(pilots) == count  # the parts know
    found = stages.run(settings(folder))
    same_values(found, whole)


def test_another_stack_is_not_measured_as_the_first_was(folder, series):
    stages.run(settings(folder))
    with xr.open_zarr(folder / "shifts.zarr") as there:
        assert get_used(there) == DECIDED
    rng = np.random.default_rng(2)
    base = rng.normal(size=(64, 64))
    frames = [np.roll(base, t, 0) + rng.normal(0, 0.1, base.shape) for t in range(6)]
    shutil.rmtree(folder / "stack.zarr")
    write_stack(folder / "stack.zarr", np.stack(frames).astype("f4"))
    with pytest.raises(InputError, match="6 frames instead of 10"):
        stages.run(settings(folder))
    stages.run(settings(folder), overwrite=True)
    found = load_shifts(str(folder / "shifts.zarr"))
    assert get_used(found) == dict.fromkeys(DECIDED)
    assert len(Pilot.parse(found.attrs["pilot"]).trials) == 1


def test_who_sets_a_key_keeps_it(folder):
    found = stages.run(settings(folder, {"high_pass": 25.0}))
    assert get_used(found)["high_pass"] == 25
    trials = Pilot.parse(found.attrs["pilot"]).trials
    assert {trial.high_pass for trial in trials} == {25.0}
    assert len(trials) > 1


def test_camera_images_of_the_stack_leave_all_as_it_is(folder):
    found = stages.run(settings(folder, {"flat_field": "median"}))
    assert get_used(found) == dict.fromkeys(DECIDED)
    assert Pilot.parse(found.attrs["pilot"]).pairs == 0


def test_a_filter_that_does_not_fit_into_the_memory_is_not_taken(folder, caplog, monkeypatch):
    def refuse(setup, pilot, decide=measuring.decide):
        if pilot.chosen:
            raise InputError("cluster.task_memory is too little")
        return decide(setup, pilot)

    monkeypatch.setattr(measuring, "decide", refuse)
    found = stages.run(settings(folder))
    assert get_used(found) == dict.fromkeys(DECIDED)
    assert Pilot.parse(found.attrs["pilot"]).chosen == 0
    assert "pilot: low_pass: 2 is not taken: cluster.task_memory is too little" in caplog.text
