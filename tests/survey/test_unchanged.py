"""Checksums of a few frames tell whether a stack is the one that was measured."""

from __future__ import annotations

import json
import zlib

import numpy as np
import pytest
import xarray as xr
import zarr

from steadystack import stages
from steadystack.dataset import load_shifts, save_shifts
from steadystack.model import FRAME_CHECKSUMS, InputError
from steadystack.readers import ArrayFrames, StackFrames, locate_stack
from steadystack.survey import FrameSums
from steadystack.survey.unchanged import choose_region
from support.members import slow_but
from support.scenes import Scene

SIZE = (40, 44)


def make(count=9, seed=0):
    scene = Scene(seed)
    frames = [1000 + 200 * scene.view(SIZE, (0.5 * t, -0.3 * t)) for t in range(count)]
    noise = np.random.default_rng(seed).normal(0, 10, (count, *SIZE))
    return (np.stack(frames) + noise).round().astype("u2")


def sums_of(stack):
    frames = ArrayFrames.checked(xr.DataArray(stack, dims=["t", "y", "x"][-stack.ndim :]))
    return FrameSums(frames, range(100, 100 + len(stack)))


@pytest.mark.parametrize("dtype", ["u1", ">u2", "<f4", "f8"])
def test_checksums_are_those_of_the_first_middle_and_last_frame(dtype):
    stack = make().astype(dtype)
    taken = json.loads(sums_of(stack).take({})[FRAME_CHECKSUMS])
    little = stack.astype(np.dtype(dtype).newbyteorder("<"))
    expected = {str(t): f"{zlib.crc32(little[t].tobytes()):08x}" for t in (0, 4, 8)}
    assert taken == expected


def test_every_pixel_of_a_frame_counts_and_no_other_frame():
    stack = make()
    attributes = sums_of(stack).take({})
    for frame, pixel in ((0, (0, 0)), (4, (17, 30)), (8, (39, 43))):
        changed = stack.copy()
        changed[frame][pixel] += 1
        with pytest.raises(InputError, match=rf"frame {100 + frame} .* have changed.*--overwrite"):
            sums_of(changed).check(attributes, "shifts.zarr")
    others = stack.copy()
    others[[1, 2, 3, 5, 6, 7]] = 0
    sums_of(others).check(attributes, "shifts.zarr")
    sums_of(np.concatenate([stack, stack])).check(attributes, "shifts.zarr")  # it has grown
    sums_of(make(seed=1)).check({}, "shifts.zarr")  # of an earlier version


def test_what_may_not_be_written_yet_has_no_checksum():
    stack = make().astype("f4")
    stack[4], stack[8] = 7, np.nan
    attributes = sums_of(stack).take({})
    assert list(json.loads(attributes[FRAME_CHECKSUMS])) == ["0"]
    stack[4], stack[8] = make()[4], make()[8]
    sums_of(stack).check(attributes, "shifts.zarr")
    more = sums_of(stack).take(attributes, [0, 3, 4, 5, 6])
    assert list(json.loads(more[FRAME_CHECKSUMS])) == ["0", "4", "6"]
    assert sums_of(stack).take({}, [])[FRAME_CHECKSUMS] == "{}"


def test_of_large_frames_the_middle_is_summed_up(monkeypatch):
    assert choose_region((4096, 4096)) == (slice(0, 4096), slice(0, 4096))
    assert choose_region((100, 2048, 2048)) == (slice(48, 52), slice(0, 2048), slice(0, 2048))
    rows, columns = choose_region((20_000, 40_000))
    assert (rows.stop - rows.start) * 40_000 <= 2**24
    assert rows.start + rows.stop == pytest.approx(20_000, abs=1)
    assert columns == slice(0, 40_000)
    assert choose_region((1, 2**25))[1] == slice(2**23, 2**23 + 2**24)


def test_a_frame_that_is_gone_is_reported_and_one_that_cannot_be_read_is_not_judged(tmp_path):
    path = tmp_path / "stack.zarr"
    stack = zarr.create_array(
        path, shape=(9, *SIZE), chunks=(1, *SIZE), dtype="u2", dimension_names=["t", "y", "x"]
    )
    stack[:] = make()

    def sums():
        return FrameSums(StackFrames(locate_stack(str(path))), range(9))

    attributes = sums().take({})
    chunk = path / "c" / "4" / "0" / "0"
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[: len(whole) // 2])
    sums().check(attributes, "shifts.zarr")
    chunk.unlink()
    with pytest.raises(InputError, match=r"frame 4 of the stack .*: it is missing"):
        sums().check(attributes, "shifts.zarr")


def settings(folder, **output):
    from steadystack.config import make_config

    return make_config(
        {
            "input": {"path": "stack.npy"},
            "register": {"max_shift": 8},
            "preprocess": {"low_pass": 0.7, "high_pass": None},
            "mask": {"defects": None, "parts": None},
            "pairs": {"strategy": "window", "width": 2},
            "cluster": {"kind": "in-process"},
            "output": {"shifts": "shifts.zarr", **output},
        },
        folder,
    )


def test_a_stack_exchanged_by_another_is_refused_by_every_stage(tmp_path):
    from steadystack.following import Pace, follow

    config = settings(tmp_path, corrected="steady.ome.zarr", report="report.png")
    np.save(tmp_path / "stack.npy", make())
    stages.run(config)
    np.save(tmp_path / "stack.npy", make(seed=1))
    told = r"frame 0 of the stack is not what it was when .*shifts\.zarr was measured"
    for stage in (stages.run, stages.measure, stages.solve, stages.correct, stages.report):
        with pytest.raises(InputError, match=told):
            stage(config)
    with pytest.raises(InputError, match=told):
        next(follow(config, Pace(idle=0)))
    grown = make(12)
    grown[4] = make(seed=1)[4]
    np.save(tmp_path / "stack.npy", grown)
    with pytest.raises(InputError, match=told.replace("frame 0", "frame 4")):
        stages.run(config)
    assert not list(tmp_path.glob(".*draft*.zarr"))
    np.save(tmp_path / "stack.npy", make())
    assert stages.run(config).attrs["frame_checksums"]  # the old stack is back


@pytest.mark.parametrize("version", slow_but(["this"], ["this", "earlier", "this, over"]))
def test_what_was_begun_of_another_stack_is_not_gone_on_with(tmp_path, version):
    config = settings(tmp_path)
    np.save(tmp_path / "stack.npy", make())
    stages.measure(config)
    dataset = load_shifts(config.output.shifts)
    if version == "earlier":
        del dataset.attrs[FRAME_CHECKSUMS]
        save_shifts(dataset, config.output.shifts)
    np.save(tmp_path / "stack.npy", make(seed=1))
    if version == "earlier":
        assert stages.run(config).sizes == dataset.sizes
        return
    with pytest.raises(InputError, match="its pixels have changed"):
        stages.run(config)
    if version == "this":
        return
    found = stages.run(config, overwrite=True)
    assert found.attrs[FRAME_CHECKSUMS] != dataset.attrs[FRAME_CHECKSUMS]
    stages.run(config)
