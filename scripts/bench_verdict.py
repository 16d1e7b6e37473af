"""What the verdict says in situations whose truth is known.

    python scripts/bench_verdict.py [SITUATION ...] [--seeds 3]

Series of 40 frames of 128 x 128 pixels that wander by about 1.5 px a frame, noise a third of the
scene, measured over a window of 5; one thing is wrong in each. Prints a Markdown table: how far the
shifts are from the truth, what the verdict is, and its first reason.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import ndimage

import steadystack
from scenes import Blobs, make_ellipse, make_masks

FRAMES, SIDE, STEP, NOISE = 40, 128, 1.5, 0.3
SHAPE = (SIDE, SIDE)


@dataclass
class Case:
    """Frames, their true shifts (None: there are none), and how they are measured."""

    frames: np.ndarray
    truth: np.ndarray | None
    mask: np.ndarray | None = None
    sections: dict[str, Any] = field(default_factory=lambda: {"max_shift": 24})


def wander(rng: np.random.Generator, step: float = STEP) -> np.ndarray:
    """A random walk that goes one way, too."""
    steps = rng.normal(0, step, (FRAMES, 2)) + step * np.array([0.3, -0.2])
    return np.cumsum(steps, axis=0) - steps[0]


def views(rng: np.random.Generator, shifts: np.ndarray, sizes=(1.5, 10.0)) -> np.ndarray:
    """A scene at every shift, of deviation 1."""
    scene = Blobs.of(rng, SHAPE, sizes, float(np.abs(shifts).max()) + 1)
    frames = np.stack([scene.view(SHAPE, shift) for shift in shifts])
    return frames / frames.std()


def noisy(rng: np.random.Generator, frames: np.ndarray, noise: float = NOISE) -> np.ndarray:
    return frames + noise * rng.normal(size=frames.shape)


def good(rng):
    truth = wander(rng)
    return Case(noisy(rng, views(rng, truth)), truth)


def good_noisy(rng):
    truth = wander(rng)
    return Case(noisy(rng, views(rng, truth), 1.5), truth)


def good_masked(rng):
    truth, mask = wander(rng), make_masks("beam stop", rng, SHAPE)[0] & make_ellipse(SHAPE, 0.7)
    frames = noisy(rng, views(rng, truth))
    return Case(np.where(mask, frames, 8 * rng.random(SHAPE)), truth, mask)


def bleaching(rng):
    truth = wander(rng)
    fading = np.exp(-np.arange(FRAMES) / FRAMES)[:, None, None]
    return Case(noisy(rng, 5 * fading + views(rng, truth) * fading), truth)


def few_blank(rng):
    case = good(rng)
    case.frames[[9, 30]] = 0
    return case


def broken_off(rng):
    case = good(rng)
    case.frames[18:26] = rng.normal(size=(8, *SHAPE))
    return case


def wrong_mask(rng):
    """Inverted: what is left is a field stop's rim and dirt, which stand still."""
    case = good_masked(rng)
    dirt_image = ndimage.gaussian_filter(rng.normal(size=SHAPE), 2)
    case.frames = np.where(case.mask, case.frames, 8 * dirt_image / dirt_image.std())
    case.frames = noisy(rng, case.frames)
    case.mask = ~case.mask
    return case


def dirt(rng):
    """Dirt on the window of the camera, brighter than the scene, that nobody masked."""
    case = good(rng)
    spots = np.zeros(SHAPE)
    spots[tuple(rng.integers(0, SIDE, (2, 40)))] = 1
    spots = ndimage.gaussian_filter(spots, 2.5)
    case.frames += 4 * spots / spots.max() * case.frames.std()
    return case


def nothing_left(rng):
    """Inverted: what is left is the dark beside a field stop."""
    case = good_masked(rng)
    dark = 0.1 * rng.normal(size=case.frames.shape)
    case.frames = np.where(case.mask, 10 + case.frames, dark)
    case.mask = ~case.mask
    return case


def make_label(side: int, brightness: float, corner: int = 12, step: float = STEP):
    """A bright square that stands still in the images: a label that is burnt in, a scale bar."""

    def make_case(rng):
        truth = wander(rng, step)
        frames = noisy(rng, views(rng, truth))
        frames[:, corner : corner + side, corner : corner + side] = brightness
        return Case(frames, truth)

    return make_case


def make_small_max_shift(limit: int = 5, step: float = 4.0, **sections):
    def make_case(rng):
        truth = wander(rng, step)
        section = {"max_shift": limit, **sections}
        return Case(noisy(rng, views(rng, truth)), truth, sections=section)

    return make_case


def unrelated(rng):
    still = np.zeros((1, 2))
    return Case(noisy(rng, np.concatenate([views(rng, still) for _ in range(FRAMES)])), None)


