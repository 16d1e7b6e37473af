"""A whole series against the error of a known scene, before and after the second pass; one core.

    python scripts/bench_series.py [--size 512] [--frames 200] [--series 1] [--rounds 0 1 2]

Beside it, on the same frames in the same run, what is installed of scikit-image, pystackreg and
hyperspy (see `series_peers.py`; --alone leaves them out). Rows go to stderr as they come.

A scene of features of 1.5 to 10 px walks by 1.5 px a frame within 40 px of where it began, behind
an elliptic mask over 55 % of the frame, with artefacts that stand still outside of it. One frame in
twenty is bad: blank, saturated, or out of focus. The bound is that of the shift of a frame against
the scene itself (Cramer-Rao): noise² over the sum of squared gradients of the valid pixels. Errors
are without what all frames have in common; stated deviations are relative to the anchor, which is
one frame like the others: they are compared with the errors relative to any of the frames. "Without
the bad" is the error over the bound of a second run, on the good frames alone.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from scipy import ndimage

import scenes
import steadystack
from series_peers import Peer, peers
from steadystack.model import FrameStatus

STEP, FARTHEST, SIZES, BAD = 1.5, 40.0, (1.5, 10.0), 0.05
KINDS = ("blank", "saturated", "defocused")
DEFOCUS, LEVEL, CONTRAST = 20.0, 2000.0, 300.0
COLUMNS = (
    "rms / px",
    "over the bound",
    "without the bad",
    "error / stated",
    "good off by 1 px",
    "good lost",
    "bad flagged",
    "bad off by 1 px",
    "core seconds",
)


def walk(rng: np.random.Generator, frames: int) -> np.ndarray:
    """A random walk (frames, 2) from 0 that turns back at the farthest distance."""
    free = np.cumsum(rng.normal(0, STEP, (frames, 2)), axis=0)
    free -= free[0]
    folded = np.abs((free + FARTHEST) % (4 * FARTHEST) - 2 * FARTHEST) - FARTHEST
    return folded - folded[0]


@dataclass(frozen=True)
class Series:
    """A series without noise, in deviations of the scene.

    `views` (frames, y, x) float32, `mask` (y, x), `still` (y, x) what stands still outside of it,
    `truth` (frames, 2) pixels, `wrong` what is wrong with each frame ("" if nothing), `bound`
    (frames, 2) the least variance of a shift at noise 1, px², `rng` what the noise comes from.
    """

    views: np.ndarray
    mask: np.ndarray
    still: np.ndarray
    truth: np.ndarray
    wrong: np.ndarray
    bound: np.ndarray
    rng: np.random.Generator

    @classmethod
    def of(cls, seed: int, size: int, frames: int) -> Series:
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
        views, bound = np.empty((frames, *shape), np.float32), np.empty((frames, 2))
        for frame, shift in enumerate(truth):
            views[frame] = scene.view(shape, shift) / scale
            begin = np.rint(shift).astype(int) + reach
            part = tuple(slice(at, at + n) for at, n in zip(begin, shape, strict=True))
            seen = slopes[:, *part][:, mask]
            bound[frame] = np.diag(np.linalg.inv(seen @ seen.T))
        return cls(views, mask, still, truth, wrong, bound, rng)

    def stack(self, noise: float) -> np.ndarray:
        """The frames as a camera records them (uint16), with noise of that deviation."""
        rng, stack = deepcopy(self.rng), np.empty(self.views.shape, np.uint16)
        for frame, view in enumerate(self.views):
            if self.wrong[frame] == "defocused":
                view = ndimage.gaussian_filter(view, DEFOCUS)
            image = np.where(self.mask, view, self.still) + noise * rng.normal(size=view.shape)
            image = np.clip(np.rint(LEVEL + CONTRAST / max(noise, 1) * image), 0, 65535)
            stack[frame] = {"blank": 0, "saturated": 65535}.get(self.wrong[frame], image)
        return stack


@dataclass(frozen=True)
class Found:
    """Shifts (frames, 2), NaN where unknown; deviations (0: none stated) and flagged frames."""

    shift: np.ndarray
    std: np.ndarray
    flagged: np.ndarray


Method = Callable[[np.ndarray, np.ndarray], Found]


def ours(stack: np.ndarray, mask: np.ndarray, rounds: int) -> Found:
    found = steadystack.estimate_shifts(
        stack,
        mask=mask,
        max_shift=24,
        pairs={"strategy": "window", "width": 8},
        solve={"refine": rounds},
    )
    compares = (found["component"] == 0).to_numpy()[:, None]
    return Found(
        np.where(compares, found["frame_shift"].to_numpy(), np.nan),
        found["frame_shift_std"].to_numpy(),
        found["frame_status"].to_numpy() != FrameStatus.OK.code,
    )


def theirs(stack: np.ndarray, mask: np.ndarray, peer: Peer) -> Found:
    """What a peer finds; a frame that it gives no shift counts as flagged."""
    shift = peer.estimate(stack, mask)
    return Found(shift, np.zeros(shift.shape), ~np.isfinite(shift).all(axis=1))


def both(method: Method, made: Series, noise: float) -> dict[str, float]:
    """A method on all frames, and on the good ones alone."""
    stack, good = made.stack(noise), made.wrong == ""
    begun = time.process_time()  # not what others on the machine do
    found = judged(method(stack, made.mask), made, noise)
    found["seconds"] = time.process_time() - begun
    easy = replace(made, truth=made.truth[good], wrong=made.wrong[good], bound=made.bound[good])
    alone = judged(method(stack[good], made.mask), easy, noise)
    return found | {"easy square": alone["square"], "easy bound": alone["bound"]}


def judged(found: Found, made: Series, noise: float) -> dict[str, float]:
    """Error over bound, error over stated deviation, frames lost and flagged."""
    known, good = np.isfinite(found.shift).all(axis=1), made.wrong == ""
    error = (found.shift - made.truth)[known & good]
    own = error - error.mean(axis=0)
    away = np.abs(found.shift - made.truth - np.median(error, axis=0)).max(axis=1)
    stated = found.shift_std[known & good]
    stated = stated[stated > 0]
    return {
        "square": float(np.mean(own**2)),
        "bound": float(np.mean(noise**2 * made.bound[known & good])),
        "stated": float(np.mean(stated**2)) / 2 if len(stated) else np.nan,
        "flagged": int((found.flagged & ~good).sum()),
        "bad": int((~good).sum()),
        "astray": int((away[known & ~good] > 1).sum()),
        "off": int((away[known & good] > 1).sum()),
        "lost": int((good & ~known).sum()),
        "good": int(good.sum()),
    }


def row(name: str, results: list[dict[str, float]]) -> str:
    """A row of the table, from what was found of each series."""
    total = {key: sum(one[key] for one in results) for key in results[0]}
    rms = np.sqrt(total["square"] / len(results))
    calibration = np.sqrt(total["square"] / total["stated"])
    cells = [
        name,
        f"{rms:.4f}",
        f"{np.sqrt(total['square'] / total['bound']):.2f}",
        f"{np.sqrt(total['easy square'] / total['easy bound']):.2f}",
        f"{calibration:.2f}" if np.isfinite(calibration) else "none",
        f"{total['off']} of {total['good']}",
        f"{total['lost']} of {total['good']}",
        f"{total['flagged']} of {total['bad']}",
        f"{total['astray']} of {total['bad']}",
        f"{total['seconds'] / len(results):.0f}",
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--series", type=int, default=1)
    parser.add_argument("--snr", type=float, nargs="+", default=[2.0, 0.5])
    parser.add_argument("--rounds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--alone", action="store_true", help="without the peers")
    given = parser.parse_args()
    methods = {
        f"steadystack, refine: {rounds}": partial(ours, rounds=rounds) for rounds in given.rounds
    }
    missing = []
    for peer in [] if given.alone else peers():
        if peer.installed:
            methods[peer.name] = partial(theirs, peer=peer)
        else:
            missing.append(peer.name)
    results: dict[tuple[float, str], list[dict[str, float]]] = {}
    for seed in range(given.series):
        made = Series.of(seed, given.size, given.frames)
        for snr, (name, method) in itertools.product(given.snr, methods.items()):
            results.setdefault((snr, name), []).append(both(method, made, 1 / snr))
            print(f"SNR {snr:g}:", row(name, results[snr, name]), file=sys.stderr, flush=True)
    for snr in given.snr:
        what = f"SNR {snr:g}, {given.frames} frames {given.size} x {given.size}"
        print("| " + " | ".join([what, *COLUMNS]) + " |\n|" + "---|" * (len(COLUMNS) + 1))
        for name in methods:
            print(row(name, results[snr, name]))
        for name in missing:
            print(f"| {name} | not installed |" + " |" * (len(COLUMNS) - 1))
        print()


if __name__ == "__main__":
    main()
