"""A whole series against the error of a known scene, before and after refinement; one core.

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
from series_peers import Peer, list_peers
from steadystack.model import FrameStatus

STEP, MAX_DISTANCE, SIZES, BAD = 1.5, 40.0, (1.5, 10.0), 0.05
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
    """Make a random walk (frames, 2) from 0 that turns back at `MAX_DISTANCE`."""
    free = np.cumsum(rng.normal(0, STEP, (frames, 2)), axis=0)
    free -= free[0]
    folded = np.abs((free + MAX_DISTANCE) % (4 * MAX_DISTANCE) - 2 * MAX_DISTANCE) - MAX_DISTANCE
    return folded - folded[0]


@dataclass(frozen=True)
class Series:
    """A series without noise, in deviations of the scene.

    Attributes
    ----------
    views : (frames, y, x) float32
    mask, artefacts : (y, x); valid pixels, and what stands still outside of them
    truth : (frames, 2), pixels
    defect : kind of each frame's defect, "" if it has none
    bound : (frames, 2), the least variance of a shift at noise 1, px²
    rng : generator of the noise
    """

    views: np.ndarray
    mask: np.ndarray
    artefacts: np.ndarray
    truth: np.ndarray
    defect: np.ndarray
    bound: np.ndarray
    rng: np.random.Generator

    @classmethod
    def of(cls, seed: int, size: int, frames: int) -> Series:
        rng = np.random.default_rng(seed)
        truth, shape = walk(rng, frames), (size, size)
        reach = int(np.abs(truth).max()) + 2
        scene = scenes.Blobs.of(rng, shape, SIZES, reach)
        full_shape, origin = tuple(n + 2 * reach for n in shape), (-float(reach),) * 2
        scale = scene.view(full_shape, origin).std()
        slopes = np.stack([scene.view(full_shape, origin, axis) for axis in range(2)]) / scale
        mask = scenes.make_ellipse(shape)
        spots = np.zeros(shape)
        spots[tuple(rng.integers(0, n, 60) for n in shape)] = 400
        artefacts = np.where(mask, 0, ndimage.gaussian_filter(spots, 1.5))
        defect = np.full(frames, "", "U16")
        bad = 1 + rng.permutation(frames - 1)[: round(BAD * frames)]
        defect[bad] = [KINDS[i % 3] for i in range(len(bad))]
        views, bound = np.empty((frames, *shape), np.float32), np.empty((frames, 2))
        for frame, shift in enumerate(truth):
            views[frame] = scene.view(shape, shift) / scale
            start_pixel = np.rint(shift).astype(int) + reach
            region = tuple(
                slice(start, start + n) for start, n in zip(start_pixel, shape, strict=True)
            )
            gradients = slopes[:, *region][:, mask]
            bound[frame] = np.diag(np.linalg.inv(gradients @ gradients.T))
        return cls(views, mask, artefacts, truth, defect, bound, rng)

    def stack(self, noise: float) -> np.ndarray:
        """Make the frames as a camera records them (uint16), with noise of that deviation."""
        rng, stack = deepcopy(self.rng), np.empty(self.views.shape, np.uint16)
        for frame, view in enumerate(self.views):
            if self.defect[frame] == "defocused":
                view = ndimage.gaussian_filter(view, DEFOCUS)
            image = np.where(self.mask, view, self.artefacts) + noise * rng.normal(size=view.shape)
            image = np.clip(np.rint(LEVEL + CONTRAST / max(noise, 1) * image), 0, 65535)
            stack[frame] = {"blank": 0, "saturated": 65535}.get(self.defect[frame], image)
        return stack


@dataclass(frozen=True)
class Found:
    """Shifts (frames, 2), NaN where unknown; deviations (0: none stated) and flagged frames."""

    shift: np.ndarray
    shift_std: np.ndarray
    flagged: np.ndarray


Method = Callable[[np.ndarray, np.ndarray], Found]


def estimate_by_steadystack(stack: np.ndarray, mask: np.ndarray, rounds: int) -> Found:
    shifts = steadystack.estimate_shifts(
        stack,
        mask=mask,
        max_shift=24,
        pairs={"strategy": "window", "width": 8},
        solve={"refine": rounds},
    )
    in_main_component = (shifts["component"] == 0).to_numpy()[:, None]
    return Found(
        np.where(in_main_component, shifts["frame_shift"].to_numpy(), np.nan),
        shifts["frame_shift_std"].to_numpy(),
        shifts["frame_status"].to_numpy() != FrameStatus.OK.code,
    )


def estimate_by_peer(stack: np.ndarray, mask: np.ndarray, peer: Peer) -> Found:
    """Estimate shifts with a peer; a frame without a shift counts as flagged."""
    shift = peer.estimate(stack, mask)
    return Found(shift, np.zeros(shift.shape), ~np.isfinite(shift).all(axis=1))


def judge_with_and_without_bad(method: Method, series: Series, noise: float) -> dict[str, float]:
    """Judge a method on all frames, and on the good ones alone."""
    stack, good = series.stack(noise), series.defect == ""
    started = time.process_time()  # not what others on the machine do
    scores = judge(method(stack, series.mask), series, noise)
    scores["seconds"] = time.process_time() - started
    good_series = replace(
        series, truth=series.truth[good], defect=series.defect[good], bound=series.bound[good]
    )
    good_scores = judge(method(stack[good], series.mask), good_series, noise)
    return scores | {"easy square": good_scores["square"], "easy bound": good_scores["bound"]}


def judge(estimate: Found, series: Series, noise: float) -> dict[str, float]:
    """Compute squared error, bound and stated variance, and count lost and flagged frames."""
    is_known, good = np.isfinite(estimate.shift).all(axis=1), series.defect == ""
    error = (estimate.shift - series.truth)[is_known & good]
    centred = error - error.mean(axis=0)
    distance = np.abs(estimate.shift - series.truth - np.median(error, axis=0)).max(axis=1)
    stated = estimate.shift_std[is_known & good]
    stated = stated[stated > 0]
    return {
        "square": float(np.mean(centred**2)),
        "bound": float(np.mean(noise**2 * series.bound[is_known & good])),
        "stated": float(np.mean(stated**2)) / 2 if len(stated) else np.nan,
        "flagged": int((estimate.flagged & ~good).sum()),
        "bad": int((~good).sum()),
        "astray": int((distance[is_known & ~good] > 1).sum()),
        "off": int((distance[is_known & good] > 1).sum()),
        "lost": int((good & ~is_known).sum()),
        "good": int(good.sum()),
    }


def format_row(name: str, results: list[dict[str, float]]) -> str:
    """Format a row of the table, from the scores of every series."""
    total = {key: sum(result[key] for result in results) for key in results[0]}
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
    arguments = parser.parse_args()
    methods = {
        f"steadystack, refine: {rounds}": partial(estimate_by_steadystack, rounds=rounds)
        for rounds in arguments.rounds
    }
    missing = []
    for peer in [] if arguments.alone else list_peers():
        if peer.is_installed:
            methods[peer.name] = partial(estimate_by_peer, peer=peer)
        else:
            missing.append(peer.name)
    results: dict[tuple[float, str], list[dict[str, float]]] = {}
    for seed in range(arguments.series):
        series = Series.of(seed, arguments.size, arguments.frames)
        for snr, (name, method) in itertools.product(arguments.snr, methods.items()):
            results.setdefault((snr, name), []).append(
                judge_with_and_without_bad(method, series, 1 / snr)
            )
            print(
                f"SNR {snr:g}:", format_row(name, results[snr, name]), file=sys.stderr, flush=True
            )
    for snr in arguments.snr:
        heading = f"SNR {snr:g}, {arguments.frames} frames {arguments.size} x {arguments.size}"
        print("| " + " | ".join([heading, *COLUMNS]) + " |\n|" + "---|" * (len(COLUMNS) + 1))
        for name in methods:
            print(format_row(name, results[snr, name]))
        for name in missing:
            print(f"| {name} | not installed |" + " |" * (len(COLUMNS) - 1))
        print()


if __name__ == "__main__":
    main()