def periodic(rng):
    """A lattice of 9 px."""
    truth = wander(rng)
    grid = np.arange(SIDE)
    frames = np.stack(
        [
            np.cos(2 * np.pi / 9 * (grid[:, None] + y)) + np.cos(2 * np.pi / 9 * (grid + x))
            for y, x in truth
        ]
    )
    return Case(noisy(rng, frames), truth)


def moving_object(rng, area_fraction=0.35):
    """Something in front of the scene that goes another way, and covers a third."""
    truth = wander(rng)
    object_shift = truth + np.arange(FRAMES)[:, None] * np.array([-0.8, 0.9])
    y, x = np.mgrid[:SIDE, :SIDE]
    scene, front = views(rng, truth), views(rng, object_shift)
    frames = scene.copy()
    radius = SIDE * np.sqrt(area_fraction / np.pi)
    for frame, (dy, dx) in enumerate(object_shift - object_shift.mean(axis=0)):
        inside = np.hypot(y - SIDE / 2 + dy, x - SIDE / 2 + dx) < radius
        frames[frame][inside] = front[frame][inside]
    return Case(noisy(rng, frames), truth)


def turning(rng):
    """A specimen that turns by a tenth of a degree a frame."""
    truth = wander(rng)
    frames = noisy(rng, views(rng, truth))
    turned = [
        ndimage.rotate(frame, 0.15 * index, reshape=False, mode="reflect")
        for index, frame in enumerate(frames)
    ]
    return Case(np.stack(turned), truth)


def nothing_there(rng):
    return Case(rng.normal(size=(FRAMES, *SHAPE)), None)


SITUATIONS: dict[str, tuple[Callable[[np.random.Generator], Case], str, str]] = {
    "a good series": (good, "good", ""),
    "a good series, noise 1.5": (good_noisy, "good", ""),
    "behind a beam stop and a field stop, masked": (good_masked, "good", ""),
    "bleaching to a third": (bleaching, "good", ""),
    "two frames blank": (few_blank, "good", "frames have no shift"),
    "eight frames of noise in the middle": (broken_off, "unreliable", "falls into"),
    "the mask is inverted": (wrong_mask, "check unreliable", "may be inverted"),
    "the mask is inverted, and leaves the dark": (
        nothing_left,
        "check unreliable",
        "looks inverted",
    ),
    "dirt that stands still, not masked": (dirt, "check unreliable", "stands still"),
    "a bright square that stands still": (
        make_label(30, 5.0),
        "good check",
        "go their own way",
    ),
    "a small one": (make_label(14, 8.0), "good check", "go their own way"),
    "one so bright that it wins": (make_label(30, 30.0), "good check", "go their own way"),
    "max_shift too small": (make_small_max_shift(), "check unreliable", "max_shift"),
    "frames that have nothing in common": (
        unrelated,
        "unreliable",
        "no better than unrelated images",
    ),
    "a lattice": (periodic, "check unreliable", "fit equally well at another shift"),
    "an object that moves independently, a third of the frame": (
        moving_object,
        "check unreliable",
        "moves independently",
    ),
    "a specimen that turns": (turning, "check unreliable", "rotate"),
    "noise only": (nothing_there, "unreliable", "no better than unrelated images"),
}


def judge(case: Case) -> tuple[str, list[str], float]:
    """The verdict in a word, its reasons, and the root mean square error of the shifts, px."""
    sections = dict(case.sections)
    shifts = steadystack.estimate_shifts(case.frames, mask=case.mask, **sections)
    verdict = steadystack.verdict(shifts)
    error = np.nan
    is_known = np.isfinite(shifts["frame_shift"].to_numpy()).all(axis=1)
    if case.truth is not None and is_known.any():
        error_px = (shifts["frame_shift"].to_numpy() - case.truth)[is_known]
        error_px -= np.median(error_px, axis=0)
        error = float(np.sqrt(np.mean(error_px**2)))
    return str(verdict.trust), list(verdict.reasons) or [""], error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("situations", nargs="*", help="a part of their names; all if none")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    print("| situation | rms error / px | verdict | says |\n|---|---|---|---|")
    missed = 0
    for name, (make, trusts, words) in SITUATIONS.items():
        if arguments.situations and not any(text in name for text in arguments.situations):
            continue
        judgements = [judge(make(np.random.default_rng(seed))) for seed in range(arguments.seeds)]
        for trust, reasons, _ in judgements:
            is_right = trust.split()[0] in trusts.split() and any(
                words in reason for reason in reasons
            )
            missed += not is_right
        errors = ", ".join(f"{error:.3g}" for *_, error in judgements if np.isfinite(error))
        verdicts = ", ".join(dict.fromkeys(trust for trust, *_ in judgements))
        reasons_printed = dict.fromkeys(
            reason for _, reasons, _ in judgements[:1] for reason in reasons
        )
        print(f"| {name} | {errors} | {verdicts} | {'; '.join(reasons_printed)} |", flush=True)
    print(f"\n{missed} of {len(SITUATIONS) * arguments.seeds} are not told as they should be")


if __name__ == "__main__":
    main()
