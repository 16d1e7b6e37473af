"""What measuring on several channels gives beside the best of them alone.

python scripts/bench_channels.py [members [numbers of cases]]

Series of two or three channels that share a drift, each of a scene of its own: error of the frame
shifts relative to the truth, root mean square, px; of the best channel alone (the best of each
case, chosen by the truth) and of all of them; and error over stated error. A channel may be
noisy, be empty in a third of the frames, stand still in part (a camera), or go its own way.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from scipy import ndimage

from steadystack.config import make_config
from steadystack.measure import measure_pairs
from steadystack.model import FrameTable, PairTable
from steadystack.planning import open_series, set_up
from steadystack.solve import solve_shifts

FRAMES, SIDE, MARGIN = 10, 64, 12
MEMBERS = 40


@dataclass(frozen=True)
class Channel:
    """Noise in deviations of the scene, what stands still likewise; and what else is wrong."""

    noise: float = 0.5
    still: float = 0.0
    is_empty_at_times: bool = False
    goes_its_own_way: bool = False


CASES = {
    "alike": (Channel(), Channel()),
    "noise of 0.3 and 3": (Channel(0.3), Channel(3.0)),
    "noise of 0.3, 0.6 and 3": (Channel(0.3), Channel(0.6), Channel(3.0)),
    "the better is empty at times": (Channel(0.3, is_empty_at_times=True), Channel(1.0)),
    "one of 3 with a camera": (Channel(), Channel(), Channel(0.3, still=2.0)),
    "one of 2 with a camera": (Channel(), Channel(0.3, still=2.0)),
    "one of 2 with a weak camera": (Channel(), Channel(0.3, still=0.5)),
    "one of 3 goes its own way": (Channel(), Channel(), Channel(0.3, goes_its_own_way=True)),
    "one of 2 goes its own way": (Channel(), Channel(0.3, goes_its_own_way=True)),
}


def make_frames(
    channels: Sequence[Channel], seed: int
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Frames (t, c, y, x) and the shifts (t, axes) that lay them on the first, pixels."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(0, 0.8, (FRAMES, 2)) + rng.normal(0, 0.25, 2)
    drift = np.cumsum(steps, axis=0)
    drift = drift - drift[0]
    drift *= min(1, (MARGIN - 4) / max(np.abs(drift).max(), 1e-9))
    frames = np.empty((FRAMES, len(channels), SIDE, SIDE), np.float32)
    for number, channel in enumerate(channels):
        whole = (SIDE + 2 * MARGIN,) * 2
        scene = ndimage.gaussian_filter(rng.normal(size=whole), 2.0, mode="wrap")
        scene /= scene.std()
        pattern = channel.still * rng.normal(size=(SIDE, SIDE))
        way = -drift[:, ::-1] if channel.goes_its_own_way else drift
        spectrum = np.fft.fftn(scene)
        for frame in range(FRAMES):
            moved = np.fft.ifftn(ndimage.fourier_shift(spectrum, way[frame])).real
            image = moved[MARGIN:-MARGIN, MARGIN:-MARGIN] + pattern
            image = image + channel.noise * rng.normal(size=image.shape)
            if channel.is_empty_at_times and frame % 3 == 2:
                image = np.zeros_like(image)
            frames[frame, number] = 100 * image
    return frames, -drift


def solve(path: str, channel: int | list[int]) -> tuple[PairTable, FrameTable]:
    """The pairs and frames of a stack, measured in one channel or in several."""
    settings = {
        "input": {"path": path, "axes": "tcyx", "channel": channel},
        "register": {"max_shift": 2 * MARGIN},
        "pairs": {"strategy": "window", "width": 3},
    }
    config = make_config(settings)
    series, _ = open_series(config)
    setup = set_up(config, series)
    table = PairTable.of_frames(setup.pairs, series.source)
    *_, (table, _) = measure_pairs(series.source, table, setup.method, setup.size)
    return table, solve_shifts(table)


def compare(frames: FrameTable, truth: NDArray[np.float64]) -> tuple[NDArray, NDArray]:
    """Errors, and errors over stated ones, of the frames of the anchor's component but itself."""
    known = frames.component == 0
    known[list(frames.anchors)] = False
    anchor = frames.anchors[0] if frames.anchors else 0
    error = (frames.shift - (truth - truth[anchor]))[known]
    return error.ravel(), (error / frames.shift_std[known]).ravel()


def rms(values: Sequence[NDArray]) -> float:
    return float(np.sqrt(np.mean(np.concatenate(values) ** 2)))


def share(values: Sequence[NDArray]) -> float:
    """The share of frames that have a shift."""
    return sum(map(len, values)) / (len(values) * (FRAMES - 1) * 2)


def measure_case(channels: Sequence[Channel], members: int) -> str:
    """Errors of a case, as the columns of a line."""
    alone: list[list[NDArray]] = [[] for _ in channels]
    joint, ratio, weights = [], [], []
    for seed in range(members):
        stack, truth = make_frames(channels, seed)
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder, "stack.zarr"))
            zarr.create_array(path, data=stack, chunks=(1, 1, SIDE, SIDE))
            for number in range(len(channels)):
                alone[number].append(compare(solve(path, number)[1], truth)[0])
            table, frames = solve(path, list(range(len(channels))))
        error, of_stated = compare(frames, truth)
        joint.append(error)
        ratio.append(of_stated)
        weights.append(np.nan_to_num(table.channel_weight).mean(axis=0))
    best = min(alone, key=lambda one: (share(one) < 0.9, rms(one)))
    shown = " ".join(f"{weight:.2f}" for weight in np.mean(weights, axis=0))
    return (
        f"{rms(best):.4f} | {share(best):.0%} | {rms(joint):.4f} | {share(joint):.0%} | "
        f"{rms(ratio):.2f} | {shown}"
    )


def print_table(cases: dict[str, Any], columns: str, measure: Callable[[Any, int], str]) -> None:
    """Print a line for each case that the command names by number, or for all."""
    members = int(sys.argv[1]) if len(sys.argv) > 1 else MEMBERS
    names = [list(cases)[int(number)] for number in sys.argv[2:]] or list(cases)
    print(f"| {columns} |")
    print("|" + "---|" * (columns.count("|") + 1))
    for name in names:
        print(f"| {name} | {measure(cases[name], members)} |", flush=True)


def main() -> None:
    columns = "case | best alone, px | frames | all, px | frames | error / stated | weights"
    print_table(CASES, columns, measure_case)


if __name__ == "__main__":
    main()
