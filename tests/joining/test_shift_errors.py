"""Errors of the shifts of a series among each other, and what datasets state of them."""

from __future__ import annotations

import numpy as np
import pytest

from steadystack.joining.shift_errors import ShiftErrors, find_shift_errors
from support.scenes import Scene
from support.sessions import session, solved


@pytest.fixture(scope="module")
def errors_and_series():
    frames, _ = session(Scene(3, waves=80), np.random.default_rng(3), noise=1.5, shape=(56, 60))
    series = solved("a", frames)
    return find_shift_errors(series.pairs, series.frames, 0), series


def make_whole(errors, axis):
    """The covariance along an axis (frames, frames), a column at a time."""
    return errors.multiply(np.eye(len(errors.known)), axis)


def test_they_add_up_to_what_is_stated_relative_to_the_anchor(errors_and_series):
    errors, series = errors_and_series
    anchor, stated = series.frames.anchors[0], series.frames.shift_std
    for axis in range(2):
        whole = make_whole(errors, axis)
        np.testing.assert_allclose(whole, whole.T, atol=1e-12)
        variance = np.diag(whole)
        np.testing.assert_allclose(errors.diagonal[:, axis], variance)
        relative = variance + variance[anchor] - 2 * whole[anchor]
        ratio = np.sqrt(np.delete(relative, anchor)) / np.delete(stated[:, axis], anchor)
        assert np.median(ratio) == pytest.approx(1, abs=0.15)
        assert (ratio > 0.75).all()
        assert (ratio < 1.5).all()


def test_of_the_anchor_nothing_is_taken_as_exact(errors_and_series):
    errors, series = errors_and_series
    variance, count = errors.compute_variance(), len(errors.known)
    for axis in range(2):
        about_mean = np.eye(count) - 1 / count
        by_hand = about_mean @ make_whole(errors, axis) @ about_mean.T
        np.testing.assert_allclose(variance[:, axis], np.diag(by_hand), rtol=1e-6)
    anchor = series.frames.anchors[0]
    assert (series.frames.shift_std[anchor] == 0).all()
    assert (variance[anchor] > 0.2 * np.median(variance, axis=0)).all()


def test_independent_errors_are_about_the_mean_of_what_is_known():
    variance = np.array([[1.0, 4.0], [1.0, 4.0], [np.nan, np.nan], [1.0, 4.0]])
    errors = ShiftErrors.independent(variance)
    assert errors.known.tolist() == [True, True, False, True]
    np.testing.assert_allclose(errors.compute_variance(), variance * (1 - 1 / 3), rtol=1e-6)
