"""Kill a run again and again, go on each time, and compare with a run that nobody disturbed.

    python scripts/kill_and_resume.py                      # 30 kills on two worker processes
    python scripts/kill_and_resume.py --kind in-process --kills 100 --seed 7

Every kill is a SIGKILL, of the driver alone or of it and its workers, at an instant drawn from the
seed: after so many checkpoints, so many milliseconds later, or while a dataset is being written.
After each of them: xarray opens the dataset; every row that it or its journal claims is bit for bit
the undisturbed run's; no row that was there before is missing. In the end the datasets are equal
bit for bit. Workers note what they measure: no row that was saved is measured again, and more than
once only what was under way when a kill came. Exits with 1 if any of this is not so.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import xarray as xr

import steadystack.measure.batches as batches
import steadystack.stages.measuring as measuring
from steadystack.cluster.retries import TASKS_PER_THREAD
from steadystack.config import load_config
from steadystack.dataset import get_journal_path, read_pairs, replay_journal
from steadystack.model import PairStatus
from steadystack.outputs import write_stack
from steadystack.stages import run

FRAMES, SIDE, WIDTH, WORKERS = 60, 48, 4, 2
NOTES = "KILL_AND_RESUME_NOTES"  # the variable that tells workers where to note what they measure
LIMIT_S = 120.0
measure_task = batches.measure_task


def noting(task, *rest):
    """`measure_task`, a little slower, and it notes what it begins with."""
    pairs, _ = task
    line = json.dumps(np.asarray(pairs).tolist()) + "\n"
    handle = os.open(os.environ[NOTES], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, line.encode())
    os.close(handle)
    time.sleep(0.02)
    return measure_task(task, *rest)


def noted_pairs(*arguments, **keywords):
    """`measure_pairs`, its batches noted; what else a run measures is not of its table."""
    batches.measure_task = noting
    yield from batches.measure_pairs(*arguments, **keywords)
    batches.measure_task = measure_task


def drive(config: str) -> None:
    """A run whose batches are noted, in a process that may be killed."""
    measuring.measure_pairs = noted_pairs
    run(load_config(config))


def made_series(folder: Path, kind: str) -> Path:
    """A drifting scene and the settings of many small batches."""
    rng = np.random.default_rng(0)
    walk = np.cumsum(rng.integers(-1, 2, (FRAMES, 2)), axis=0)
    walk -= walk.min(axis=0)
    scene = rng.normal(size=(SIDE + walk[:, 0].max(), SIDE + walk[:, 1].max()))
    frames = np.stack([scene[y : y + SIDE, x : x + SIDE] for y, x in walk])
    noise = rng.normal(0, 0.3, frames.shape)
    write_stack(folder / "stack.zarr", (1000 + 100 * (frames + noise)).astype("u2"))
    workers = f"workers: {WORKERS}, " if kind == "local" else ""
    for name in ("whole", "killed"):
        (folder / f"{name}.yaml").write_text(
            "input: {path: stack.zarr}\nregister: {max_shift: 8}\n"
            f"pairs: {{strategy: window, width: {WIDTH}}}\n"
            f"output: {{shifts: {name}.zarr}}\n"
            f"cluster: {{kind: {kind}, {workers}task_memory: 500 KiB}}\n"
        )
    return folder


def start(folder: Path, name: str) -> subprocess.Popen[bytes]:
    """A driver in a process group of its own."""
    here = Path(__file__).resolve()
    root = os.pathsep.join([str(here.parents[1] / "pipeline"), str(here.parent)])
    environment = os.environ | {"PYTHONPATH": root, NOTES: str(folder / f"{name}.notes")}
    code = f"import {here.stem} as me\nif __name__ == '__main__': me.drive({f'{name}.yaml'!r})"
    with open(folder / f"{name}.err", "ab") as errors:
        return subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=folder, env=environment, stderr=errors, start_new_session=True,
        )  # fmt: skip


class Instant:
    """When to kill: drawn from the seed, recognized by what lies on the disk."""

    def __init__(self, draw: random.Random, most: int) -> None:
        self.kind = draw.choice(["rows"] * 3 + ["writing", "start"])
        self.checkpoints = draw.randint(0, most)
        self.delay_s = draw.uniform(0, 0.06) if self.kind == "rows" else draw.uniform(0, 0.01)
        self.early_s = draw.uniform(0.2, 2.5)
        self.whole_group = draw.random() < 0.5

    def wait(self, driver: subprocess.Popen[bytes], path: Path) -> bool:
        """Whether the driver still ran when the instant came."""
        begun, started, grown, size = time.monotonic(), time.time(), -1, -1
        while driver.poll() is None and time.monotonic() - begun < LIMIT_S:
            try:
                now = os.stat(get_journal_path(str(path))).st_size
            except FileNotFoundError:
                now = -1
            grown, size = grown + (now > size >= 0), now
            late = grown >= self.checkpoints and time.monotonic() - begun > 0.1
            if self.kind == "start" and time.monotonic() - begun > self.early_s:
                return True
            if self.kind == "rows" and late and now >= 0:
                time.sleep(self.delay_s)
                return driver.poll() is None
            if self.kind == "writing" and made_since(Path(f"{path}.partial"), started):
                time.sleep(self.delay_s)
                return driver.poll() is None
            time.sleep(0.0005)
        return False

    def kill(self, driver: subprocess.Popen[bytes]) -> None:
        """Kill it; the workers of one that dies alone have to go by themselves."""
        family = psutil.Process(driver.pid).children(recursive=True)
        if self.whole_group:
            os.killpg(driver.pid, signal.SIGKILL)
        else:
            driver.kill()
        driver.wait()
        _, alive = psutil.wait_procs(family, timeout=30)
        assert not alive, f"orphans: {alive}"

    def __str__(self) -> str:
        who = "driver and workers" if self.whole_group else "driver alone"
        return f"{who}, {self.kind}" + (f" {self.checkpoints}" if self.kind == "rows" else "")


def made_since(path: Path, started: float) -> bool:
    """Whether something is there that no earlier process has left."""
    try:
        return path.stat().st_mtime > started
    except FileNotFoundError:
        return False


def saved_rows(path: Path, whole: xr.Dataset) -> np.ndarray:
    """The rows that dataset and journal claim; all of them must be the undisturbed run's."""
    if not path.exists():
        return np.array([], int)
    with xr.open_zarr(path) as opened:
        found = opened.load()
    table, expected = read_pairs(found), read_pairs(whole)
    replay_journal(str(path), str(found.attrs["run"]), table)
    rows = np.flatnonzero(table.status != PairStatus.UNMEASURED.code)
    for name in (
        "reference",
        "moving",
        "shift",
        "shift_std",
        "ncc",
        "second_peak_ratio",
        "overlap",
        "status",
    ):
        one, other = getattr(table, name)[rows], getattr(expected, name)[rows]
        assert one.tobytes() == other.tobytes(), f"{name} is not the undisturbed run's"
    return rows


