"""What init and check see in a stack, and what a run warns of before it measures."""

from __future__ import annotations

import re

import numpy as np
import pytest
import tifffile
import yaml
from click.testing import CliRunner

from helpers import ellipse, rough
from steadystack import guide
from steadystack.cli import main
from steadystack.config import load_config, make_config
from steadystack.model import InputError
from steadystack.outputs import write_image, write_stack
from steadystack.quality import constant_border, frequent_extremes
from steadystack.readers import locate

SHAPE = (48, 56)


def shell(*words):
    return CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)


def scenes(count, shape=SHAPE, seed=0):
    one = rough(seed, shape, 2)
    return np.stack([np.roll(100 + 30 * one / one.std(), frame, axis=1) for frame in range(count)])


@pytest.mark.parametrize("sides", [((3, 0), (0, 5)), ((2, 2), (2, 2)), ((0, 0), (0, 1))])
@pytest.mark.parametrize("ndim", [2, 3])
def test_a_border_is_seen_with_its_width(sides, ndim):
    sides = ((0, 0),) * (ndim - 2) + sides
    inner = np.random.default_rng(0).integers(0, 200, [24] * ndim)
    image = np.pad(inner, sides, constant_values=222)
    found = constant_border(image, np.ones(image.shape, bool))
    assert found is not None
    assert (found.value, found.widths) == (222, tuple(max(pair) for pair in sides))


def test_what_is_no_border():
    image = np.random.default_rng(0).integers(0, 200, (24, 24))
    valid = np.ones(image.shape, bool)
    assert constant_border(image, valid) is None
    assert constant_border(np.full((24, 24), 7), valid) is None  # there is nothing else
    two = image.copy()
    two[0], two[-1] = 3, 4
    assert constant_border(two, valid) is None
    one = image.copy()
    one[:2] = 222
    seen = valid.copy()
    seen[0] = False  # a border that is masked already, or a part of it: nobody has to be asked
    assert constant_border(one, seen) is None


def test_extremes_that_are_frequent():
    values = np.array([0.0] * 10 + [5.0] * 89 + [9.0])
    assert frequent_extremes(values, 0.02) == [(0.0, 0.1)]
    assert frequent_extremes(np.zeros(5), 0.02) == []
    assert frequent_extremes(np.zeros(0), 0.02) == []


def framed(count, width):
    frames = scenes(count)
    outside = np.ones(SHAPE, bool)
    outside[width:-width, width:-width] = False
    return np.where(outside, 222, frames).astype("u1")


def test_init_and_check_ask_about_a_border(tmp_path):
    write_stack(tmp_path / "a.zarr", framed(3, 4))
    made = shell("init", tmp_path / "a.zarr").output
    assert re.search(r"# invalid_values: \[222\].*: .*the middle frame are? .*222", made)
    assert re.search(r"  border: 0 .*; it is 4 wide in the middle frame", made)
    (tmp_path / "run.yaml").write_text(made)
    question = (
        "a border of 222 along its sides, up to 4 pixels wide: no data? then mask.border: 4, or "
        "mask.invalid_values: [222]"
    )
    assert shell("check", tmp_path / "run.yaml").output.count(question) == 3
    for left_out in ("border: 4", "invalid_values: [222]"):
        (tmp_path / "run.yaml").write_text(made.replace("border: 0", left_out))
        assert "no data?" not in shell("check", tmp_path / "run.yaml").output


def test_init_of_a_real_series_sees_its_border(real_data):
    made = guide.init(str(real_data("dice_pixel_shift") / "def_*.tif"))
    assert "# invalid_values: [222]" in made
    assert "it is 9 wide in the middle frame" in made


