"""Sessions of one specimen, joined in one frame: errors against the truth, and as they are stated.

    python scripts/bench_join.py [--triples 40] [--plates 24]

Three series each of a scene that is drawn anew for every frame, under a mask: each begins
elsewhere, with another gain and other noise, and wanders. In the last row the third one shows
another scene, and must not be joined. Prints a Markdown table.

Then plates: positions of a scene each, under a mask, which share one drift and nothing else; one
is empty in a third of its frames, or goes its own way. A second table.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from scenes import Blobs, make_ellipse
from steadystack.common_frame import choose_members
from steadystack.config import make_config
from steadystack.joining import SolvedSeries, join_shared_drift, join_solved
from steadystack.planning import make_series
from steadystack.readers import ArrayFrames
from steadystack.solve import solve_shifts
from steadystack.stages import measure_series

SHAPE, FRAMES, STEP, JUMP, REACH = (72, 80), 8, 0.6, 12.0, 24.0
SIZES = (1.5, 6.0)  # sigma of the blobs of a scene, px
# Of plates: positions, and frames of each; noise with which one alone is off by about 0.1 px.
POSITIONS, TIMES, PLATE_SHAPE, PLATE_NOISE, OWN_WAY = 6, 12, (56, 60), (0.6, 1.0), 2.0
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


def solve_one(name: str, frames: np.ndarray, fill: float = 0.7) -> SolvedSeries:
    """Measure and solve a series in itself, in memory; `fill` is how much of it is in the mask."""
    stack = xr.DataArray(frames.astype("f4"), dims=("t", "y", "x"))
    source = ArrayFrames.checked(stack, make_ellipse(frames.shape[1:], fill))
    setup, pairs, _ = measure_series(make_config(SETTINGS), make_series(source))
    solved = solve_shifts(pairs)
    members = choose_members(solved, frames.shape[1:]) or [np.zeros(0, np.int64)]
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


@dataclass
class PlateErrors:
    """Errors of the drift of many plates, px, and over what is stated; of positions alone, too."""

    known: int = 0
    frames: int = 0
    told: int = 0
    wrongly: int = 0
    shared: list[np.ndarray] = field(default_factory=list)
    best: list[float] = field(default_factory=list)
    typical: list[float] = field(default_factory=list)
    stated: list[np.ndarray] = field(default_factory=list)

    def row(self, name: str, own_way: bool) -> str:
        """A row of the table."""
        cells = [
            f"{find_rms(self.shared):.3f}",
            f"{find_rms([np.array(self.best)]):.3f}",
            f"{find_rms([np.array(self.typical)]):.3f}",
            f"{find_rms(self.stated):.2f}",
            f"{self.known} of {self.frames}",
            f"{self.told} of {len(self.best)}" if own_way else "-",
            f"{self.wrongly}",
        ]
        return f"| {name} | {' | '.join(cells)} |"


def try_plate(seed: int, errors: PlateErrors, *, empty: bool, own_way: bool) -> None:
    rng = np.random.default_rng(seed)
    truth = np.cumsum(rng.normal(0, STEP, (TIMES, 2)), axis=0)
    truth -= truth[0]
    direction = rng.uniform(0, 2 * np.pi)
    own = np.linspace(0, OWN_WAY, TIMES)[:, None] * [np.sin(direction), np.cos(direction)]
    runs, alone = [], []
    for number in range(POSITIONS):
        scene = Blobs.of(rng, PLATE_SHAPE, SIZES, JUMP)
        moves = truth + own * (own_way and number == 1)
        frames = np.stack([scene.view(PLATE_SHAPE, shift) for shift in moves])
        frames = frames / frames.std() + rng.uniform(*PLATE_NOISE) * rng.normal(size=frames.shape)
        if empty and number == 2:
            frames[rng.choice(np.arange(1, TIMES), TIMES // 3, replace=False)] = 0
        runs.append(solve_one(f"p{number}", 100 + 20 * frames))
        found = runs[-1].frames
        off = (found.shift - truth)[(found.component == 0) & (np.arange(TIMES) > 0)]
        alone.append(find_rms([off]))
    joined = join_shared_drift(runs).dataset
    off = (joined["frame_shift"].to_numpy() - truth)[1:]
    agrees = joined["series_agrees"].to_numpy() == 1
    errors.shared.append(off)
    errors.stated.append(off / joined["frame_shift_std"].to_numpy()[1:])
    errors.best.append(min(alone))
    errors.typical.append(float(np.median(alone)))
    errors.known += int(np.isfinite(off).all(axis=1).sum()) + 1
    errors.frames += TIMES
    errors.told += int(own_way and not agrees[1])
    errors.wrongly += int((~np.delete(agrees, 1)).sum() + (not own_way and not agrees[1]))


def bench_plates(plates: int) -> None:
    print(
        "\n| plate | error of the shared drift, px | of the best position, px | of the median "
        "position, px | shared, over stated | frames with a shift | own way reported "
        "| others reported |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name, empty, own_way in (
        ("all share the drift", False, False),
        ("one empty in a third of its frames", True, False),
        ("one goes its own way by 2 px", False, True),
        ("both", True, True),
    ):
        errors = PlateErrors()
        for seed in range(plates):
            try_plate(seed, errors, empty=empty, own_way=own_way)
        print(errors.row(name, own_way), flush=True)


def bench_triples(triples: int) -> None:
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--triples", type=int, default=40)
    parser.add_argument("--plates", type=int, default=24)
    options = parser.parse_args()
    triples = options.triples
    if triples:
        bench_triples(triples)
    if options.plates:
        bench_plates(options.plates)


if __name__ == "__main__":
    main()
