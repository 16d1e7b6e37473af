"""How often `motion.model: auto` chooses which model: of series that only shift, and that turn.

    python scripts/bench_motion_choice.py [--members 100] [--first 0] [--turning 30] [--local 30]

Random series of analytic scenes: 12 to 24 frames of 112 to 176 pixels, SNR 0.5 to 20, whole or
behind an ellipse. Of those that only shift, a third has an object over up to a quarter of the frame
that goes its own way, steadily, and a third features that come and go. Of those that turn, every
frame does by the same angle more. Local: frames behind an ellipse that bend more and more, by up to
0.3 to 3 pixels, with a wave as long as a frame. Prints a line for each and a table of counts.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from itertools import pairwise

import numpy as np

import steadystack
from bench_motion import make_turns
from local_series import make_local_series
from scenes import Blobs, make_ellipse
from steadystack.motion import ModelChoice

KINDS = ("plain", "object", "features")
BENDS = (0.3, 0.7, 1.5, 3.0)  # bounds of what local motion grows to, px
STEP, SIZES = 0.7, (1.5, 10.0)


def make_member(seed: int, kind: str, turn: float = 0.0, snr: float | None = None):
    """Render a series: its frames, mask (None: whole), and what it is, in words."""
    rng = np.random.default_rng([seed, 22])
    count, side = int(rng.integers(12, 25)), int(rng.integers(112, 177))
    shape, middle = (side, side), (side - 1) / 2
    noise = 1 / (snr or float(np.exp(rng.uniform(np.log(0.5), np.log(20)))))
    shift = np.cumsum(rng.normal(rng.normal(0, 0.3, 2), STEP, (count, 2)), axis=0)
    linear = make_turns(turn * np.arange(count), np.ones(count))
    scene = Blobs.of(rng, shape, SIZES, float(np.abs(shift).max()) + side / 4)
    own, where = rng.normal(0, 0.5, 2), rng.uniform(0.25, 0.75, 2) * side
    size = side * rng.uniform(0.1, 0.25)  # half of the object's side
    rate = rng.uniform(0, 0.3, len(scene.height))
    phase = rng.uniform(0, 2 * np.pi, len(scene.height))
    views = []
    for frame in range(count):
        height = scene.height
        if kind == "features":
            height = height * np.cos(rate * frame + phase)
        centres = (scene.centres - middle - shift[frame]) @ np.linalg.inv(linear[frame]).T + middle
        view = Blobs(centres, scene.sigma, height).view(shape, (0, 0))
        if kind == "object":
            at = where - shift[frame] + own * frame
            y, x = (np.arange(side) - at[axis] for axis in (0, 1))
            inside = (np.abs(y)[:, None] < size) & (np.abs(x)[None] < size)
            texture = Blobs(scene.centres[::-1] - shift[frame] + own * frame, scene.sigma, height)
            view = np.where(inside, texture.view(shape, (0, 0)), view)
        views.append(view)
    stack = np.stack(views) / np.std(views) + rng.normal(0, noise, (count, *shape))
    mask = make_ellipse(shape) if rng.random() < 0.5 else None
    if mask is not None:
        stack = np.where(mask, stack, 3 * rng.random(stack.shape))
    words = f"{count} x {side}², SNR {1 / noise:.1f}, {'whole' if mask is None else 'ellipse'}"
    return stack.astype(np.float32), mask, words


def choose(seed: int, kind: str, turn: float = 0.0, snr: float | None = None) -> str:
    """The model that is chosen for a member; prints what it rests on."""
    return tell(f"{kind} {turn:g} {seed}", *make_member(seed, kind, turn, snr))


def choose_of_local(seed: int, bounds: tuple[float, float]) -> str:
    """The model that is chosen for a series with local motion of up to so many pixels."""
    rng = np.random.default_rng([seed, 23])
    count, side = int(rng.integers(12, 25)), int(rng.integers(112, 177))
    snr, size = (float(np.exp(rng.uniform(*np.log(each)))) for each in ((1, 20), bounds))
    series = make_local_series(seed, count, side, size, snr)
    words = f"{count} x {side}², SNR {snr:.1f}, bends by {size:.2f} px"
    return tell(f"local {seed}", series.frames, series.mask, words)


def tell(name: str, frames: np.ndarray, mask: np.ndarray | None, words: str) -> str:
    """The model that is chosen for these frames; prints what it rests on."""
    start = time.perf_counter()
    found = steadystack.estimate_shifts(
        frames, mask=mask, motion={"model": "auto"}, max_shift=24, defects=None, parts=None
    )
    seconds, choice = time.perf_counter() - start, ModelChoice.of(found.attrs)
    assert choice is not None
    print(f"{name}: {words}: {choice.describe()} ({seconds:.0f} s)", flush=True)
    return choice.model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=100)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--turning", type=int, default=30)
    parser.add_argument("--local", type=int, default=30)
    options = parser.parse_args()
    counts: dict[str, Counter[str]] = {}
    for seed in range(options.first, options.first + options.members):
        kind = KINDS[seed % len(KINDS)]
        counts.setdefault(f"shifts only, {kind}", Counter())[choose(seed, kind)] += 1
    for seed in range(options.first, options.first + options.turning):
        turn = (0.05, 0.1, 0.2)[seed % 3]
        row = f"turns by {turn:g} degree a frame, SNR 2"
        counts.setdefault(row, Counter())[choose(seed, "plain", turn, 2.0)] += 1
    for seed in range(options.first, options.first + options.local):
        bounds = list(pairwise(BENDS))[seed % (len(BENDS) - 1)]
        row = f"bends by up to {bounds[0]:g} to {bounds[1]:g} px"
        counts.setdefault(row, Counter())[choose_of_local(seed, bounds)] += 1
    print(
        "| series | translation | rigid | similarity | affine | local |\n|---|---|---|---|---|---|"
    )
    for row, count in counts.items():
        models = ("translation", "rigid", "similarity", "affine", "local")
        print(f"| {row} | {' | '.join(str(count[model]) for model in models)} |")


if __name__ == "__main__":
    main()