@pytest.mark.parametrize("axes", ["tyx", "tzyx"])
def test_every_line_of_init_can_be_uncommented(tmp_path, axes):
    """Key by key, as one does by hand; the settings stay settings."""
    shape = (3, *SHAPE) if axes == "tyx" else (3, 8, *SHAPE)
    write_stack(tmp_path / "a.zarr", np.random.default_rng(0).random(shape, "f4"), axes=axes)
    made = guide.init(str(tmp_path / "a.zarr")).splitlines()
    keys = [i for i, line in enumerate(made) if re.match(r"  # +(\w+:|- )", line)]
    names = [made[i].split("#")[1].split(":")[0].strip() for i in keys]
    assert {"path", "shapes", "invalid_values", "saturation", "static", "high_pass"} <= set(names)
    assert {"corrected", "interpolation", "border"} <= set(names)
    for index in keys:
        lines = list(made)
        lines[index] = lines[index].replace("# ", "", 1)
        if "- {" in lines[index]:
            lines[index] = "  shapes:\n" + lines[index]
        elif "shapes:" in lines[index]:
            continue
        make_config(yaml.safe_load("\n".join(lines)))


def test_the_search_that_init_begins_with(tmp_path):
    write_stack(tmp_path / "a.zarr", np.zeros((2, 600, 40), "u1"))
    (tmp_path / "run.yaml").write_text(guide.init(str(tmp_path / "a.zarr")))
    config = load_config(tmp_path / "run.yaml")
    assert config.register_.max_shift == 10
    assert config.output.report.endswith("a-report.html")
    write_stack(tmp_path / "a.zarr", np.zeros((2, 600, 700), "u1"))
    assert "  max_shift: 128 " in guide.init(str(tmp_path / "a.zarr"))


def run_settings(folder, **sections):
    given = {
        "input": {"path": "a.zarr"},
        "register": {"max_shift": 4},
        "output": {"shifts": "s.zarr"},
        "cluster": {"kind": "in-process"},
        **sections,
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(given))
    return folder / "run.yaml"


@pytest.mark.parametrize("command", ["run", "measure"])
@pytest.mark.parametrize("inverted", [False, True])
def test_a_run_warns_of_a_mask_that_looks_inverted(tmp_path, caplog, command, inverted):
    inside = ellipse(SHAPE, 0.7)
    noise = np.random.default_rng(0).normal(3, 1, (3, *SHAPE))
    write_stack(tmp_path / "a.zarr", np.where(inside, scenes(3), noise).clip(0).astype("u2"))
    write_image(tmp_path / "m.zarr", inside)
    mask = {"path": "m.zarr", "invert": inverted}
    shell(command, run_settings(tmp_path, mask=mask))
    warning = "frame 1: the mask looks inverted"
    assert (warning in caplog.text) == inverted
    assert (f"WARNING {warning}" in (tmp_path / "run.log").read_text()) == inverted


def test_a_run_names_all_that_it_wrote(tmp_path):
    write_stack(tmp_path / "a.zarr", np.stack([scenes(1)[0]] * 3).astype("u2"))
    output = {"shifts": "s.zarr", "report": "r.png", "corrected": "c.zarr"}
    lines = shell("run", run_settings(tmp_path, output=output)).stdout.splitlines()
    assert lines[0] == f"report -> {tmp_path / 'r.png'}"
    assert lines[1] == f"corrected stack -> {tmp_path / 'c.zarr'}"
    assert lines[2].startswith("3 frames, 3 of 3 pairs usable")
    assert f"-> {tmp_path / 's.zarr'}: " in lines[2]


def test_channels_that_are_not_there(tmp_path):
    write_stack(tmp_path / "a.zarr", np.zeros((2, *SHAPE), "u1"))
    with pytest.raises(InputError, match="has one channel, without a name: leave it out"):
        locate(str(tmp_path / "a.zarr"), channel="DAPI")
    frames = np.zeros((2, 3, *SHAPE), "u1")
    tifffile.imwrite(tmp_path / "a.ome.tif", frames, metadata={"axes": "TCYX"})
    with pytest.raises(InputError, match="has 3 channels, without names: 0 to 2"):
        locate(str(tmp_path / "a.ome.tif"), channel="DAPI")
    about = {"axes": "TCYX", "Channel": {"Name": ["DAPI", "GFP", "RFP"]}}
    tifffile.imwrite(tmp_path / "a.ome.tif", frames, metadata=about)
    with pytest.raises(InputError, match=r"3 channels: DAPI, GFP, RFP; did you mean GFP\?"):
        locate(str(tmp_path / "a.ome.tif"), channel="GPF")
