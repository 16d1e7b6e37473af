"""Where the parts of the frame lie that are asked of pairs."""

from __future__ import annotations

import numpy as np
import pytest

import steadystack
from support.scenes import rough

PLACES = [(70, 100), (110, 160), (150, 130)]


@pytest.mark.parametrize(
    "place", [PLACES[0], pytest.param(PLACES[1], marks=pytest.mark.slow), PLACES[2]]
)
def test_the_part_that_pulls_lies_where_something_moves(place):
    """Outside of a rectangle nothing is valid, and nothing is read."""
    scene = rough(0, (200, 220), 2)
    rng = np.random.default_rng(1)
    frames = np.stack([scene + 0.02 * rng.normal(size=scene.shape) for _ in range(6)])
    y, x = place
    for number, frame in enumerate(frames):  # 8 x 8 pixels that move down by one a frame
        frame[y - 4 + number : y + 4 + number, x - 4 : x + 4] = 4
    mask = np.zeros(scene.shape, bool)
    mask[40:190, 70:190] = True
    shifts = steadystack.estimate_shifts(frames, mask=mask, max_shift=5)
    pulls = np.abs(shifts["pair_part_step"].sel(axis="y")).mean("pair")
    centre = shifts["part_centre"][int(pulls.argmax("part"))].to_numpy()
    assert (np.abs(centre - place) <= (150 / 6 + 4, 120 / 6 + 4)).all()
    np.testing.assert_allclose(shifts["part_centre"].mean("part"), (114.5, 129.5), atol=4)


def test_a_volume_of_few_planes_has_as_many_parts_as_others():
    volumes = np.random.default_rng(0).normal(size=(3, 5, 40, 60))
    centres = steadystack.estimate_shifts(volumes, max_shift=[1, 4, 4])["part_centre"]
    assert centres.sizes == {"part": 8, "axis": 3}
    assert (centres.sel(axis="z") == 2).all()
    assert len(np.unique(centres.to_numpy(), axis=0)) == 8
