"""A whole run on two workers: where its time goes, how it grows, and Dask with scikit-image.

    python scripts/bench_run.py                    # 1000 frames, then 10000
    python scripts/bench_run.py --large            # one pair of 16384 x 16384 in workers of 1 GiB
    python scripts/bench_run.py --engines          # processes or threads
    python scripts/bench_run.py --parts            # what asking the parts of the frame costs

Tables are Markdown. Stacks are written to a temporary folder: about 500 MB, 1 GB with --large.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import zarr
from distributed import Client, LocalCluster, get_task_stream
from scipy import ndimage
from skimage.registration import phase_cross_correlation

import steadystack
from steadystack.cluster import connect
from steadystack.config import ClusterSection
from steadystack.measure import measure_pairs
from steadystack.model import PairTable
from steadystack.outputs import write_image
from steadystack.planning import Setup, open_series, set_up

SIZE, DISTINCT_FRAMES = 512, 100  # frames that differ; a longer stack has them several times
WIDTH = 5
WORKERS = 2
PEER_PAIRS = 60  # pairs that scikit-image is given


def make_scene() -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    """A scene, where each of the distinct frames begins in it, and what is left of the chance."""
    rng = np.random.default_rng(0)
    canvas_side = SIZE + 64
    scene = ndimage.gaussian_filter(
        rng.normal(size=(canvas_side, canvas_side)).astype(np.float32), 2
    )
    walk = np.cumsum(rng.normal(0, 1, (DISTINCT_FRAMES, 2)), axis=0)
    return scene, np.clip(32 + walk - walk.mean(axis=0), 0, 64).round().astype(int), rng


def write_series(folder: Path, count: int) -> Path:
    """A uint16 stack, compressed with zstd, a frame per chunk; 300 KB a frame."""
    scene, origins, rng = make_scene()
    path = folder / f"stack-{count}.zarr"
    stack = zarr.create_array(
        path, shape=(count, SIZE, SIZE), chunks=(1, SIZE, SIZE), dtype="u2",
        dimension_names=["t", "y", "x"], compressors=zarr.codecs.ZstdCodec(level=3),
    )  # fmt: skip
    for index, (y, x) in enumerate(origins[:count]):
        view = scene[y : y + SIZE, x : x + SIZE] * 10000
        frame = np.clip(5000 + view + rng.normal(0, 20, (SIZE, SIZE)), 0, 65535)
        stack[index] = frame.astype("u2")
    chunks = path / "c"
    for index in range(DISTINCT_FRAMES, count):  # the same bytes under another name
        target = chunks / str(index) / "0"
        target.mkdir(parents=True)
        os.link(chunks / str(index % DISTINCT_FRAMES) / "0" / "0", target / "0")
    return path


def write_mask(folder: Path) -> Path:
    """An ellipse over 55 % of the frame, without 1 % dead pixels."""
    y, x = np.meshgrid(*[np.linspace(-1, 1, SIZE)] * 2, indexing="ij")
    dead = np.random.default_rng(1).random((SIZE, SIZE)) < 0.01
    path = folder / "mask.zarr"
    if not path.exists():
        write_image(path, ((y / 0.94) ** 2 + (x / 0.75) ** 2 < 1) & ~dead)
    return path


def make_settings(stack: Path, mask: dict[str, Any], **sections: Any) -> steadystack.config.Config:
    return steadystack.config.make_config(
        {
            "input": {"path": str(stack)},
            "mask": mask,
            "register": {"max_shift": 32},
            "pairs": {"strategy": "window", "width": WIDTH},
            "output": {"shifts": str(stack.with_suffix(".shifts.zarr"))},
            "cluster": {"kind": "local", "workers": WORKERS},
            **sections,
        }
    )


@contextmanager
def recording_peak_memory(pids: list[int]) -> Iterator[list[float]]:
    """The largest resident memory of processes while inside, MiB."""
    peaks, stop = [0.0] * len(pids), threading.Event()

    def watch_processes() -> None:
        processes = [psutil.Process(pid) for pid in pids]
        while not stop.wait(0.05):
            for index, process in enumerate(processes):
                peaks[index] = max(peaks[index], process.memory_info().rss / 2**20)

    watcher = threading.Thread(target=watch_processes, daemon=True)
    watcher.start()
    try:
        yield peaks
    finally:
        stop.set()
        watcher.join()


@dataclass(frozen=True)
class Measured:
    pairs: int
    seconds: float
    busy: float  # part of all workers' time that was spent in tasks
    scheduler_mib: float
    worker_mib: float


def list_worker_pids(client: Client) -> list[int]:
    return list(client.run(os.getpid).values())


def measure(setup: Setup, client: Client) -> Measured:
    """Measure all pairs of a series on workers that are there."""
    source = setup.series.source
    table = PairTable.unmeasured(setup.pairs, source.frame_count, 2)
    with recording_peak_memory([os.getpid(), *list_worker_pids(client)]) as peaks:
        with get_task_stream(client) as stream:
            start = time.perf_counter()
            for latest, _ in measure_pairs(source, table, setup.method, setup.size, client=client):
                table = latest
            duration = time.perf_counter() - start
        busy_seconds = sum(
            entry["stop"] - entry["start"]
            for task in stream.data
            for entry in task["startstops"]
            if entry["action"] == "compute"
        )
    assert table.ok.mean() > 0.99, "the benchmark measures something else"
    threads = sum(client.nthreads().values())
    return Measured(
        len(setup.pairs), duration, busy_seconds / (threads * duration), peaks[0], max(peaks[1:])
    )


def register_by_scikit_image(pair: tuple[int, int], stack: str, mask: str) -> np.ndarray:
    frames = zarr.open_array(stack, mode="r")
    valid = zarr.open_array(mask, mode="r")[:].astype(bool)
    reference, moving = (frames[int(index)] for index in pair)
    result = phase_cross_correlation(reference, moving, reference_mask=valid, moving_mask=valid)
    return np.asarray(result[0])


def measure_scikit_image(stack: Path, mask: Path, pairs: np.ndarray, client: Client) -> float:
    """Seconds per pair of the same pairs, one task each, on the same workers."""
    chosen = pairs[np.linspace(0, len(pairs) - 1, PEER_PAIRS).astype(int)].tolist()
    arguments = {"stack": str(stack), "mask": str(mask), "pure": False}
    client.gather(client.map(register_by_scikit_image, chosen[: 2 * WORKERS], **arguments))
    start = time.perf_counter()
    client.gather(client.map(register_by_scikit_image, chosen, **arguments))
    return (time.perf_counter() - start) / len(chosen)


def measure_first_pair(config_text: str, folder: Path) -> float:
    """From the start of the process to the first measured pair."""
    path = folder / "run.yaml"
    path.write_text(config_text)
    code = (
        "import sys, time, steadystack\n"
        "def told(done, total):\n"
        "    if done: print(time.time(), flush=True)\n"
        "if __name__ == '__main__':\n"
        f"    config = steadystack.load_config({str(path)!r})\n"
        "    steadystack.run(config, overwrite=True, progress=told)\n"
    )
    script = folder / "first.py"
    script.write_text(code)
    start = time.time()
    lines = subprocess.run(
        [sys.executable, script], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    return float(lines[0]) - start


def run_table(folder: Path, counts: list[int]) -> None:
    mask = write_mask(folder)
    print("| 512 x 512, uint16, zstd; window of 5; 2 workers | ms per pair ", end="")
    print("| of the workers' time in tasks | scheduler and client, MiB | worker, MiB |")
    print("|---|---|---|---|---|")
    for index, count in enumerate(counts):
        config = make_settings(write_series(folder, count), {"path": str(mask)})
        setup = set_up(config, open_series(config)[0])
        with connect(ClusterSection(workers=WORKERS)) as cluster:
            client = cluster.client
            assert client is not None
            if index == 0:
                measure(setup, client)  # what is imported and compiled once is not of the run
            result = measure(setup, client)
            each = 1e3 * result.seconds / result.pairs
            print(
                f"| {count} frames, {result.pairs} pairs | {each:.2f} | {result.busy:.0%} "
                f"| {result.scheduler_mib:.0f} | {result.worker_mib:.0f} |",
                flush=True,
            )
            if index == 0:
                peer_seconds = measure_scikit_image(
                    Path(config.input.path), mask, setup.pairs, client
                )
                ratio = peer_seconds / (result.seconds / result.pairs)
    print(f"\nscikit-image by client.map on the same workers: {1e3 * peer_seconds:.0f} ms per pair"
          f", {ratio:.0f} times as long")  # fmt: skip
    stack = folder / f"stack-{counts[0]}.zarr"
    text = (
        f"input: {{path: {stack}}}\nmask: {{path: {mask}}}\nregister: {{max_shift: 32}}\n"
        f"output: {{shifts: {folder / 'first.zarr'}}}\ncluster: {{kind: local, workers: 2}}\n"
    )
    seconds = measure_first_pair(text, folder)
    print(f"from the start of the process to the first pairs: {seconds:.1f} s\n")


def parts_table(folder: Path) -> None:
    """What asking the parts of the frame costs: the same pairs with and without, in turn."""
    print("| 512 x 512, window of 5, in this process | ms per pair | without parts | ratio |")
    print("|---|---|---|---|")
    for count, rounds in ((24, 9), (100, 5), (1000, 3)):
        config = make_settings(write_series(folder, count), {})
        setup = set_up(config, open_series(config)[0])
        source, seconds = setup.series.source, dict[bool, list[float]]()
        for _ in range(rounds):
            for asks in (True, False):
                method = replace(setup.method, evaluates_parts=asks)
                table = PairTable.unmeasured(setup.pairs, source.frame_count, 2)
                start = time.process_time()
                for latest, _ in measure_pairs(source, table, method, setup.size):
                    table = latest
                seconds.setdefault(asks, []).append(time.process_time() - start)
                assert table.ok.mean() > 0.99, "the benchmark measures something else"
        asked, plain = (1e3 * min(seconds[asks]) / len(setup.pairs) for asks in (True, False))
        print(f"| {count} frames | {asked:.2f} | {plain:.2f} | {asked / plain:.2f} |", flush=True)
    print()


def engines_table(folder: Path) -> None:
    print("| engine | ms per pair | of the workers' time in tasks |\n|---|---|---|")
    config = make_settings(write_series(folder, 1000), {"path": str(write_mask(folder))})
    setup = set_up(config, open_series(config)[0])
    for workers, threads in ((2, 1), (1, 2), (1, 1)):
        with connect(ClusterSection(workers=workers, threads_per_worker=threads)) as cluster:
            client = cluster.client
            assert client is not None
            measure(setup, client)
            results = [measure(setup, client) for _ in range(3)]
        each = np.median([1e3 * result.seconds / result.pairs for result in results])
        busy = np.median([result.busy for result in results])
        print(f"| {workers} x {threads} thread(s) | {each:.2f} | {busy:.0%} |", flush=True)
    print()


def large_table(folder: Path) -> None:
    """One pair that no worker can hold."""
    print("| one pair, 16384 x 16384, workers of 1 GiB | seconds | worker, MiB | planned, MiB |")
    print("|---|---|---|---|")
    size = 16384
    path = folder / "large.zarr"
    stack = zarr.create_array(
        path, shape=(2, size, size), chunks=(1, 1024, 1024), dtype="u2",
        dimension_names=["t", "y", "x"], compressors=zarr.codecs.ZstdCodec(level=3),
    )  # fmt: skip
    for row in range(0, size, 1024):
        rng = np.random.default_rng(row)
        strip = ndimage.gaussian_filter(rng.normal(size=(1024 + 32, size + 32)).astype("f4"), 2)
        for index, (y, x) in enumerate(((16, 16), (13, 21))):
            view = 5000 + 10000 * strip[y : y + 1024, x : x + size]
            dead = rng.random((1024, size), np.float32) < 0.01
            stack[index, row : row + 1024] = np.where(dead, 0, view + rng.normal(0, 20, view.shape))
    cases = {"no mask": {}, "1 % dead pixels, other ones in each": {"invalid_values": [0]}}
    for name, mask in cases.items():
        for workers in (1, WORKERS):
            with (
                LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    memory_limit="1GiB",
                    dashboard_address="127.0.0.1:0",
                ) as local,
                Client(local) as client,
            ):
                address = {"kind": "address", "address": local.scheduler_address}
                pairs = {"strategy": "consecutive"}
                config = make_settings(path, mask, cluster=address, pairs=pairs)
                setup = set_up(config, open_series(config)[0])
                result = measure(setup, client)
            planned = setup.size.bytes_for(setup.pairs) / 2**20
            print(f"| {name}, {workers} worker(s) | {result.seconds:.1f} | {result.worker_mib:.0f} "
                  f"| {planned:.0f} |", flush=True)  # fmt: skip
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--large", action="store_true", help="the pair that no worker can hold")
    parser.add_argument("--engines", action="store_true", help="processes or threads")
    parser.add_argument("--parts", action="store_true", help="what the parts of the frame cost")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.large:
            large_table(Path(folder))
        elif arguments.parts:
            parts_table(Path(folder))
        elif arguments.engines:
            engines_table(Path(folder))
        else:
            run_table(Path(folder), arguments.frames)


if __name__ == "__main__":
    main()
