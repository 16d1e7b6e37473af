"""What stands still in the camera: what it does to shifts, whether it is told of, and the cures.

    python scripts/bench_static.py [DATA]

A synthetic series (200 frames, steps of 0.1 px, a scene of Gaussian blobs that is drawn anew for
every frame) with a vignette and a fixed pattern of the scene's own standard deviation; and, where
DATA is a folder with the series `bulk_water` (as for bench_real.py), a real one with a fibre stuck
to the glass, against particle tracking. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import xarray as xr
from scipy import ndimage

import steadystack
from scenes import Blobs

FRAMES, SIDE, STEP = 200, 192, 0.1
BLOB, DENSITY, NOISE = 2.0, 0.04, 0.2  # sigma in px, blobs per px², in deviations of the scene
SEPARATIONS = (1, 2, 4, 8)
CURES = {
    "none": {},
    "high_pass 10": {"high_pass": 10.0},
    "flat_field median": {"flat_field": "median"},
    "static": {"fixed_pattern": "estimate"},
    "flat_field median, static": {"flat_field": "median", "fixed_pattern": "estimate"},
}


def make_drift(frames: int, step: float, seed: int) -> np.ndarray:
    """Shifts that go one way by about `step` px a frame, and wander."""
    rng = np.random.default_rng(seed)
    steps = step * (np.array([0.8, -0.6]) + rng.normal(0, 0.4, (frames, 2)))
    return np.cumsum(steps, axis=0) - steps[0]


def draw_blobs(shifts: np.ndarray, side: int, seed: int) -> np.ndarray:
    """Views of a scene of Gaussian blobs, exact at any shift; of mean 0 and deviation 1."""
    rng = np.random.default_rng(seed)
    low = shifts.min(axis=0) - 6 * BLOB
    extent = side + 12 * BLOB + np.ptp(shifts, axis=0)
    count = int(DENSITY * extent.prod())
    centres, heights = low + extent * rng.random((count, 2)), rng.uniform(0.3, 1, count)
    widths = BLOB * rng.uniform(0.8, 1.3, count)
    scene_blobs = Blobs(centres, widths, heights)
    scene = np.stack([scene_blobs.view((side, side), shift) for shift in shifts])
    return (scene - scene.mean()) / scene.std()


def make_frames(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shifts, and frames without and with a vignette and a fixed pattern; the same noise."""
    rng = np.random.default_rng(seed)
    shifts = make_drift(FRAMES, STEP, seed)
    scene = 10 + draw_blobs(shifts, SIDE, seed)
    coordinate = np.linspace(-1, 1, SIDE)
    vignette = 1 - 0.2 * (coordinate[:, None] ** 2 + coordinate**2)
    pattern = ndimage.gaussian_filter(rng.normal(size=(SIDE, SIDE)), 1)
    pattern /= pattern.std()
    noise = rng.normal(0, NOISE, scene.shape)
    return shifts, scene + noise, scene * vignette + pattern + noise


def fit_slopes(shifts: xr.Dataset, true: np.ndarray) -> list[float]:
    """Measured over true shift of the pairs of every separation, least squares through 0."""
    i, j = shifts["pair_reference"].to_numpy(), shifts["pair_moving"].to_numpy()
    measured, expected = shifts["pair_shift"].to_numpy(), true[j] - true[i]
    is_known = np.isfinite(measured + expected).all(axis=1)
    return [
        float((measured * expected)[rows].sum() / (expected**2)[rows].sum())
        for rows in (is_known & (j - i == separation) for separation in SEPARATIONS)
    ]


def format_row(name: str, shifts: xr.Dataset, true: np.ndarray, seconds: float) -> str:
    error = shifts["frame_shift"].to_numpy() - true
    rms = np.sqrt(np.nanmean((error - np.nanmean(error, axis=0)) ** 2))
    measured = " | ".join(f"{slope:.3f}" for slope in fit_slopes(shifts, true))
    verdict = steadystack.verdict(shifts)
    is_reported = any("stands still in the camera pulls" in reason for reason in verdict.reasons)
    note = "stands still" if is_reported else ""
    return f"| {name} | {rms:.4f} | {measured} | {seconds:.1f} | {verdict.trust} | {note} |"


def synthetic() -> None:
    shifts, clean, spoiled = make_frames()
    print(f"### {FRAMES} frames {SIDE} x {SIDE}, steps of {STEP} px, separations {SEPARATIONS}\n")
    print_header("static image, cure")
    cases = [
        ("no static image, none", clean, {}),
        ("no static image, static", clean, CURES["static"]),
    ]
    cases += [
        (f"vignette and pattern, {name}", spoiled, preprocess) for name, preprocess in CURES.items()
    ]
    for name, frames, preprocess in cases:
        start = time.perf_counter()
        estimated = steadystack.estimate_shifts(
            frames.astype("f4"),
            max_shift=10,
            pairs={"strategy": "separations", "separations": list(SEPARATIONS)},
            preprocess=preprocess,
        )
        print(format_row(name, estimated, shifts, time.perf_counter() - start), flush=True)
    print()


def print_header(first: str) -> None:
    columns = " | ".join(map(str, SEPARATIONS))
    print(f"| {first} | rms / px | separation {columns} | seconds | verdict | told |")
    print("|---|---|" + "---|" * len(SEPARATIONS) + "---|---|---|")


def bulk_water(data: Path) -> None:
    tracked = np.loadtxt(data / "bulk_water_trackpy_drift_all.csv", delimiter=",", skiprows=1)
    stack = steadystack.open_stack(str(data / "bulk_water.ome.zarr")).load()
    true = np.zeros((stack.sizes["t"], 2))
    true[tracked[:, 0].astype(int)] = -tracked[:, 1:]  # a shift undoes the drift
    fibre = np.ones(stack.shape[1:], bool)
    fibre[:100, 545:] = False
    print("### bulk_water: 300 frames 424 x 640, against particle tracking\n")
    print_header("mask, cure")
    for label, mask in (("none", None), ("fibre masked", fibre)):
        for name, preprocess in CURES.items():
            start = time.perf_counter()
            estimated = steadystack.estimate_shifts(
                stack,
                mask=mask,
                max_shift=16,
                pairs={"strategy": "separations", "separations": list(SEPARATIONS)},
                preprocess=preprocess,
            )
            print(
                format_row(f"{label}, {name}", estimated, true, time.perf_counter() - start),
                flush=True,
            )
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", help="folder with the series bulk_water")
    arguments = parser.parse_args()
    synthetic()
    if arguments.data is not None and (arguments.data / "bulk_water").is_dir():
        bulk_water(arguments.data / "bulk_water")


if __name__ == "__main__":
    main()
