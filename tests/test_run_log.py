"""The log of a run, whatever its output is called."""

from __future__ import annotations

import errno
import logging
import os
import threading
from contextlib import suppress

import numpy as np
import pytest

from steadystack import run_log
from steadystack.durable import get_place
from steadystack.model import InputError
from steadystack.outputs import write_stack
from steadystack.run_log import collect_versions, log_stage, log_to_output, read_log_lines
from steadystack.stages import estimate_shifts, run
from support.runs import counts, walk
from support.settings import config_of

log = logging.getLogger("steadystack.test")


@pytest.mark.parametrize(
    "name", ["a%20b%s.zarr", "my shifts.zarr", "{x} $y$.zarr", "two\nlines.zarr", "µ日本.zarr"]
)
def test_every_message_is_one_line_with_the_name_of_the_output(tmp_path, capsys, name):
    for output in (name, "other.zarr", name + " INFO.zarr"):
        config = config_of(tmp_path, output={"shifts": output})
        with log_to_output(config, "run"):
            log.info("of %s\nall", name)
    lines = read_log_lines(config_of(tmp_path, output={"shifts": name}))
    assert len(lines) == 3  # begins, the message, ends; without the settings
    assert lines[1].endswith("of " + name.replace("\n", "\\n") + "\\nall")
    assert len((tmp_path / "run.log").read_text(encoding="utf-8").splitlines()) == 3 * 4
    assert "Logging error" not in capsys.readouterr().err


def test_a_log_that_cannot_be_written_says_nothing_and_raises_nothing(tmp_path, capsys):
    handler = get_place(tmp_path / "run.log").make_log_handler()
    handler.setFormatter(logging.Formatter("%(message)s"))

    def refuse(_text=""):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write, handler.stream.write = handler.stream.write, refuse
    handler.handle(logging.makeLogRecord({"msg": "lost"}))
    handler.stream.write = write
    handler.handle(logging.makeLogRecord({"msg": "not lost, \udcff"}))
    handler.close()
    assert (tmp_path / "run.log").read_text() == "not lost, \\udcff\n"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_in_the_place_of_the_log_is_refused(tmp_path, make):
    """Opening a pipe would wait for somebody who reads it."""
    make(tmp_path / "run.log")
    with (
        pytest.raises(InputError, match=r"run\.log is where the log .* no regular file: move it"),
        log_to_output(config_of(tmp_path), "run"),
    ):
        pass


def test_no_second_is_reported_twice(tmp_path, monkeypatch):
    """Stages inside others, also one that fails, are told by themselves; what is told adds up."""
    now = [100.0]
    monkeypatch.setattr("steadystack.run_log.time.monotonic", lambda: now[0])
    config = config_of(tmp_path)

    def pass_by(seconds):
        now[0] += seconds

    with log_to_output(config, "run", 97.0), log_stage("all"):
        pass_by(1)
        with log_stage("outer"):
            pass_by(2)
            with log_stage("inner"):
                pass_by(4)
            with suppress(ValueError), log_stage("failing"):
                pass_by(8)
                raise ValueError
        pass_by(16)
    told = [line.split(" INFO ")[1] for line in read_log_lines(config)[1:]]
    assert told == [
        "opening: 3.00 s", "inner: 4.00 s", "outer: 2.00 s", "all: 17.00 s",
        "run is done after 34.00 s",
    ]  # fmt: skip


def test_versions_are_those_of_the_packages_whatever_is_done_to_an_answer():
    first = collect_versions()
    assert first["numpy"] == np.__version__
    first["numpy"] = "spoilt"
    assert collect_versions()["numpy"] == np.__version__


class Clock:
    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr(run_log.time, "monotonic", lambda: self.now)


def test_steps_are_counted_at_one_pace_through_a_stage(monkeypatch, caplog):
    clock = Clock(monkeypatch)
    caplog.set_level("INFO", run_log.METER_NAME)
    with run_log.log_stage("preparing"):
        for what in ("flat field", "reading"):
            for number in run_log.count_steps(range(7), 7, what, "frames"):
                assert number in range(7)
                clock.now += 4
    told = [r.getMessage() for r in caplog.records if r.name == run_log.METER_NAME]
    assert told == [
        "preparing, flat field: 3 of 7 frames (43%), 0.25 a second, 0:00:16 left",
        "preparing, flat field: 6 of 7 frames (86%), 0.25 a second, 0:00:04 left",
        "preparing, reading: 2 of 7 frames (29%), 0.25 a second, 0:00:20 left",
        "preparing, reading: 5 of 7 frames (71%), 0.25 a second, 0:00:08 left",
    ]


def test_steps_that_take_no_time_are_not_reported(caplog):
    caplog.set_level("INFO", run_log.METER_NAME)
    assert list(run_log.count_steps("abc", 3, "letters", "letters")) == ["a", "b", "c"]
    assert not caplog.records


