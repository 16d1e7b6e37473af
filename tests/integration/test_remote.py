"""Inputs that are not on this machine: a web server, and S3 on a server that dies on the way."""

from __future__ import annotations

import logging
import signal
import socket
import subprocess
import sys
from datetime import timedelta

import av
import numpy as np
import pytest
import tifffile
import xarray as xr
import yaml
import zarr
from PIL import Image

import steadystack
from steadystack.cluster import run_tasks
from steadystack.durable import outages, remote
from steadystack.model import FrameStatus, InputError, PairStatus, UnreachableError
from steadystack.outputs import write_stack
from steadystack.readers import StackFrames, locate_mask, locate_stack
from steadystack.readers.references import open_reference
from support.far import SHAPE, SHIFTS, drifting_scene, write_inputs
from support.scenes import ellipse
from support.servers import SECRET, give_up_soon, web_server
from support.settings import write_run
from support.shell import shell

# The tests of a file share one S3 server, which they kill.
pytestmark = pytest.mark.xdist_group("servers")


@pytest.fixture(scope="module")
def scene():
    return drifting_scene()


@pytest.fixture
def impatient(monkeypatch):
    """A run gives up after a moment; what earlier tests opened is forgotten."""
    give_up_soon(monkeypatch)
    open_reference.cache_clear()
    yield
    open_reference.cache_clear()


def settings(folder, **sections):
    """A YAML file of a run in small tasks, in this process."""
    usual = {
        "register": {"max_shift": 8},
        "pairs": {"strategy": "separations", "separations": [1, 3]},
        "output": {"shifts": "shifts.zarr"},
        "cluster": {"kind": "in-process", "task_memory": "1 MiB"},
    }
    return write_run(folder, **usual | sections)


def assert_right(folder):
    with xr.open_zarr(folder / "shifts.zarr") as shifts:
        np.testing.assert_allclose(shifts["frame_shift"], SHIFTS, atol=0.05)
        assert (shifts["pair_status"] == PairStatus.OK.code).all()


# A web server


def test_the_whole_way_from_a_web_server(tmp_path, scene, hurried):
    (tmp_path / "served").mkdir()
    write_inputs(tmp_path / "served", scene)
    with web_server(tmp_path / "served") as url:
        made = shell("init", f"{url}/a.zarr")
        assert made.exit_code == 0, made.output
        assert yaml.safe_load(made.output)["input"]["path"] == f"{url}/a.zarr"
        assert "pixel size: 0.5 x 0.5 micrometer" in made.output
        config = settings(tmp_path, input={"path": f"{url}/a.zarr"}, mask={"path": f"{url}/m.zarr"})
        checked = shell("check", config)
        assert "16 of (64, 72) uint16" in checked.output
        done = shell("run", config)
        assert done.exit_code == 0, done.output
    assert_right(tmp_path)


def test_what_a_web_server_holds(tmp_path, scene):
    """Missing chunks, TIFF, .npy, an xarray group, and what is not there."""
    write_stack(tmp_path / "a.zarr", scene[:3])
    (tmp_path / "a.zarr/0/c/1/0/0").unlink()
    tifffile.imwrite(tmp_path / "a.tif", scene[:3], photometric="minisblack", compression="zlib")
    np.save(tmp_path / "a.npy", scene[:3])
    dataset = xr.Dataset({"signal": (("time", "y", "x"), scene[:3])})
    dataset.to_zarr(tmp_path / "x.zarr", zarr_format=2, consolidated=True)
    zarr.create_group(tmp_path / "empty.zarr")
    with web_server(tmp_path) as url:
        for name in ("a.zarr", "a.tif", "a.npy", "x.zarr"):
            frames = StackFrames(locate_stack(f"{url}/{name}"))
            np.testing.assert_array_equal(frames.read(2).image, scene[2])
        assert StackFrames(locate_stack(f"{url}/a.zarr")).read(1).status is FrameStatus.MISSING
        stack = steadystack.open_stack(f"{url}/a.zarr")
        assert stack.coords["valid"].isel(t=1).sum() == 0
        for name, words in (
            ("none.zarr", r"none.zarr does not exist \(404"),
            ("a.zarr/zarr.json", "is not a Zarr store, and its name matches no other format"),
            ("none.tif", "none.tif does not exist"),
            ("none.npy", "none.npy does not exist"),
            ("empty.zarr", "without an OME-Zarr image|does not list"),
            ("*.tif", "a web server does not list its files"),
        ):
            with pytest.raises(InputError, match=words):
                locate_stack(f"{url}/{name}")
        (tmp_path / "a.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:3000])
        with pytest.raises(InputError, match="truncated"):
            locate_stack(f"{url}/a.tif")


def test_pictures_and_videos_of_a_web_server(tmp_path, scene):
    """Others are read from this machine only, and say so."""
    grey = (scene[:5] >> 8).astype("u1")
    mask = np.where(scene[0] > scene[0].mean(), 255, 0).astype("u1")
    Image.fromarray(mask).save(tmp_path / "mask.png")
    with av.open(tmp_path / "a.mkv", "w") as file:
        stream = file.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = SHAPE[1], SHAPE[0], "gray"
        for frame in grey:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="gray")))
        file.mux(stream.encode())
    scene[:3].tofile(tmp_path / "a.raw")
    with web_server(tmp_path) as url:
        frames = StackFrames(locate_stack(f"{url}/a.mkv"))
        for index in (3, 0, 4):
            np.testing.assert_array_equal(frames.read(index).image, grey[index])
        found = locate_mask(f"{url}/mask.png", 5, SHAPE)
        np.testing.assert_array_equal(found.read(0, SHAPE), mask > 0)
        with pytest.raises(InputError, match="from this machine: copy it here"):
            locate_stack(f"{url}/a.raw", raw=f"uint16 {SHAPE[0]} x {SHAPE[1]}")
        for name in ("none.mkv", "none.png", "none.czi"):
            with pytest.raises(InputError, match=f"{name} does not exist"):
                locate_stack(f"{url}/{name}")


