"""Sessions that were run by themselves, joined by the command; and corrected on one grid."""

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
from steadystack.model import FrameStatus, InputError, OutsideOutcome
from support.runs import leave_out_checks
from support.scenes import Scene, ellipse
from support.sessions import COUNT, SIZE, session, write_session
from support.shell import shell

# One process of tests makes what they share.
pytestmark = [pytest.mark.usefixtures("unchecked"), pytest.mark.xdist_group("sessions")]

SESSIONS = {"monday": (1, (0, 0), 1.0, 0.3), "friday": (1, (9.3, -6.1), 2.5, 0.8)}
MASK = ellipse(SIZE, 0.95)
OTHER = {"other": (55, (0, 0), 1.0, 0.5)}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Settings of runs that are measured and solved, and the true shifts of each."""
    folder, rng = tmp_path_factory.mktemp("sessions"), np.random.default_rng(0)
    paths, truths = {}, {}
    with pytest.MonkeyPatch.context() as monkeypatch:
        leave_out_checks(monkeypatch)
        for name, (seed, *of_session) in (SESSIONS | OTHER).items():
            frames, truths[name] = session(Scene(seed, waves=120), rng, *of_session)
            paths[name] = write_session(folder, name, frames)
            measure_and_solve(load_config(paths[name]))
    return folder, paths, truths


def measure_and_solve(config):
    stages.measure(config)
    stages.solve(config)


def read(path):
    return xr.open_zarr(path).load()


def test_sessions_are_joined_by_the_command(finished, tmp_path):
    folder, paths, truths = finished
    before = {name: read(folder / f"{name}-shifts.zarr") for name in paths}
    output, each = tmp_path / "joined.zarr", tmp_path / "each"
    done = shell("join", *paths.values(), "--output", output, "--each", each)
    assert done.exit_code == 0, done.output
    assert "other: not joined (disconnected)" in done.output
    joined = read(output)
    assert joined["series"].to_numpy().tolist() == np.repeat(list(paths), COUNT).tolist()
    for name in SESSIONS:
        mine = joined.isel(frame=(joined["series"] == name).to_numpy())
        assert mine["frame"].to_numpy().tolist() == list(range(COUNT))
        error = mine["frame_shift"].to_numpy() - (truths[name] - truths["monday"][0])
        assert np.abs(error).max() < 0.15
        assert (mine["frame_shift_std"] > 0).all()
        own = read(each / f"{name}.zarr")
        np.testing.assert_array_equal(own["frame_shift"], mine["frame_shift"])
        np.testing.assert_array_equal(own["frame_shift_std"], mine["frame_shift_std"])
        assert OutsideOutcome.of(own.attrs).path == str(output)
    np.testing.assert_allclose(
        joined["frame_shift"][:COUNT], before["monday"]["frame_shift"], atol=1e-9
    )
    lost = joined.isel(frame=(joined["series"] == "other").to_numpy())
    assert np.isnan(lost["frame_shift"]).all()
    assert (lost["frame_status"] == FrameStatus.DISCONNECTED.code).all()
    assert (joined.attrs["verdict"], not (each / "other.zarr").exists()) == ("check", True)
    assert [run["name"] for run in json.loads(joined.attrs["series"])] == list(paths)
    for name, dataset in before.items():  # nothing of the runs is changed
        assert read(folder / f"{name}-shifts.zarr").identical(dataset)
    exported = shell("export", output, tmp_path / "shifts.csv")
    assert (exported.exit_code, "holds several series" in exported.output) == (2, True)
    with pytest.raises(InputError, match="this one has no object_position"):
        steadystack.edit_shifts(joined, joined["frame_shift"])
    fewer = ["join", paths["monday"], paths["other"], "--each", each, "--output"]
    assert shell(*fewer, tmp_path / "fewer.zarr").exit_code == 2
    assert shell(*fewer, tmp_path / "fewer.zarr", "--overwrite").exit_code == 3
    assert not (each / "monday.zarr").exists()
    assert (each / "friday.zarr").exists()
    inside = shell("join", *paths.values(), "--output", each / "a.zarr", "--each", each)
    assert (inside.exit_code, " overlap: choose" in inside.output) == (2, True)
    again = shell("join", *paths.values(), "--output", output)
    assert (again.exit_code, "replace it with --overwrite" in again.output) == (2, True)
    over = folder / "monday-shifts.zarr"
    own = shell("join", paths["friday"], paths["other"], "--output", over, "--overwrite")
    assert (own.exit_code, "holds the shifts of a run" in own.output) == (2, True)


def test_frames_of_both_lie_on_each_other(finished, tmp_path):
    """Corrected by the shifts of each: by the command, and in Python from the joined dataset."""
    folder, paths, truths = finished
    configs = [load_config(paths[name]) for name in SESSIONS]
    joined = steadystack.join_series(configs, each=str(tmp_path / "each"))
    means = []
    for name in SESSIONS:
        settings = yaml.safe_load(Path(paths[name]).read_text())
        shifts, mean = str(tmp_path / "each" / f"{name}.zarr"), str(tmp_path / f"{name}.npy")
        settings["output"] |= {"shifts": shifts, "mean": mean}
        (folder / f"{name}-joined.yaml").write_text(yaml.safe_dump(settings))
        assert shell("correct", folder / f"{name}-joined.yaml").exit_code == 0
        means.append(np.load(mean))
        part = joined.isel(frame=(joined["series"] == name).to_numpy())
        stack = steadystack.open_stack(str(folder / f"{name}.zarr"))
        found = steadystack.mean(stack, part, mask=MASK)["mean"].to_numpy()
        both = np.isfinite(means[-1]) & np.isfinite(found)
        np.testing.assert_allclose(found[both], means[-1][both], rtol=1e-5)
    scene = Scene(1, waves=120).view(SIZE, truths["monday"][0])
    for mean in means:
        known = np.isfinite(mean)
        assert known.mean() > 0.4
        assert np.corrcoef(mean[known], scene[known])[0, 1] > 0.96


def test_what_cannot_share_a_frame_is_refused(finished, tmp_path):
    _, paths, _ = finished
    monday = load_config(paths["monday"])
    scene, rng = Scene(1, waves=20), np.random.default_rng(1)

    def refused(words, *configs):
        with pytest.raises(InputError, match=words):
            steadystack.join_series(configs)

    def run(name, shape=SIZE, **sections):
        frames, _ = session(scene, rng, shape=shape)
        return load_config(write_session(tmp_path, name, frames, **sections))

    refused("there is one series", monday)
    refused("expected a list of settings", paths["monday"])
    refused("is the output.shifts of two", monday, monday)
    mask = tmp_path / "object.npy"
    np.save(mask, ellipse(SIZE, 0.3))
    config = run("followed", object={"mask": str(mask)})
    measure_and_solve(config)
    refused("object.mask follows an object", monday, config)
    config = run("flat", preprocess={"flat_field": "median"})
    measure_and_solve(config)
    theirs = tmp_path / "each" / "flat.zarr.flat_field.zarr" / "theirs"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("Monday")
    with pytest.raises(InputError, match="in the way and was not made by steadystack"):
        steadystack.join_series([monday, config], each=str(tmp_path / "each"))
    assert theirs.read_text() == "Monday"
    config = run("unmeasured")
    refused("does not exist", monday, config)
    stages.measure(config)
    refused("is not solved yet", monday, config)
    for name, words, given in (
        ("narrow", "frames of 72 x 64, and monday 72 x 80", {"shape": (72, 64)}),
        ("coarse", "pixels of 1 um, and monday of 0.5 um", {"pixel_size": 1.0}),
    ):
        config = run(name, **given)
        measure_and_solve(config)
        refused(words, monday, config)
