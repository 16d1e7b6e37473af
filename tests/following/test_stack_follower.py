"""Frames are told in order as soon as they are whole, with the errors that they have."""

from __future__ import annotations

import json
import logging
import shutil
from functools import partial

import numpy as np
import pytest
import zarr

from steadystack import stages
from steadystack.following import Pace, follow
from steadystack.model import SHIFT_CONVENTION, FrameStatus, InputError
from support.members import slow_but
from support.settings import config_of
from support.written import (
    SIZE,
    ActsWhilePausing,
    append_zarr,
    begin_zarr,
    drifting,
    write_tiff,
)

COUNT = 10
PLAIN = {"preprocess": {"low_pass": 0.7, "high_pass": None}, "mask": {"defects": None}}


def settings(folder, path="stack.zarr", **sections):
    usual = PLAIN | {"input": {"path": path}, "register": {"max_shift": 12}}
    return config_of(folder, **usual | {"output": {"shifts": "shifts.zarr"}} | sections)


@pytest.fixture
def acting(monkeypatch):
    """Puts acts into the pauses of whoever waits."""

    def put(*acts, **keys):
        return ActsWhilePausing(acts, **keys).put_in_place(monkeypatch)

    return put


def shifts_of(lines):
    return np.array([line.shift for line in lines]), np.array([line.std for line in lines])


def assert_near(lines, truth):
    """Within the errors that are told, which are those that there are, but for luck."""
    shift, std = shifts_of(lines)
    assert [line.frame for line in lines] == list(range(len(lines)))
    error = np.abs(shift - truth[: len(lines)])
    assert (error <= 4.5 * std + 1e-9).all()
    assert (std[1:] < 0.05).all()
    assert (std[1:] > 0).all()


def zarr_acts(folder, frames):
    """The stack is begun, and frames are appended."""
    yield partial(begin_zarr, folder)
    yield from (partial(append_zarr, folder, frames, index) for index in range(len(frames)))


def slow_zarr_acts(folder, frames):
    """As an array with room for all; metadata and chunks are there in part before in whole."""

    def cut(path, part):
        whole = path.read_bytes()
        path.write_bytes(whole[: int(part * len(whole))])
        return whole

    def begin():
        begin_zarr(folder, len(frames))
        later.append(cut(folder / "stack.zarr" / "0" / "zarr.json", 0.5))

    def append(index):
        append_zarr(folder, frames, index)
        later.append(cut(folder / "stack.zarr" / "0" / "c" / str(index) / "0" / "0", 0.6))

    def complete(path):
        path.write_bytes(later.pop())

    later = []
    yield begin
    yield partial(complete, folder / "stack.zarr" / "0" / "zarr.json")
    for index in range(len(frames)):
        yield partial(append, index)
        yield partial(complete, folder / "stack.zarr" / "0" / "c" / str(index) / "0" / "0")


def tiff_acts(folder, frames):
    """A file for each frame, whole at once."""
    yield from (partial(write_tiff, folder, frames, index) for index in range(len(frames)))


def slow_tiff_acts(folder, frames):
    """Of every file first nothing, then its beginning, then half, then all."""
    for index in range(len(frames)):
        yield from (
            partial(write_tiff, folder, frames, index, part) for part in (0, 0.002, 0.5, 0.999, 1)
        )


WRITERS = {
    "appended": zarr_acts,
    "room": slow_zarr_acts,
    "files": tiff_acts,
    "slow": slow_tiff_acts,
}


@pytest.mark.parametrize("kind", slow_but(["room"], WRITERS))
def test_frames_are_reported_while_they_are_written(tmp_path, acting, kind):
    frames, truth = drifting(COUNT)
    acting(*WRITERS[kind](tmp_path, frames))
    path = "stack" if kind in ("files", "slow") else "stack.zarr"
    lines = list(follow(settings(tmp_path, path), Pace(until=COUNT)))
    assert len(lines) == COUNT
    assert_near(lines, truth)
    assert {line.status for line in lines} == {FrameStatus.OK}
    assert all(line.provisional and line.anchor == 0 for line in lines)
    assert {path.name for path in tmp_path.iterdir()} == {path}, "it writes nothing"


def test_a_line_says_all_in_words(tmp_path):
    frames, _ = drifting(3)
    begin_zarr(tmp_path)
    for index in range(3):
        append_zarr(tmp_path, frames, index)
    told = [json.loads(line.dump()) for line in follow(settings(tmp_path), Pace(until=3))]
    assert told[0]["shift"] == {"y": 0.0, "x": 0.0}
    assert [line["frame"] for line in told] == [0, 1, 2]
    for line in told:
        assert line["convention"] == SHIFT_CONVENTION
        assert (line["unit"], line["status"], line["provisional"]) == ("px", "ok", True)
        assert set(line["std"]) == {"y", "x"}


LATER = [
    {"strategy": "reference", "reference": 9},
    {"strategy": "list", "list": [[0, 9], [1, 9], [2, 8]]},
    {"strategy": "list", "path": "pairs.csv"},
]


