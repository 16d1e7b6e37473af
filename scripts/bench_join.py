"""Sessions of one specimen, joined in one frame: errors against the truth, and as they are stated.

    python scripts/bench_join.py [--triples 40]

Three series each of a scene that is drawn anew for every frame, under a mask: each begins
elsewhere, with another gain and other noise, and wanders. In the last row the third one shows
another scene, and must not be joined. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from scenes import Blobs, make_ellipse
from steadystack.common_frame import choose_members
from steadystack.config import make_config
from steadystack.joining import SolvedSeries, join_solved
from steadystack.planning import make_series
from steadystack.readers import ArrayFrames
from steadystack.solve import solve_shifts
from steadystack.stages import measure_series

SHAPE, FRAMES, STEP, JUMP, REACH = (72, 80), 8, 0.6, 12.0, 24.0
SIZES = (1.5, 6.0)  # sigma of the blobs of a scene, px
SETTINGS = {
    "input": {"path": "memory"},
    "register": {"max_shift": 6},
    "preprocess": {"low_pass": None, "high_pass": None},
    "mask": {"defects": None, "parts": None},
    "pairs": {"strategy": "window", "width": 3},
}


@dataclass
class Errors:
    """Errors of the joined series of many triples, px, and over what is stated of them."""

    joined: int = 0
    series: int = 0
    pixels: list[np.ndarray] = field(default_factory=list)
    frames: list[np.ndarray] = field(default_factory=list)
    offsets: list[np.ndarray] = field(default_factory=list)
    between: list[np.ndarray] = field(default_factory=list)

    def row(self, name: str) -> str:
        """A row of the table."""
        values = [self.pixels, self.frames, self.offsets, self.between]
        cells = [f"{find_rms(some):.3f}" if some is self.pixels else f"{find_rms(some):.2f}"
                 for some in values if some]  # fmt: skip
        cells += ["-"] * (4 - len(cells))
        return f"| {name} | {self.joined} of {self.series} | {' | '.join(cells)} |"


def find_rms(values: list[np.ndarray]) -> float:
    every = np.concatenate([np.ravel(some) for some in values])
    return float(np.sqrt(np.nanmean(every**2)))


def solve_one(name: str, frames: np.ndarray) -> SolvedSeries:
    """Measure and solve a series in itself, in memory."""
    stack = xr.DataArray(frames.astype("f4"), dims=("t", "y", "x"))
    source = ArrayFrames.checked(stack, make_ellipse(SHAPE, 0.7))
    setup, pairs, _ = measure_series(make_config(SETTINGS), make_series(source))
    solved = solve_shifts(pairs)
    members = choose_members(solved, SHAPE) or [np.zeros(0, np.int64)]
    return SolvedSeries(name, setup, pairs, solved, members, {})


def try_triple(seed: int, noise: tuple[float, float], errors: Errors, unrelated: bool) -> None:
    rng = np.random.default_rng(seed)
    scenes = [Blobs.of(rng, SHAPE, SIZES, REACH) for _ in range(2)]
    runs, truths = [], []
    for number, name in enumerate("abc"):
        jump = rng.uniform(-JUMP, JUMP, 2) * (number > 0)
        truth = np.cumsum(rng.normal(0, STEP, (FRAMES, 2)), axis=0) + jump
        scene = scenes[int(unrelated and name == "c")]
        frames = np.stack([scene.view(SHAPE, shift) for shift in truth])
        frames = frames / frames.std() + rng.uniform(*noise) * rng.normal(size=frames.shape)
        runs.append(solve_one(name, 100 + rng.uniform(0.5, 3) * frames))
        truths.append(truth)
    joined = join_solved(runs).dataset
    held = runs[0].members[0]
    error = joined["frame_shift"].to_numpy() - np.concatenate(truths)
    error -= error[held].mean(axis=0)
    errors.pixels.append(error)
    errors.frames.append(error / joined["frame_shift_std"].to_numpy())
    means = joined["mean_component"].to_numpy() == 0
    found = joined["mean_offset"].to_numpy()[means]
    errors.joined += int(np.isfinite(found).all(axis=1).sum()) - 1
    errors.series += 2 - unrelated
    of_means = np.array(
        [
            error[FRAMES * number :][:FRAMES][run.members[0]].mean(axis=0)
            for number, run in enumerate(runs)
        ]
    )
    std = joined["mean_offset_std"].to_numpy()[means]
    errors.offsets.append(of_means[1:] / std[1:])
    if not unrelated:
        covariance = joined["mean_offset_covariance"].to_numpy()[means][:, means]
        variance = covariance[1, 1] + covariance[2, 2] - 2 * covariance[1, 2]
        errors.between.append((of_means[1] - of_means[2]) / np.sqrt(variance))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--triples", type=int, default=40)
    triples = parser.parse_args().triples
    print(
        "| noise, deviations of the scene | joined | error of frames, px | over stated | "
        "of offsets over stated | between the other two over stated |"
    )
    print("|---|---|---|---|---|---|")
    for name, noise, unrelated in (
        ("0.02 to 0.1", (0.02, 0.1), False),
        ("0.3 to 1.5", (0.3, 1.5), False),
        ("1.5 to 2.5", (1.5, 2.5), False),
        ("0.3 to 1.5, the third of another scene", (0.3, 1.5), True),
    ):
        errors = Errors()
        for seed in range(triples):
            try_triple(seed, noise, errors, unrelated)
        print(errors.row(name), flush=True)


if __name__ == "__main__":
    main()
