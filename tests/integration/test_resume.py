"""A run goes on where it stopped, and measures nothing twice."""

from __future__ import annotations

import re

import numpy as np
import pytest
import xarray as xr

import steadystack
from steadystack import quality, stages
from steadystack.dataset import load_shifts, save_shifts
from steadystack.model import FrameStatus, PairStatus, Trust
from steadystack.outputs import write_image, write_stack
from steadystack.stages import steps
from support.members import slow_but
from support.runs import SIZE, note_reads, settings, write_inputs
from support.scenes import assert_same_numbers, ellipse


@pytest.fixture(scope="module")
def whole(frames, tmp_path_factory):
    """What a run finds that never stopped."""
    return steadystack.run(settings(write_inputs(tmp_path_factory.mktemp("whole"), frames)))


@pytest.mark.usefixtures("no_look_at_what_stands_still")
def test_an_edited_mask_or_channel_is_another_measurement(folder, frames):
    first = steadystack.run(settings(folder))
    mask = ellipse(SIZE, 0.6)
    write_image(folder / "mask.zarr", mask)
    words = (
        rf"other settings \(the contents of mask\.path {re.escape(str(folder / 'mask.zarr'))}\):"
    )
    with pytest.raises(steadystack.InputError, match=words):
        steadystack.run(settings(folder))
    second = steadystack.run(settings(folder), overwrite=True)
    expected = steadystack.estimate_shifts(
        frames, mask=mask, max_shift=10, pairs={"strategy": "window", "width": 3}
    )
    np.testing.assert_array_equal(second["frame_shift"], expected["frame_shift"])
    assert not np.array_equal(second["frame_shift"], first["frame_shift"])
    write_stack(folder / "stack.zarr", frames[:6].astype("f4"))
    third = steadystack.run(settings(folder), overwrite=True)
    assert (third["frame_status"] == FrameStatus.OK.code).all()
    assert third.sizes["frame"] == 6


@pytest.mark.usefixtures("no_look_at_what_stands_still")
def test_a_run_goes_on_where_it_stopped(folder, whole):
    config = settings(
        folder,
        output={"shifts": "half.zarr"},
        cluster={"kind": "in-process", "task_memory": "860 KiB"},
    )
    measured = []

    def stop_in_the_middle(done, total):
        measured.append(done)
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stages.measure(config, progress=stop_in_the_middle)
    with xr.open_zarr(folder / "half.zarr") as half:
        started = int((half["pair_status"] != 0).sum())
    assert 0 < started < whole.sizes["pair"]
    measured.clear()
    stages.measure(config, progress=lambda done, total: measured.append(done))
    assert measured[0] == started
    assert_same_numbers(whole, stages.solve(config))


@pytest.mark.usefixtures("no_look_at_what_stands_still")
@pytest.mark.parametrize("is_killed", [False, True])
def test_what_was_measured_stays_where_the_solve_ends_early(folder, whole, monkeypatch, is_killed):
    """The dataset is not saved between measuring and solving: the journal holds the rows."""
    config = settings(folder, output={"shifts": "half.zarr"})

    def end(*arguments):
        raise MemoryError

    with monkeypatch.context() as broken:
        broken.setattr("steadystack.stages.solving.solve_series", end)
        if is_killed:  # nothing can be saved any more
            broken.setattr("steadystack.stages.solving.save_over_journal", end)
        with pytest.raises(MemoryError):
            steadystack.run(config)
    with xr.open_zarr(folder / "half.zarr") as left:
        is_measured = left["pair_status"].values != PairStatus.UNMEASURED.code
    assert is_measured.any() != is_killed
    assert is_measured.all() != is_killed
    monkeypatch.setattr("steadystack.stages.measuring.measure_pairs", None)
    found = steadystack.run(config)
    assert_same_numbers(whole, found)
    assert not list(folder.glob("*.journal*")) + list(folder.glob(".*journal*"))


def test_a_finished_run_measures_nothing_again(folder, monkeypatch):
    config = settings(folder)
    steadystack.run(config)
    monkeypatch.setattr("steadystack.stages.measuring.measure_pairs", None)
    read = note_reads(monkeypatch)
    stages.run(config)
    assert sorted(read) == [0, 6, 11]  # whether they are the same still


def test_robust_and_interpolation_are_changed_without_measuring(folder, frames, monkeypatch):
    dark = frames.copy()
    dark[6] = 7
    write_stack(folder / "stack.zarr", dark)
    config = settings(folder, output={"shifts": "shifts.zarr"})
    stages.measure(config)
    measured = load_shifts(config.output.shifts)
    measured["pair_shift"][4] += 7  # a wrong one
    save_shifts(measured, config.output.shifts)
    monkeypatch.setattr("steadystack.stages.measuring.measure_pairs", None)
    read = note_reads(monkeypatch)

    robust = stages.solve(config)
    assert robust["pair_status"][4] == PairStatus.REJECTED.code
    assert robust["pair_weight"][4] == 0
    np.testing.assert_allclose(robust["pair_residual"][4], 7, atol=0.3)
    assert robust["frame_status"][6] == FrameStatus.FLAT.code
    said = quality.verdict(robust)
    assert said.trust is Trust.GOOD  # the others are none the worse for it
    assert said.reasons == ("1 of 12 frames have no shift: 1 flat",)

    plain = stages.run(settings(folder, solve={"robust": False, "interpolate": "spline"}))
    assert plain["pair_status"][4] == PairStatus.OK.code
    assert plain["frame_status"][6] == FrameStatus.INTERPOLATED.code
    assert plain["frame_read_status"][6] == FrameStatus.FLAT.code
    assert np.isfinite(plain["frame_shift"]).all()
    assert "1 interpolated" in plain.attrs["verdict_reasons"]
    assert np.abs(plain["frame_shift"] - robust["frame_shift"]).max() > 0.5

    assert_same_numbers(robust, stages.solve(config))
    assert_same_numbers(robust, xr.load_dataset(config.output.shifts, engine="zarr"))
    assert set(read) == {0, 5, 6, 11}  # whether these are the same still, and 6 is flat still


