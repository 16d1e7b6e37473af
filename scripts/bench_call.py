"""What a whole call costs: pilot, pairs, parts, checks and verdict, beside the kernel's peer.

    python scripts/bench_call.py [--frames 24] [--side 512] [--dtype float32] [--rounds 3]

A texture that drifts by a pixel a frame, in noise, is measured with `estimate_shifts` by
consecutive pairs and by a window of 5, within 32 px, with nothing set, and at every shift; seconds
of CPU, the fastest of each in turns, and how many times faster that is per pair than scikit-image's
masked function (pip install -e '.[bench]'). Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import ndimage
from skimage.registration import phase_cross_correlation

import steadystack

MAX_SHIFT = 32
SEARCHES: dict[str, int | str | None] = {
    "max_shift 32": MAX_SHIFT,
    "nothing set": "auto",
    "every shift": None,
}


def make_frames(count: int, side: int, dtype: str) -> np.ndarray:
    """A texture of 2 px that wanders by a pixel a frame within 60 px, and noise of 30 % of it."""
    rng = np.random.default_rng(0)
    scene = ndimage.gaussian_filter(rng.normal(size=(side + 64, side + 64)), 2)
    scene /= scene.std()
    path = np.cumsum(rng.normal(0, 1, (count, 2)), axis=0)
    path = np.abs((path + 30) % 120 - 60)  # back and forth
    frames = np.empty((count, side, side), dtype)
    for frame, (y, x) in zip(frames, path, strict=True):
        inside = (slice(int(y), int(y) + side + 2), slice(int(x), int(x) + side + 2))
        moved = ndimage.shift(scene[inside], (-(y % 1), -(x % 1)), order=1)[:side, :side]
        moved += rng.normal(0, 0.3, moved.shape)
        frame[:] = moved if np.dtype(dtype).kind == "f" else 30_000 + 3000 * moved
    return frames


def take_time(function: Callable[[], object]) -> float:
    """The CPU seconds of a call."""
    start = time.process_time()
    function()
    return time.process_time() - start


def measure_strategy(
    frames: np.ndarray, strategy: str, rounds: int
) -> dict[str, tuple[Any, float]]:
    """The dataset and the fastest CPU seconds of every search, by its name; rounds in turns."""
    best: dict[str, tuple[Any, float]] = {}
    for _ in range(rounds):
        for name, max_shift in SEARCHES.items():
            start = time.process_time()
            found = steadystack.estimate_shifts(
                frames, max_shift=max_shift, pairs={"strategy": strategy}
            )
            seconds = time.process_time() - start
            best[name] = found, min(seconds, best.get(name, (found, np.inf))[1])
    return best


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--dtype", choices=("float32", "uint16"), default="float32")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    frames = make_frames(options.frames, options.side, options.dtype)
    mask = np.ones(frames.shape[1:], bool)
    steadystack.estimate_shifts(frames[:4], max_shift=MAX_SHIFT)  # imports, plans of transforms
    masks = {"reference_mask": mask, "moving_mask": mask}
    peer = min(
        take_time(lambda: phase_cross_correlation(frames[0], frames[1], **masks))
        for _ in range(max(options.rounds, 3))
    )
    print(
        f"{options.frames} frames of {options.side} x {options.side}, {options.dtype}; "
        f"scikit-image, masked: {peer:.3f} s a pair\n"
    )
    print("| pairs | search | seconds | of those within 32 px | times faster a pair | verdict |")
    print("|---|---|---|---|---|---|")
    for strategy in ("consecutive", "window"):
        best = measure_strategy(frames, strategy, options.rounds)
        for name, (found, seconds) in best.items():
            pairs, relative = found.sizes["pair"], seconds / best["max_shift 32"][1]
            print(
                f"| {strategy}, {pairs} | {name} | {seconds:.2f} | {relative:.2f} | "
                f"{peer * pairs / seconds:.1f} | {found.attrs['verdict']} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
