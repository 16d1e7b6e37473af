"""Run in processes that end at each of their steps on disk in turn, as by SIGKILL; see test_stop.

A process of its own, because it forks: nothing that starts threads may run in the parent.
"""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import xarray as xr
import zarr

from steadystack import stages
from steadystack.config import make_config
from steadystack.dataset import journal, load_shifts, read_pairs
from steadystack.durable import files
from steadystack.model import InputError, PairStatus
from steadystack.outputs import write_stack
from support.scenes import rough

KILLED, WRONG = 9, 1
COLUMNS = (
    "shift",
    "shift_std",
    "ncc",
    "second_peak_ratio",
    "overlap",
    "fixed_pattern_share",
    "status",
)


class Steps:
    """Counts calls that change the disk; the process ends before the one that is due."""

    def __init__(self, due: int) -> None:
        self.due = due

    def before(self, module, name):
        call = getattr(module, name)

        def step(*arguments, **keywords):
            if name == "delete" and not os.path.lexists(arguments[0]):
                return call(*arguments, **keywords)  # it changes nothing
            self.due -= 1
            if self.due == 0:
                os._exit(KILLED)
            return call(*arguments, **keywords)

        setattr(module, name, step)


def settings(folder, name, max_shift=6, corrected=False):
    stack = {"corrected": f"{name}.ome.zarr"} if corrected else {}
    return make_config(
        {
            "input": {"path": "stack.zarr"},
            "register": {"max_shift": max_shift},
            "pairs": {"width": 2, "extra": 0.4},
            "output": {"shifts": f"{name}.zarr", **stack},
            "cluster": {"kind": "in-process", **({} if corrected else {"task_memory": "560 KiB"})},
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


def prepare_in_child(function, folder, *arguments) -> int:
    """The same of what comes first; all that it imported is imported here, too.

    Else every other child would import it anew, which takes longer than what it is there for.
    """
    note = folder.parent / "imported"

    def act():
        function(folder, *arguments)
        note.write_text("\n".join(sys.modules))

    status = in_child(act)
    for name in note.read_text().split() if status == 0 else ():
        with suppress(ImportError):  # names that modules made up
            importlib.import_module(name)
    assert len(os.listdir("/proc/self/task")) == 1, "an import has started a thread"
    return status


def prepare(folder):
    base = rough(0, (60, 60), 1)
    frames = [base[t : t + 40, 10 - t : 50 - t] + 0.1 * rough(t, (40, 40), 0) for t in range(6)]
    frames[2] = frames[3] = np.zeros((40, 40))  # so that a second round joins what is left
    write_stack(folder / "stack.zarr", np.stack(frames).astype("f4"))
    whole = stages.run(settings(folder, "whole"))
    assert (whole.sizes["pair"], whole["component"].max()) == (13, 0), whole


def count_steps(due):
    """Let this process end before the step with that number that changes the disk."""
    steps = Steps(due)
    for module, name in (
        (files, "sync_to_disk"), (files, "put"), (files, "_exchange"), (files, "delete"),
        (files, "discard"), (files, "open_workshop"), (files.OpenRecords, "_write"),
        (files.os, "ftruncate"),
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


def killed(folder, due):
    """A run that ends at a step."""
    count_steps(due)
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
    print(f"{len(saved)} rows were saved", flush=True)  # the process ends without


# What others lay around an output, under names that were in use once, or might be.
STRANGERS = (
    "killed.zarr.before", "killed.zarr.partial", "killed.zarr.discarded", "killed.zarr.static.zarr",
    "killed.zarr.flat_field.zarr", "killed.ome.zarr.partial", ".killed.zarr.mine",
)  # fmt: skip


def prepare_old(folder):
    """An older result with its stack, and strangers around it."""
    for name in STRANGERS:
        (folder / name).mkdir()
        (folder / name / "theirs").write_text(name)
    stages.run(settings(folder, "killed", 5, corrected=True))
    stages.run(settings(folder, "whole", corrected=True))


def overwritten(folder, due):
    """A run over an older result that ends at a step."""
    count_steps(due)
    stages.run(settings(folder, "killed", corrected=True), overwrite=True)


def check_overwritten(folder):
    """The old or the new is whole, strangers stay, and a further run ends as an undisturbed one."""
    path = str(folder / "killed.zarr")
    there, whole = load_shifts(path), load_shifts(str(folder / "whole.zarr"))
    assert (there["component"] >= 0).any(), "neither the old nor the new is solved"
    stack = zarr.open_array(folder / "killed.ome.zarr" / "0", mode="r")
    assert stack.shape == (6, 40, 40), stack.shape
    config = settings(folder, "killed", corrected=True)
    try:
        result = stages.run(config)
    except InputError:  # killed before anything was begun
        result = stages.run(config, overwrite=True)
    for name in whole.variables:
        assert result[name].to_numpy().tobytes() == whole[name].to_numpy().tobytes(), name
    ours, theirs = (
        zarr.open_array(folder / f"{name}.ome.zarr" / "0", mode="r")[:]
        for name in ("killed", "whole")
    )
    np.testing.assert_array_equal(ours, theirs)
    for name in STRANGERS:
        assert (folder / name / "theirs").read_text() == name, name
    left = {entry.name for entry in folder.iterdir() if "killed" in entry.name} - set(STRANGERS)
    left.discard(".killed.zarr.lock")
    assert left == {"killed.zarr", "killed.ome.zarr"}, left


def walk(folder, act, check_after, restore, stride) -> int:
    """Let `act` end at each of its steps in turn, or every so many, and check what it leaves."""
    for due in range(1, 2000, stride):
        restore()
        status = in_child(act, folder, due)
        if status == 0:
            print(f"{act.__name__}: {due - 1} steps")
            return 0
        if status != KILLED or in_child(check_after, folder) != 0:
            print(f"{act.__name__}, step {due}: {status}")
            return WRONG
    return WRONG


def remove(folder):
    for path in folder.glob("killed*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def walk_new(folder: Path, stride: int) -> int:
    if prepare_in_child(prepare, folder) != 0:
        return WRONG
    return walk(folder, killed, check, lambda: remove(folder), stride)


def walk_over_an_older(folder: Path, stride: int) -> int:
    if in_child(prepare, folder) != 0 or prepare_in_child(prepare_old, folder) != 0:
        return WRONG
    kept = folder.parent / f"{folder.name}-kept"
    shutil.copytree(folder, kept)

    def restore():
        shutil.rmtree(folder)
        shutil.copytree(kept, folder)

    return walk(folder, overwritten, check_overwritten, restore, stride)


if __name__ == "__main__":
    walks = {"new": walk_new, "over": walk_over_an_older}
    sys.exit(walks[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3])))
