"""A run to a store that ends at any of its requests."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import obstore
import pytest
import zarr
from obstore.store import LocalStore

from steadystack import stages
from steadystack.config import make_config
from steadystack.dataset import load_shifts
from steadystack.durable import appender as appender_module
from steadystack.durable import get_place, remote
from steadystack.outputs import write_stack
from support.members import slow_but
from support.scenes import assert_same_numbers, rough


class Killed(BaseException):
    """Ends a run as a kill does: from then on it changes nothing any more."""


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Buckets are folders of this machine."""

    def store_of(url):
        return LocalStore(tmp_path / "buckets" / url.removeprefix("s3://"), mkdir=True)

    monkeypatch.setattr(remote, "open_object_store", store_of)
    return tmp_path / "buckets"


class Requests:
    """Counts what changes a store; one of them, and all that come after it, do not happen."""

    def __init__(self, monkeypatch):
        self.count, self.due = 0, None
        for name in ("put", "delete"):
            monkeypatch.setattr(obstore, name, self.counted(getattr(obstore, name)))

    def counted(self, call):
        def request(*arguments, **keywords):
            self.count += 1
            if self.due is not None and self.count >= self.due:
                raise Killed
            return call(*arguments, **keywords)

        return request


@pytest.mark.parametrize("every", slow_but([9], [9, 1]))
@pytest.mark.usefixtures("store", "unchecked")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_run_may_end_at_any_of_its_requests(folders, tmp_path, monkeypatch, every):
    """What is there then opens; the same command goes on and ends with the same numbers."""
    monkeypatch.setattr(appender_module, "MIN_INTERVAL_S", 0.0)
    base = rough(0, (60, 60), 1)
    frames = [base[t : t + 40, 10 - t : 50 - t] + 0.1 * rough(t, (40, 40), 0) for t in range(6)]
    write_stack(tmp_path / "stack.zarr", np.stack(frames).astype("f4"))
    requests = Requests(monkeypatch)

    def run(root):
        output = {"shifts": f"{root}/s.zarr", "corrected": f"{root}/c.zarr"}
        return stages.run(
            make_config(
                {
                    "input": {"path": str(tmp_path / "stack.zarr")},
                    "register": {"max_shift": 6},
                    "pairs": {"width": 2},
                    "correct": {"chunks": 20},
                    "output": output,
                    "cluster": {"kind": "in-process", "task_memory": "26 MiB"},
                }
            )
        )

    expected = run("s3://whole")
    pixels = zarr.open_group(folders / "whole" / "c.zarr", mode="r")["0"][...]
    total = requests.count
    drawn = np.random.default_rng(1).choice(np.arange(3, total), 10, replace=False)
    for due in sorted([1, 2, total, *drawn.tolist()])[::every]:
        requests.count, requests.due = 0, due
        with suppress(Killed):  # but for the last, which ends the lock in the background
            run(f"s3://b{due}")
        assert requests.count >= due
        requests.due = None
        if get_place(f"s3://b{due}/s.zarr").exists():
            load_shifts(f"s3://b{due}/s.zarr")
        assert_same_numbers(run(f"s3://b{due}"), expected)
        assert_same_numbers(load_shifts(f"s3://b{due}/s.zarr"), expected)
        found = zarr.open_group(folders / f"b{due}" / "c.zarr", mode="r")["0"][...]
        np.testing.assert_array_equal(found, pixels)
        left = {file.relative_to(folders / f"b{due}").parts[0] for file in
                (folders / f"b{due}").rglob("*") if file.is_file()}  # fmt: skip
        assert left <= {"s.zarr", "c.zarr", "run.log"}