@pytest.mark.parametrize("pairs", slow_but(LATER[:1], LATER))
def test_pairs_of_frames_that_come_later_are_no_hindrance(tmp_path, acting, pairs):
    """Lines tell shifts against earlier frames; the run measures the pairs that are asked for."""
    (tmp_path / "pairs.csv").write_text("0,9\n1,9\n2,8\n")
    frames, truth = drifting(COUNT)
    acting(*zarr_acts(tmp_path, frames))
    lines = list(follow(settings(tmp_path, pairs=pairs), Pace(until=COUNT)))
    assert len(lines) == COUNT
    assert_near(lines, truth)


@pytest.mark.slow
def test_numbers_are_those_of_the_stack(tmp_path, acting):
    """Of a slice of the frames, which needs some before there are two."""
    frames, truth = drifting(COUNT)
    acting(*zarr_acts(tmp_path, frames))
    config = settings(tmp_path, input={"path": "stack.zarr", "frames": "3::2"})
    lines = list(follow(config, Pace(idle=60)))
    assert [line.frame for line in lines] == [3, 5, 7, 9]
    assert {line.anchor for line in lines} == {3}
    shift, std = shifts_of(lines)
    assert (np.abs(shift - (truth[3::2] - truth[3])) <= 4.5 * std + 1e-9).all()


def test_frames_that_are_left_out_are_reported_when_nobody_expects_them_any_more(tmp_path, acting):
    frames, truth = drifting(COUNT)
    written = [index for index in range(COUNT) if index not in (0, 4, 5)]
    begin_zarr(tmp_path, COUNT)
    clock = acting(*(partial(append_zarr, tmp_path, frames, index) for index in written))
    lines = []
    for line in follow(settings(tmp_path), Pace(until=COUNT, patience=5)):
        lines.append((clock.now, line))
    when = [now for now, _ in lines]
    assert when[0] >= 5
    assert when[5] == when[4] >= 10 > when[3], "one patience for all that are left out"
    told = [line for _, line in lines]
    missing = [line.frame for line in told if line.status is FrameStatus.MISSING]
    assert missing == [0, 4, 5]
    assert all(json.loads(told[frame].dump())["shift"] is None for frame in missing)
    assert told[0].anchor is None
    known = [told[frame] for frame in written]
    assert {line.anchor for line in known} == {1}
    shift, std = shifts_of(known)
    assert (np.abs(shift - (truth[written] - truth[1])) <= 4.5 * std + 1e-9).all()


@pytest.mark.slow
def test_frames_far_behind_a_gap_are_found_at_the_end(tmp_path, acting):
    """Near ones are looked at each time, all of them when the series seems to have ended."""
    frames, _ = drifting(60)
    begin_zarr(tmp_path, 55)
    for index in (0, 1, 2, 50):
        append_zarr(tmp_path, frames, index)
    acting()
    lines = list(follow(settings(tmp_path), Pace(idle=30)))
    assert [line.frame for line in lines] == list(range(51))
    assert [line.frame for line in lines if line.status is FrameStatus.OK] == [0, 1, 2, 50]


def test_a_frame_of_one_value_is_waited_for(tmp_path, acting):
    """Nobody may have written it yet; behind it comes another, and then it is told as flat."""
    frames, _ = drifting(5)
    frames[2] = 700
    begin_zarr(tmp_path)
    clock = acting(*(partial(append_zarr, tmp_path, frames, index) for index in range(5)))
    lines, when = [], []
    for line in follow(settings(tmp_path), Pace(until=5, patience=4)):
        lines.append(line)
        when.append(clock.now)
    assert [line.status.value for line in lines] == ["ok", "ok", "flat", "ok", "ok"]
    assert lines[2].anchor is None
    assert when[1] < 1 < 4 < when[2]


@pytest.mark.slow
def test_a_shift_beyond_the_search_is_found_coarsely(tmp_path):
    frames, truth = drifting(6, size=(200, 220), jump=(3, (70, -80)))
    begin_zarr(tmp_path, size=(200, 220))
    for index in range(6):
        append_zarr(tmp_path, frames, index)
    lines = list(follow(settings(tmp_path, register={}), Pace(until=6)))
    assert_near(lines, truth)
    lines = list(follow(settings(tmp_path), Pace(until=6)))  # within 12 px, as is set
    assert [line.status.value for line in lines[3:4]] == ["disconnected"]
    assert [line.anchor for line in lines] == [0, 0, 0, None, 3, 3]


@pytest.mark.usefixtures("hurried")
def test_what_an_earlier_run_knows_is_reported_from_there(tmp_path, acting):
    frames, truth = drifting(COUNT)
    begin_zarr(tmp_path)
    for index in range(6):
        append_zarr(tmp_path, frames, index)
    config = settings(tmp_path)
    before = stages.run(config)
    acting(*(partial(append_zarr, tmp_path, frames, index) for index in range(6, COUNT)))
    lines = list(follow(config, Pace(until=COUNT)))
    assert [line.provisional for line in lines] == [False] * 6 + [True] * 4
    shift, std = shifts_of(lines[:6])
    np.testing.assert_array_equal(shift, before["frame_shift"])
    np.testing.assert_array_equal(std, before["frame_shift_std"])
    assert_near(lines, truth)
    with pytest.raises(InputError, match="other settings"):
        next(follow(settings(tmp_path, register={"max_shift": 9}), Pace()))


