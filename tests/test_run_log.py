"""The log of a run, whatever its output is called."""

from __future__ import annotations

import errno
import logging
import os
from contextlib import suppress

import numpy as np
import pytest

from steadystack.durable import get_place
from steadystack.run_log import collect_versions, log_stage, log_to_output, read_log_lines
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


def test_no_second_is_told_twice(tmp_path, monkeypatch):
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