@pytest.mark.usefixtures("no_look_at_what_stands_still")
def test_a_list_of_pairs_is_measured(folder, frames):
    listed = [[0, 3], [3, 7], [11, 7], [0, 11]]
    (folder / "pairs.csv").write_text(
        "reference,moving\n" + "\n".join(f"{one}, {two}" for one, two in listed)
    )
    from_file = settings(folder, pairs={"strategy": "list", "path": "pairs.csv"})
    found = stages.run(from_file)
    pairs = np.stack([found["pair_reference"], found["pair_moving"]], axis=1).tolist()
    assert pairs == sorted(listed)
    here = steadystack.estimate_shifts(
        frames, max_shift=10, mask=ellipse(SIZE, 0.95), pairs={"strategy": "list", "list": listed}
    )
    np.testing.assert_array_equal(here["frame_shift"], found["frame_shift"])
    (folder / "pairs.csv").write_text("0,3\n")
    with pytest.raises(
        steadystack.InputError, match=r"\(the contents of pairs.path [^;]*pairs.csv\)"
    ):
        stages.solve(from_file)
    for text, words in (
        ("0,1\n3\n", "pairs.path: .*line 2: '3' is not a pair"),
        (
            "0,1\n1,12\n",
            r"pairs.path: pair 1, \[1, 12\], has a frame that does not exist: frames are 0 to 11",
        ),
        ("# nothing\n", "pairs.path: no pair is listed"),
    ):
        (folder / "pairs.csv").write_text(text)
        with pytest.raises(steadystack.InputError, match=words):
            stages.run(from_file, overwrite=True)
    (folder / "pairs.csv").unlink()
    with pytest.raises(steadystack.InputError, match=r"pairs.path: .*cannot be read"):
        stages.run(from_file)


@pytest.mark.usefixtures("no_look_at_what_stands_still")
def test_only_the_solve_may_change(folder):
    config = settings(folder)
    first = steadystack.run(config)
    anchored = settings(folder, solve={"anchor": 5})
    again = stages.solve(anchored)
    np.testing.assert_allclose(
        again["frame_shift"], first["frame_shift"] - first["frame_shift"][5], atol=1e-9
    )
    other = settings(folder, register={"max_shift": 9})
    for stage in (stages.run, stages.solve):
        with pytest.raises(
            steadystack.InputError, match=r"register.max_shift 10 -> 9.*steadystack run --overwrite"
        ):
            stage(other)
    steadystack.run(other, overwrite=True)


@pytest.mark.usefixtures("no_look_at_what_stands_still")
@pytest.mark.parametrize("name", ["shifts.nc", "deep/er/shifts.zarr"])
def test_outputs_elsewhere_and_as_netcdf(folder, name):
    found = steadystack.run(settings(folder, output={"shifts": name, "report": "deep/drift.svg"}))
    opened = (
        xr.load_dataset(folder / name)
        if name.endswith(".nc")
        else xr.load_dataset(folder / name, engine="zarr")
    )
    assert_same_numbers(found, opened)
    assert "<svg" in (folder / "deep" / "drift.svg").read_text()


@pytest.mark.usefixtures("no_look_at_what_stands_still")
def test_report_and_solve_know_what_they_belong_to(folder):
    steadystack.run(settings(folder, output={"report": "drift.png"}))
    other = settings(folder, register={"max_shift": 9}, output={"report": "drift.png"})
    with pytest.raises(steadystack.InputError, match="measured with other settings"):
        stages.report(other)
    fresh = settings(folder, output={"shifts": "none.zarr", "report": "drift.png"})
    for stage in (stages.report, stages.solve):
        with pytest.raises(steadystack.InputError, match="measure"):
            stage(fresh)


@pytest.mark.usefixtures("no_look_at_what_stands_still")
@pytest.mark.parametrize("name", slow_but(["drift.png"], ["drift.png", "drift.svg", "drift.html"]))
def test_the_report_is_that_of_the_shifts(folder, name):
    """It is drawn again where they are others, and stays where they are not."""
    page = folder / name
    steadystack.run(settings(folder, output={"report": name}))
    first = page.stat().st_mtime_ns
    steadystack.run(settings(folder, output={"report": name}))
    assert page.stat().st_mtime_ns == first
    anchored = settings(folder, solve={"anchor": 5}, output={"report": name})
    stages.solve(anchored)
    assert page.stat().st_mtime_ns == first
    steadystack.run(anchored)  # solved already
    second = page.stat().st_mtime_ns
    assert second != first
    steadystack.run(anchored)
    assert page.stat().st_mtime_ns == second


@pytest.mark.usefixtures("no_look_at_what_stands_still")
def test_a_report_of_a_run_that_was_stopped_before_it_is_drawn(folder, monkeypatch):
    page = folder / "drift.png"
    steadystack.run(settings(folder, output={"report": page.name}))
    old = page.read_bytes()
    other = settings(folder, register={"max_shift": 9}, output={"report": page.name})
    with monkeypatch.context() as patch:
        patch.setattr(steps, "write_report", stop)
        with pytest.raises(KeyboardInterrupt):
            steadystack.run(other, overwrite=True)
    assert page.read_bytes() == old
    steadystack.run(other)
    assert page.read_bytes() != old


def stop(*_):
    raise KeyboardInterrupt
