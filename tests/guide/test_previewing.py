"""A coarse run over some frames: its drift against the truth, and that it touches nothing else."""

from __future__ import annotations

import re

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from steadystack.cli import main
from steadystack.guide import coarse_frames, preview
from steadystack.guide.coarse_frames import choose_grain, coarsen
from steadystack.guide.previewing import choose_settings
from steadystack.model import InputError
from steadystack.outputs import write_image, write_stack
from steadystack.outputs.marks import MARKS, PREVIEW_MARK
from steadystack.planning import open_series
from support.scenes import Scene, ellipse
from support.settings import USUAL, config_of

SIZE = (150, 162)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Boxes and few frames also of small series."""
    monkeypatch.setattr(coarse_frames, "LONGEST", 60)
    monkeypatch.setattr(coarse_frames, "LONGEST_OF_VOLUME", 32)
    monkeypatch.setattr(coarse_frames, "MOST_PLANES", 8)
    monkeypatch.setattr(coarse_frames, "MOST_FRAMES", 9)
    monkeypatch.setattr(coarse_frames, "FEWEST_FRAMES", 9)


def wander(count, ndim=2, seed=1):
    truth = np.cumsum(np.random.default_rng(seed).normal(0.3, 0.8, (count, ndim)), axis=0)
    return truth - truth[0]


def views(truth, size=SIZE, seed=3, noise=0.3):
    rng, world = np.random.default_rng(seed), Scene(seed, len(size), detail=8.0, waves=80)
    frames = [world.view(size, origin) + noise * rng.normal(size=size) for origin in truth]
    return (1000 + 100 * np.stack(frames)).astype("u2")


def assert_right(found, truth, most=0.15):
    """The shifts of a preview are right, in pixels of the stack, and their errors hold."""
    shifts = found.shifts
    numbers = np.array(found.grain.frames)
    error = shifts["frame_shift"].to_numpy() - (truth[numbers] - truth[numbers[0]])
    std = shifts["frame_shift_std"].to_numpy()
    assert np.isfinite(error).all()
    assert (std[1:] > 0).all()
    assert (np.abs(error) <= 4 * std + 1e-9).all()
    assert np.sqrt((error[1:] ** 2).mean()) < most
    assert np.median(std[1:]) < 2 * most


def list_files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_grain_leaves_some_tens_of_frames_of_modest_size(monkeypatch):
    monkeypatch.undo()
    for count in (2, 3, 39, 40, 41, 500, 100_000):
        for shape in ((64, 64), (2048, 2304), (20, 5000), (40, 512, 600), (3, 30, 20)):
            for anchor in (0, 1, count - 1):
                grain = choose_grain(count, shape, anchor)
                assert 2 <= len(grain.frames) <= 40
                assert anchor in grain.frames
                assert grain.frames[grain.find(anchor)] == anchor
                coarse = grain.shrink(shape)
                assert min(coarse) >= min(*shape, 12 if len(shape) > 2 else 20) // 2
                if shape != (20, 5000):
                    assert max(coarse) <= 256
                    assert np.prod(coarse) <= 2**17


def test_drift_is_found_in_pixels_of_the_stack_and_a_run_is_left_alone(tmp_path):
    truth = wander(17)
    write_stack(tmp_path / "stack.zarr", views(truth), pixel_size=(0.5, 0.25), frame_interval=2.0)
    sections = {
        "output": {"shifts": "out.zarr", "report": "p.html"},
        "pairs": {"strategy": "window", "width": 1},
        "register": {"max_shift": 6},
        "mask": {"defects": None, "parts": None},
        "preprocess": {"low_pass": None, "high_pass": None},
    }
    config = config_of(tmp_path, **sections)
    (tmp_path / "p.html").write_bytes(MARKS[".html"][0])
    (tmp_path / "p.preview.html").write_bytes(MARKS[".html"][0] + PREVIEW_MARK)  # an earlier one
    (tmp_path / "out.zarr").mkdir()
    for name in ("out.zarr/zarr.json", "out.zarr.journal", "run.log"):
        (tmp_path / name).write_text("of a run")
    before = list_files(tmp_path)
    found = preview(config)
    after = list_files(tmp_path)
    page = after.pop("p.preview.html").decode()
    del before["p.preview.html"]
    assert after == before
    assert found.page == str(tmp_path / "p.preview.html")
    assert "px of the stack" in page
    assert "an estimate" in page

    assert found.grain.steps == (3, 3)
    assert found.grain.frames == range(0, 17, 2)
    assert_right(found, truth)
    found.shifts["frame_shift_std"][:, 1] *= 3  # each axis has its own: the verdict is by the worse
    row = dict(found.describe())["drift"]
    told = [float(word) for word in re.findall(r"± ([\d.]+)", row)]
    errors = np.median(found.shifts["frame_shift_std"][1:], axis=0)
    assert told == pytest.approx(errors, abs=0.005)
    assert told[1] > 2 * told[0]
    assert found.shifts["frame"].to_numpy().tolist() == list(range(0, 17, 2))
    assert found.shifts["time"].to_numpy().tolist() == [2.0 * n for n in range(0, 17, 2)]
    assert found.shifts["pixel_size"].to_numpy().tolist() == [0.5, 0.25]


def test_nothing_but_a_preview_is_replaced(tmp_path):
    write_stack(tmp_path / "stack.zarr", views(wander(4)))
    page = tmp_path / "shifts.preview.html"
    page.write_bytes(MARKS[".html"][0])  # the page of a run that is called so
    with pytest.raises(InputError, match=r"shifts\.preview\.html exists and is not a preview"):
        preview(config_of(tmp_path))
    assert page.read_bytes() == MARKS[".html"][0]


def test_pixels_of_a_box_are_averaged_where_they_are_valid(tmp_path):
    frames = views(wander(4))
    valid = np.random.default_rng(0).random((4, *SIZE)) < 0.4
    write_stack(tmp_path / "stack.zarr", frames)
    write_stack(tmp_path / "valid.zarr", valid.astype("u1"))
    config = config_of(tmp_path, mask={"path": "valid.zarr"}, solve={"anchor": 1})
    series, _ = open_series(config)
    grain = choose_grain(4, SIZE, 1)
    coarse = coarsen(series, config, grain).source
    assert coarse.frame_shape == (50, 54)
    for index, number in enumerate(grain.frames):
        read = coarse.read(index)
        for row, column in ((0, 0), (7, 30), (49, 53)):
            box = (slice(3 * row, 3 * row + 3), slice(3 * column, 3 * column + 3))
            known = valid[number][box]
            assert read.valid[row, column] == (known.sum() >= 9 / 4)
            if known.any():
                mean = frames[number][box][known].mean()
                assert read.image[row, column] == pytest.approx(mean, rel=1e-6)


def with_a_block(frames):
    """Frames with a bright block that stands still, and the mask that hides it."""
    block = tuple(slice(size // 3, size // 2) for size in frames.shape[1:])
    frames[(slice(None), *block)] = 9000
    mask = np.ones(frames.shape[1:], bool)
    mask[tuple(slice(side.start - 1, side.stop + 1) for side in block)] = False
    return mask


@pytest.mark.slow
@pytest.mark.parametrize("of_frames", [True, False])
def test_what_stands_still_is_not_seen_where_it_is_masked(tmp_path, of_frames):
    truth = wander(9)
    frames = views(truth)
    mask = with_a_block(frames)
    write_stack(tmp_path / "stack.zarr", frames)
    if of_frames:
        write_stack(tmp_path / "mask.zarr", np.stack([mask] * 9).astype("u1"))
    else:
        write_image(tmp_path / "mask.zarr", mask)
    assert_right(preview(config_of(tmp_path, mask={"path": "mask.zarr"})), truth)


def test_volumes_channels_masks_frames_and_regions_are_those_of_the_settings(tmp_path):
    truth = wander(9, 3)
    stack = views(truth, (16, 70, 76))
    mask = with_a_block(stack)
    both = np.stack([np.zeros_like(stack), stack], axis=1)  # t, c, z, y, x
    np.save(tmp_path / "stack.npy", both)
    np.save(tmp_path / "mask.npy", np.stack([mask] * 9))
    config = config_of(
        tmp_path,
        input={
            "path": "stack.npy", "axes": "tczyx", "channel": 1, "frames": "2:8",
            "region": [None, [2, 68], [3, 76]], "pixel_size": [1.0, 0.5, 0.5],
        },
        mask={"path": "mask.npy", "defects": None, "parts": None},
    )  # fmt: skip
    found = preview(config)
    assert found.grain.steps == (2, 2, 2)
    assert found.shifts["frame"].to_numpy().tolist() == list(range(2, 8))
    assert found.shifts["pixel_size"].to_numpy().tolist() == [1.0, 0.5, 0.5]
    assert_right(found, truth[2:8], 0.3)


def test_settings_are_those_of_coarse_pixels(tmp_path):
    write_stack(tmp_path / "stack.zarr", views(wander(18)), pixel_size=(0.5, 0.5))
    config = config_of(
        tmp_path,
        register={"max_shift": "4.5 um", "fft_tile": 64},
        preprocess={"low_pass": 1.0, "high_pass": 30, "logarithm": True},
        solve={"anchor": 5, "refine": 1},
    )
    series, _ = open_series(config)
    grain = choose_grain(18, SIZE, 5)
    assert grain.frames == range(1, 18, 2)
    coarse = choose_settings(config, series, grain)
    assert coarse.register_.max_shift == (7, 7)  # 9 px, twice as far, in boxes of 3, and one more
    assert coarse.register_.fft_tile is None
    assert coarse.preprocess.low_pass is None
    assert coarse.preprocess.high_pass == 10
    assert not coarse.preprocess.logarithm  # is taken before pixels are averaged
    assert coarse.solve.anchor == 2
    assert not coarse.solve.refine
    assert coarse.cluster.kind == "in-process"


def test_the_command_prints_drift_and_costs(tmp_path):
    truth = wander(9)
    write_stack(tmp_path / "stack.zarr", views(truth))
    write_image(tmp_path / "mask.zarr", ellipse(SIZE))
    sections = {"mask": {"path": "mask.zarr"}, "output": {"corrected": "steady.ome.zarr"}}
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump({**USUAL, **sections}))
    done = CliRunner().invoke(main, ["preview", str(path)])
    assert done.exit_code == 0, done.output
    rows = dict(line.split("  ", 1) for line in done.stdout.splitlines() if "  " in line)
    assert "9 of 9 frames of (150, 162) pixels, averaged over 3 x 3" in rows["looked at"]
    assert "px of the stack" in rows["drift"]
    assert "30 pairs of 9 frames" in rows["the whole run"]
    assert "an estimate" in rows["its time"]
    assert rows["page"].strip() == str(tmp_path / "shifts.preview.html")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "mask.zarr", "run.yaml", "shifts.preview.html", "stack.zarr",
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preprocess", "left_out"),
    [
        ({"flat_field": "flat.zarr", "logarithm": True}, ()),
        ({"flat_field": "flat.zarr", "high_pass": 12}, ()),
        ({"flat_field": "flat.zarr", "fixed_pattern": "estimate"}, ("preprocess.fixed_pattern",)),
    ],
)
def test_frames_are_conditioned_as_in_a_run(tmp_path, preprocess, left_out):
    """Of six frames no fixed pattern is estimated."""
    truth = wander(6)
    shading = 1 + 0.5 * np.linspace(-1, 1, SIZE[1]) * np.ones(SIZE)
    write_stack(tmp_path / "stack.zarr", (views(truth) * shading).astype("f4"))
    write_image(tmp_path / "flat.zarr", shading)
    config = config_of(tmp_path, preprocess=preprocess)
    found = preview(config)
    assert found.left_out == left_out
    assert_right(found, truth)


@pytest.mark.slow
def test_searches_are_around_initial_shifts(tmp_path):
    truth = wander(12) * 12
    write_stack(tmp_path / "stack.zarr", views(truth))
    rows = "\n".join(f"{y + 1:.3f},{x - 2:.3f}" for y, x in truth)
    (tmp_path / "known.csv").write_text(f"y,x\n{rows}\n")
    known = {"initial_shifts": {"path": "known.csv"}, "register": {"max_shift": 6}}
    found = preview(config_of(tmp_path, **known, motion={"model": "rigid"}))
    assert found.left_out == ("motion.model rigid",)
    assert_right(found, truth)


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        ({"valid_range": [2**15, None]}, "no box of 3 x 3 pixels has"),
        ({"path": "nothing.zarr"}, "mask.path"),
    ],
)
def test_what_cannot_be_looked_at_is_reported(tmp_path, mask, words):
    write_stack(tmp_path / "stack.zarr", views(wander(4)))
    with pytest.raises(InputError, match=words):
        preview(config_of(tmp_path, mask=mask))
    assert not (tmp_path / "shifts.preview.html").exists()
