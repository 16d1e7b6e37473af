"""What is drawn becomes settings that load, in new files."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import yaml

import steadystack
from steadystack.model import InputError
from steadystack.readers import locate_stack
from steadystack.viewing import find_shown, save_drawn
from steadystack.viewing.drawings import make_mask, make_region
from steadystack.viewing.shown_layers import make_rectangle
from support.viewed import REGION, SIZE, make_viewed


@pytest.fixture
def drawn_on(tmp_path):
    """Settings that were not run, and what is shown of them."""
    path = make_viewed(tmp_path)
    config = steadystack.load_config(path)
    return path, config, find_shown(config)


def paint(shown, box):
    painted = shown.get("not valid").data.copy()
    painted[tuple(slice(*side) for side in box)] = 3  # of any label
    return painted


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "a.npy"
    np.save(path, np.zeros((3, 40, 60), "u2"))
    return locate_stack(str(path), axes="tyx")


def test_a_rectangle_round_pixels_is_these(whole):
    box = ((3, 30), (7, 57))
    assert make_region([make_rectangle(box)], whole) == box
    shaken = make_rectangle(box) + np.random.default_rng(0).uniform(-0.49, 0.49, (4, 1))
    assert make_region([shaken[[2, 0, 3, 1]]], whole) == box


def test_a_region_holds_the_pixels_whose_centres_it_covers(whole):
    """But for those on its edge, any box is what a slow look at every pixel finds."""
    rng = np.random.default_rng(1)
    for _ in range(50):
        (top, left), size = rng.uniform(-9, 20, 2), rng.uniform(20, 50, 2)
        corners = np.array([(top, left), (top + size[0], left + size[1])])
        (first, stop), (begin, end) = make_region([corners], whole)
        for low, high, total, found in (
            (top, top + size[0], 40, (first, stop)),
            (left, left + size[1], 60, (begin, end)),
        ):
            covered = [pixel for pixel in range(total) if low <= pixel <= high]
            assert abs(found[0] - covered[0]) <= 1
            assert abs(found[1] - 1 - covered[-1]) <= 1


def test_regions_that_cannot_be_are_refused(whole):
    assert make_region([], whole) is None
    rectangle = make_rectangle(((3, 30), (7, 57)))
    with pytest.raises(InputError, match="2 regions are drawn"):
        make_region([rectangle, rectangle], whole)
    with pytest.raises(InputError, match=r"input\.region: \[3, 12\] along y has 9 pixels"):
        make_region([make_rectangle(((3, 12), (7, 57)))], whole)
    with pytest.raises(InputError, match="has 0 pixels"):
        make_region([rectangle + 100], whole)


def test_what_is_painted_is_not_valid():
    painted = np.zeros((4, 5), int)
    painted[1:3, 2] = 7
    np.testing.assert_array_equal(make_mask(painted), painted == 0)
    with pytest.raises(InputError, match="must leave some"):
        make_mask(np.ones((4, 5)))


def test_region_and_mask_are_saved_in_new_files(drawn_on):
    path, config, shown = drawn_on
    before = path.read_bytes()
    painted, box = paint(shown, ((40, 44), (0, 9))), ((2, 50), (3, 61))
    lines = save_drawn(config, shown, [make_rectangle(box)], painted)
    assert path.read_bytes() == before
    np.testing.assert_array_equal(np.load(path.with_name("run.mask.npy")), painted == 0)
    assert yaml.safe_load("\n".join(lines[:-1])) == {
        "input": {"region": [[2, 50], [3, 61]]},
        "mask": {"path": "run.mask.npy"},
    }
    assert str(path.with_name("run.drawn.yaml")) in lines[-1]
    new = steadystack.load_config(path.with_name("run.drawn.yaml"))
    expected = config.dump()
    expected["input"]["region"] = [[2, 50], [3, 61]]
    expected["mask"]["path"] = str(path.with_name("run.mask.npy"))
    assert new.dump() == expected
    again = find_shown(new)
    np.testing.assert_array_equal(again.get("not valid").data, painted != 0)
    np.testing.assert_array_equal(again.get("region").data, [make_rectangle(box)])


def test_nothing_is_replaced(drawn_on):
    path, config, shown = drawn_on
    strange = {name: path.with_name(name) for name in ("run.mask.npy", "run.drawn.yaml")}
    for other in strange.values():
        other.write_text("of somebody else")
    painted = paint(shown, ((40, 44), (0, 9)))
    for number in (2, 3):
        save_drawn(config, shown, shown.get("region").data, painted)
        new = steadystack.load_config(path.with_name(f"run.drawn-{number}.yaml"))
        assert new.mask.path == str(path.with_name(f"run.mask-{number}.npy"))
        assert new.input == config.input
    assert {other.read_text() for other in strange.values()} == {"of somebody else"}
    assert len(list(path.parent.glob("run.*"))) == 7


def test_only_what_has_changed_is_saved(drawn_on):
    path, config, shown = drawn_on
    region, painted = shown.get("region").data, shown.get("not valid").data
    with pytest.raises(InputError, match="nothing new is drawn"):
        save_drawn(config, shown, region, painted)
    save_drawn(config, shown, [], painted)
    new = steadystack.load_config(path.with_name("run.drawn.yaml"))
    assert new.input.region is None
    assert new.mask == config.mask
    assert not list(path.parent.glob("*.npy"))
    with pytest.raises(InputError, match="must leave some"):
        save_drawn(config, shown, region, np.ones(SIZE))


def test_what_goes_with_another_mask_is_taken_back(drawn_on):
    """`invert` and `labels` are of the mask that was given; a drawn one needs neither."""
    path, config, _ = drawn_on
    mask = config.mask.model_copy(update={"invert": True, "labels": (2, 3)})
    config = config.model_copy(update={"mask": mask})
    text = path.read_text().replace("mask:\n", "mask:\n  invert: true\n  labels: [2, 3]\n")
    path.write_text(text)
    shown = find_shown(config)
    assert not shown.get("not valid").data.any()
    painted = paint(shown, ((0, 3), (0, 3)))
    save_drawn(config, shown, shown.get("region").data, painted)
    new = steadystack.load_config(path.with_name("run.drawn.yaml"))
    assert (new.mask.invert, new.mask.labels) == (False, None)
    np.testing.assert_array_equal(find_shown(new).get("not valid").data, painted != 0)


def test_along_z_a_region_stays(drawn_on, tmp_path):
    path, _, shown = drawn_on
    np.save(tmp_path / "volume.npy", np.zeros((3, 6, *SIZE), "u2"))
    settings = {
        "input": {"path": "volume.npy", "axes": "tzyx", "region": [[1, 4], None, [8, 60]]},
        "cluster": {"kind": "in-process"},
    }
    path.write_text(yaml.safe_dump(settings))
    config = steadystack.load_config(path)
    shown = find_shown(config)
    assert shown.axes == ("t", "z", "y", "x")
    assert shown.get("stack").data.shape == (3, 6, *SIZE)
    assert shown.get("not valid").data.shape == (6, *SIZE)
    np.testing.assert_array_equal(
        shown.get("region").data, [make_rectangle(((0, SIZE[0]), (8, 60)))]
    )
    save_drawn(config, shown, [make_rectangle(REGION)], None)
    new = steadystack.load_config(path.with_name("run.drawn.yaml"))
    assert new.input.region == ((1, 4), *REGION)


def test_settings_that_are_gone_are_reported(drawn_on):
    path, config, shown = drawn_on
    path.unlink()
    with pytest.raises(InputError, match=r"run\.yaml can no longer be read"):
        save_drawn(config, replace(shown), [], shown.get("not valid").data)
