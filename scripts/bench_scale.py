"""Whether many workers are kept busy, and what a task costs that does nothing.

    python scripts/bench_scale.py [--threads 64] [--frames 1000] [--tasks 2000]

The first table is of empty tasks on two worker processes, with the scheduler in this process as in
a run: CPU of driver and scheduler. The second is of a simulated cluster: worker threads of this
process whose tasks sleep for as long as frames and pairs of that size take here, and give the true
shifts of frames of 512 px, at which pilot and checks look. Last is what is planned before the
first task of very many pairs.
"""

from __future__ import annotations

import argparse
import operator
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import xarray as xr
from distributed import Client, LocalCluster, as_completed, get_task_stream
from distributed.client import Client as AnyClient

from bench_run import (
    DISTINCT_FRAMES,
    WIDTH,
    make_scene,
    make_settings,
    write_mask,
    write_series,
)
from steadystack.checks import check_series
from steadystack.cluster import Cluster, connect, run_tasks
from steadystack.config import ClusterSection
from steadystack.measure import cut_into_batches, measure_batch, measure_pairs
from steadystack.measure.batch_results import BatchResult
from steadystack.model import FRAME_RESULTS, FrameStatus, PairStatus, PairTable
from steadystack.planning import Setup, make_series, open_series, set_up
from steadystack.readers import ArrayFrames
from steadystack.stages.measuring import settle_settings

ROUNDS = 5  # of measuring the pairs, of which the table has the median
AHEAD = 6  # empty tasks that the scheduler knows at a time, as of a run on two workers


def take_time(call: Callable[[], object]) -> tuple[float, float]:
    """Seconds of this process's CPU, and of the clock."""
    cpu, clock = time.process_time(), time.perf_counter()
    call()
    return time.process_time() - cpu, time.perf_counter() - clock


def submit_bare(client: AnyClient, count: int) -> None:
    """Empty tasks by Dask alone, a few at a time: the floor."""
    items = iter(range(count))
    first = [client.submit(operator.neg, next(items), pure=False) for _ in range(AHEAD)]
    flow = as_completed(first, loop=client.loop)
    for future in flow:
        future.result()
        future.release()
        if (item := next(items, None)) is not None:
            flow.add(client.submit(operator.neg, item, pure=False))


def pretend(
    task: tuple[np.ndarray, np.ndarray | None],
    source: object,
    method: object,
    frame_seconds: float = 0.0,
    pair_seconds: float = 0.0,
    origins: np.ndarray | None = None,
) -> BatchResult:
    """Sleep for as long as a batch takes, and give what noise makes of true shifts, or of none.

    `origins` are where each of the distinct frames begins in the scene, pixels.
    """
    pairs, _ = task
    frames = np.unique(pairs)
    time.sleep(frame_seconds * len(frames) + pair_seconds * len(pairs))
    table = PairTable.unmeasured(pairs, 0, 2)
    rng = np.random.default_rng(pairs[0])
    table.shift[:] = rng.normal(0, 0.01, table.shift.shape)
    if origins is not None:
        begin = origins[pairs % DISTINCT_FRAMES]
        table.shift[:] += begin[:, 1] - begin[:, 0]
    table.shift_std[:], table.ncc[:], table.overlap[:] = 0.01, 0.9, 1.0
    table.second_peak_ratio[:], table.fixed_pattern_share[:] = 0.1, 0.0
    table.part_step[:] = rng.normal(0, 0.003, table.part_step.shape)
    table.status[:] = PairStatus.OK.code
    sizes = {"frame": len(frames)}
    columns = {column.field: column.empty(sizes) for column in FRAME_RESULTS}
    columns["frame_read_status"][:] = FrameStatus.OK.code
    covariance = np.tile(1e-4 * np.eye(2), (len(pairs), 1, 1))
    return BatchResult(table, frames, columns, {}, covariance)


def measure_all(setup: Setup, cluster: Cluster) -> PairTable:
    source = setup.series.source
    table = PairTable.unmeasured(setup.pairs, source.frame_count, 2)
    for latest, _ in measure_pairs(source, table, setup.method, setup.size, client=cluster):
        table = latest
    assert table.ok.all(), "the benchmark measures something else"
    return table


def lay_out(side: int, count: int, width: int) -> Setup:
    """A series that is never read."""
    frames = np.broadcast_to(np.zeros((1, side, side), "u2"), (count, side, side))
    config = make_settings(Path("memory"), {}, pairs={"strategy": "window", "width": width})
    source = ArrayFrames.checked(xr.DataArray(frames, dims=("t", "y", "x")))
    return set_up(config, make_series(source))


