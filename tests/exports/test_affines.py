"""Matrices of frames lay points where the motion does, in the pixels of the whole stack."""

from __future__ import annotations

import numpy as np
import pytest

from steadystack.exports import make_motions
from steadystack.model import InputError
from steadystack.outputs import write_stack
from steadystack.readers import locate_stack
from support.exported import APART, COUNT, UNKNOWN, lay_point, make_shifts

REGION = {"region": [[10, 50], [20, 80]], "frames": "1:11:2"}
FIRST = np.array([10.0, 20.0])


@pytest.mark.parametrize("linear", [True, False])
def test_a_point_of_a_region_comes_to_where_it_belongs(tmp_path, linear):
    write_stack(tmp_path / "stack.zarr", np.zeros((12, 70, 90), "u1"))
    spec = locate_stack(str(tmp_path / "stack.zarr"), **REGION)
    numbers = range(1, 11, 2)
    shifts = make_shifts(linear=linear, numbers=numbers, size=(0.5, 0.25), settings=REGION)
    motions = make_motions(shifts, spec)
    assert motions.numbers == tuple(numbers)
    assert motions.is_linear == linear
    point, size = np.array([17.0, 41.0]), np.array([0.5, 0.25])
    for frame in range(COUNT):
        assert motions.known[frame] == (frame not in (UNKNOWN, APART))
        found = motions.affine[frame] @ [*point, 1]
        in_units = motions.compute_in_units()[frame] @ [*(point * size), 1]
        if motions.known[frame]:
            expected = lay_point(shifts, frame, point, FIRST)
            np.testing.assert_allclose(found[:2], expected, atol=1e-9)
            np.testing.assert_allclose(in_units[:2] / size, expected, atol=1e-9)
        else:
            assert np.isnan(found).all()


def test_without_the_stack_a_region_that_turns_is_refused():
    with pytest.raises(InputError, match=r"the centre of input\.region"):
        make_motions(make_shifts(settings=REGION), None)
    shifted = make_motions(make_shifts(settings=REGION, linear=False), None)
    assert shifted.known.sum() == COUNT - 2
    assert make_motions(make_shifts(), None).unit == ""
