"""Pairs registered together: as each by itself, in their order."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from steadystack.model import PairStatus
from steadystack.register import (
    PlainPair,
    register_all_as_they_are,
    register_as_it_is,
    register_each_as_it_is,
)


def test_pairs_registered_together_are_as_each_by_itself():
    rng = np.random.default_rng(5)
    scene = ndimage.gaussian_filter(rng.normal(size=(120, 120)), 2)
    scene /= scene.std()
    images = [scene[y : y + 60 + 4 * y, x : x + 80] for y, x in ((0, 0), (3, 7), (5, 1), (8, 8))]
    images = [image + rng.normal(0, 0.2, image.shape) for image in images]
    images.append(np.ones((60, 80)))
    mask = rng.random(images[0].shape) < 0.9
    pairs = [
        PlainPair.make(images[0], other, mask, None, bound, None)
        for other, bound in zip(images, (4, 12, None, (9, 15), 6), strict=True)
    ]

    found = register_each_as_it_is(pairs)

    assert [one.status for one in found] == [PairStatus.OK] * 4 + [PairStatus.FLAT]
    np.testing.assert_allclose([one.shift for one in found[:4]], [(0, 0), (3, 7), (5, 1), (8, 8)],
                               atol=0.1)  # fmt: skip
    for pair, one in zip(pairs, found, strict=True):
        alone = register_as_it_is(
            pair.reference, pair.moving, reference_mask=mask, max_shift=pair.max_shift
        )
        np.testing.assert_array_equal(one.shift, alone.shift)
        np.testing.assert_array_equal(one.covariance, alone.covariance)
        assert (one.status, one.ncc) == (alone.status, alone.ncc)


def test_images_of_several_pairs_are_registered_as_each_pair_by_itself():
    rng = np.random.default_rng(6)
    scene = ndimage.gaussian_filter(rng.normal(size=(120, 120)), 2)
    scene /= scene.std()
    places = {3: (0, 0), 4: (3, 7), 8: (5, 1), 9: (8, 8)}
    images = {number: scene[y : y + 60, x : x + 80] for number, (y, x) in places.items()}
    images[9] = -images[9]
    valid = {number: np.ones((60, 80), bool) for number in images}
    valid[4] = rng.random((60, 80)) < 0.9
    images[8] = np.where(rng.random((60, 80)) < 0.01, np.nan, images[8])
    masked = {number: (images[number], valid[number]) for number in images}
    pairs = [(3, 4), (3, 8), (4, 8), (9, 3), (8, 8)]

    for allow_inverted in (False, True):
        found = register_all_as_they_are(masked, pairs, allow_inverted=allow_inverted)

        for (one, other), registration in zip(pairs, found, strict=True):
            alone = register_as_it_is(
                images[one], images[other], reference_mask=valid[one], moving_mask=valid[other],
                allow_inverted=allow_inverted,
            )  # fmt: skip
            assert registration.status is alone.status
            np.testing.assert_allclose(registration.shift, alone.shift, atol=1e-5)
    assert [one.status for one in found] == [PairStatus.OK] * 5
    assert found[3].ncc < 0
