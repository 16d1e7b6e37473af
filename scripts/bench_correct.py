"""What moving a stack costs beside copying it, and the memory of a worker beside the forecast.

    python scripts/bench_correct.py [--small] [--folder FOLDER]

A stack is copied by Dask (from_zarr, to_zarr) and corrected on the same two worker processes, with
the same chunks and codec; a stack of 1000 x 512 x 512 and one of 20 x 8192 x 8192 pixels, uint16,
whole and behind an ellipse with 1 % dead pixels, which cubic splines have to fill in. That mask is
an array here, sent to the workers: their peak has it, and the forecast does not.
Rounds in turns, the fastest of each.
"""

from __future__ import annotations

import argparse
import re
import shutil
import tempfile
import time
from pathlib import Path

import dask.array as da
import numpy as np
import xarray as xr
import zarr
from dask.utils import parse_bytes
from distributed import Client
from scipy import ndimage

from steadystack.cluster import connect
from steadystack.config import ClusterSection, CorrectSection
from steadystack.correction import Corrected, plan_corrected, write_corrected
from steadystack.readers import locate_stack
from steadystack.validity import ArrayMask, Validity

CASES = {
    "1000 x 512²": ((1000, 512, 512), (1, 512, 512)),
    "20 x 8192²": ((20, 8192, 8192), (1, 1024, 1024)),
}
INTERPOLATIONS = ("nearest", "linear", "cubic", "fourier")
MEMORY = parse_bytes("512 MiB")
NOISE = 300.0  # counts: what a camera's images are hard to compress by


def make_stack(path: Path, shape: tuple[int, ...], chunks: tuple[int, ...]) -> None:
    """Smooth structures and noise, other ones in every frame but for an offset."""
    rng = np.random.default_rng(1)
    side = shape[1]
    scene = ndimage.zoom(rng.normal(0, 3000, (side // 8, side // 8)).astype("f4"), 8, order=1)
    noise = rng.normal(0, NOISE, scene.shape).astype("f4")
    array = zarr.create_array(
        path, shape=shape, chunks=chunks, dtype="u2", dimension_names=[*"tyx"]
    )
    for frame in range(shape[0]):
        image = scene + np.roll(noise, (frame * 37, frame * 61), (0, 1)) + 20000
        array[frame] = image.clip(0, 65535).astype("u2")


def make_shifts(count: int) -> xr.Dataset:
    rng = np.random.default_rng(2)
    drift = np.cumsum(rng.normal(0, 1.5, (count, 2)), axis=0)
    return xr.Dataset({"frame_shift": (("frame", "axis"), drift)}, {"axis": ["y", "x"]})


def make_mask(shape: tuple[int, int]) -> Validity:
    """An ellipse over 55 % of the frame, without 1 % dead pixels."""
    rows, columns = (np.linspace(-1, 1, side) for side in shape)
    inside = (rows[:, None] / 0.9) ** 2 + (columns / 0.78) ** 2 < 1
    return Validity((ArrayMask(inside & (np.random.default_rng(3).random(shape) > 0.01)),))


def copy(source: Path, target: Path, client: Client) -> float:
    shutil.rmtree(target, ignore_errors=True)
    array = zarr.open_array(source, mode="r")
    new = zarr.create_array(
        target, shape=array.shape, chunks=array.chunks, dtype=array.dtype,
        compressors=array.compressors, dimension_names=[*"tyx"],
        config={"write_empty_chunks": True},
    )  # fmt: skip
    started = time.perf_counter()
    da.store(da.from_zarr(array), new, lock=False, scheduler=client)
    return time.perf_counter() - started


def plan(
    source: Path, target: Path, interpolation: str, masked: bool = False, **options: object
) -> Corrected:
    section = CorrectSection(
        interpolation=interpolation, **{"levels": 1, "write_valid": False, **options}
    )
    spec = locate_stack(str(source))
    validity = make_mask(spec.frame_shape) if masked else Validity()
    shifts = make_shifts(spec.frame_count)
    return plan_corrected(str(target), spec, shifts, section, validity, None, MEMORY)


def correct(
    source: Path, target: Path, client: Client, interpolation: str, **options: object
) -> float:
    shutil.rmtree(target, ignore_errors=True)
    started = time.perf_counter()
    stack = plan(source, target, interpolation, **options)
    write_corrected(stack, client)
    return time.perf_counter() - started


def measure_peak(
    interpolation: str, source: Path, target: Path, **options: object
) -> tuple[float, float]:
    """MiB that a fresh worker grew by at most, and what was forecast."""
    with connect(ClusterSection(workers=1)) as cluster:
        client = cluster.client
        client.run(_import_package)
        before = max(client.run(_read_peak).values())
        correct(source, target, client, interpolation, **options)
        after = max(client.run(_read_peak).values())
    return after - before, plan(source, target, interpolation, **options).task_bytes / 2**20


def _import_package() -> None:
    import steadystack.correction  # noqa: F401


def _read_peak() -> float:
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+)", status)[1]) / 1024


def read_worker_seconds(client: Client) -> float:
    """CPU time of all workers so far: other programs on the machine hardly change it."""
    return sum(client.run(time.process_time).values())


def print_table(name: str, source: Path, target: Path, rounds: int) -> None:
    print(
        f"| {name} | seconds | times the copy | in CPU time | worker's peak, MiB | forecast, MiB |"
    )
    print("|---|---|---|---|---|---|")
    rows = [("copy", None, {})]
    rows += [(interpolation, interpolation, {}) for interpolation in INTERPOLATIONS]
    rows += [("cubic, with a mask", "cubic", {"masked": True})]
    rows += [("cubic, with pyramid and valid", "cubic", {"levels": None, "write_valid": True})]
    timings: dict[str, list[tuple[float, float]]] = {label: [] for label, _, _ in rows}
    with connect(ClusterSection(workers=2)) as cluster:
        client = cluster.client
        correct(source, target, client, "nearest")  # what is loaded once
        for _ in range(rounds):
            for label, interpolation, options in rows:
                before = read_worker_seconds(client)
                seconds = (
                    copy(source, target, client)
                    if interpolation is None
                    else correct(source, target, client, interpolation, **options)
                )
                timings[label].append((seconds, read_worker_seconds(client) - before))
    least = {label: np.min(times, axis=0) for label, times in timings.items()}
    for label, interpolation, options in rows:
        seconds = least[label][0]
        times, cpu_ratio = least[label] / least["copy"]
        peaks = (
            ("", "")
            if interpolation is None
            else measure_peak(interpolation, source, target, **options)
        )
        memory = " | ".join(f"{value:.0f}" if value != "" else "" for value in peaks)
        print(f"| {label} | {seconds:.1f} | {times:.2f} | {cpu_ratio:.2f} | {memory} |", flush=True)
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a tenth of the frames")
    parser.add_argument("--folder", type=Path, help="where the stacks are made")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=arguments.folder))
    try:
        for name, (shape, chunks) in CASES.items():
            count = shape[0] // 10 if arguments.small else shape[0]
            make_stack(folder / "stack.zarr", (count, *shape[1:]), chunks)
            print_table(name, folder / "stack.zarr", folder / "out.zarr", arguments.rounds)
            shutil.rmtree(folder / "stack.zarr")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
