"""Layers: whole frames lazily, the steady ones in their place, in micrometers and seconds."""

from __future__ import annotations

from dataclasses import replace

import dask.array as da
import numpy as np
import pytest
import yaml

import steadystack
from steadystack.readers import locate_stack
from steadystack.viewing import find_shown
from steadystack.viewing.shown_layers import find_steps, make_rectangle
from support.viewed import REGION, SHIFTS, SIZE, make_viewed

(TOP, BOTTOM), (LEFT, RIGHT) = REGION
STILL = {"defects": None, "parts": None}


@pytest.fixture(scope="module")
def viewed(tmp_path_factory):
    """Settings, what the run over them found, and what is shown."""
    path = make_viewed(tmp_path_factory.mktemp("viewed"))
    config = steadystack.load_config(path)
    return path, steadystack.run(config), find_shown(config)


def test_the_stack_is_shown_whole_and_the_steady_one_in_its_place(viewed):
    path, shifts, shown = viewed
    np.testing.assert_allclose(shifts["frame_shift"], SHIFTS, atol=0.1)
    assert not shown.notes
    assert shown.axes == ("t", "y", "x")
    names = [layer.name for layer in shown.layers]
    assert names == ["steady", "stack", "left out", "not valid", "region"]
    stack, steady = shown.get("stack"), shown.get("steady")
    for layer in (stack, steady, shown.get("left out")):
        assert isinstance(layer.data, da.Array)
        np.testing.assert_allclose(layer.scale, (3, 0.5, 0.25))
        assert layer.units == ("s", "um", "um")
    whole = steadystack.open_stack(path.parent / "stack.zarr").to_numpy()[1:]
    np.testing.assert_array_equal(stack.data, whole)
    np.testing.assert_allclose(stack.translate, (3, 0, 0))
    np.testing.assert_allclose(steady.translate, (3, TOP * 0.5, LEFT * 0.25))
    valid = np.ones(SIZE, bool)
    valid[20:24, 30:40] = False
    valid = np.pad(valid[TOP + 2 : BOTTOM - 2, LEFT + 2 : RIGHT - 2], 2)
    part = whole[:, TOP:BOTTOM, LEFT:RIGHT]
    np.testing.assert_array_equal(steady.data, steadystack.correct(part, shifts, mask=valid))
    np.testing.assert_array_equal(shown.get("left out").data, [~valid] * len(SHIFTS))


def test_mask_and_region_are_those_of_the_settings(viewed):
    _, _, shown = viewed
    painted = np.zeros(SIZE, bool)
    painted[20:24, 30:40] = True
    np.testing.assert_array_equal(shown.get("not valid").data, painted)
    np.testing.assert_array_equal(shown.get("region").data, [make_rectangle(REGION)])
    for name in ("not valid", "region"):
        assert shown.get(name).scale == (0.5, 0.25)
        assert shown.get(name).translate == (0, 0)


def test_a_frame_is_described_by_number_time_and_shift(viewed):
    _, shifts, shown = viewed
    y, x = shifts["frame_shift"].to_numpy()[2]
    told = shown.describe_frame(2)
    assert told.startswith(f"frame 3, 9 second, shift y {y:.3f} ± 0.0")
    assert f", x {x:.3f} ± 0.0" in told
    lost = shifts.copy(deep=True)
    lost["frame_shift"][2] = np.nan
    assert replace(shown, shifts=lost).describe_frame(2) == "frame 3, 9 second, no shift"


def test_nothing_is_read_but_one_frame(viewed, monkeypatch):
    path, read = viewed[0], []
    from steadystack.readers import ValidFrames

    inner = ValidFrames.read

    def counted(self, frame, region=None):
        read.append(frame)
        return inner(self, frame, region)

    monkeypatch.setattr(ValidFrames, "read", counted)
    shown = find_shown(steadystack.load_config(path))
    assert read == [2]
    np.asarray(shown.get("left out").data[4])
    assert read == [2, 4]


def change(path, name, **sections):
    """The same settings with other sections, in a file beside."""
    settings = yaml.safe_load(path.read_text())
    for section, keys in sections.items():
        settings[section] = settings.get(section, {}) | keys
    other = path.with_name(name)
    other.write_text(yaml.safe_dump(settings))
    return steadystack.load_config(other)


def test_without_shifts_the_stack_is_shown_and_why_is_reported(viewed):
    path = viewed[0]
    shown = find_shown(change(path, "other.yaml", output={"shifts": "none.zarr"}, mask=STILL))
    assert [layer.name for layer in shown.layers] == ["stack", "left out", "not valid", "region"]
    assert "none.zarr does not exist" in shown.notes[0]
    assert shown.describe_frame(0) == "frame 1, 3 second"
    changed = find_shown(change(path, "other.yaml", register={"max_shift": 7}))
    assert changed.get("steady") is None
    assert "was measured with other settings (register.max_shift" in changed.notes[0]


def test_a_mask_per_frame_is_not_drawn_on(viewed):
    path = viewed[0]
    np.save(path.with_name("masks.npy"), np.ones((1 + len(SHIFTS), *SIZE), bool))
    shown = find_shown(change(path, "other.yaml", mask={"path": "masks.npy"} | STILL))
    assert shown.get("not valid") is None
    assert any("mask.path has one mask per frame" in note for note in shown.notes)


def test_parts_that_were_left_out_are_boxes_in_their_place(viewed, monkeypatch):
    from steadystack.viewing import shown_layers

    path = viewed[0]
    monkeypatch.setattr(shown_layers, "find_boxes_left_out", lambda *_: [[(0, 16), (17, 34)]])
    parts = find_shown(steadystack.load_config(path)).get("parts")
    np.testing.assert_array_equal(
        parts.data, [[(-0.5, 16.5), (-0.5, 33.5), (15.5, 33.5), (15.5, 16.5)]]
    )
    assert parts.translate == (TOP * 0.5, LEFT * 0.25)


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (None, (1, 1, "pixel")),
        (((0.0, 2.0, 4.0, 6.0, 8.0), "minute"), (0, 2, "min")),
        (((0.0, 2.0, 4.0, 6.0, 9.0), "minute"), (1, 1, "pixel")),
        (((5.0, 5.0, 5.0, 5.0, 5.0), "s"), (1, 1, "pixel")),
        (((0.0, 1.0, 2.0, 3.0, 4.0), "days since 1970-01-01"), (1, 1, "pixel")),
    ],
)
def test_time_is_shown_where_frames_are_even(viewed, time, expected):
    spec = replace(viewed[2].spec, time=time)
    steps = find_steps(spec)
    assert (steps.first[0], steps.scale[0], steps.units[0]) == expected


def test_sizes_that_are_not_known_are_pixels(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((3, 4, 20, 30), "u2"))
    steps = find_steps(locate_stack(str(tmp_path / "a.npy"), axes="tzyx"))
    assert steps.scale == (1, 1, 1, 1)
    assert steps.units == ("pixel",) * 4
    assert steps.place([5, 2, 3]) == (0, 5, 2, 3)
    assert steps.place([2, 3]) == (0, 0, 2, 3)
