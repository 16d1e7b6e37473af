"""What parts of the frame say of a pair, against slow obvious versions and known motion."""

from __future__ import annotations

import numpy as np
import pytest

from steadystack.parts import (
    PartGrid,
    PartScores,
    ScoreImage,
    SmoothedMask,
    compute_jackknife_std,
    compute_scores,
    make_score_image,
)
from steadystack.parts.smoothing import smooth
from support.scenes import rough


def ready(image, mask=None, begin=None):
    mask = np.ones(image.shape, bool) if mask is None else mask
    values = np.where(mask, (image - image[mask].mean()) / image[mask].std(), 0)
    begin = begin or (0,) * image.ndim
    return make_score_image(values.astype(np.float32), SmoothedMask.make(mask), begin)


def slow_steps(reference, moving, lag, grid):
    """Steps by whole gradients and a loop over pixels' parts; no weights."""
    here = tuple(slice(max(u, 0), n + min(u, 0)) for u, n in zip(lag, reference.shape, strict=True))
    there = tuple(
        slice(max(-u, 0), n - max(u, 0)) for u, n in zip(lag, reference.shape, strict=True)
    )
    one, other = reference[here].astype(float), moving[there].astype(float)
    inner = (slice(1, -1),) * one.ndim
    slopes = np.array([(np.gradient(one, axis=a) + np.gradient(other, axis=a))[inner] / 2
                       for a in range(one.ndim)])  # fmt: skip
    ones, others = (
        np.array([np.gradient(image, axis=a)[inner] for a in range(one.ndim)])
        for image in (one, other)
    )
    difference = (one - other)[inner] - (one - other).mean()
    axes = np.indices(difference.shape) + np.array([h.start + 1 for h in here]).reshape(
        -1, *([1] * one.ndim)
    )
    number = np.zeros(difference.shape, int)
    for axis, edges in enumerate(grid.edges):
        at = np.searchsorted(edges, axes[axis], side="right") - 1
        number = number * (len(edges) - 1) + at
    parts = range(int(np.prod(grid.shape)))
    score = np.array([[(s * difference)[number == p].sum() for s in slopes] for p in parts])
    plain = np.array(
        [[[(a * b)[number == p].sum() for b in slopes] for a in slopes] for p in parts]
    )
    shared = np.array([[(a * b).sum() for b in others] for a in ones])
    shared = (shared + shared.T) / 2
    best = np.linalg.solve(plain.sum(axis=0), score.sum(axis=0))
    return np.linalg.solve(shared, (plain @ best - score).T).T


@pytest.mark.parametrize(
    ("shape", "lag"), [((61, 70), (3, -5)), ((300,), (7,)), ((20, 31, 26), (1, -2, 3))]
)
def test_steps_are_those_of_a_slow_version(shape, lag):
    scene = rough(3, tuple(n + 16 for n in shape), 2)
    first = scene[tuple(slice(8, 8 + n) for n in shape)]
    second = scene[tuple(slice(8 + u, 8 + u + n) for u, n in zip(lag, shape, strict=True))]
    first, second = (image + 0.2 * rough(s, shape, 1) for s, image in ((1, first), (2, second)))
    grid, images = PartGrid.make(shape), (ready(first), ready(second))
    scores = compute_scores(*images, np.add(lag, 0.2), grid)
    steps = scores.compute_steps([True] * len(shape))
    expected = slow_steps(images[0].values, images[1].values, lag, grid)
    ratio = float((steps * expected).sum() / (expected**2).sum())
    np.testing.assert_allclose(steps, ratio * expected, atol=0.03 * np.abs(steps).max())
    assert 0.75 < ratio < 1  # what is said to be an excess is taken off
    np.testing.assert_allclose(steps.sum(axis=0), 0, atol=1e-9)


def test_a_part_that_moves_by_itself_is_the_one_that_pulls():
    scene = rough(0, (130, 130), 2)
    first, second = scene[5:125, 5:125], scene[5:125, 5:125].copy()
    second[80:, 80:] = np.roll(scene, 1, 0)[85:125, 85:125]  # a pixel further down
    steps = compute_scores(ready(first), ready(second), np.zeros(2), PartGrid.make((120, 120)))
    pulls = steps.compute_steps([True, True])[:, 0]
    assert int(np.abs(pulls).argmax()) == 8
    assert pulls[8] == pytest.approx(
        -1 / 9, rel=0.4
    )  # an object down: the shift that undoes it, up


