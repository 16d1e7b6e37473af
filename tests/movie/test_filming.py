"""Movies that are planned, written, kept and refused."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import av
import numpy as np
import pytest
import xarray as xr

from steadystack.model import InputError, OutputError
from steadystack.movie import check_movie, filming, plan_movie, write_movie
from steadystack.outputs import Origin, read_origin
from steadystack.readers import ArrayFrames


def plan(path, count=5, values=1.0, **how):
    rng = np.random.default_rng(0)
    frames = (values * rng.uniform(0, 1000, (count, 20, 30))).astype("u2")
    usual = {
        "linear": None, "numbers": range(count), "time": None, "pixel_size": (0.5, 0.5),
        "unit": "um", "labels": False, "made_of": [1], "origin": Origin("", "f", "r"),
    }  # fmt: skip
    source = ArrayFrames(xr.DataArray(frames, dims=("t", "y", "x")))
    return plan_movie(str(path), source, np.zeros((count, 2)), **usual | how)


def decode(path):
    with av.open(str(path)) as file:
        rate = file.streams.video[0].average_rate
        return [frame.to_ndarray(format="gray") for frame in file.decode(video=0)], rate


def test_tasks_may_end_in_any_order(tmp_path, monkeypatch):
    movie = plan(tmp_path / "a.mp4")
    told = []
    write_movie(movie, None, progress=lambda *step: told.append(step))
    assert told == [(number, 5) for number in range(1, 6)]
    run_tasks = filming.run_tasks

    def shuffled(client, function, items, *shared):
        return reversed(list(run_tasks(client, function, items, *shared)))

    monkeypatch.setattr(filming, "run_tasks", shuffled)
    write_movie(replace(movie, path=str(tmp_path / "b.mp4")), None)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    pictures, rate = decode(tmp_path / "a.mp4")
    assert len(pictures) == 5
    assert rate == 10
    assert [plan("a.mp4", count).rate for count in (300, 600, 2000)] == [10, 20, 30]


def test_one_that_is_there_stays_unless_it_is_of_something_else(tmp_path):
    path = tmp_path / "a.mp4"
    write_movie(plan(path), None)
    found = read_origin(str(path))
    assert (found.fingerprint, found.run) == ("f", "r")
    before = path.stat().st_mtime_ns
    write_movie(plan(path), None)
    assert path.stat().st_mtime_ns == before
    other = plan(path, made_of=[2])
    assert plan(path, time=((0, 1, 2, 3, 4), "s")).origin.digest != plan(path).origin.digest
    with pytest.raises(InputError, match=r"correct --overwrite.*another output\.movie"):
        write_movie(other, None)
    write_movie(other, None, may_replace=True)
    assert read_origin(str(path)).digest == other.origin.digest


def test_a_file_of_somebody_else_is_not_touched(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"theirs")
    for refused in (
        lambda: check_movie(str(path)),
        lambda: write_movie(plan(path), None, overwrite=True),
    ):
        with pytest.raises(InputError, match="was not made by steadystack"):
            refused()
    assert path.read_bytes() == b"theirs"


@pytest.mark.parametrize(("package", "name"), [("av", "PyAV"), ("PIL", "Pillow")])
def test_a_missing_extra_is_reported(tmp_path, monkeypatch, package, name):
    find = importlib.util.find_spec
    monkeypatch.setattr(filming, "find_spec", lambda one: None if one == package else find(one))
    with pytest.raises(InputError, match=rf"output.movie needs {name}: pip install 'steadystack\["):
        check_movie(str(tmp_path / "a.mp4"))


def test_an_ffmpeg_without_the_codec_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(filming, "CODEC", "h26x")
    with pytest.raises(InputError, match=r"cannot write H\.264"):
        check_movie(str(tmp_path / "a.mp4"))


def test_what_fails_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "a.mp4"
    write_movie(plan(path), None)
    before = path.read_bytes()

    def fail(*arguments):
        raise av.error.InvalidDataError(1, "no")

    with monkeypatch.context() as context:
        context.setattr(filming.MoviePage, "compose", fail)
        with pytest.raises(OutputError, match="cannot be written"):
            write_movie(plan(path, made_of=[2]), None, overwrite=True)
    assert path.read_bytes() == before
    assert {each.name for each in tmp_path.iterdir() if each.name[0] != "."} == {"a.mp4"}


def test_a_series_of_one_value_and_frames_that_cannot_be_read(tmp_path):
    write_movie(plan(tmp_path / "a.mp4", values=0.0), None)
    pictures, _ = decode(tmp_path / "a.mp4")
    assert len(pictures) == 5
