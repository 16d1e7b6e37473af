"""Series of rendered images: stated deviations are true, and bad frames do no harm."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import ndimage

import steadystack
from steadystack.model import FrameStatus
from support.members import slow_but
from support.scenes import Scene, ellipse

pytestmark = pytest.mark.usefixtures("no_look_at_what_stands_still")

SIZE, ROOM = (96, 104), 40
MASK = ellipse(SIZE, 0.95)
BAD = 11


def walk(seed: int, count: int) -> np.ndarray:
    """True shifts (count, 2), from 0."""
    truth = np.cumsum(np.random.default_rng(seed).normal(0, 0.7, (count, 2)), axis=0)
    return truth - truth[0]


def rendered(seed: int, truth: np.ndarray, noise) -> np.ndarray:
    """The frames of a scene where they are; `noise` is a deviation, or one per frame."""
    rng, world = np.random.default_rng(seed), Scene(seed)
    grain = rng.normal(size=(len(truth), *SIZE)) * np.broadcast_to(noise, len(truth))[:, None, None]
    return (100 + np.stack([world.view(SIZE, shift) for shift in truth]) + grain).astype("f4")


def solved(frames, width=6, **options):
    return steadystack.estimate_shifts(
        frames,
        mask=MASK,
        max_shift=12,
        pairs={"strategy": "window", "width": width},
        defects=None,
        parts=None,
        preprocess={"low_pass": None, "high_pass": None},
        **options,
    )


def statuses(found) -> list[str]:
    return [str(FrameStatus.from_code(code)) for code in found["frame_status"].to_numpy()]


# Deviations


def calibration(found, truth, frames=slice(None)) -> tuple[float, float]:
    """Mean squares of the differences between any two frames' errors, as they are and as stated.

    Stated ones are relative to the anchor, which is one frame like the others.
    """
    error = (found["frame_shift"].to_numpy() - truth)[frames]
    std = found["frame_shift_std"].to_numpy()[frames]
    stated = std[(std > 0).all(axis=1)]
    return 2 * float(np.mean((error - error.mean(axis=0)) ** 2)), float(np.mean(stated**2))


@pytest.mark.parametrize(
    ("width", "noise"),
    slow_but([(3, 0.5)], product([3, 8], [0.05, 0.5, 1.5])),
)
def test_deviations_are_those_of_the_errors(noise, width):
    squares = []
    for seed in range(20, 24):
        truth = walk(seed, 30)
        squares.append(calibration(solved(rendered(seed, truth, noise), width), truth))
    errors, stated = np.sum(squares, axis=0)
    assert 0.8 < np.sqrt(errors / stated) < 1.25


@pytest.mark.slow
def test_deviations_are_those_of_their_frame():
    """Every third frame is twice as noisy; its pairs are stated a little too wide by the peak."""
    noisy = np.arange(30) % 3 == 1
    squares, noise = [], np.where(noisy, 1.2, 0.6)
    for seed in range(30, 35):
        truth = walk(seed, 30)
        found = solved(rendered(seed, truth, noise))
        error = found["frame_shift"].to_numpy() - truth
        error -= error[~noisy].mean(axis=0)
        variance = found["frame_shift_std"].to_numpy() ** 2
        ordinary = variance[~noisy][1:].mean() / 2  # the other half is the anchor's, one of them
        parts = (error[~noisy], ordinary), (error[noisy], variance[noisy].mean() - ordinary)
        squares.append([(np.mean(of**2), stated) for of, stated in parts])
    (plain, stated), (worse, stated_worse) = np.mean(squares, axis=0)
    assert 0.8 < np.sqrt(plain / stated) < 1.25
    assert 0.7 < np.sqrt(worse / stated_worse) < 1.25
    assert stated_worse > 2.5 * stated


# Bad frames


def spoilt(frame: np.ndarray, kind: str, world: Scene, shift: np.ndarray) -> np.ndarray:
    grain = np.random.default_rng(1).normal(0, 0.4, SIZE)
    wide = tuple(n + 2 * ROOM for n in SIZE)
    half = np.where(np.arange(SIZE[0])[:, None] < SIZE[0] // 2, np.nan, frame)
    return {
        "blank": lambda: np.zeros(SIZE),
        "saturated": lambda: np.full(SIZE, 65535.0),
        "defocused": lambda: (
            100
            + ndimage.gaussian_filter(world.view(wide, shift - ROOM), 6.0)[ROOM:-ROOM, ROOM:-ROOM]
            + grain
        ),
        "noisy": lambda: frame + 10 * grain,
        "far away": lambda: 100 + world.view(SIZE, shift + np.array([30, -25])) + grain,
        "of another scene": lambda: 100 + Scene(99).view(SIZE, (0, 0)) + grain,
        "half missing": lambda: half,
        "half black": lambda: np.nan_to_num(half, nan=0.0),
    }[kind]()


COUNT = 24  # frames of a series with a bad one
WITHOUT_SHIFT = {"flat", "disconnected", "inconsistent"}
KINDS = {
    # kind: the statuses it may get
    "blank": {"flat"},
    "saturated": {"flat"},
    "defocused": {"dissimilar"},
    "noisy": {"dissimilar"},
    "far away": WITHOUT_SHIFT,
    "of another scene": WITHOUT_SHIFT,
    "half missing": {"ok", "incomplete"},
    "half black": WITHOUT_SHIFT,
}


@pytest.mark.parametrize("kind", slow_but(["defocused", "of another scene", "half missing"], KINDS))
def test_a_bad_frame_is_reported_and_moves_no_other(kind):
    truth = walk(5, COUNT)
    frames = rendered(5, truth, 0.4)
    without = frames.copy()
    without[BAD] = np.nan
    frames[BAD] = spoilt(frames[BAD], kind, Scene(5), truth[BAD])
    found, alone = solved(frames), solved(without)
    names, others = statuses(found), np.delete(np.arange(COUNT), BAD)
    assert names[BAD] in KINDS[kind]
    assert {names[frame] for frame in others} == {"ok"}
    moved = np.abs(found["frame_shift"] - alone["frame_shift"]).to_numpy()[others[1:]]
    assert (moved < 0.5 * alone["frame_shift_std"].to_numpy()[others[1:]]).all()
    shift, std = (found[name].to_numpy()[BAD] for name in ("frame_shift", "frame_shift_std"))
    if names[BAD] in WITHOUT_SHIFT:
        assert np.isnan(shift).all()
        assert np.isnan(std).all()
    elif names[BAD] != "dissimilar":
        assert (np.abs(shift - truth[BAD]) < 4 * std).all()
    else:  # what is left of the scene in it says so much, and the verdict whose it is
        assert (std > 2 * np.median(found["frame_shift_std"].to_numpy()[others[1:]])).all()
        assert f"(out of focus, covered?): {BAD}" in found.attrs["verdict_reasons"]


def test_an_unlike_frame_is_in_no_mean_of_the_second_pass():
    truth = walk(5, 24)
    frames = rendered(5, truth, 0.4)
    frames[BAD] = spoilt(frames[BAD], "defocused", Scene(5), truth[BAD])
    before, after = solved(frames), solved(frames, solve={"refine": 1})
    assert statuses(after)[BAD] == statuses(before)[BAD] == "dissimilar"
    other = frames.copy()
    other[BAD] += np.random.default_rng(3).normal(0, 0.01, SIZE)  # would change any mean
    moved = (solved(other, solve={"refine": 1})["frame_shift"] - after["frame_shift"]).to_numpy()
    good = np.delete(np.arange(24), BAD)
    assert np.abs(moved[good]).max() < 1e-3
    errors, stated = calibration(after, truth, good)
    assert 0.7 < np.sqrt(errors / stated) < 1.35


def test_a_frame_that_was_stored_twice_has_the_shift_of_the_first():
    truth = walk(6, 30)
    truth[[12, 13]] = truth[11]
    frames = rendered(6, truth, 0.4)
    frames[[12, 13]] = frames[11]
    found = solved(frames)
    assert set(statuses(found)) == {"ok"}
    np.testing.assert_allclose(
        found["frame_shift"][12:14], found["frame_shift"][[11, 11]], atol=1e-3
    )
    assert (np.abs(found["frame_shift"] - truth)[1:] < 4 * found["frame_shift_std"][1:]).all()


def test_a_jump_stays_a_jump_and_a_gap_is_spanned():
    truth = walk(7, 30)
    truth[15:] += (9, -10)
    frames = rendered(7, truth, 0.4)
    frames[20:23] = 0
    found = solved(frames)
    assert (found["component"].to_numpy()[found["frame_status"] == 1] == 0).all()
    assert statuses(found) == ["ok"] * 20 + ["flat"] * 3 + ["ok"] * 7
    good = np.r_[1:20, 23:30]
    assert (np.abs(found["frame_shift"] - truth)[good] < 4 * found["frame_shift_std"][good]).all()


def test_fading_and_losing_focus_is_no_bad_frame():
    truth, world = walk(8, 30), Scene(8)
    rng, wide = np.random.default_rng(8), tuple(n + 2 * ROOM for n in SIZE)
    frames = []
    for shift, blur in zip(truth, np.linspace(0, 4, 30), strict=True):
        view = ndimage.gaussian_filter(world.view(wide, shift - ROOM), blur)[ROOM:-ROOM, ROOM:-ROOM]
        frames.append(view + rng.normal(0, 0.4, SIZE))
    assert "dissimilar" not in statuses(solved(np.stack(frames)))
