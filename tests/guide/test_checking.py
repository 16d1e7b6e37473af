"""What check warns of and draws."""

from __future__ import annotations

import errno
import os
import re

import numpy as np
import pytest
import yaml
import zarr
from click.testing import CliRunner

from bench_verdict import noisy, views, wander
from steadystack.cli import main
from steadystack.config import make_config
from steadystack.guide import check, init
from steadystack.guide.checking import describe
from steadystack.outputs import write_image
from steadystack.readers import locate_stack
from support.masked import SHAPE, frames_behind, settings
from support.scenes import Scene, ellipse, rough


@pytest.mark.parametrize("inverted", [False, True])
def test_check_warns_of_a_mask_that_looks_inverted(tmp_path, inverted):
    pairs = [frames_behind("constant", seed) for seed in range(3)]
    write_image(tmp_path / "m.zarr", pairs[0][1])
    config = settings(
        tmp_path, {"path": "m.zarr", "invert": inverted}, np.stack([p[0] for p in pairs])
    )
    said = "\n".join(value for _, value in check(config))
    assert ("the mask looks inverted" in said) == inverted
    assert ("m.zarr, inverted" in said) == inverted


def said_of(config):
    return "\n".join(f"{name}: {value}" for name, value in check(config))


def test_check_calls_a_flat_frame_flat(tmp_path):
    frames = np.random.default_rng(0).integers(1, 200, (3, *SHAPE)).astype("u1")
    frames[1] = 7
    said = said_of(settings(tmp_path, {}, frames))
    assert "frame 1: flat, 100% valid, all of them 7" in said
    assert "frame 0: ok, 100% valid, values 1 to 199" in said
    assert "no data?" not in said
    assert "valid, no valid pixel" not in said


def test_check_asks_nothing_about_a_frame_that_is_not_there(tmp_path):
    frames = rough(0, (3, *SHAPE), 2).astype("f4") + 5
    for mask in ({}, {"path": "m.zarr"}):
        config = settings(tmp_path, mask, frames)
        write_image(tmp_path / "m.zarr", ellipse(SHAPE))
        array = zarr.open_group(tmp_path / "a.zarr", mode="r")["0"]
        removed = list((tmp_path / "a.zarr" / "0" / "c" / "1").rglob("*"))
        assert array.chunks[0] == 1
        for chunk in removed:
            if chunk.is_file():
                chunk.unlink()
        said = said_of(config)
        assert "frame 1: missing, 0% valid, no valid pixel" in said
        assert "inverted" not in said


def test_frames_without_valid_pixels_have_no_mask_to_invert(tmp_path):
    frames = rough(0, (3, *SHAPE), 2).astype("f4")
    frames[1] = np.nan
    said = said_of(settings(tmp_path, {}, frames))
    assert "frame 1: empty, 0% valid, no valid pixel" in said
    assert "inverted" not in said


def test_check_asks_about_zeros_only_where_they_stand_still(tmp_path):
    world, y, x = Scene(1, detail=3.0), *np.indices(SHAPE)
    views = [world.view(SHAPE, (2.0 * index, -index)) for index in range(3)]
    stop = np.hypot(y - 20, x - 26) > 18
    for frames, is_asked in (
        ([np.clip(60 * view + 60, 0, None) for view in views], False),
        ([np.where(stop, 0, 20 * view + 150) for view in views], True),
    ):
        config = settings(tmp_path, {}, np.rint(frames).astype("u2"))
        assert ("mask.invalid_values: [0]" in said_of(config)) == is_asked
        drafted = init(str(tmp_path / "a.zarr"))
        assert ("of the middle frame is 0" in drafted) == is_asked


def test_check_draws_frames_and_mask_together(tmp_path):
    write_image(tmp_path / "m.zarr", ellipse(SHAPE))
    config = settings(tmp_path, {"path": "m.zarr"}, output={"shifts": "s.zarr"})
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config.dump()))
    picture = tmp_path / "seen.png"
    words = ["check", str(tmp_path / "run.yaml"), "--picture"]
    done = CliRunner().invoke(main, [*words, str(picture)])
    assert done.exit_code == 0, done.output
    assert picture.read_bytes().startswith(b"\x89PNG")
    for wrong, what in (
        ("seen.bmp", "must end in .png"),
        ("no/seen.png", "its folder does not exist"),
        ("a.zarr/seen.png", "overlap: neither may lie inside the other"),
    ):
        told = CliRunner().invoke(main, [*words, str(tmp_path / wrong)])
        assert told.exit_code == 2
        assert what in told.stderr