def test_a_server_that_knows_no_ranges_and_shards(tmp_path, scene):
    """Python's server sends whole files: no part of a shard can be read, and the words say why."""
    array = zarr.create_array(
        tmp_path / "s.zarr", shape=(2, *SHAPE), chunks=(1, 32, 36), shards=(1, *SHAPE), dtype="u2"
    )
    array[...] = scene[:2]
    with web_server(tmp_path) as url:
        frames = StackFrames(locate_stack(f"{url}/s.zarr"))
        np.testing.assert_array_equal(frames.read(0).image, scene[0])
        with pytest.raises(UnreachableError, match="need a server that supports byte ranges"):
            frames.read(1, (slice(0, 20), slice(0, 20)))


def test_nobody_answers(impatient, tmp_path):
    with web_server(tmp_path) as url:
        pass
    config = settings(tmp_path, input={"path": f"{url}/a.zarr"})
    told = shell("run", config)
    assert told.exit_code == 1
    assert f"{url}/a.zarr cannot be reached" in told.stderr
    assert "run the same command to continue" in told.stderr


# The command in a process of its own, which says sooner than others that nobody answers.
HASTY = """
import runpy
from steadystack.durable import outages
outages.SILENCE_S = 0.1
runpy.run_module("steadystack", run_name="__main__", alter_sys=True)
"""


def test_who_waits_is_told_and_can_leave(tmp_path):
    """A server that takes connections and says nothing: a line says so, and Ctrl-C ends at once."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/a.zarr"
        process = subprocess.Popen(
            [sys.executable, "-c", HASTY, "init", url],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=listening_to_ctrl_c,
        )  # fmt: skip
        try:
            line = process.stderr.readline()
            assert line.startswith(f"{url} does not answer yet (127.0.0.1:"), line
            assert "trying for up to 120 s (Ctrl-C stops)" in line
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=30)[1]  # a request lasts 60 s
        finally:
            process.kill()
    assert process.returncode == 130
    assert said == "stopped by Ctrl-C\n"


def listening_to_ctrl_c():
    """As at a terminal, also where the tests run in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_a_closed_port_is_reported(impatient, monkeypatch, caplog):
    monkeypatch.setattr(outages, "SILENCE_S", 0.1)
    monkeypatch.setattr(remote, "PATIENCE", timedelta(seconds=2))
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/a.tif"
    with pytest.raises(
        UnreachableError, match=r"cannot be reached: http://[\d.:]*: Connection ref"
    ):
        locate_stack(url)
    assert "does not answer yet (127.0.0.1:" in caplog.text
    assert "Connection refused): trying for up to 2 s" in caplog.text


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("htps://a.org/b.zarr", "htps:// is not supported; did you mean https://a.org/b.zarr"),
        ("sss3://bucket/b.tif", "did you mean s3://bucket/b.tif"),
        ("ftp://a.org/b.npy", "ftp:// is not supported; .*supported are s3, .*https"),
        ("file:///a.zarr", "without file://"),
    ],
)
def test_schemes_that_nobody_knows(path, words):
    with pytest.raises(InputError, match=words):
        locate_stack(path)
    with pytest.raises(InputError, match=words):
        locate_mask(path, 3, SHAPE)


