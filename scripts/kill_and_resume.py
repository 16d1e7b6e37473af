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


def measure_and_note(task, *rest):
    """Measure a batch, a little slower, and note its pairs before."""
    pairs, _ = task
    line = json.dumps(np.asarray(pairs).tolist()) + "\n"
    handle = os.open(os.environ[NOTES], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, line.encode())
    os.close(handle)
    time.sleep(0.02)
    return measure_task(task, *rest)


def measure_noted_pairs(*arguments, **keywords):
    """Measure pairs and note their batches; only batches of the run's table are noted."""
    batches.measure_task = measure_and_note
    yield from batches.measure_pairs(*arguments, **keywords)
    batches.measure_task = measure_task


def drive(config: str) -> None:
    """Run with noted batches, in a process that may be killed."""
    measuring.measure_pairs = measure_noted_pairs
    run(load_config(config))


def make_series(folder: Path, kind: str) -> Path:
    """Write a drifting scene and settings with many small batches; returns the folder."""
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
            f"cluster: {{kind: {kind}, {workers}task_memory: 600 KiB}}\n"
        )
    return folder


def start(folder: Path, name: str) -> subprocess.Popen[bytes]:
    """Start a driver in a process group of its own."""
    script = Path(__file__).resolve()
    root = os.pathsep.join([str(script.parents[1] / "pipeline"), str(script.parent)])
    environment = os.environ | {"PYTHONPATH": root, NOTES: str(folder / f"{name}.notes")}
    code = f"import {script.stem} as me\nif __name__ == '__main__': me.drive({f'{name}.yaml'!r})"
    with open(folder / f"{name}.err", "ab") as errors:
        return subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=folder, env=environment, stderr=errors, start_new_session=True,
        )  # fmt: skip


class Instant:
    """When to kill: drawn from the seed, recognized by the files on the disk."""

    def __init__(self, draw: random.Random, most: int) -> None:
        self.kind = draw.choice(["rows"] * 3 + ["writing", "start"])
        self.checkpoints = draw.randint(0, most)
        self.delay_s = draw.uniform(0, 0.06) if self.kind == "rows" else draw.uniform(0, 0.01)
        self.early_s = draw.uniform(0.2, 2.5)
        self.whole_group = draw.random() < 0.5

    def wait(self, driver: subprocess.Popen[bytes], path: Path) -> bool:
        """Wait for the instant; returns whether the driver still runs then."""
        started, started_at, growths, size = time.monotonic(), time.time(), -1, -1
        while driver.poll() is None and time.monotonic() - started < LIMIT_S:
            try:
                size_now = os.stat(get_journal_path(str(path))).st_size
            except FileNotFoundError:
                size_now = -1
            growths, size = growths + (size_now > size >= 0), size_now
            is_due = growths >= self.checkpoints and time.monotonic() - started > 0.1
            if self.kind == "start" and time.monotonic() - started > self.early_s:
                return True
            if self.kind == "rows" and is_due and size_now >= 0:
                time.sleep(self.delay_s)
                return driver.poll() is None
            if self.kind == "writing" and is_made_since(Path(f"{path}.partial"), started_at):
                time.sleep(self.delay_s)
                return driver.poll() is None
            time.sleep(0.0005)
        return False

    def kill(self, driver: subprocess.Popen[bytes]) -> None:
        """Kill the driver; if it dies alone, its workers have to end by themselves."""
        family = psutil.Process(driver.pid).children(recursive=True)
        if self.whole_group:
            os.killpg(driver.pid, signal.SIGKILL)
        else:
            driver.kill()
        driver.wait()
        _, alive = psutil.wait_procs(family, timeout=30)
        assert not alive, f"orphans: {alive}"

    def __str__(self) -> str:
        victims = "driver and workers" if self.whole_group else "driver alone"
        return f"{victims}, {self.kind}" + (f" {self.checkpoints}" if self.kind == "rows" else "")


def is_made_since(path: Path, started: float) -> bool:
    """Whether a path exists and was changed since `started`, seconds since the epoch."""
    try:
        return path.stat().st_mtime > started
    except FileNotFoundError:
        return False


def read_saved_rows(path: Path, whole: xr.Dataset) -> np.ndarray:
    """Read the rows that dataset and journal hold; all must equal the undisturbed run's."""
    if not path.exists():
        return np.array([], int)
    with xr.open_zarr(path) as opened:
        dataset = opened.load()
    table, expected = read_pairs(dataset), read_pairs(whole)
    replay_journal(str(path), str(dataset.attrs["run"]), table)
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
        saved, undisturbed = getattr(table, name)[rows], getattr(expected, name)[rows]
        assert saved.tobytes() == undisturbed.tobytes(), f"{name} is not the undisturbed run's"
    return rows


