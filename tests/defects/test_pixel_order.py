"""Values in order pixel by pixel are those that sorting gives."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from steadystack.defects.pixel_order import find_medians, put_in_order


@pytest.mark.parametrize("count", range(1, 36))
def test_exchanges_sort_any_number_of_values(count):
    values = np.random.default_rng(count).integers(0, 9, (count, 200)).astype(np.float32)
    np.testing.assert_array_equal(put_in_order(values), np.sort(values, axis=0))


@pytest.mark.parametrize("shape", [(70, 301), (3, 40, 41), (2, 3), (1, 7), (5, 20_000)])
def test_medians_are_those_of_boxes_with_mirrored_edges(shape):
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    sides = (1,) * (len(shape) - 2) + (5, 5)
    np.testing.assert_array_equal(
        find_medians(image, sides), ndimage.median_filter(image, size=sides)
    )
