"""The picture of frames and mask."""

from __future__ import annotations

import numpy as np


def test_the_picture_shows_what_is_not_valid(tmp_path):
    from matplotlib.image import imread

    from steadystack.plot import draw_overlay

    valid = np.ones((2, 3000, 20), bool)
    valid[:, :, 10:] = False
    image = np.where(valid, 5.0, np.nan)
    draw_overlay([("a", image, valid)]).savefig(tmp_path / "a.png")
    pixels = imread(tmp_path / "a.png")[..., :3]
    orange = (pixels[..., 0] > pixels[..., 2] + 0.2).mean()
    assert 0 < orange < 0.5