def read_noted(folder: Path, name: str, skip: int = 0) -> list[list[list[int]]]:
    """Read the batches that workers began, without the first `skip`."""
    try:
        lines = (folder / f"{name}.notes").read_text().splitlines()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines[skip:]]


def run_to_end(folder: Path, name: str) -> xr.Dataset:
    driver = start(folder, name)
    assert driver.wait(LIMIT_S) == 0, (folder / f"{name}.err").read_text()
    with xr.open_zarr(folder / f"{name}.zarr") as found:
        return found.load()


def count_repeated(folder: Path) -> int:
    """Count how often pairs were measured that had been measured before."""
    counts = Counter(tuple(pair) for batch in read_noted(folder, "killed") for pair in batch)
    return sum(counts.values()) - len(counts)


def kill_and_resume(folder: Path, kills: int, seed: int, whole: xr.Dataset) -> tuple[int, int, int]:
    """Kill and resume, `kills` times.

    Returns how many runs ended before all kills were done, how many pairs were under way at a
    kill, and how many of those were measured again in these runs.
    """
    draw, path = random.Random(seed), folder / "killed.zarr"
    table = read_pairs(whole)
    row_of_pair = {
        pair: row for row, pair in enumerate(zip(table.reference, table.moving, strict=True))
    }
    rows_before, finished_early, lost, measured_again, done = np.array([], int), 0, 0, 0, 0
    max_checkpoints = max(2 * len(read_noted(folder, "whole")) // kills, 1)
    while done < kills:
        noted_before = len(read_noted(folder, "killed"))
        instant, driver = Instant(draw, max_checkpoints), start(folder, "killed")
        was_killed = instant.wait(driver, path)
        if was_killed:
            instant.kill(driver)
            done += 1
        assert was_killed or driver.returncode == 0, (folder / "killed.err").read_text()
        measured = [
            row_of_pair[tuple(pair)]
            for batch in read_noted(folder, "killed", noted_before)
            for pair in batch
        ]
        assert not np.isin(measured, rows_before).any(), "a saved row is measured again"
        rows = read_saved_rows(path, whole)
        assert np.isin(rows_before, rows).all(), "saved rows are lost"
        lost += len(set(measured) - set(rows.tolist()))
        print(f"kill {done}: {instant if was_killed else 'it was done'}; {len(rows)} rows saved")
        rows_before = rows
        if not was_killed:  # start anew, so that there is something to kill
            finished_early, rows_before = finished_early + 1, np.array([], int)
            measured_again += count_repeated(folder)
            for path_left in (path, folder / "killed.notes"):
                if path_left.is_dir():
                    shutil.rmtree(path_left)
                else:
                    path_left.unlink(missing_ok=True)
    return finished_early, lost, measured_again


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--kills", type=int, default=30)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--kind", choices=["local", "in-process"], default="local")
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = make_series(Path(temporary), arguments.kind)
        whole = run_to_end(folder, "whole")
        finished_early, lost, measured_again = kill_and_resume(
            folder, arguments.kills, arguments.seed, whole
        )
        resumed = run_to_end(folder, "killed")
        names_left = sorted(
            entry.name for entry in folder.iterdir() if entry.name.startswith("killed.z")
        )
        measured_pairs = {tuple(pair) for batch in read_noted(folder, "killed") for pair in batch}
        largest = max(len(batch) for batch in read_noted(folder, "whole"))
        measured_again += count_repeated(folder)
    for name in whole.variables:
        assert resumed[name].to_numpy().tobytes() == whole[name].to_numpy().tobytes(), name
        assert resumed[name].attrs.keys() == whole[name].attrs.keys()
    assert names_left == ["killed.zarr"], names_left
    assert len(measured_pairs) == whole.sizes["pair"]
    threads = WORKERS if arguments.kind == "local" else 1
    bound = arguments.kills * largest * threads * (TASKS_PER_THREAD if threads > 1 else 1)
    assert measured_again <= lost <= bound, (measured_again, lost, bound)
    print(
        f"{arguments.kills} kills ({finished_early} runs came to their end in between), "
        f"{len(measured_pairs)} pairs: equal bit for bit; {lost} pairs were under way at a kill, "
        f"{measured_again} of them measured again"
    )


if __name__ == "__main__":
    main()
