"""A shift stays on the peak that was chosen: the way up from it ends there."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from scipy import ndimage

import steadystack
from steadystack.conditioning import Conditioning, condition
from steadystack.model import PairStatus
from steadystack.peak.choice import climb
from support.members import slow_but
from support.scenes import Scene, ellipse


def make_pair(rng):
    """A scene through masks, blur, shading, a limb and noise that differ from frame to frame."""
    size = int(rng.choice([64, 96, 160]))
    scene, move = Scene(int(rng.integers(1e6)), detail=rng.uniform(1, 8)), rng.uniform(-6, 6, 2)
    y, x = np.mgrid[:size, :size] / size
    mask = rng.choice(["none", "ellipse", "holes"])
    valid = {"none": np.ones((size, size), bool), "ellipse": ellipse((size, size))}.get(
        mask, rng.random((size, size)) > 0.2
    )
    shading, limb = rng.uniform(0, 20) * (x + y), rng.uniform(0.3, 1.5)
    frames = []
    for at in ((0, 0), move):
        image = ndimage.gaussian_filter(scene.view((size, size), at), rng.uniform(0, 2))
        edge = limb * size - at[0]  # what is beyond it is dark
        if rng.random() < 0.5:
            image = (image + 20) * np.clip((edge - np.arange(size)) / 2, 0, 1)[:, None]
        frames.append(image + shading + 10 ** rng.uniform(-3, 0.3) * rng.normal(size=image.shape))
    return frames, valid


@pytest.mark.parametrize("seed", slow_but([0], range(24)))
def test_the_way_up_from_a_shift_ends_at_the_chosen_lag(seed):
    """Or at one that is as high, but for the noise of white images.

    The surface is that of the images as they were measured: under the conditioning that is named.
    """
    rng, ok = np.random.default_rng(seed), 0
    for _ in range(30):
        frames, valid = make_pair(rng)
        masks = {"reference_mask": valid, "moving_mask": valid}
        found = steadystack.register_translation(*frames, **masks, max_shift=12)
        if found.status != PairStatus.OK or "without" in found.conditioning:
            continue  # what stands still was taken away first, which is tested elsewhere
        ok += 1
        filters = Conditioning(**yaml.safe_load(f"{{{found.conditioning}}}"))
        (reference, valid), (moving, _) = (condition(frame, valid, filters) for frame in frames)
        masks = {"reference_mask": valid, "moving_mask": valid}
        surface = steadystack.masked_ncc(reference, moving, **masks, max_shift=25)
        ncc = surface["ncc"].to_numpy()
        end = climb(ncc, tuple((np.rint(found.shift) + 25).astype(int)))
        # within what is searched, where chance makes nothing as high
        top = np.nanmax(ncc[13:-13, 13:-13])
        noise = (1 - top) / np.sqrt(float(surface["overlap_count"].to_numpy()[end]))
        assert top - ncc[end] <= 8 * noise + 1e-6
    assert ok > 10
