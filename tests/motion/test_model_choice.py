"""The simplest model that what is left of pairs allows, from fits whose strengths are known."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from steadystack import estimate_shifts
from steadystack.model import LocalMotion
from steadystack.motion import ModelChoice, choose_model, model_choice, strengths
from steadystack.motion.local_pairs import BoxGrid
from steadystack.motion.local_prior import BoxShifts, estimate_prior
from steadystack.motion.strengths import (
    LocalStrength,
    Strength,
    measure_local_strength,
    measure_strengths,
)
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


GRID = BoxGrid((100, 100), (6, 6))
BOX_NOISE = 0.1


def AT_REST(frame, places):
    return np.zeros_like(places)


def boxes_of(field, noise=BOX_NOISE, seed=3):
    """What boxes say of frames that a field moves by places, (places, axes).

    Relative to the first frame, whose noise is in all.
    """
    rng = np.random.default_rng(seed)
    off = np.stack([field(frame, GRID.centres) for frame in range(FRAMES)])
    own = rng.normal(0, noise, off.shape)
    variance = np.full(off.shape, 2 * noise**2)
    variance[0] = 0
    boxes = BoxShifts(GRID.centres, off + own - own[0], variance, np.zeros((FRAMES, 2)))
    return GRID, boxes, estimate_prior(boxes, 100, 100 / 6)


def choose(monkeypatch, fit, parts=TOGETHER, boxes=None):
    class Source:
        frame_shape = (100, 100)

    class Method:
        class search:
            blocks, subpixel = (0,), True

    monkeypatch.setattr(strengths, "measure_linear_once", lambda *_, **__: fit)
    monkeypatch.setattr(
        model_choice, "measure_boxes_once", lambda *_, **__: boxes or boxes_of(AT_REST)
    )
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
    assert choose(monkeypatch, mixed).reason == "but rigid leaves much scale and shear unexplained"
    untold = choose(monkeypatch, turning, None)
    assert untold == ModelChoice(
        "translation", {}, "how parts of the frame move cannot be determined"
    )
    few = choose(monkeypatch, fit_of(STEPS * [0.2, 0, 0, 0], unknown=range(3, FRAMES)))
    assert few.reason == "fewer than 4 frames can be compared"


def wave(size):
    def field(frame, places):
        growth = size * frame / (FRAMES - 1)
        return growth * np.sin(2 * np.pi * places[:, ::-1] / 100 + [1, 2])

    return field


def turning(frame, places):
    return 0.003 * frame * (places - 49.5)[:, ::-1] * [1, -1]


def an_object(frame, places):
    inside = (np.abs(places - [30, 60]) < 26).all(axis=1, keepdims=True)
    return np.where(inside, frame * np.array([0.2, -0.1]), 0)


def each_alone(frame, places):
    return np.random.default_rng(frame).normal(0, 1, places.shape)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("field", "is_local"),
    [
        (wave(2.0), True),
        (wave(0.6), True),
        (wave(0.1), False),
        (AT_REST, False),
        (turning, False),
        (an_object, False),
        (each_alone, False),
    ],
)
def test_boxes_that_go_where_those_around_them_do_move_locally(field, is_local, seed):
    found = measure_local_strength(*boxes_of(field, seed=seed))
    assert found.is_seen == is_local
    if is_local:  # beside what is linear of the wave
        assert 0.15 < found.size / field(FRAMES - 1, GRID.centres).max() < 0.5


def test_local_motion_is_chosen_where_frames_do_not_turn_far(monkeypatch):
    at_rest, bends = fit_of(STEPS * [0.0, 0, 0, 0]), boxes_of(wave(2.0))
    choice = choose(monkeypatch, at_rest, APART, bends)
    assert choice.model == "local"
    assert "and their parts smoothly by 0." in choice.describe()
    # what is linear of it may look like a shear; a field follows what turns a little ...
    assert choose(monkeypatch, fit_of(STEPS * [0.05, 0, 0, 0.03]), APART, bends).model == "local"
    # ... but not far
    turned = choose(monkeypatch, fit_of(STEPS * [1.0, 0, 0, 0]), TURNS, bends)
    assert turned.model == "rigid"
    assert turned.local == choice.local
    few = boxes_of(wave(2.0))[1].select(np.arange(3))
    none = LocalStrength(0.0, 0.0, 0.0)
    assert measure_local_strength(GRID, few, estimate_prior(few, 100, 100 / 6)) == none


def test_too_few_boxes_that_bend_are_reported_and_not_those_that_rest(monkeypatch):
    """The rest of the frame is masked, or was left out since it bends."""
    at_rest = fit_of(STEPS * [0.0, 0, 0, 0])
    bends = "as too few parts of the frame are seen to tell whether it deforms"
    for field, doubt in ((wave(2.0), bends), (AT_REST, "")):
        grid, boxes, _ = boxes_of(field)
        off = boxes.off.copy()
        off[:, 8:] = np.nan
        boxes = replace(boxes, off=off)
        seen = grid, boxes, estimate_prior(boxes, 100, 100 / 6)
        choice = choose(monkeypatch, at_rest, TOGETHER, seen)
        assert choice.model == "translation"
        assert choice.doubt == doubt
        assert ModelChoice.of({"motion_choice": choice.dump()}) == choice


def test_a_choice_is_read_as_it_was_written():
    choice = ModelChoice("rigid", {"turn": Strength(0.5, 0.01), "scale": Strength(0.01, 0.02)})
    assert ModelChoice.of({"motion_choice": choice.dump()}) == choice
    local = LocalStrength(0.3, 0.01, 0.8)
    bent = ModelChoice("local", choice.strengths, "", local)
    assert ModelChoice.of({"motion_choice": bent.dump()}) == bent
    older = {"model": "rigid", "strengths": {}, "reason": ""}
    assert ModelChoice.of({"motion_choice": json.dumps(older)}) == ModelChoice("rigid", {})
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
        "local": None,
        "is_used": True,
    }
    assert "unknown_motion" in found.attrs["verdict_reasons"]
