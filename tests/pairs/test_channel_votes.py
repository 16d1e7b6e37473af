"""One shift of several channels: against least squares, and where they contradict each other."""

from __future__ import annotations

import numpy as np
import pytest

from steadystack.pairs import join_channels

UNKNOWN = [np.nan, np.nan]


def errors(*deviations):
    """Covariances (1, channels, 2, 2) of errors alike along both axes."""
    return np.array([[deviation**2 * np.eye(2) for deviation in deviations]])


def test_channels_that_agree_are_joined_as_least_squares_has_it():
    rng = np.random.default_rng(0)
    roots = rng.normal(size=(1, 3, 2, 2))
    covariance = roots @ np.swapaxes(roots, -1, -2) + 0.5 * np.eye(2)
    shift = rng.normal(0, 0.3, (1, 3, 2))
    joined = join_channels(shift, covariance)
    whitened = [np.linalg.inv(np.linalg.cholesky(each)) for each in covariance[0]]
    system = np.concatenate(whitened)
    values = np.concatenate([w @ one for w, one in zip(whitened, shift[0], strict=True)])
    expected = np.linalg.lstsq(system, values)[0]
    np.testing.assert_allclose(joined.shift[0], expected, atol=1e-9)
    np.testing.assert_allclose(joined.covariance[0], np.linalg.inv(system.T @ system), atol=1e-9)
    np.testing.assert_allclose(joined.weights[0].sum(axis=0), np.eye(2), atol=1e-9)


def test_stripes_across_each_other_tell_both_axes():
    """Each channel tells one oblique direction; together they tell both."""
    along = np.array([[1.0, 1.0], [1.0, -1.0]]) / np.sqrt(2)
    covariance = np.array([[np.outer(a, a) * 25 + 1e-4 * np.eye(2) for a in along]])
    shift = np.array([[[2, 1] + 3 * along[0], [2, 1] - 4 * along[1]]])
    np.testing.assert_allclose(join_channels(shift, covariance).shift[0], [2, 1], atol=0.01)


@pytest.mark.parametrize(("channels", "axes"), [(2, 1), (3, 2), (5, 3)])
def test_errors_hold(channels, axes):
    rng = np.random.default_rng(channels)
    deviations = rng.uniform(0.2, 2, channels)
    covariance = np.broadcast_to(
        deviations[:, None, None] ** 2 * np.eye(axes), (4000, channels, axes, axes)
    )
    shift = rng.normal(size=(4000, channels, axes)) * deviations[:, None]
    joined = join_channels(shift, covariance)
    known = np.isfinite(joined.shift).all(axis=1)
    assert known.mean() > 0.995
    relative = joined.shift / np.sqrt(np.einsum("pii->pi", joined.covariance))
    assert 0.95 < np.sqrt(np.nanmean(relative**2)) < 1.03


def test_a_channel_that_says_nothing_counts_for_nothing():
    covariance = errors(0.1, np.nan)
    joined = join_channels(np.array([[[1.0, 2.0], UNKNOWN]]), covariance)
    np.testing.assert_allclose(joined.shift, [[1, 2]])
    np.testing.assert_allclose(joined.covariance[0], 0.01 * np.eye(2))
    nothing = join_channels(np.array([[UNKNOWN, UNKNOWN]]), errors(np.nan, np.nan))
    assert np.isnan(nothing.shift).all()
    assert np.isnan(nothing.covariance).all()
    assert not nothing.weights.any()


@pytest.mark.parametrize(
    ("shifts", "deviations", "used"),
    [
        ([0, 5], [0.1, 0.1], []),  # two that contradict each other
        ([0, 5, 5.1], [0.1, 0.1, 0.1], [1, 2]),  # a majority
        ([0, 5, 3], [0.1, 0.1, 10], []),  # the third agrees with both
        ([0, 5, 9], [0.1, 0.1, 0.1], []),
        ([0, 0, 5, 5], [0.1] * 4, []),  # two against two
        ([0, 0.05], [0.001, 0.001], [0, 1]),  # too near to matter
        ([0, 9], [0.1, 3], [0, 1]),  # within the errors
    ],
)
def test_the_majority_counts(shifts, deviations, used):
    shift = np.array([[[one, 0.0] for one in shifts]])
    joined = join_channels(shift, errors(*deviations))
    counts = np.flatnonzero(np.einsum("pcii->pc", joined.weights)[0])
    assert counts.tolist() == used
    assert bool(np.isfinite(joined.shift).all()) is bool(used)


def test_what_channels_differ_by_widens_their_error():
    covariance = errors(0.01, 0.01)
    near = join_channels(np.array([[[0, 0.0], [0.01, 0]]]), covariance).covariance
    np.testing.assert_allclose(near[0], 0.5e-4 * np.eye(2))
    far = join_channels(np.array([[[0, 0.0], [0.08, 0]]]), covariance).covariance
    assert np.sqrt(far[0, 0, 0]) > 0.02
