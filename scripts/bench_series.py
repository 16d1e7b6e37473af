"""A whole series against the error of a known scene, before and after the second pass; one core.

    python scripts/bench_series.py [--size 512] [--frames 200] [--series 1] [--rounds 0 1 2]

A scene of features of 1.5 to 10 px walks by 1.5 px a frame within 40 px of where it began, behind
an elliptic mask over 55 % of the frame, with artefacts that stand still outside of it. One frame in
twenty is bad: blank, saturated, or out of focus. The bound is that of the shift of a frame against
the scene itself (Cramer-Rao): noise² over the sum of squared gradients of the valid pixels. Errors
are without what all frames have in common; stated deviations are relative to the anchor, which is
one frame like the others: they are compared with the errors relative to any of the frames.
"""

from __future__ import annotations

import argparse
import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import scenes
from scipy import ndimage

import pipeline
from pipeline.model import FrameStatus

STEP, FARTHEST, SIZES, BAD = 1.5, 40.0, (1.5, 10.0), 0.05
KINDS = ("blank", "saturated", "defocused")
DEFOCUS, LEVEL, CONTRAST = 20.0, 2000.0, 300.0


def walk(rng: np.random.Generator, frames: int) -> np.ndarray:
    """A random walk (frames, 2) from 0 that turns back at the farthest distance."""
    free = np.cumsum(rng.normal(0, STEP, (frames, 2)), axis=0)
    free -= free[0]
    folded = np.abs((free + FARTHEST) % (4 * FARTHEST) - 2 * FARTHEST) - FARTHEST
    return folded - folded[0]


def series(seed: int, size: int, frames: int, noise: float):
    """Frames, their mask, true shifts, what is wrong with each ("" if nothing), and bounds, px²."""
    rng = np.random.default_rng(seed)
    truth, shape = walk(rng, frames), (size, size)
    reach = int(np.abs(truth).max()) + 2
    scene = scenes.Blobs.of(rng, shape, SIZES, reach)
    wide, origin = tuple(n + 2 * reach for n in shape), (-float(reach),) * 2
    scale = scene.view(wide, origin).std()
    slopes = np.stack([scene.view(wide, origin, axis) for axis in range(2)]) / scale
    mask = scenes.ellipse(shape)
    spots = np.zeros(shape)
    spots[tuple(rng.integers(0, n, 60) for n in shape)] = 400
    still = np.where(mask, 0, ndimage.gaussian_filter(spots, 1.5))
    wrong = np.full(frames, "", "U16")
    bad = 1 + rng.permutation(frames - 1)[: round(BAD * frames)]
    wrong[bad] = [KINDS[i % 3] for i in range(len(bad))]
    stack, bound = np.empty((frames, *shape), np.uint16), np.empty((frames, 2))
    for frame, shift in enumerate(truth):
        image = scene.view(shape, shift) / scale
        if wrong[frame] == "defocused":
            image = ndimage.gaussian_filter(image, DEFOCUS)
        image = np.where(mask, image, still) + noise * rng.normal(size=shape)
        image = np.clip(np.rint(LEVEL + CONTRAST / max(noise, 1) * image), 0, 65535)
        stack[frame] = {"blank": 0, "saturated": 65535}.get(wrong[frame], image)
        begin = np.rint(shift).astype(int) + reach
        part = tuple(slice(at, at + n) for at, n in zip(begin, shape, strict=True))
        seen = slopes[:, *part][:, mask]
        bound[frame] = np.diag(noise**2 * np.linalg.inv(seen @ seen.T))
    return stack, mask, truth, wrong, bound


def judged(found, truth, wrong, bound) -> dict[str, float]:
    """Error over bound, error over stated deviation, frames lost and flagged."""
    shift, std = found["shift"].to_numpy(), found["shift_std"].to_numpy()
    known = np.isfinite(shift).all(axis=1) & (found["component"].to_numpy() == 0)
    good = wrong == ""
    error = (shift - truth)[known & good]
    own = error - error.mean(axis=0)
    stated = std[known & good]
    kept = known & ~good
    astray = np.abs(shift - truth - error.mean(axis=0))[kept].max(axis=1, initial=0)
    flagged = found["frame_status"].to_numpy() != FrameStatus.OK.code
    return {
        "square": float(np.mean(own**2)),
        "bound": float(np.mean(bound[known & good])),
        "stated": float(np.mean(stated[stated > 0] ** 2)) / 2,
        "flagged": int((flagged & ~good).sum()),
        "bad": int((~good).sum()),
        "astray": int((astray > 1).sum()),
        "lost": int((good & ~known).sum()),
        "good": int(good.sum()),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--series", type=int, default=1)
    parser.add_argument("--snr", type=float, nargs="+", default=[2.0, 0.5])
    parser.add_argument("--rounds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    what = f"{given.frames} frames {given.size} x {given.size}, {given.series} series"
    columns = ["rms / px", "over the bound", "error / stated", "bad flagged", "bad off by 1 px"]
    print("| " + " | ".join([what, *columns, "good lost", "seconds"]) + " |\n" + "|---" * 8 + "|")
    for snr in given.snr:
        made = [series(seed, given.size, given.frames, 1 / snr) for seed in range(given.series)]
        for rounds in given.rounds:
            begun, rows = time.perf_counter(), []
            for stack, mask, *known in made:
                found = pipeline.estimate_shifts(
                    stack,
                    mask=mask,
                    max_shift=24,
                    pairs={"strategy": "window", "width": 8},
                    solve={"polish": rounds},
                )
                rows.append(judged(found, *known))
            took = (time.perf_counter() - begun) / given.series
            total = {key: sum(row[key] for row in rows) for key in rows[0]}
            rms = np.sqrt(total["square"] / given.series)
            ratio = np.sqrt(total["square"] / total["bound"])
            calibration = np.sqrt(total["square"] / total["stated"])
            cells = [f"SNR {snr:g}, polish: {rounds}"]
            cells += [f"{rms:.4f}", f"{ratio:.2f}", f"{calibration:.2f}"]
            cells += [f"{total['flagged']} of {total['bad']}", f"{total['astray']}"]
            cells += [f"{total['lost']} of {total['good']}", f"{took:.1f}"]
            print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
