"""What the shell says of errors that nobody expected."""

from __future__ import annotations

import errno
import tempfile

import click
import pytest

from steadystack import guide
from support.shell import shell


@pytest.fixture
def failing(monkeypatch, tmp_path):
    """A function that makes `init` fail with an error; tracebacks go into a folder of the test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("STEADYSTACK_DEBUG", raising=False)

    def fail_with(error):
        def fail(*given, **named):
            raise error

        monkeypatch.setattr(guide, "init", fail)

    return fail_with


def test_a_bug_is_reported_in_a_line(failing, tmp_path):
    failing(ZeroDivisionError("division\nby zero"))
    done = shell("init", "a.zarr")
    (file,) = tmp_path.glob("steadystack-error-*.txt")
    assert done.exit_code == 1
    assert done.output == (
        "error: this is a bug in steadystack: ZeroDivisionError: division by zero; its traceback "
        f"is in {file}\n"
    )
    assert file.read_text().startswith("Traceback (most recent call last)")
    assert "ZeroDivisionError" in file.read_text()


@pytest.mark.parametrize("by_variable", [False, True])
def test_the_traceback_is_printed_on_demand(failing, tmp_path, monkeypatch, by_variable):
    failing(KeyError("nobody"))
    if by_variable:
        monkeypatch.setenv("STEADYSTACK_DEBUG", "1")
    done = shell(*([] if by_variable else ["--debug"]), "init", "a.zarr")
    lines = done.output.splitlines()
    assert done.exit_code == 1
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == (
        "error: this is a bug in steadystack: KeyError: 'nobody'; its traceback is above"
    )
    assert not list(tmp_path.iterdir())


def test_a_traceback_that_cannot_be_written_is_printed(failing, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    failing(KeyError())
    done = shell("init", "a.zarr")
    assert done.output.startswith("Traceback (most recent call last):")
    assert done.output.endswith(
        "bug in steadystack: KeyError: no message; its traceback is above\n"
    )


@pytest.mark.parametrize("error", [PermissionError(errno.EACCES, "no", "a"), MemoryError()])
def test_what_the_system_refuses_is_no_bug(failing, error):
    failing(error)
    done = shell("init", "a.zarr")
    assert done.exit_code == 1
    assert done.output.startswith("error: an unexpected error of the operating system: ")


@pytest.mark.parametrize(
    ("error", "code"),
    [(click.UsageError("so not"), 2), (click.Abort(), 1), (click.exceptions.Exit(7), 7)],
)
def test_the_errors_of_click_are_its_own(failing, error, code):
    failing(error)
    done = shell("init", "a.zarr")
    assert done.exit_code == code
    assert "bug" not in done.output


def test_a_pipe_that_nobody_reads_ends_in_silence(failing):
    failing(BrokenPipeError(errno.EPIPE, "Broken pipe"))
    done = shell("init", "a.zarr")
    assert done.exit_code == 1
    assert not done.output


def test_a_stop_is_no_bug(failing):
    failing(KeyboardInterrupt())
    done = shell("init", "a.zarr")
    assert done.exit_code == 130
    assert done.output == "stopped by Ctrl-C\n"
