"""How series are judged that move by little in front of what stands still in the camera.

    python scripts/bench_small_motion.py [--first 0] [--count 40] [--alone]

Each member is 16 to 40 frames of 96 to 180 px, of a scene of blobs of 1.5 to 5 px, that moves
by 0.3 to 3 px, in a line or as a walk, in front of grain with 0.05 to 1 of its deviation, in noise
of 0.01 to 0.5. Prints, for each, which share of the motion is left in the shifts, and which the
check says is; with --alone there is no grain, and noise of 0.05 to 1.6. Random numbers are those of
the member.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import dataclass

import numpy as np

from scenes import Blobs
from steadystack import estimate_shifts

TOLD = 0.05  # what takes more of shifts than this is to be told


@dataclass
class Member:
    """A series, its true shifts, and what it was made of, in words."""

    frames: np.ndarray
    shifts: np.ndarray
    words: str


def make_member(seed: int, *, alone: bool) -> Member:
    """Make a member; `alone`: nothing stands still."""
    rng = np.random.default_rng(seed)
    count, side = int(rng.integers(16, 41)), int(rng.integers(96, 181))
    size = 10 ** rng.uniform(-0.5, 0.5)
    if seed % 2:
        shifts = np.linspace(0, 1, count)[:, None] * rng.normal(size=2) * size
        shifts += rng.normal(0, 0.02, (count, 2))
    else:
        shifts = np.cumsum(rng.normal(0, size / np.sqrt(count), (count, 2)), axis=0)
    scene = Blobs.of(rng, (side, side), (rng.uniform(1.5, 5),), reach=12)
    scale = 1 / scene.view((side, side), (0, 0)).std()
    noise = 10 ** (rng.uniform(-1.3, 0.2) if alone else rng.uniform(-2, -0.3))
    grain = 0.0 if alone else 10 ** rng.uniform(-1.3, 0)
    still = Blobs.of(rng, (side, side), (rng.uniform(0.8, 3),), reach=0).view((side, side), (0, 0))
    frames = np.stack([scale * scene.view((side, side), shift) for shift in shifts])
    frames += grain * still / still.std()
    frames += rng.normal(0, noise, frames.shape)
    words = f"{count} frames, {np.ptp(shifts, axis=0).max():.2f} px, noise {noise:.2f}"
    return Member(frames.astype(np.float32), shifts - shifts[0], f"{words}, grain {grain:.2f}")


def main() -> None:
    """Print a line for each member, and how many are judged how."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--alone", action="store_true", help="nothing stands still")
    given = parser.parse_args()
    counts: Counter[tuple[str, str]] = Counter()
    for seed in range(given.first, given.first + given.count):
        member = make_member(seed, alone=given.alone)
        found = estimate_shifts(member.frames)
        shift = found["frame_shift"].to_numpy()
        known = np.isfinite(shift).all(axis=1)
        off = (shift - member.shifts)[known]
        truth = member.shifts[known] - member.shifts[known].mean(axis=0)
        kept = float((shift[known] * truth).sum() / (truth**2).sum())
        effect = json.loads(found.attrs["fixed_pattern_effect"])
        told = effect["with_it"] / effect["without_it"] if effect else np.nan
        std = found["frame_shift_std"].to_numpy()[known]
        over = np.sqrt((off[1:] ** 2).mean() / (std[1:] ** 2).mean())
        counts["held back" if kept < 1 - TOLD else "right", found.attrs["verdict"]] += 1
        print(
            f"{seed:4d} {member.words}: {found.attrs['verdict']:10s} {kept:.3f} of the motion "
            f"(told {told:.3f}), worst {np.abs(off).max():.3f} px, over stated {over:.2f}",
            flush=True,
        )
    for (truth_word, verdict), count in sorted(counts.items()):
        print(f"{truth_word}, {verdict}: {count}")


if __name__ == "__main__":
    main()