def test_what_asyncio_says_of_requests_that_were_given_up():
    """The first error is told; that the others "were never retrieved" is nobody's concern."""
    from obstore.exceptions import GenericError

    def shown(error):
        record = logging.LogRecord(
            "asyncio", logging.ERROR, "", 0, "Future exception was never retrieved", (),
            (type(error), error, None),
        )  # fmt: skip
        return logging.getLogger("asyncio").filter(record)

    assert not shown(GenericError("Generic S3 error"))
    assert shown(ValueError("of somebody else"))


def test_without_obstore_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(InputError, match=r"pip install 'steadystack\[remote\]'"):
        locate_stack("s3://nobody/has.zarr")


# S3


@pytest.fixture
def uploaded(s3, credentials, tmp_path, scene):
    """Sections of the settings for the stack and the mask in a bucket."""
    write_inputs(tmp_path, scene)
    where = tmp_path.name.replace("_", "-")
    return {
        "input": {"path": s3.upload(tmp_path / "a.zarr", "stacks", f"{where}/a.zarr")},
        "mask": {"path": s3.upload(tmp_path / "m.zarr", "stacks", f"{where}/m.zarr")},
    }


@pytest.mark.slow  # a whole run of test_remote_outputs.py reads there, too
def test_the_whole_way_from_s3(uploaded, tmp_path):
    made = shell("init", uploaded["input"]["path"])
    assert made.exit_code == 0, made.output
    workers = {"kind": "local", "workers": 1, "task_memory": "1 MiB"}
    config = settings(tmp_path, **uploaded, cluster=workers)
    assert SECRET not in config.read_text()
    assert "100% valid" not in shell("check", config).output
    assert shell("run", config).exit_code == 0
    assert_right(tmp_path)
    with xr.open_zarr(tmp_path / "shifts.zarr") as shifts:
        assert SECRET not in str(shifts.attrs)


def test_what_s3_holds(s3, credentials, tmp_path, scene):
    """TIFF files by a pattern, shards, a plate, masks as TIFF; a file larger than what is kept."""
    for index, frame in enumerate(scene[:3]):
        tifffile.imwrite(tmp_path / f"f{index}.tif", frame)
        s3.upload(tmp_path / f"f{index}.tif", "stacks", f"many/f{index}.tif")
    spec = locate_stack("s3://stacks/many/f*.tif")
    assert spec.frame_count == 3
    np.testing.assert_array_equal(StackFrames(spec).read(2).image, scene[2])
    array = zarr.create_array(
        tmp_path / "s.zarr", shape=(2, *SHAPE), chunks=(1, 32, 36), shards=(1, *SHAPE), dtype="u2"
    )
    array[...] = scene[:2]
    frames = StackFrames(locate_stack(s3.upload(tmp_path / "s.zarr", "stacks", "s.zarr")))
    np.testing.assert_array_equal(frames.read(1).image, scene[1])
    mask = ellipse(SHAPE)
    tifffile.imwrite(tmp_path / "m.tif", mask.astype("u1"))
    found = locate_mask(s3.upload(tmp_path / "m.tif", "stacks", "m.tif"), 3, SHAPE)
    np.testing.assert_array_equal(found.read(0, SHAPE), mask)


def test_a_large_tiff_is_read_in_parts(s3, credentials, monkeypatch, tmp_path, scene):
    monkeypatch.setattr(remote, "MAX_WHOLE_FILE", 1000)
    tifffile.imwrite(tmp_path / "a.tif", scene[:4], photometric="minisblack")
    frames = StackFrames(locate_stack(s3.upload(tmp_path / "a.tif", "stacks", "large.tif")))
    for index in range(4):
        np.testing.assert_array_equal(frames.read(index).image, scene[index])


