"""Runs with a mask: of shapes, inverted, over what moves."""

from __future__ import annotations

import json

import numpy as np
import pytest

import steadystack
from bench_verdict import SITUATIONS, noisy, views, wander
from steadystack.config import make_config
from steadystack.model import MaskCheck
from steadystack.outputs import write_image, write_stack
from support.masked import SHAPE, settings
from support.scenes import ellipse, rough


def test_a_run_knows_the_shapes(tmp_path):
    """Frames that agree inside of the ellipse and stand still outside: the shape decides."""
    whole = rough(3, (60, 70), 2) * 100
    frames = np.stack([whole[10 - t : 50 - t, 9:61] for t in range(3)])  # moves by +t along y
    still = rough(4, SHAPE, 2) * 400
    inside = ellipse(SHAPE, 0.8)
    frames = np.where(inside, frames, still).astype("f4")
    field = {"ellipse": {"centre": [19.5, 25.5], "radii": [15.9, 20.7]}}
    config = settings(
        tmp_path, {"rois": [field]}, frames, output={"shifts": "s.zarr"}, solve={"anchor": 0}
    )
    shifts = steadystack.run(config)
    np.testing.assert_allclose(shifts["frame_shift"].sel(axis="y"), [0, -1, -2], atol=0.05)
    np.testing.assert_allclose(shifts["frame_shift"].sel(axis="x"), 0, atol=0.05)


@pytest.mark.slow
def test_an_inverted_mask_is_in_the_verdict_of_a_run(tmp_path):
    case = SITUATIONS["the mask is inverted, and leaves the dark"][0](np.random.default_rng(0))
    write_stack(tmp_path / "stack.zarr", case.frames[:12])
    write_image(tmp_path / "mask.zarr", case.mask)
    given = {
        "input": {"path": "stack.zarr"},
        "mask": {"path": "mask.zarr"},
        "register": {"max_shift": 24},
        "output": {"shifts": "shifts.zarr"},
        "cluster": {"kind": "in-process"},
    }
    shifts = steadystack.run(make_config(given, folder=tmp_path))
    seen = MaskCheck(**json.loads(shifts.attrs["mask_check"]))
    assert seen.valid == pytest.approx(case.mask.mean())
    assert seen.inverted
    assert "the mask looks inverted" in shifts.attrs["verdict_reasons"]
    given["mask"]["invert"] = True
    right = steadystack.run(make_config(given, folder=tmp_path), overwrite=True)
    assert right.attrs["verdict"] == "good"


@pytest.mark.usefixtures("hurried")
def test_a_mask_over_what_moves_in_front_of_a_still_scene_is_only_asked_about():
    """An object under a mask that moves, and a camera at rest: it may be as meant."""
    rng = np.random.default_rng(2)
    frames = np.repeat(views(rng, np.zeros((1, 2))), 20, axis=0)
    mask = np.ones(frames.shape[1:], bool)
    mask[40:90, 40:90] = False
    frames = noisy(rng, np.where(mask, frames, views(rng, wander(rng)[:20])), 0.05)
    shifts = steadystack.estimate_shifts(frames, mask=mask, max_shift=12)
    assert "the mask may be inverted" in shifts.attrs["verdict_reasons"]
    assert shifts.attrs["verdict"] == "check"
