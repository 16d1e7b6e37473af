"""What a round field of view that is not masked does to shifts and verdicts, and finding it.

    python scripts/bench_field_of_view.py [--first 0] [--count 60] [--fills] [--list]

Series of 6 to 48 frames of 96 to 220 px of a random texture that drifts, seen through a round or
squarish field of view, hard or soft, which stands still; beyond it there is another level, with the
noise of the scene, some of it, or none. With --fills the scene fills the frames. Each is measured
with `estimate_shifts(frames)`, with `field_of_view=None` and as it is by default. Prints a Markdown
table of verdicts against the truth: "off": a coordinate of a frame is off by more than 0.5 px,
"wrong": by more than that and three times what is stated; relative to frame 0. With --list there is
a line for every member.
"""

from __future__ import annotations

import argparse
import warnings
from collections import Counter

import numpy as np
from scipy import ndimage

import steadystack
from scenes import Blobs

TRUTHS = ("right", "off", "wrong")
VERDICTS = ("good", "check", "unreliable")
WAYS = {"not looked for": None, "auto": "auto"}


def make_member(seed: int, fills: bool) -> tuple[np.ndarray, np.ndarray]:
    """Frames (t, y, x), and what lays each on the first, (t, 2) px."""
    rng = np.random.default_rng([20261129, seed])
    height = int(rng.integers(96, 220))
    shape = (height, int(height * rng.uniform(0.8, 1.25)))
    count = int(rng.choice([6, 9, 12, 16, 24, 32, 48]))
    steps = rng.normal(rng.uniform(-0.4, 0.4, 2), rng.uniform(0.2, 1), (count, 2))
    path = np.cumsum(steps, axis=0) - steps[0]
    scene = Blobs.of(rng, shape, [rng.uniform(1.2, 4)], float(np.abs(path).max()))
    scale = 1 / scene.view(shape, (0, 0)).std()
    y, x = ((np.arange(size) - (size - 1) / 2) / (size / 2) for size in shape)
    power, reach = rng.choice([2, 2, 4]), rng.uniform(0.75, 1.25)
    seen = np.abs(y[:, None] / reach) ** power + np.abs(x / reach) ** power < 1
    level, noise = rng.uniform(-3, 3), 10 ** rng.uniform(-1.2, 0.3)
    beyond = noise * rng.choice([1, 1, 0.3, 0])
    share = ndimage.gaussian_filter(seen.astype(float), rng.uniform(0, 2))
    share = np.ones(shape) if fills else share
    frames = [
        share * (scale * scene.view(shape, place) + rng.normal(0, noise, shape))
        + (1 - share) * (level + rng.normal(0, 1, shape) * beyond)
        for place in path
    ]
    return np.array(frames, np.float32), path


def judge(shifts, path: np.ndarray) -> tuple[str, float]:
    """The truth of a series, and by how much a coordinate is off at most, px."""
    off = np.abs(shifts["frame_shift"].to_numpy() - path)
    stated = shifts["frame_shift_std"].to_numpy()
    known = np.isfinite(off)
    worst = float(off[known].max(initial=0))
    if (off[known] > np.maximum(0.5, 3 * stated[known])).any():
        return "wrong", worst
    return ("off" if worst > 0.5 else "right"), worst


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--fills", action="store_true")
    parser.add_argument("--list", action="store_true")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    found: dict[str, Counter[tuple[str, str]]] = {way: Counter() for way in WAYS}
    for seed in range(args.first, args.first + args.count):
        frames, path = make_member(seed, args.fills)
        line = []
        for way, setting in WAYS.items():
            shifts = steadystack.estimate_shifts(frames, field_of_view=setting)
            truth, worst = judge(shifts, path)
            found[way][truth, shifts.attrs["verdict"]] += 1
            line.append(f"{way}: {truth}, {worst:.2f} px, {shifts.attrs['verdict']}")
        if args.list:
            print(f"{seed:4d} {len(frames)} x {frames[0].shape}; {'; '.join(line)}", flush=True)
    for way, counts in found.items():
        print(f"\n| {args.count} series, {way} | {' | '.join(VERDICTS)} |\n|---|---|---|---|")
        for truth in TRUTHS:
            cells = " | ".join(str(counts[truth, verdict]) for verdict in VERDICTS)
            print(f"| {truth} | {cells} |")


if __name__ == "__main__":
    main()
