"""Channels: each as a layer of its own, steady by the shift of its frame and its own offset."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

import steadystack
from steadystack.outputs import write_stack
from steadystack.viewing import find_shown
from support.runs import walk
from support.scenes import Scene

SIZE, OFFSET = (56, 64), np.array([1.4, -2.3])


@pytest.fixture(scope="module")
def viewed(tmp_path_factory):
    """A stack of two channels, brighter in the second, and what is shown of its run."""
    folder, rng = tmp_path_factory.mktemp("channels"), np.random.default_rng(5)
    shifts = walk()[:9]
    frames = np.array(
        [[Scene(5).view(SIZE, shift + off) for off in (0, OFFSET)] for shift in shifts]
    )
    frames = 1000 + 100 * (frames + 0.2 * rng.normal(size=frames.shape))
    frames[:, 1] *= 3
    write_stack(folder / "stack.zarr", frames.astype("f4"), axes="tcyx")
    settings = {
        "input": {"path": "stack.zarr", "channel": [0, 1]},
        "mask": {"defects": None, "parts": None, "border": 1},
        "register": {"max_shift": 8},
        "solve": {"channel_offsets": True},
        "output": {"shifts": "shifts.zarr"},
        "cluster": {"kind": "in-process"},
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(settings))
    config = steadystack.load_config(folder / "run.yaml")
    return frames.astype("f4"), steadystack.run(config), config


def test_each_channel_is_shown_as_taken_and_steady_by_its_own_offset(viewed):
    frames, _, config = viewed
    shown = find_shown(config)
    assert not shown.notes
    names = [layer.name for layer in shown.layers]
    assert names[:4] == ["steady", "steady, 1", "stack", "stack, 1"]
    for number, name in enumerate(names[2:4]):
        np.testing.assert_array_equal(shown.get(name).data, frames[:, number])
    first, second = (np.asarray(shown.get(name).data) for name in names[:2])
    for index in (1, 8):  # laid on each other, which the frames as taken are not
        left = [
            steadystack.register_translation(*pair).shift
            for pair in ((first[index], second[index]), frames[index])
        ]
        np.testing.assert_allclose(left, [(0, 0), OFFSET], atol=0.1)


def test_channels_differ_in_colour_and_contrast_and_lie_over_each_other(viewed):
    shown = find_shown(viewed[2])
    stack, other = (shown.get(name).options for name in ("stack", "stack, 1"))
    assert (stack["colormap"], other["colormap"]) == ("green", "magenta")
    assert ("blending" in stack, other["blending"]) == (False, "additive")
    ratio = np.array(other["contrast_limits"]) / stack["contrast_limits"]
    np.testing.assert_allclose(ratio, 3, rtol=0.05)
