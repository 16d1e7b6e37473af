"""Run in processes that end at each of their steps on disk in turn, as by SIGKILL; see test_stop.

A process of its own, because it forks: nothing that starts threads may run in the parent.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import xarray as xr

from steadystack import stages
from steadystack.config import make_config
from steadystack.dataset import journal, load_shifts, read_pairs
from steadystack.durable import files
from steadystack.model import PairStatus
from steadystack.outputs import write_stack
from support.scenes import rough

KILLED, WRONG = 9, 1
COLUMNS = ("shift", "shift_std", "ncc", "second_peak_ratio", "overlap", "status")


class Steps:
    """Counts calls that change the disk; the process ends before the one that is due."""

    def __init__(self, due: int) -> None:
        self.due = due

    def before(self, module, name):
        call = getattr(module, name)

        def step(*arguments, **keywords):
            self.due -= 1
            if self.due == 0:
                os._exit(KILLED)
            return call(*arguments, **keywords)

        setattr(module, name, step)


def settings(folder, name):
    return make_config(
        {
            "input": {"path": "stack.zarr"},
            "register": {"max_shift": 6},
            "pairs": {"width": 2, "extra": 0.4},
            "output": {"shifts": f"{name}.zarr"},
            "cluster": {"kind": "in-process", "task_memory": "520 KiB"},
        },
        folder,
    )


def in_child(function, *arguments) -> int:
    """The exit status of a forked process that calls the function."""
    child = os.fork()
    if child == 0:
        try:
            function(*arguments)
        except BaseException as error:
            print(type(error).__name__, error, flush=True)
            os._exit(WRONG)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def prepare(folder):
    base = rough(0, (60, 60), 1)
    frames = [base[t : t + 40, 10 - t : 50 - t] + 0.1 * rough(t, (40, 40), 0) for t in range(6)]
    frames[2] = frames[3] = np.zeros((40, 40))  # so that a second round joins what is left
    write_stack(folder / "stack.zarr", np.stack(frames).astype("f4"))
    whole = stages.run(settings(folder, "whole"))
    assert (whole.sizes["pair"], whole["component"].max()) == (13, 0), whole


def killed(folder, due):
    """A run that ends at a step; the second time over what a finished run has left."""
    steps = Steps(due)
    for module, name in (
        (files, "sync_to_disk"), (files, "put"), (files, "_exchange"), (files, "delete"),
        (files, "discard"), (files.OpenRecords, "_write"), (files.os, "ftruncate"),
    ):  # fmt: skip
        steps.before(module, name)
    write = files.os.write

    def torn(handle, content):  # half of a record is there
        steps.due -= 1
        if steps.due == 0:
            write(handle, content[: len(content) // 2])
            os._exit(KILLED)
        return write(handle, content)

    files.os.write = torn
    stages.run(settings(folder, "killed"))


def rows_of(dataset):
    table = read_pairs(dataset)
    return table, np.flatnonzero(table.status != PairStatus.UNMEASURED.code)


def check(folder):
    """What is there is right; a further run measures the rest, and ends as the whole one."""
    whole, path = load_shifts(str(folder / "whole.zarr")), folder / "killed.zarr"
    expected, _ = rows_of(whole)
    saved = np.array([], int)
    if path.exists():
        with xr.open_zarr(path) as opened:
            found = opened.load()
        table, _ = rows_of(found)
        journal.replay_journal(str(path), str(found.attrs["run"]), table)
        saved = np.flatnonzero(table.status != PairStatus.UNMEASURED.code)
        for name in COLUMNS:
            one, other = getattr(table, name)[saved], getattr(expected, name)[saved]
            assert one.tobytes() == other.tobytes(), name
    begins = []
    result = stages.run(
        settings(folder, "killed"), progress=lambda done, total: begins.append(done)
    )
    assert not begins or begins[0] == len(saved), (begins, saved)
    for name in whole.variables:
        assert result[name].to_numpy().tobytes() == whole[name].to_numpy().tobytes(), name
    left = {entry.name for entry in folder.iterdir() if entry.name.startswith("killed")}
    assert left == {"killed.zarr"}, left
    print(f"{len(saved)} rows were saved")


def main(folder: Path) -> int:
    if in_child(prepare, folder) != 0:
        return WRONG
    for due in range(1, 1000):
        status = in_child(killed, folder, due)
        if status == 0:
            print(f"{due - 1} steps")
            return 0
        if status != KILLED or in_child(check, folder) != 0:
            print(f"step {due}: {status}")
            return WRONG
        for left in folder.glob("killed*"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    return WRONG


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