LONG = "n" * 300


@pytest.mark.parametrize("section", ["input", "mask", "initial_shifts"])
@pytest.mark.parametrize("path", [f"{LONG}.npy", f"{LONG}.zarr", f"{LONG}/a.csv", f"{LONG}*.tif"])
def test_a_name_that_is_too_long_is_reported_in_a_line(tmp_path, section, path):
    settings(tmp_path, {})
    (tmp_path / "run.yaml").write_text(
        yaml.safe_dump({"input": {"path": "a.zarr"}} | {section: {"path": path}})
    )
    for command in ("check", "plan", "init"):
        given = tmp_path / (path if command == "init" else "run.yaml")
        told = CliRunner().invoke(main, [command, str(given)])
        assert told.exit_code == 2, told.exception
        assert len(told.stderr.splitlines()) == 1
        assert LONG in told.stderr


def test_what_may_not_be_read_is_reported_in_a_line(tmp_path, monkeypatch):
    config = settings(tmp_path, {})
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config.dump()))
    stat = os.stat

    def refuse(path, *args, **keys):
        if "a.zarr" in str(path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return stat(path, *args, **keys)

    monkeypatch.setattr(os, "stat", refuse)
    for words in (["check", tmp_path / "run.yaml"], ["plan", tmp_path / "run.yaml"],
                  ["init", tmp_path / "a.zarr"]):  # fmt: skip
        told = CliRunner().invoke(main, list(map(str, words)))
        assert told.exit_code == 2, told.exception
        assert told.stderr == f"error: {tmp_path}/a.zarr cannot be read: Permission denied\n"


def test_check_tries_pairs_and_names_the_conditioning_that_helps(tmp_path):
    """A scene of large detail in noise as strong as it, and one of fine detail."""
    rng = np.random.default_rng(1)
    said = []
    for name, sizes in (("large", (12.0, 20.0)), ("fine", (1.5, 4.0))):
        frames = noisy(rng, views(rng, wander(rng, 0.4)[:12], sizes), 1.2)
        np.save(tmp_path / f"{name}.npy", frames)
        config = make_config(
            {
                "input": {"path": f"{name}.npy", "axes": "tyx"},
                "register": {"max_shift": 24},
                "output": {"shifts": "shifts.zarr"},
            },
            tmp_path,
        )
        said.append(said_of(config))
    assert "pairs: 8 tried, 1 frame(s) apart: " in said[0]
    assert re.search(r"low_pass: [12].*: [78] of 8 pairs have .* px \(chosen\)", said[0])
    assert "pairs: 8 tried, 1 frame(s) apart: 8 ok, shifts up to " in said[1]
    assert "chosen" not in said[1]
    assert "no filters were tried: 8 of 8 pairs have a shift as they are" in said[1]
    assert "no filters were tried" not in said[0]


def test_check_says_what_to_do_about_a_scene_that_repeats(tmp_path):
    rng = np.random.default_rng(4)
    y, x = np.mgrid[:96, :96]
    lattice = np.stack([np.sin((y + k) * 0.45) + np.sin((x - k) * 0.45) for k in range(5)])
    np.save(tmp_path / "lattice.npy", lattice + 0.3 * rng.normal(size=lattice.shape))
    config = make_config(
        {
            "input": {"path": "lattice.npy", "axes": "tyx"},
            "register": {"max_shift": 24},
            "output": {"shifts": "shifts.zarr"},
        },
        tmp_path,
    )
    said = said_of(config)
    assert "4 ambiguous" in said
    assert "the scene repeats? then set register.max_shift below half its period" in said


@pytest.mark.parametrize(("shape", "asks"), [((96, 80, 12), True), ((12, 96, 80), False)])
def test_check_asks_whether_time_is_the_last_axis(tmp_path, shape, asks):
    frames = np.random.default_rng(0).integers(1, 200, shape).astype("u1")
    np.save(tmp_path / "stack.npy", frames)
    said = describe(locate_stack(str(tmp_path / "stack.npy"), axes="tyx"))
    question = "(or 12 frames of (96, 80)? then set input.axes: yxt)"
    assert (question in dict(said)["axes"]) == asks
