"""The kernel against what people use: ratios on the same pairs in the same run, one core.

    python scripts/bench_kernel.py                 # against scikit-image's masked function
    python scripts/bench_kernel.py peers memory growth

SimpleITK, OpenCV and pystackreg take part where they are installed. Tables are Markdown.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from scipy import ndimage
from skimage.registration import phase_cross_correlation
from skimage.registration._masked_phase_cross_correlation import cross_correlate_masked

import steadystack
from steadystack.config import make_config
from steadystack.measure import measure_batch
from steadystack.planning import make_series, set_up
from steadystack.readers import ArrayFrames

# One thread, and freed memory stays with the process, for all alike: large arrays from fresh
# memory make scikit-image up to three times slower, which is not what this is about.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1",
    "MALLOC_TRIM_THRESHOLD_": str(2**33),
    "MALLOC_MMAP_THRESHOLD_": str(2**33),
}
ROUNDS = 5
MAX_SHIFT = 32


@dataclass(frozen=True)
class Series:
    """Frames of a drifting scene, with an elliptic mask over 55 % of them and 1 % dead pixels."""

    frames: np.ndarray
    masks: list[np.ndarray]

    @classmethod
    def from_shape(cls, shape: tuple[int, ...], count: int = 8) -> Series:
        rng = np.random.default_rng(0)
        canvas = tuple(size + 4 * count for size in shape)
        scene = ndimage.gaussian_filter(rng.normal(size=canvas).astype(np.float32), 2)
        frames = []
        for index in range(count):
            region = tuple(slice((2 + axis) * index, None) for axis in range(len(shape)))
            view = scene[region][tuple(slice(0, size) for size in shape)]
            noise = rng.normal(0, 20, shape)
            frames.append(np.clip(5000 + 10000 * view + noise, 0, 65535).astype(np.uint16))
        grid = np.meshgrid(*[np.linspace(-1, 1, size) for size in shape], indexing="ij")
        radii = (0.94, 0.75) if len(shape) == 2 else (1.02, 1.02, 1.02)
        inside = sum((region / radius) ** 2 for region, radius in zip(grid, radii, strict=True)) < 1
        masks = [inside & (rng.random(shape) > 0.01) for _ in range(2)]
        return cls(np.stack(frames), masks)

    @property
    def pair(self) -> tuple[np.ndarray, np.ndarray]:
        return self.frames[0], self.frames[1]


def measure_seconds(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def scikit_image(series: Series) -> None:
    reference, moving = series.pair
    masks = {"reference_mask": series.masks[0], "moving_mask": series.masks[1]}
    with np.errstate(all="ignore"):
        phase_cross_correlation(reference, moving, **masks)


def register_one_pair(series: Series, bound: Any = MAX_SHIFT, masked: bool = True) -> None:
    reference, moving = series.pair
    masks = {"reference_mask": series.masks[0], "moving_mask": series.masks[1]}
    steadystack.register_translation(
        reference, moving, max_shift=bound, **(masks if masked else {})
    )


def prepare_series(
    series: Series, width: int, count: int, bound: Any = MAX_SHIFT, masked: bool = True
) -> tuple[Callable[[], Any], int]:
    """A series as a run measures it, frames in memory; what to call, and how many pairs it is."""
    frames = series.frames[np.arange(count) % len(series.frames)]
    dims = ("t", "z", "y", "x")[:1] + ("z", "y", "x")[-(frames.ndim - 1) :]
    mask = series.masks[0] if masked else None
    source = ArrayFrames.checked(xr.DataArray(frames, dims=dims), mask)
    config = make_config(
        {
            "input": {"path": "memory"},
            "register": {"max_shift": bound},
            "pairs": {"strategy": "window", "width": width},
            "cluster": {"kind": "in-process", "task_memory": "8 GiB"},
        }
    )
    setup = set_up(config, make_series(source))
    return lambda: measure_batch(setup.pairs, source, setup.method), len(setup.pairs)


def compare_speeds(series: Series, candidates: list[tuple[Callable[[], Any], int]]) -> list[str]:
    """Milliseconds of scikit-image, then how many times faster each candidate is per pair."""
    rounds = []
    for _ in range(ROUNDS):
        peer_seconds = measure_seconds(lambda: scikit_image(series))
        rounds.append(
            [peer_seconds, *(measure_seconds(call) / pairs for call, pairs in candidates)]
        )
    times = np.array(rounds)
    speedups = np.median(times[:, :1] / times[:, 1:], axis=0)
    return [f"{1e3 * np.median(times[:, 0]):.0f} ms", *(f"{ratio:.0f}" for ratio in speedups)]


def speed_table() -> None:
    """The precision in which scikit-image computes is that of the frames: double for integers."""
    print(
        "| times faster than scikit-image, per pair | scikit-image | any masks, one pair ", end=""
    )
    print("| one mask, consecutive pairs | one mask, window of 5 | no masks, window of 5 |")
    print("|---|---|---|---|---|---|")
    plane, volume = (MAX_SHIFT, MAX_SHIFT), (8, MAX_SHIFT, MAX_SHIFT)
    cases = [
        ((512, 512), 32, plane),
        ((1024, 1024), 24, plane),
        ((2048, 2048), 16, plane),
        ((32, 256, 256), 8, volume),
    ]
    for kind in ("uint16", "float32"):
        for shape, count, bound in cases:
            drawn = Series.from_shape(shape)
            series = Series(drawn.frames.astype(kind), drawn.masks)
            cells = compare_speeds(
                series,
                [
                    (lambda series=series, bound=bound: register_one_pair(series, bound), 1),
                    prepare_series(series, 1, count, bound),
                    prepare_series(series, 5, count, bound),
                    prepare_series(series, 5, count, bound, masked=False),
                ],
            )
            name = f"{' x '.join(map(str, shape))}, {kind}"
            print("| " + " | ".join([name, *cells]) + " |", flush=True)
    print()


def list_peers(series: Series) -> dict[str, Callable[[], Any]]:
    """What people use for one pair; those with (masks) know which pixels are valid."""
    reference, moving = series.pair
    floats = [frame.astype(np.float32) for frame in (reference, moving)]
    calls: dict[str, Callable[[], Any]] = {
        "scikit-image (masks)": lambda: scikit_image(series),
        "scikit-image, phase": lambda: phase_cross_correlation(*floats, upsample_factor=20),
    }
    if importlib.util.find_spec("SimpleITK"):
        import SimpleITK as sitk  # noqa: N813

        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
        images = [sitk.GetImageFromArray(frame) for frame in floats]
        masks = [sitk.GetImageFromArray(mask.astype(np.float32)) for mask in series.masks]

        def with_sitk() -> None:
            surface = sitk.MaskedFFTNormalizedCorrelation(*images, *masks)
            np.argmax(sitk.GetArrayViewFromImage(surface))

        calls["SimpleITK (masks)"] = with_sitk
    if importlib.util.find_spec("cv2"):
        import cv2

        cv2.setNumThreads(1)
        hann = cv2.createHanningWindow(reference.shape[::-1], cv2.CV_32F)
        calls["OpenCV phaseCorrelate"] = lambda: cv2.phaseCorrelate(*floats, hann)
    if importlib.util.find_spec("pystackreg"):
        from pystackreg import StackReg

        calls["pystackreg"] = lambda: StackReg(StackReg.TRANSLATION).register(*floats)
    return calls


def peers_table() -> None:
    print("| one pair, one core | 512 x 512 | 1024 x 1024 |\n|---|---|---|")
    columns = []
    for size in (512, 1024):
        series = Series.from_shape((size, size))
        calls = {name: (call, 1) for name, call in list_peers(series).items()}
        calls |= {
            "steadystack, any masks": (lambda series=series: register_one_pair(series), 1),
            "steadystack, one mask, consecutive": prepare_series(series, 1, 16),
            "steadystack, one mask, window of 5": prepare_series(series, 5, 16),
            "steadystack, no masks, window of 5": prepare_series(series, 5, 16, masked=False),
        }
        for call, _ in calls.values():
            call()
        rounds = [[measure_seconds(call) / n for call, n in calls.values()] for _ in range(ROUNDS)]
        columns.append(dict(zip(calls, np.median(rounds, axis=0), strict=True)))
    for name in columns[0]:
        cells = [f"{1e3 * column[name]:.1f} ms" for column in columns]
        print("| " + " | ".join([name, *cells]) + " |")
    print()


def measure_peak_mib(function: Callable[[], Any]) -> float:
    """MiB that a call takes at most, beyond what was there; in a process of its own (Linux)."""

    def run_and_measure(result: Any) -> None:
        ctypes.CDLL(None).malloc_trim(0)  # what earlier calls have left does not serve this one
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
        resident_before = status("VmRSS")
        function()
        result.put((status("VmHWM") - resident_before) / 1024)

    def status(name: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name))

    context = multiprocessing.get_context("fork")
    result = context.Queue()
    process = context.Process(target=run_and_measure, args=(result,))
    process.start()
    peak = float(result.get(timeout=600))
    process.join()
    return peak


def memory_table() -> None:
    print("| peak memory of one pair, MiB | 512 x 512 | 1024 x 1024 | 2048 x 2048 |")
    print("|---|---|---|---|")
    columns = []
    for size in (512, 1024, 2048):
        series = Series.from_shape((size, size), 2)
        calls = list_peers(series) | {
            "steadystack, any masks": lambda s=series: register_one_pair(s)
        }
        columns.append({name: measure_peak_mib(call) for name, call in calls.items()})
    for name in columns[0]:
        print("| " + " | ".join([name, *(f"{column[name]:.0f}" for column in columns)]) + " |")
    print()


def growth_table() -> None:
    print(
        "| one pair, any masks | ns per pixel | peak memory beside the images, MiB |\n|---|---|---|"
    )
    base = Series.from_shape((1024, 1024), 2)
    for size in (1024, 2048, 4096, 8192, 16384):
        times = size // 1024
        frames = np.tile(base.frames, (1, times, times))
        rng = np.random.default_rng(1)
        y, x = (np.linspace(-1, 1, size, dtype=np.float32) for _ in "yx")
        inside = (y[:, None] / 0.94) ** 2 + (x / 0.75) ** 2 < 1
        masks = [inside & (rng.random((size, size), np.float32) > 0.01) for _ in range(2)]
        series = Series(frames, masks)
        duration = np.median(
            [measure_seconds(lambda s=series: register_one_pair(s)) for _ in range(3)]
        )
        peak = measure_peak_mib(lambda s=series: register_one_pair(s))
        print(f"| {size} x {size} | {1e9 * duration / size**2:.0f} | {peak:.0f} |", flush=True)
    print()


def exact_table() -> None:
    """The largest difference of the surfaces where at least 5 % of the valid pixels overlap."""
    print("| largest difference to scikit-image in float64 | |\n|---|---|")
    for size in (256, 512, 1024):
        series = Series.from_shape((size, size), 2)
        reference, moving = series.pair
        masks = series.masks
        with np.errstate(all="ignore"):
            peer_ncc = cross_correlate_masked(
                moving.astype(float), reference.astype(float), masks[1], masks[0], overlap_ratio=0,
                axes=(0, 1),
            )[::-1, ::-1]  # fmt: skip
        own_ncc = steadystack.masked_ncc(
            reference, moving, reference_mask=masks[0], moving_mask=masks[1]
        )
        has_overlap = own_ncc["overlap_count"].to_numpy() >= 0.05 * min(
            mask.sum() for mask in masks
        )
        worst = np.abs(own_ncc["ncc"].to_numpy() - peer_ncc)[has_overlap].max()
        print(f"| {size} x {size}, all lags | {worst:.1e} |", flush=True)
    print()


TABLES = {
    "speed": speed_table,
    "peers": peers_table,
    "memory": memory_table,
    "growth": growth_table,
    "exact": exact_table,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=", ".join(TABLES))
    tables = parser.parse_args().tables
    if any(os.environ.get(name) != value for name, value in ENVIRONMENT.items()):
        os.environ.update(ENVIRONMENT)  # read when a process starts
        os.execv(sys.executable, [sys.executable, *sys.argv])
    for name in tables or ["speed"]:
        TABLES[name]()


if __name__ == "__main__":
    main()
