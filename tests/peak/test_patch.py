"""The surface around a lag."""

from __future__ import annotations

import numpy as np

from steadystack.peak.patch import make_grid, multiply


def test_matrices_of_a_patch_are_what_transforms_make_of_it():
    rng = np.random.default_rng(0)
    for ndim, stretched in ((1, None), (2, None), (2, 1), (3, None), (3, 0)):
        grid = make_grid(ndim, stretched)
        response = rng.random(len(grid.ring_count))
        filter_ = grid.make_compact(response[grid.rings])
        np.testing.assert_allclose(multiply(grid.ring_filters, response), filter_, atol=1e-12)
        slopes = multiply(grid.ring_slopes, response).reshape(ndim, -1)
        np.testing.assert_allclose(slopes, grid.compute_slopes(filter_), atol=1e-12)
        spectrum = rng.normal(size=filter_.size)
        means = np.bincount(grid.rings, grid.weight * spectrum) / grid.ring_count
        np.testing.assert_allclose(multiply(grid.ring_mean, spectrum), means, atol=1e-12)
        lags = np.arange(grid.size)
        assert (grid.lags[:, grid.opposite] == -grid.lags[:, lags]).all()
        # a whole lag: a wave moves the patch round
        patch, at = rng.normal(size=grid.size), np.full(ndim, 2.0)
        moved = grid.transform_back(grid.transform(patch) * grid.make_wave(at)).reshape(grid.shape)
        rolled = np.roll(patch.reshape(grid.shape), [-2] * ndim, range(ndim))
        np.testing.assert_allclose(moved, rolled, atol=1e-12)
