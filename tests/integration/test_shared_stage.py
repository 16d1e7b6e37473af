"""Positions that share a stage: one set of shifts for all by the command, and `correct` with it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml

import steadystack
from steadystack import stages
from steadystack.config import load_config
from steadystack.model import FrameStatus, InputError
from support.runs import leave_out_checks
from support.scenes import Scene
from support.sessions import write_session
from support.shell import shell

# One process of tests makes what they share.
pytestmark = [
    pytest.mark.usefixtures("no_look_at_what_stands_still"),
    pytest.mark.xdist_group("shared stage"),
]

COUNT, EMPTY, SEED = 8, slice(3, 5), 40
SHAPES = {"A1": (56, 60), "A2": (56, 60), "B1": (48, 64), "B2": (56, 60)}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Settings of four positions: A2 is empty in two frames, B2 drifts by itself."""
    folder, rng = tmp_path_factory.mktemp("plate"), np.random.default_rng(5)
    truth = np.cumsum(rng.normal(0, 0.6, (COUNT, 2)), axis=0)
    paths = {}
    for seed, (name, shape) in enumerate(SHAPES.items()):
        scene, own = (
            Scene(SEED + seed, waves=80),
            np.linspace(0, 3, COUNT)[:, None] * (name == "B2"),
        )
        frames = np.stack([scene.view(shape, shift) for shift in truth + own])
        frames = 1000 + 100 * (frames + rng.normal(0, 0.6, frames.shape))
        if name == "A2":
            frames[EMPTY] = 1000
        paths[name] = write_session(folder, name, frames)
        with pytest.MonkeyPatch.context() as monkeypatch:
            leave_out_checks(monkeypatch, ("fixed_pattern", "probe_pairs", "sharpness"))
            run(paths[name])
    return folder, paths, truth - truth[0], truth[0]


def run(path):
    stages.run(load_config(path))


def read(path):
    return xr.open_zarr(path).load()


def test_all_positions_get_one_set_of_shifts(finished, tmp_path):
    folder, paths, truth, _ = finished
    before = {name: read(folder / f"{name}-shifts.zarr") for name in paths}
    output, each = tmp_path / "joined.zarr", tmp_path / "joined"
    command = ["join", *paths.values(), "--shared-drift", "--output", output, "--each", each]
    done = shell(*command)
    assert done.exit_code == 0, done.output
    assert "A2: " in done.output
    assert "; 2 of 8 frames from others alone" in done.output
    assert "B2: goes its own way and is not used, " in done.output
    assert f"8 frames of 4 series -> {output}: check" in done.output
    joined = read(output)
    assert joined["frame_shift"].shape == (COUNT, 2)
    error = joined["frame_shift"].to_numpy() - truth
    assert np.abs(error).max() < 0.12
    ratio = error[1:] / joined["frame_shift_std"].to_numpy()[1:]
    assert 0.4 < np.sqrt(np.mean(ratio**2)) < 1.8
    assert joined["series"].to_numpy().tolist() == list(paths)
    assert joined["series_agrees"].to_numpy().tolist() == [1, 1, 1, 0]
    assert not joined["series_weight"].sel(series="B2").any()
    assert not joined["series_weight"].sel(series="A2")[EMPTY].any()
    assert np.isnan(joined["series_residual"].sel(series="A2")[EMPTY]).all()
    np.testing.assert_allclose(joined["series_weight"].sum("series"), 1)
    told = {one["name"]: one for one in json.loads(joined.attrs["series"])}
    assert (told["A2"]["frames_of_others"], told["B2"]["agrees"]) == (2, False)
    assert 0.5 < told["B2"]["rms_px"] < 2
    reasons = json.loads(joined.attrs["verdict_reasons"])
    assert [one["code"] for one in reasons] == ["own_drift"]
    assert reasons[0]["words"].startswith("B2 goes its own way, by ")
    for name, dataset in before.items():  # nothing of the runs is changed
        assert read(folder / f"{name}-shifts.zarr").identical(dataset)
        own = read(each / f"{name}.zarr")
        np.testing.assert_array_equal(own["frame_shift"], joined["frame_shift"])
        np.testing.assert_array_equal(own["frame_shift_std"], joined["frame_shift_std"])
        assert (own["frame_status"] == FrameStatus.OK.code).all()
        assert (own["component"] == 0).all()
        np.testing.assert_array_equal(own["pair_shift"], dataset["pair_shift"])
        assert json.loads(own.attrs["shared_drift"])["path"] == str(output)
        assert own.attrs["verdict"] == ("check" if name == "B2" else "good")
    again = shell(*command)
    assert (again.exit_code, "replace it with --overwrite" in again.output) == (2, True)
    assert shell(*command, "--overwrite").exit_code == 0
    exported = shell("export", output, tmp_path / "shifts.csv")
    assert (exported.exit_code, "holds several series" in exported.output) == (2, True)
    over = ["--overwrite", "--output", folder / "A1-shifts.zarr"]
    own = shell("join", paths["A2"], paths["B1"], "--shared-drift", *over)
    assert (own.exit_code, "holds the shifts of a run" in own.output) == (2, True)


