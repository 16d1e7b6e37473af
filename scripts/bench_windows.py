"""Whether stated errors hold on real images: windows cut from a series along a path that is known.

    python scripts/bench_windows.py STACK ... [--count 20] [--first 0] [--list]

Of each STACK (whatever `open_stack` opens: a time series without planes) random runs of 6 to 30
frames, 1 to 5 frames apart, are measured twice with nothing set: in a window that stays, of 64 to
256 px, and in one of the same size that follows a random walk of whole pixels. What the scene, its
changes and its noise are, nobody knows; but both answers must differ by the walk, but for their
stated errors together. What both have wrong alike is not seen. Prints a Markdown table: windows,
and of those that are "good" both times, and of all others, the rms difference, px, the median and
the largest of the differences over stated errors (rms over the frames of a window), and how many
differ by more than twice what is stated and by more than 0.05 px. With --list a line for each.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import steadystack

LENGTHS, STEPS = (6, 8, 12, 20, 30), (1, 1, 2, 3, 5)
SIDES, WALKS = (64, 96, 128, 192, 256), (0.5, 1.0, 2.0, 4.0)
LEAST_SIDE = 48
FACTOR, LEAST_PX = 2.0, 0.05  # beyond both, errors do not hold


@dataclass(frozen=True)
class Comparison:
    """Two answers for frames of one series, px: by how much they differ from the walk.

    Attributes
    ----------
    error, stated : rms over frames and axes, of the difference and of the stated errors together
    worst : the largest difference along an axis
    lost : frames without a shift either time
    verdicts : both, with the codes of their reasons
    """

    error: float
    stated: float
    worst: float
    lost: int
    verdicts: tuple[str, str]

    @property
    def is_good(self) -> bool:
        return self.verdicts == ("good", "good")

    @property
    def ratio(self) -> float:
        return self.error / max(self.stated, 1e-9)

    @property
    def is_off(self) -> bool:
        return self.ratio > FACTOR and self.error > LEAST_PX


def measure(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
    """Shifts and stated errors (frames, 2), NaN where the anchor does not know, and the verdict."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = steadystack.estimate_shifts(frames)
    shift = found["frame_shift"].to_numpy().astype(float)
    shift[found["component"].to_numpy() != found["component"].to_numpy()[0]] = np.nan
    reasons = json.loads(found.attrs["verdict_reasons"])
    codes = " ".join(reason["code"] for reason in reasons if reason["trust"] != "good")
    verdict = f"{found.attrs['verdict']} {codes}".strip()
    return shift, found["frame_shift_std"].to_numpy().astype(float), verdict


def compare(stack: np.ndarray, seed: int) -> tuple[str, Comparison] | None:
    """What was chosen, and both answers; None where the frames are too small for the walk."""
    rng = np.random.default_rng(seed)
    length, side = min(int(rng.choice(LENGTHS)), len(stack)), int(rng.choice(SIDES))
    step = min(int(rng.choice(STEPS)), max((len(stack) - 1) // length, 1))
    begin = int(rng.integers(0, len(stack) - (length - 1) * step))
    chosen = begin + step * np.arange(length)
    walk = np.cumsum(rng.normal(0, float(rng.choice(WALKS)), (length, 2)), axis=0)
    walk = np.rint(walk - walk[0]).astype(int)
    reach = int(np.abs(walk).max())
    sides = [min(side, size - 2 * reach) for size in stack.shape[1:]]
    if min(sides) < LEAST_SIDE:
        return None
    first = [
        int(rng.integers(reach, size - inner - reach + 1))
        for size, inner in zip(stack.shape[1:], sides, strict=True)
    ]

    def cut(places: np.ndarray) -> np.ndarray:
        return np.stack(
            [
                stack[frame, y : y + sides[0], x : x + sides[1]]
                for frame, (y, x) in zip(chosen, places + first, strict=True)
            ]
        )

    still, still_std, says_still = measure(cut(np.zeros_like(walk)))
    moved, moved_std, says_moved = measure(cut(walk))
    off = moved - still - walk
    known = np.isfinite(off).all(axis=1)
    known[0] = False  # 0 by definition
    stated = np.sqrt(still_std**2 + moved_std**2)[known]
    described = f"{length} frames, {step} apart, {sides[0]} x {sides[1]} px, walk to {reach} px"
    if not known.any():
        return described, Comparison(np.nan, np.nan, np.nan, length - 1, (says_still, says_moved))
    return described, Comparison(
        float(np.sqrt(np.mean(off[known] ** 2))),
        float(np.sqrt(np.mean(stated**2))),
        float(np.abs(off[known]).max()),
        int(length - 1 - known.sum()),
        (says_still, says_moved),
    )


def compare_all(stack: np.ndarray, seeds: range, *, lists: bool) -> Iterator[Comparison]:
    for seed in seeds:
        found = compare(stack, seed)
        if found is None:
            continue
        described, result = found
        if lists:
            print(
                f"{seed:4d} {described}: off by {result.error:.3f} px, stated {result.stated:.3f}, "
                f"worst {result.worst:.2f}, {result.lost} lost; {' / '.join(result.verdicts)}",
                flush=True,
            )
        yield result


def format_cells(some: list[Comparison]) -> str:
    """The cells of a row that are of the windows with, or without, a good verdict."""
    known = [one for one in some if np.isfinite(one.error)]
    if not known:
        return f"{len(some)} | | | |"
    rms = np.sqrt(np.mean([one.error**2 for one in known]))
    ratios = [one.ratio for one in known]
    off = sum(one.is_off for one in known)
    return f"{len(some)} | {rms:.3f} | {np.median(ratios):.2f} | {max(ratios):.2f} | {off}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stacks", nargs="+", metavar="STACK")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    print("| series | good both times | rms, px | over stated: median | largest | off "
          "| others | rms, px | over stated: median | largest | off |")  # fmt: skip
    print("|---" * 11 + "|")
    for path in options.stacks:
        stack = steadystack.open_stack(path).squeeze().to_numpy()
        if stack.ndim != 3:
            parser.error(f"{path} has the shape {stack.shape}: (frames, y, x) are expected")
        seeds = range(options.first, options.first + options.count)
        found = list(compare_all(stack, seeds, lists=options.list))
        good, others = ([one for one in found if one.is_good is kind] for kind in (True, False))
        name = Path(path.rstrip("/")).name
        print(f"| {name} | {format_cells(good)} | {format_cells(others)} |", flush=True)


if __name__ == "__main__":
    main()