def test_a_stage_that_counts_nothing_is_reported_to_be_at_work(monkeypatch, caplog):
    """Of stages inside each other the innermost; not long after another line was told of it."""
    clock = Clock(monkeypatch)
    caplog.set_level("INFO", run_log.METER_NAME)

    def told():
        return [r.getMessage() for r in caplog.records if r.name == run_log.METER_NAME]

    with run_log.log_stage("running"):
        outer = run_log._pace.get()
        with run_log.log_stage("solving"):
            inner = run_log._pace.get()
            for seconds in (14, 1, 14, 1):  # due after 10, told 5 later
                clock.now += seconds
                inner.log_if_silent()
                outer.log_if_silent()
            assert told() == ["solving: at work for 0:00:15", "solving: at work for 0:00:30"]
            meter = run_log.StageMeter("", "frames")
            clock.now += 12
            meter(3, 9)
            clock.now += 14
            inner.log_if_silent()
            assert told()[2:] == ["solving: 3 of 9 frames (33%)"]
        clock.now += 14
        outer.log_if_silent()
        assert len(told()) == 3, "it was at work inside until 14 seconds ago"
        clock.now += 1
        outer.log_if_silent()
    assert told()[3:] == ["running: at work for 0:01:11"]


def test_a_silent_stage_is_watched_while_it_works(monkeypatch, caplog):
    monkeypatch.setattr(run_log, "WATCH_S", 0.001)
    monkeypatch.setattr(run_log, "MIN_INTERVAL_S", 0.0)
    monkeypatch.setattr(run_log, "ELAPSED_FRACTION", 0.0)
    caplog.set_level("INFO", run_log.METER_NAME)
    told = threading.Event()

    class Waiting(logging.Handler):
        def emit(self, record):
            if "saving: at work for" in record.getMessage():
                told.set()

    handler = Waiting()
    run_log.meter_log.addHandler(handler)
    try:
        with run_log.log_stage("saving"):
            assert told.wait(60)
    finally:
        run_log.meter_log.removeHandler(handler)
    watching = [each for each in threading.enumerate() if each.name == "watch saving"]
    for thread in watching:  # it may be about to end
        thread.join(60)
    assert not any(thread.is_alive() for thread in watching)


def count_told(records):
    """The last line and the number of them on what was done in a stage, by its name."""
    told: dict[str, list[str]] = {}
    for record in records:
        if record.name == run_log.METER_NAME and getattr(record, run_log.IN_STAGE, False):
            what, _, line = record.getMessage().rpartition(": ")
            told.setdefault(what, []).append(line)
    return told


@pytest.fixture
def told_at_once(monkeypatch, caplog):
    """As if everything took long: a line after every step."""
    monkeypatch.setattr(run_log, "MIN_INTERVAL_S", 0.0)
    monkeypatch.setattr(run_log, "ELAPSED_FRACTION", 0.0)
    monkeypatch.setattr(run_log, "WATCH_S", 1e6)  # steps alone
    caplog.set_level("INFO", run_log.METER_NAME)
    return caplog


def test_frames_of_an_array_are_counted(told_at_once):
    estimate_shifts(
        counts(walk()),
        max_shift=10,
        pairs={"strategy": "window", "width": 2},
        preprocess={"flat_field": "median", "low_pass": None, "high_pass": None},
        solve={"refine": 1},
        defects=None,
        parts=None,
    )
    told = count_told(told_at_once.records)
    assert [line.split(" (")[0] for line in told["flat field"]] == [
        f"{number} of 12 frames" for number in range(13)
    ]
    assert "groups of frames (100%)" in told["refining, round 1 of 1"][-1]


@pytest.mark.slow
def test_what_takes_long_of_a_run_is_reported_step_by_step(tmp_path, told_at_once):
    write_stack(tmp_path / "stack.zarr", counts(walk()))
    config = config_of(
        tmp_path,
        register={"max_shift": 10},
        pairs={"strategy": "window", "width": 2},
        preprocess={"flat_field": "median", "fixed_pattern": "estimate"},
        solve={"refine": 1},
        output={"shifts": "shifts.zarr", "corrected": "steady.zarr", "mean": "mean.zarr"},
    )
    run(config)
    told = count_told(told_at_once.records)
    for what, words in (
        ("preparing, flat field", "12 of 12 frames (100%)"),
        ("preparing, reading", "frames (100%)"),
        ("preparing, measuring", "pairs (100%)"),
        ("quality checks, measuring", "pairs (100%)"),
        ("solving, refining, round 1 of 1", "groups of frames (100%)"),
        ("correcting", "tasks (100%)"),
        ("averaging", "tasks (100%)"),
    ):
        assert words in told.get(what, ["not told"])[-1], (what, list(told))


@pytest.mark.slow
def test_pilot_and_motion_are_reported_step_by_step(tmp_path, told_at_once):
    write_stack(tmp_path / "stack.zarr", counts(walk()))
    run(config_of(tmp_path, motion={"model": "rigid"}))
    told = count_told(told_at_once.records)
    for what, words in (
        ("deciding on settings, reading", "frames (100%)"),
        ("deciding on settings, defects", "12 of 12 frames (100%)"),
        ("deciding on settings, lines", "12 of 12 frames (100%)"),
        ("deciding on settings, measuring", "pairs (100%)"),
        ("solving, motion", "groups of pairs (100%)"),
    ):
        assert words in told.get(what, ["not told"])[-1], (what, list(told))


def test_a_stage_goes_on_where_no_thread_is_to_be_had(monkeypatch):
    def refuse(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    done = []
    with log_stage("measuring"):
        done.append(1)
    assert done == [1]