def test_positions_are_corrected_by_it(finished, tmp_path):
    folder, paths, truth, start = finished
    configs = [load_config(paths[name]) for name in ("A1", "A2", "B1")]
    joined = steadystack.join_series(configs, shared_drift=True, each=str(tmp_path / "each"))
    assert steadystack.verdict(joined).trust == joined.attrs["verdict"] == "good"
    settings = yaml.safe_load(Path(paths["A2"]).read_text())
    settings["output"] |= {
        "shifts": str(tmp_path / "each" / "A2.zarr"),
        "mean": str(tmp_path / "A2.npy"),
    }
    (folder / "A2-joined.yaml").write_text(yaml.safe_dump(settings))
    assert shell("correct", folder / "A2-joined.yaml").exit_code == 0
    mean = np.load(tmp_path / "A2.npy")
    stack = steadystack.open_stack(str(folder / "A2.zarr"))
    steady = steadystack.correct(stack, joined).to_numpy()
    assert np.isfinite(steady).any(axis=(1, 2)).all()
    scene = Scene(SEED + 1, waves=80).view(SHAPES["A2"], truth[0] + start)
    for image, least in ((mean, 0.9), (steady[-1], 0.7)):
        known = np.isfinite(image)
        assert known.mean() > 0.5
        assert np.corrcoef(image[known], scene[known])[0, 1] > least


def test_what_cannot_share_a_drift_is_refused(finished, tmp_path):
    _, paths, *_ = finished
    first = load_config(paths["A1"])
    short = write_session(tmp_path, "short", np.random.default_rng(1).normal(1e3, 9, (6, 56, 60)))
    run(short)
    with pytest.raises(InputError, match=r"short has 6 frames, and A1 8: .* with input.frames"):
        steadystack.join_series([first, load_config(short)], shared_drift=True)
    with pytest.raises(InputError, match="there is one series"):
        steadystack.join_series([first], shared_drift=True)
    with pytest.raises(InputError, match="B1 has frames of 48 x 64, and A1 56 x 60"):
        steadystack.join_series([first, load_config(paths["B1"])])  # by their means


def test_two_that_contradict_each_other_are_unreliable(finished, tmp_path):
    _, paths, *_ = finished
    output, each = tmp_path / "joined.zarr", tmp_path / "each"
    command = ["join", paths["A1"], paths["B2"], "--shared-drift", "--output", output]
    done = shell(*command, "--each", each)
    assert (done.exit_code, "0 of 2 positions agree" in done.output) == (3, True)
    joined = read(output)
    assert np.isnan(joined["frame_shift"]).all()
    assert (joined["frame_status"] == FrameStatus.INCONSISTENT.code).all()
    assert (joined["series_rms"] > 0.3).all()
    assert not (each / "A1.zarr").exists()


def test_a_drift_that_is_hardly_known_is_said_to_be(finished, monkeypatch):
    _, paths, *_ = finished
    configs = [load_config(paths[name]) for name in ("A1", "A2", "B1")]
    monkeypatch.setattr("steadystack.joining.shared_dataset.LARGE_ERROR_PX", 0.001)
    joined = steadystack.join_series(configs, shared_drift=True)
    reasons = json.loads(joined.attrs["verdict_reasons"])
    assert (joined.attrs["verdict"], reasons[0]["code"]) == ("check", "large_errors")
    assert "the shared drift is known only to about 0.0 px" in reasons[0]["words"]
    monkeypatch.undo()
    monkeypatch.setattr("steadystack.joining.shared_dataset.FAR_OFF", 0.01)
    reasons = json.loads(steadystack.join_series(configs, shared_drift=True).verdict_reasons)
    assert {one["code"] for one in reasons} == {"own_drift"}
    assert "A1 differs from the shared drift by 0." in reasons[0]["words"]