def test_scores_of_pieces_add():
    scene = rough(1, (140, 90), 2)
    first = ready(scene[4:124, 4:84] + 0.1 * rough(2, (120, 80), 1))
    second = ready(scene[6:126, 3:83] + 0.1 * rough(3, (120, 80), 1))
    grid, shift = PartGrid.make((120, 80)), np.array([2.2, -0.8])
    whole = compute_scores(first, second, shift, grid)
    pieces = [
        ScoreImage(first.values[rows], None, (rows.start, 0))
        for rows in (slice(0, 61), slice(59, 120))  # the lines beside the cut are in both
    ]
    scores = [compute_scores(piece, second, shift, grid) for piece in pieces]
    both = scores[0].add(scores[1])
    steps, expected = (scores.compute_steps([True, True]) for scores in (both, whole))
    np.testing.assert_allclose(steps, expected, atol=0.15 * np.abs(expected).max())


def test_what_is_not_valid_does_not_count():
    rng = np.random.default_rng(0)
    scene = rough(1, (140, 100), 2)
    first, second = scene[4:124, 4:84], scene[6:126, 3:83]
    mask = rng.random((120, 80)) > 0.1
    mask[30:60, 50:] = False
    other = np.where(mask, second, 1e3 * rng.normal(size=mask.shape))
    grid, shift = PartGrid.make(mask.shape), np.array([2.0, -1.0])
    one = compute_scores(ready(first, mask), ready(second, mask), shift, grid)
    two = compute_scores(ready(first, mask), ready(other, mask), shift, grid)
    np.testing.assert_array_equal(one.score, two.score)
    steps = one.compute_steps([True, True])
    assert np.abs(steps).max() < 0.02  # nothing but what fills the holes


def test_negatives_and_axes_that_do_not_move():
    scene = rough(1, (100, 100), 2)
    first, second = scene[4:94, 4:94], scene[6:96, 4:94] + 0.1 * rough(2, (90, 90), 1)
    grid, shift = PartGrid.make((90, 90)), np.array([2.0, 0.0])
    plain = compute_scores(ready(first), ready(second), shift, grid).compute_steps([True, True])
    turned = compute_scores(ready(first), ready(-second), shift, grid, -1)
    np.testing.assert_allclose(turned.compute_steps([True, True]), plain, atol=1e-5)
    along_y = turned.compute_steps([True, False])
    assert (along_y[:, 1] == 0).all()
    assert np.abs(along_y[:, 0]).max() > 0


def test_nothing_to_see_is_not_known():
    flat = ScoreImage(np.zeros((40, 40), np.float32), None, (0, 0))
    scores = compute_scores(flat, flat, np.zeros(2), PartGrid.make((40, 40)))
    assert np.isnan(scores.compute_steps([True, True])).all()
    apart = compute_scores(flat, flat, np.array([39.0, 0.0]), PartGrid.make((40, 40)))
    assert np.isnan(apart.compute_steps([True, True])).all()


@pytest.mark.parametrize(
    ("shape", "parts"),
    [((90, 60), (3, 3)), ((50, 60, 70), (2, 2, 2)), ((3, 60, 70), (1, 2, 4)), ((5, 90), (1, 3)),
     ((40,), (9,)), ((2, 3), (1, 1))],
)  # fmt: skip
def test_grids_cover_the_frame(shape, parts):
    grid = PartGrid.make(shape)
    assert grid.shape == parts
    assert np.prod(parts) <= grid.places
    for edges, size in zip(grid.edges, shape, strict=True):
        assert edges[0] == 0
        assert edges[-1] == size
        assert max(np.diff(edges)) - min(np.diff(edges)) <= 1
    assert len(grid.centres) == np.prod(parts)


def test_the_jackknife_of_a_mean_is_its_standard_error():
    """The steps of a mean of n groups: each group's deviation over n."""
    values = np.random.default_rng(0).normal(size=(9, 2))
    steps = (values - values.mean(axis=0)) / 9
    expected = values.std(axis=0, ddof=1) / 3
    np.testing.assert_allclose(compute_jackknife_std(steps), expected)
    padded = np.concatenate([steps, np.full((3, 2), np.nan)])
    np.testing.assert_allclose(compute_jackknife_std(padded), expected)
    assert np.isnan(compute_jackknife_std(steps[:3])).all()


def test_smoothing_is_a_binomial():
    point = np.zeros((7, 7), np.float32)
    point[3, 3] = 1
    row = np.array([0, 0, 1, 2, 1, 0, 0]) / 4
    np.testing.assert_allclose(smooth(point), np.outer(row, row), atol=1e-7)


def test_sums_of_two_regions_add():
    one = PartScores(np.ones((4, 2)), np.ones((4, 2, 2)), np.ones((2, 2)))
    assert (one.add(one).score == 2).all()
    assert (one.add(one).plain == 2).all()
    assert (one.add(one).shared == 2).all()