def tasks_table(folder: Path, count: int) -> None:
    print("| empty tasks on 2 workers | ms of CPU a task, driver and scheduler | ms a task |")
    print("|---|---|---|")
    stack = write_series(folder, 100)
    config = make_settings(stack, {}, pairs={"strategy": "consecutive"})
    series, _ = open_series(config)
    setup = set_up(config, series)
    pairs = np.tile(setup.pairs[:1], (count, 1)) + np.arange(count)[:, None] % 90
    ahead = Setup(setup.config, series, pairs, setup.method, setup.size)
    size = setup.size.__class__(**{**vars(setup.size), "pairs": 1, "frames": 2})
    with connect(ClusterSection(workers=2)) as cluster:
        client = cluster.client
        assert client is not None

        def measure_nothing() -> None:
            table = PairTable.unmeasured(ahead.pairs, 100, 2)
            for _ in measure_pairs(series.source, table, setup.method, size, client=cluster):
                pass

        ways: dict[str, Callable[[], object]] = {
            "Dask alone": partial(submit_bare, client, count),
            "with retries and back-pressure": lambda: list(
                run_tasks(cluster, operator.neg, enumerate(range(count)))
            ),
            "of a pair each, with its row in the table": measure_nothing,
        }
        with mock.patch("steadystack.measure.batches.measure_task", pretend):
            for call in ways.values():
                call()
            for name, call in ways.items():
                cpu, clock = min(take_time(call) for _ in range(3))
                print(f"| {name} | {1e3 * cpu / count:.2f} | {1e3 * clock / count:.2f} |")
    print()


def time_parts(side: int) -> tuple[float, float]:
    """Seconds that a frame and a pair of it take: of consecutive pairs and of a window."""
    rng = np.random.default_rng(0)
    count = max(8, min(40, 40 * 512**2 // side**2))
    scene = rng.integers(0, 999, (side + count, side + count)).astype("u2")
    frames = np.stack([scene[n : n + side, n : n + side] for n in range(count)])
    source = ArrayFrames.checked(xr.DataArray(frames, dims=("t", "y", "x")))
    seconds = []
    for width in (1, WIDTH):
        setup = lay_out(side, count, width)
        measure = partial(measure_batch, setup.pairs, source, setup.method)
        measure()
        seconds.append((min(take_time(measure)[0] for _ in range(3)), len(setup.pairs)))
    (few, few_pairs), (many, many_pairs) = seconds
    pair = (many - few) / (many_pairs - few_pairs)
    return max(few - few_pairs * pair, 0.0) / count, pair


def add_compute(stream: get_task_stream) -> tuple[float, float]:
    """Seconds in tasks, and from the first to the last of them."""
    spans = [
        (entry["start"], entry["stop"])
        for task in stream.data
        for entry in task["startstops"]
        if entry["action"] == "compute"
    ]
    starts, stops = zip(*spans, strict=True)
    return sum(stops) - sum(starts), max(stops) - min(starts)


def cluster_table(folder: Path, threads: int, count: int) -> None:
    print(f"| {count} frames, window of {WIDTH}, {threads} threads that sleep | tasks | ms a task "
          "| seconds | busy | pilot and checks, s | busy with them |")  # fmt: skip
    print("|---|---|---|---|---|---|---|")
    config = make_settings(write_series(folder, count), {"path": str(write_mask(folder))})
    true, _ = open_series(config)
    origins = make_scene()[1]
    parts = {side: time_parts(side) for side in (512, 1024, 2048)}  # before threads are in the way
    with (
        LocalCluster(
            n_workers=threads, threads_per_worker=1, processes=False, dashboard_address=None,
            memory_limit=0,
        ) as local,
        Client(local) as client,
    ):  # fmt: skip
        cluster = Cluster(client)
        for side, (frame, pair) in parts.items():
            layout = lay_out(side, count, WIDTH)
            fake = partial(pretend, frame_seconds=frame, pair_seconds=pair, origins=origins)
            setup = Setup(config, true, layout.pairs, set_up(config, true).method, layout.size)
            with mock.patch("steadystack.measure.batches.measure_task", fake):
                measure_all(setup, cluster)  # connections are made once
                start = time.perf_counter()
                settle_settings(set_up(config, true))
                settled = time.perf_counter() - start
                spans = []
                for _ in range(ROUNDS):
                    with get_task_stream(client) as stream:
                        table = measure_all(setup, cluster)
                    spans.append(add_compute(stream))
                work, seconds = np.median(spans, axis=0)
                start = time.perf_counter()
                check_series(setup, table, cluster)
                beside = settled + time.perf_counter() - start
            size = layout.size.among(threads, len(layout.pairs))
            tasks = sum(1 for _ in cut_into_batches(layout.pairs, layout.method, size))
            print(
                f"| {side} x {side} | {tasks} | {1e3 * work / tasks:.0f} | {seconds:.2f} "
                f"| {work / (threads * seconds):.0%} | {beside:.1f} "
                f"| {work / (threads * (seconds + beside)):.0%} |",
                flush=True,
            )
    print()


def planning_table() -> None:
    print("| planning | pairs | seconds for pairs and sizes | and to the first batch |")
    print("|---|---|---|---|")
    for name, frames, width in (("window of 10", 10**6, 10), ("all", 4473, 4472)):
        start = time.perf_counter()
        setup = lay_out(512, frames, width)
        chosen, pairs = time.perf_counter() - start, setup.pairs
        next(iter(cut_into_batches(pairs, setup.method, setup.size.among(100, len(pairs)))))
        first = time.perf_counter() - start
        print(f"| {name} | {len(pairs)} | {chosen:.2f} | {first:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=64)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--tasks", type=int, default=2000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tasks_table(Path(folder), arguments.tasks)
        cluster_table(Path(folder), arguments.threads, arguments.frames)
    planning_table()


if __name__ == "__main__":
    from bench_scale import main as run  # so that workers find by name what they are to call

    run()