def noted(folder: Path, name: str, skip: int = 0) -> list[list[list[int]]]:
    """The batches that workers began, apart from the first so many."""
    try:
        lines = (folder / f"{name}.notes").read_text().splitlines()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines[skip:]]


def finished(folder: Path, name: str) -> xr.Dataset:
    driver = start(folder, name)
    assert driver.wait(LIMIT_S) == 0, (folder / f"{name}.err").read_text()
    with xr.open_zarr(folder / f"{name}.zarr") as found:
        return found.load()


def repeated(folder: Path) -> int:
    """How often a pair was measured that had been measured before."""
    counts = Counter(tuple(pair) for batch in noted(folder, "killed") for pair in batch)
    return sum(counts.values()) - len(counts)


def disturbed(folder: Path, kills: int, seed: int, whole: xr.Dataset) -> tuple[int, int, int]:
    """Kill and go on, so many times.

    How many runs came to their end before all kills were done, how many pairs were under way at a
    kill, and how many of those were measured again until then.
    """
    draw, path = random.Random(seed), folder / "killed.zarr"
    table = read_pairs(whole)
    number = {pair: row for row, pair in enumerate(zip(table.reference, table.moving, strict=True))}
    before, early, lost, again, done = np.array([], int), 0, 0, 0, 0
    most = max(2 * len(noted(folder, "whole")) // kills, 1)
    while done < kills:
        begun = len(noted(folder, "killed"))
        instant, driver = Instant(draw, most), start(folder, "killed")
        came = instant.wait(driver, path)
        if came:
            instant.kill(driver)
            done += 1
        assert came or driver.returncode == 0, (folder / "killed.err").read_text()
        measured = [
            number[tuple(pair)] for batch in noted(folder, "killed", begun) for pair in batch
        ]
        assert not np.isin(measured, before).any(), "a saved row is measured again"
        rows = saved_rows(path, whole)
        assert np.isin(before, rows).all(), "saved rows are lost"
        lost += len(set(measured) - set(rows.tolist()))
        print(f"kill {done}: {instant if came else 'it was done'}; {len(rows)} rows saved")
        before = rows
        if not came:  # start anew, so that there is something to kill
            early, before, again = early + 1, np.array([], int), again + repeated(folder)
            for left in (path, folder / "killed.notes"):
                shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
    return early, lost, again


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--kills", type=int, default=30)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--kind", choices=["local", "in-process"], default="local")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = made_series(Path(made), asked.kind)
        whole = finished(folder, "whole")
        early, lost, again = disturbed(folder, asked.kills, asked.seed, whole)
        found = finished(folder, "killed")
        left = sorted(entry.name for entry in folder.iterdir() if entry.name.startswith("killed.z"))
        seen = {tuple(pair) for batch in noted(folder, "killed") for pair in batch}
        largest = max(len(batch) for batch in noted(folder, "whole"))
        again += repeated(folder)
    for name in whole.variables:
        assert found[name].to_numpy().tobytes() == whole[name].to_numpy().tobytes(), name
        assert found[name].attrs.keys() == whole[name].attrs.keys()
    assert left == ["killed.zarr"], left
    assert len(seen) == whole.sizes["pair"]
    threads = WORKERS if asked.kind == "local" else 1
    bound = asked.kills * largest * threads * (TASKS_PER_THREAD if threads > 1 else 1)
    assert again <= lost <= bound, (again, lost, bound)
    print(
        f"{asked.kills} kills ({early} runs came to their end in between), {len(seen)} pairs: "
        f"equal bit for bit; {lost} pairs were under way at a kill, {again} of them measured again"
    )


if __name__ == "__main__":
    main()