def test_wrong_credentials_are_reported(impatient, uploaded, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    remote._open_object_store.cache_clear()
    told = shell("check", settings(tmp_path, **uploaded))
    assert told.exit_code == 1
    assert "credentials come from the environment: AWS_ACCESS_KEY_ID" in told.stderr


@pytest.mark.parametrize(
    ("path", "environment", "words"),
    [
        ("s3://stacks/none.zarr", {}, "none.zarr does not exist"),
        ("s3://stacks/told/a.zar", {}, "a.zar does not exist; did you mean a.zarr?"),
        ("s3://stacks/told/a.tiff", {}, "a.tiff does not exist"),
        ("s3://stacks/told", {}, "is not a Zarr store, .*: it holds a.zarr"),
        ("s3://nobody/a.zarr", {}, "there is no bucket 'nobody' at http://127"),
        ("s3://nobody/a.tif", {}, "there is no bucket 'nobody' at http://127"),
        ("s3://nobody/*.tif", {}, "there is no bucket 'nobody' at http://127"),
        (None, {"AWS_ACCESS_KEY_ID": "x"}, "InvalidAccessKeyId .*credentials come from the env"),
        (None, {"AWS_SECRET_ACCESS_KEY": "x"}, "SignatureDoesNotMatch .*credentials come from"),
        (None, {"AWS_ENDPOINT_URL": "https"}, "does not use TLS: its address begins with http:"),
        (None, {"AWS_ENDPOINT_URL": "127.0.0.1:1"}, "'127.0.0.1:1' must begin with http:// or"),
    ],
)
def test_what_is_missing_on_s3_is_reported_in_a_line(
    impatient, s3, credentials, monkeypatch, tmp_path, scene, path, environment, words
):
    write_stack(tmp_path / "a.zarr", scene[:2])
    url = s3.upload(tmp_path / "a.zarr", "stacks", "told/a.zarr")
    for name, value in environment.items():
        value = s3.endpoint.replace("http", "https") if value == "https" else value
        monkeypatch.setenv(name, value)
    remote._open_object_store.cache_clear()
    with pytest.raises((InputError, UnreachableError), match=words) as told:
        locate_stack(path or url)
    assert "\n" not in str(told.value)
    assert "Debug" not in str(told.value)


def test_a_public_bucket_needs_no_credentials(
    impatient, s3, credentials, monkeypatch, tmp_path, scene
):
    write_stack(tmp_path / "a.zarr", scene[:2])
    paths = [s3.upload(tmp_path / "a.zarr", bucket, "a.zarr") for bucket in ("public", "private")]
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    remote._open_object_store.cache_clear()
    np.testing.assert_array_equal(StackFrames(locate_stack(paths[0])).read(1).image, scene[1])
    with pytest.raises(UnreachableError, match="credentials come from the environment"):
        locate_stack(paths[1])


def rows(folder):
    """Status and shift of every pair that the dataset on disk has."""
    with xr.open_zarr(folder / "shifts.zarr") as shifts:
        return shifts["pair_status"].to_numpy(), shifts["pair_shift"].to_numpy()


@pytest.mark.slow  # so do servers of test_remote_outputs.py, which are written to, too
def test_a_server_that_is_killed_and_started_in_mid_run(s3, uploaded, hurried, tmp_path):
    """The run waits, and ends with the numbers of one that nothing happened to."""
    config = settings(tmp_path, **uploaded)
    happened = []

    def progress(done, total):
        if not happened and 0 < done < total:
            happened.append(done)
            open_reference.cache_clear()
            s3.kill()
            s3.start()

    steadystack.run(steadystack.load_config(config), progress=progress)
    assert happened
    assert_right(tmp_path)
    interrupted = rows(tmp_path)
    open_reference.cache_clear()
    local = settings(tmp_path, input={"path": "a.zarr"}, mask={"path": "m.zarr"})
    steadystack.run(steadystack.load_config(local), overwrite=True)
    for one, other in zip(interrupted, rows(tmp_path), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_a_server_that_stays_away_in_mid_run(s3, uploaded, hurried, tmp_path, monkeypatch):
    """The run says so and loses nothing; the same command goes on when the server is back."""
    config = settings(tmp_path, **uploaded)

    def progress(done, total):
        if 0 < done < total:
            s3.kill()

    with monkeypatch.context() as soon:
        give_up_soon(soon)
        open_reference.cache_clear()
        with pytest.raises(UnreachableError, match=r"s3://stacks/.* cannot be reached"):
            steadystack.run(steadystack.load_config(config), progress=progress)
        status, measured = rows(tmp_path)
        done = status == PairStatus.OK.code
        assert 0 < done.sum() < len(status)
        assert (status[~done] == PairStatus.UNMEASURED.code).all()  # and not: unreadable

        told = shell("run", config)
        assert told.exit_code == 1
        assert "cannot be reached" in told.stderr
        assert "run the same command to continue" in told.stderr

    open_reference.cache_clear()
    s3.start()  # and while it is starting:
    assert shell("run", config).exit_code == 0
    np.testing.assert_array_equal(rows(tmp_path)[1][done], measured[done])
    assert_right(tmp_path)


def away(item):
    raise UnreachableError(f"s3://stacks/{item} cannot be reached")


@pytest.mark.parametrize("here", [True, False])
def test_what_a_task_cannot_reach_stops_the_run(client, here):
    """It is no failure of the task, which would leave its pairs unmeasured and go on."""
    with pytest.raises(UnreachableError, match=r"s3://stacks/. cannot be reached"):
        list(run_tasks(None if here else client, away, [(0, "a"), (1, "b")]))
