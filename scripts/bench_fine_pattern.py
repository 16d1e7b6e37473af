"""Coarse scenes behind a fine pattern that stands still: shifts, stated errors and verdicts.

    python scripts/bench_fine_pattern.py [--first 0] [--count 60] [--estimate] [--fine]

Each member is a scene of detail of 3 to 14 px (sigma; 1 to 3.5 px with --fine) that walks, goes one
way or hardly moves, in 12 to 48 frames of 128 to 256 px with noise of 0.01 to 1 of the scene, and,
three times in four, behind a fine texture, or columns, of 0.05 to 3 times its contrast. Measured
with nothing set, or with `preprocess.fixed_pattern: estimate`. An error is wrong if its root mean
square is above 0.3 px and three times what is stated; off if it is above 0.02 px and two and a half
times. Prints a line per member that is not fine and good, and a Markdown table.
"""

from __future__ import annotations

import argparse
from collections import Counter

import numpy as np
from scipy import ndimage

import steadystack
from pair_kinds import make_texture

FARTHEST = 55  # px from the first frame along an axis


def make_member(seed: int, *, fine: bool = False) -> tuple[np.ndarray, np.ndarray, str]:
    """Frames, their true shifts (frames, axes), px, and what they are of, in words."""
    rng = np.random.default_rng([77 + fine, seed])
    side, count = int(rng.choice([128, 192, 256])), int(rng.choice([12, 24, 48]))
    detail, step = rng.uniform(*((1, 3.5) if fine else (3, 14))), 10 ** rng.uniform(-1, 0.6)
    way = rng.normal(size=2)
    walk = rng.normal(size=(count, 2)) * step
    if rng.random() < 2 / 3:
        walk = way / np.hypot(*way) * step + 0.3 * walk
    shifts = np.cumsum(walk, axis=0)
    shifts = (shifts - shifts[0]) * min(1, FARTHEST / np.abs(shifts - shifts[0]).max())
    texture = make_texture(rng, (side, side), power=0, cut=1 / (np.sqrt(2) * np.pi * detail))
    scene = np.stack([texture.view(shift) for shift in shifts])
    size, noise = 10 ** rng.uniform(-1.3, 0.5), 10 ** rng.uniform(-2, 0)
    pattern = ndimage.gaussian_filter(rng.normal(size=(side, side)), rng.uniform(0.3, 1.5))
    what = "texture"
    if rng.random() < 0.25:
        pattern, what = np.tile(rng.normal(size=side), (side, 1)), "columns"
    if rng.random() < 0.25:
        size, what = 0.0, "nothing"
    frames = scene / scene.std() + size * pattern / pattern.std()
    frames = frames + noise * rng.normal(size=frames.shape)
    words = f"{count} frames of {side}, detail {detail:.1f}, behind {what} of {size:.2f}"
    return (frames + 10).astype("f4"), shifts, f"{words}, noise {noise:.2f}, {step:.1f} px a frame"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--estimate", action="store_true", help="fixed_pattern: estimate")
    parser.add_argument("--fine", action="store_true", help="scenes of finer detail")
    arguments = parser.parse_args()
    settings = {"preprocess": {"fixed_pattern": "estimate"}} if arguments.estimate else {}
    table = Counter[tuple[str, str, str]]()
    for seed in range(arguments.first, arguments.first + arguments.count):
        frames, truth, words = make_member(seed, fine=arguments.fine)
        behind = "nothing" if "nothing" in words else "a pattern"
        try:
            shifts = steadystack.estimate_shifts(frames, **settings)
        except steadystack.InputError:  # nothing can be estimated
            table[behind, "refused", "-"] += 1
            continue
        error = shifts["frame_shift"].to_numpy() - truth
        error = error - np.nanmedian(error, axis=0)
        rms, stated = (
            float(np.sqrt(np.nanmean((values**2).sum(axis=1))))
            for values in (error, shifts["frame_shift_std"].to_numpy())
        )
        kind = "wrong" if rms > max(0.3, 3 * stated) else "fine"
        if kind == "fine" and rms > 2.5 * stated + 0.02:
            kind = "off"
        trust = str(steadystack.verdict(shifts).trust)
        table[behind, kind, trust] += 1
        if (kind, trust) != ("fine", "good"):
            found = f"{rms:.3f} px, stated {stated:.3f}, {kind}, {trust}"
            print(f"{seed}: {words}: {found}", flush=True)
    print("\n| behind | error | good | check | unreliable |\n|---|---|---|---|---|")
    for behind, kind in sorted({key[:2] for key in table}):
        cells = [str(table[behind, kind, trust]) for trust in ("good", "check", "unreliable")]
        print(f"| {behind} | {kind} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
