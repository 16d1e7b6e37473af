"""The simplest model that what is left of pairs allows, from fits whose strengths are known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from steadystack import estimate_shifts
from steadystack.model import LocalMotion
from steadystack.motion import ModelChoice, choose_model, model_choice
from steadystack.motion.model_choice import Strength, measure_strengths
from steadystack.solve import GraphFit

FRAMES, GROUPS = 12, 36
TOGETHER = LocalMotion(pairs=12, parts=9, moving=0, size=0.1, where="top left", linear=False)
TURNS = LocalMotion(pairs=12, parts=9, moving=4, size=2.0, where="top left", linear=True)
APART = LocalMotion(pairs=12, parts=9, moving=1, size=2.0, where="top left", linear=False)


def fit_of(value, noise=0.02, unknown=()) -> GraphFit:
    """A fit (frames, 4) with errors of so many px, which groups of cells tell of."""
    rng = np.random.default_rng(1)
    moves = rng.normal(0, noise / np.sqrt(GROUPS), (FRAMES, GROUPS, 4))
    moves -= moves.mean(axis=1, keepdims=True)
    value = np.array(value, float) + rng.normal(0, noise, (FRAMES, 4))
    component = np.zeros(FRAMES, int)
    component[list(unknown)] = -1
    value[list(unknown)] = np.nan
    small = np.full((FRAMES, 4), noise / 10)
    return GraphFit(
        value, small, small, moves, small, np.ones((0, 4)), component, (0,), np.zeros(0, bool)
    )


def choose(monkeypatch, fit, parts=TOGETHER):
    class Source:
        frame_shape = (100, 100)

    class Method:
        class search:
            blocks, subpixel = (0,), True

    monkeypatch.setattr(model_choice, "look_once", lambda *_, **__: fit)
    return choose_model(Source(), None, None, Method(), parts)


STEPS = np.arange(FRAMES)[:, None]


@pytest.mark.parametrize(
    ("each", "model"),
    [
        ([0, 0, 0, 0], "translation"),
        ([0.02, 0, 0, 0], "translation"),  # less than what counts
        ([0.2, 0, 0, 0], "rigid"),
        ([0, 0.2, 0, 0], "similarity"),
        ([0.2, -0.1, 0, 0], "similarity"),
        ([0.2, 0, 0, 0.1], "affine"),
        ([0, 0, -0.2, 0], "affine"),
        ([3.0, 0.03, 0.03, 0], "rigid"),  # a large turn looks a little like the others
    ],
)
def test_the_simplest_model_of_what_frames_do_is_chosen(monkeypatch, each, model):
    fit = fit_of(STEPS * each, unknown=[3])
    assert choose(monkeypatch, fit).model == model
    strength = measure_strengths(fit, 2)["turn"]
    known = np.delete(STEPS[:, 0], 3) * each[0]
    assert strength.size == pytest.approx(np.hypot(known.std(), 0.02), rel=0.3)
    assert strength.std == pytest.approx(0.02, rel=0.2)


def test_what_is_no_more_than_noise_or_goes_its_own_way_is_none(monkeypatch):
    assert choose(monkeypatch, fit_of(STEPS * [0.2, 0, 0, 0], noise=0.2)).model == "translation"
    turning = fit_of(STEPS * [0.2, 0, 0, 0])
    assert choose(monkeypatch, turning, TURNS).model == "rigid"
    apart = choose(monkeypatch, turning, APART)
    assert apart.model == "translation"
    assert apart.describe().endswith("but parts of the frame move independently")
    # an object looks a little like every kind, and some groups of cells do not agree
    mixed = fit_of(STEPS * [0.12, 0.1, 0.03, 0.08], noise=0.08)
    assert mixed.value.shape == (FRAMES, 4)
    strengths = measure_strengths(mixed, 2)
    assert [each.is_seen for each in strengths.values()] == [True, False, False]
    assert (
        choose(monkeypatch, mixed).reason
        == "but rigid leaves nearly as much scale and shear unexplained"
    )
    untold = choose(monkeypatch, turning, None)
    assert untold == ModelChoice(
        "translation", {}, "how parts of the frame move cannot be determined"
    )
    few = choose(monkeypatch, fit_of(STEPS * [0.2, 0, 0, 0], unknown=range(3, FRAMES)))
    assert few.reason == "fewer than 4 frames can be compared"


def test_a_choice_is_read_as_it_was_written():
    choice = ModelChoice("rigid", {"turn": Strength(0.5, 0.01), "scale": Strength(0.01, 0.02)})
    assert ModelChoice.of({"motion_choice": choice.dump()}) == choice
    assert ModelChoice.of({}) is None
    assert choice.describe() == (
        "rigid: frames differ by turn 0.5 ± 0.01 px, scale 0.01 ± 0.02 px (root mean square of "
        "their pixels)"
    )


def test_thin_volumes_are_shifted_alone():
    rng = np.random.default_rng(0)
    volume = rng.normal(size=(12, 24, 24))
    stack = np.stack([np.roll(volume, (0, t, -t), (0, 1, 2)) for t in range(4)])
    found = estimate_shifts(stack, motion={"model": "auto"}, max_shift=5, parts=None, defects=None)
    told = json.loads(found.attrs["motion_choice"])
    assert told == {
        "model": "translation",
        "strengths": {},
        "reason": "how parts of the frame move cannot be determined",
    }
