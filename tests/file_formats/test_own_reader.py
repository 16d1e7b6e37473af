"""Readers of the user, also on workers."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import yaml
from click.testing import CliRunner

import steadystack
from steadystack.cli import main
from steadystack.model import InputError
from steadystack.readers import locate_stack
from support.drifting_files import TRUTH, WORKERS, make_frames, shifts_of

READER = '''
import numpy as np, xarray as xr, dask.array as da

def plain(path):
    """A header of 16 bytes, then frames of 48 x 64 big-endian numbers."""
    return np.memmap(path, ">u2", "r", offset=16).reshape(-1, 48, 64)

def named(path):
    return xr.DataArray(da.from_array(plain(path), chunks=(1, 48, 64)), dims=("time", "row", "col"))

def wrong(path):
    return {"frames": 3}

def failing(path):
    raise KeyError("no such scan")
'''


@pytest.fixture(scope="module")
def frames():
    return make_frames()


@pytest.fixture
def raw(tmp_path, frames):
    (tmp_path / "scan.raw").write_bytes(bytes(16) + frames.astype(">u2").tobytes())
    (tmp_path / "mine.py").write_text(READER)
    return tmp_path


def test_a_reader_of_the_user_is_called_on_the_workers(raw):
    shifts = shifts_of(raw, WORKERS, path="scan.raw", reader="mine.py:named")
    np.testing.assert_allclose(shifts["frame_shift"], TRUTH, atol=0.05)


def test_a_reader_serves_from_python_and_for_a_draft(raw, frames, monkeypatch):
    monkeypatch.chdir(raw)
    stack = steadystack.open_stack("scan.raw", reader="mine.py:named")
    np.testing.assert_array_equal(stack, frames)
    drafted = CliRunner().invoke(main, ["init", "scan.raw", "--reader", "mine.py:plain"])
    assert drafted.exit_code == 0, drafted.output
    assert yaml.safe_load(drafted.output)["input"]["reader"] == f"{raw / 'mine.py'}:plain"


def test_another_reader_is_another_stack(raw):
    reader = f"{raw / 'mine.py'}:plain"
    before = locate_stack(str(raw / "scan.raw"), reader=reader).digest
    assert locate_stack(str(raw / "scan.raw"), reader=reader).digest == before
    (raw / "mine.py").write_text(READER + "\n# changed\n")
    assert locate_stack(str(raw / "scan.raw"), reader=reader).digest != before


@pytest.mark.parametrize(
    ("reader", "told"),
    [
        ("mine.py", "is neither file.py:function nor"),
        ("mine.py:missing", "has no function missing"),
        ("other.py:plain", r"other\.py cannot be read"),
        ("no_such_package:plain", "no_such_package cannot be imported"),
        ("mine.py:wrong", "returns a dict"),
        ("mine.py:failing", "KeyError: 'no such scan'"),
    ],
)
def test_a_reader_that_is_none_is_told(raw, monkeypatch, reader, told):
    monkeypatch.chdir(raw)
    with pytest.raises(InputError, match=told):
        locate_stack("scan.raw", reader=reader)


def test_a_reader_of_a_package_and_of_lazy_arrays(monkeypatch, frames, tmp_path):
    lazy = da.from_array(frames, chunks=(2, 48, 64))
    monkeypatch.setattr(steadystack, "read_frames", lambda path: lazy, raising=False)
    spec = locate_stack(str(tmp_path / "anything"), reader="steadystack:read_frames")
    assert (spec.axes, spec.chunks) == (tuple("tyx"), (2, 48, 64))