def test_no_stack_is_waited_for_until_it_takes_too_long(tmp_path, acting, caplog):
    caplog.set_level(logging.INFO)
    clock = acting()
    assert list(follow(settings(tmp_path), Pace(idle=20))) == []
    assert 20 < clock.now < 21
    assert [record.message for record in caplog.records] == [
        f"waiting: {tmp_path}/stack.zarr does not exist",
        "no frame for 20 s",
    ]


@pytest.mark.parametrize("path", ["stack", "stack/*.tif"])
def test_an_empty_folder_and_one_file_are_waited_for(tmp_path, acting, path):
    (tmp_path / "stack").mkdir()
    frames, _ = drifting(2)
    (tmp_path / "stack" / "notes.txt").write_text("begun")
    waiting = [lambda: None] * 100  # 25 s: longer than the patience
    acting(
        *waiting, partial(write_tiff, tmp_path, frames, 0), *waiting,
        partial(write_tiff, tmp_path, frames, 1),
    )  # fmt: skip
    assert len(list(follow(settings(tmp_path, path), Pace(until=2)))) == 2


def test_a_stack_that_cannot_be_used_is_refused_after_the_patience(tmp_path, acting):
    zarr.create_array(
        tmp_path / "stack.zarr", shape=(3, 2, *SIZE), chunks=(1, 1, *SIZE), dtype="u2",
        dimension_names=["t", "c", "y", "x"],
    )  # fmt: skip
    clock = acting()
    with pytest.raises(InputError, match="channel"):
        list(follow(settings(tmp_path), Pace(patience=7)))
    assert 7 < clock.now < 8


def test_another_stack_at_the_same_place_is_refused(tmp_path, acting):
    frames, _ = drifting(2)
    begin_zarr(tmp_path)
    for index in range(2):
        append_zarr(tmp_path, frames, index)

    def exchange():
        zarr.create_array(
            tmp_path / "stack.zarr", shape=(9, 50, 60), dtype="u2", chunks=(1, 50, 60),
            overwrite=True, dimension_names=["t", "y", "x"],
        )  # fmt: skip

    acting(exchange)
    with pytest.raises(InputError, match="a different stack"):
        list(follow(settings(tmp_path), Pace()))


def test_a_gap_is_gone_past_where_the_series_would_seem_to_have_ended_before(tmp_path, acting):
    frames, _ = drifting(COUNT)
    written = [index for index in range(COUNT) if index != 2]
    begin_zarr(tmp_path, COUNT)
    acting(*(partial(append_zarr, tmp_path, frames, index) for index in written))
    lines = list(follow(settings(tmp_path), Pace(idle=1, patience=20)))
    assert [line.frame for line in lines if line.status is FrameStatus.OK] == written


def test_a_stack_that_is_begun_anew_is_refused(tmp_path, acting):
    """Its frames would be told relative to those of another."""
    (frames, _), (other, _) = drifting(4), drifting(4, seed=9)
    append = partial(append_zarr, tmp_path, frames)

    def begin_anew():
        shutil.rmtree(tmp_path / "stack.zarr")
        begin_zarr(tmp_path)
        for index in range(3):
            append_zarr(tmp_path, other, index)

    begin_zarr(tmp_path)
    acting(*(partial(append, index) for index in range(4)), lambda: None, begin_anew)
    with pytest.raises(InputError, match="3 frames, but 4 have been followed: it was started over"):
        list(follow(settings(tmp_path), Pace()))


def test_a_frame_without_its_mask_is_gone_past(tmp_path, acting):
    frames, _ = drifting(6)
    begin_zarr(tmp_path)
    for index in range(6):
        append_zarr(tmp_path, frames, index)
    mask = np.ones((6, *SIZE), "u1")
    zarr.create_array(tmp_path / "mask.zarr", data=mask, chunks=(1, *SIZE))
    chunk = tmp_path / "mask.zarr" / "c" / "2" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:5])
    acting()
    found = settings(tmp_path, mask={"path": "mask.zarr", "defects": None})
    statuses = [line.status.value for line in follow(found, Pace(until=6, patience=3))]
    assert statuses == ["ok", "ok", "unreadable", "ok", "ok", "ok"]


@pytest.mark.slow
def test_errors_do_not_grow_with_every_step(tmp_path):
    """An early frame is among the pairs of each: after forty frames the error is that of one."""
    frames, truth = drifting(40, seed=8)
    begin_zarr(tmp_path)
    for index in range(40):
        append_zarr(tmp_path, frames, index)
    lines = list(follow(settings(tmp_path), Pace(until=40)))
    assert_near(lines, truth)
    shift, std = shifts_of(lines)
    ratio = (shift - truth)[1:] / std[1:]
    assert 0.3 < np.sqrt(np.mean(ratio**2)) < 1.7
    assert std[-5:].max() < 2 * std[1:6].max()
