"""Volumes that turn about all axes, corrected: against SciPy, by pieces, lazily, gone on with."""

from __future__ import annotations

import csv
import re

import numpy as np
import pytest
import xarray as xr
import zarr
from click.testing import CliRunner
from scipy import ndimage

import steadystack
from steadystack import stages
from steadystack.cli import main
from steadystack.config import CorrectSection
from steadystack.correction import plan_corrected, plan_mean, write_mean
from steadystack.correction import regions as regions_module
from steadystack.dataset import load_shifts, save_shifts
from steadystack.model import OutputError
from steadystack.outputs import read_written, write_stack
from steadystack.planning import open_series, set_up
from steadystack.readers import locate_stack
from steadystack.stages.reporting import make_report_images, write_report
from steadystack.validity import Validity
from support.corrected import made, shifts_of
from support.scenes import Scene, rough
from support.settings import config_of
from support.turning import corner_errors, lay, turn_volume, turned_volumes

SHAPE = (15, 40, 44)
MIDDLE = (np.array(SHAPE) - 1) / 2
TURNS = [(0, 0, 0), (3, -4, 2), (-5, 3, 4)]
SHEAR = np.outer([1, 0, 0], [0, 0, 0.01])
LINEAR = np.stack([turn_volume(by, 1.01**t) + t * SHEAR for t, by in enumerate(TURNS)])
SHIFT = np.array([[0, 0, 0], [1.2, -2.3, 0.7], [-0.6, 3.1, 2.4]])
PIECES = {"memory": 28 * 2**20, "chunks": (5, 20, 22)}


def volumes(channels=2) -> np.ndarray:
    stack = np.stack([rough(t, (channels, *SHAPE), (0, 1.5, 2, 2)) for t in range(3)])
    return np.clip(20000 + 40000 * stack, 0, 65535).astype("u2")


def write_pieces(path, stack, axes):
    chunks = (1,) * (stack.ndim - 3) + PIECES["chunks"]
    array = zarr.create_array(
        path, shape=stack.shape, chunks=chunks, dtype=stack.dtype, dimension_names=list(axes),
        config={"write_empty_chunks": True},
    )  # fmt: skip
    array[...] = stack


def turned_shifts() -> xr.Dataset:
    return shifts_of(SHIFT).assign(frame_linear=(("frame", "axis", "of_axis"), LINEAR))


def expect(image, frame, order=3, first=(0, 0, 0), shape=SHAPE):
    """A volume moved by SciPy onto a box, and where what it shows lies in the volume."""
    inverse = np.linalg.inv(LINEAR[frame])
    offset = MIDDLE + inverse @ (np.array(first) - MIDDLE - SHIFT[frame])
    places = np.tensordot(inverse, np.indices(shape), 1) + offset[:, None, None, None]
    sides = np.array(SHAPE)[:, None, None, None]
    inside = ((places >= -0.5) & (places < sides - 0.5)).all(axis=0)
    moved = ndimage.affine_transform(
        image.astype(float), inverse, offset, shape, order=order, mode="reflect"
    )
    return moved, inside


@pytest.mark.parametrize("border", ["same", "crop", "expand"])
def test_all_channels_are_as_scipy_moves_them_in_pieces_or_lazily(tmp_path, border):
    stack = volumes()
    write_pieces(tmp_path / "stack.zarr", stack, axes="tczyx")
    how = {"border": border, "levels": 2, "interpolation": "cubic"}
    plan, group = made(
        tmp_path / "steady.zarr", tmp_path / "stack.zarr", turned_shifts(), **PIECES, **how
    )
    assert plan.tasks > 3
    box, found, valid = plan.work.box, group["0"][:].astype(int), group["valid"][:]
    if border == "same":
        assert box.shape == SHAPE
    elif border == "crop":
        assert valid.all()
        assert all(a > 0.4 * b for a, b in zip(box.shape, SHAPE, strict=True))
    else:
        assert all(a > b for a, b in zip(box.shape, SHAPE, strict=True))
        least = [valid.any(axis=tuple(i for i in range(5) if i != axis)) for axis in (2, 3, 4)]
        assert all(line[2:-2].all() for line in least)
    for frame in range(3):
        for channel in range(2):
            expected, inside = expect(stack[frame, channel], frame, 3, box.first, box.shape)
            np.testing.assert_array_equal(valid[frame, channel], inside)
            off = np.abs(found[frame, channel] - np.clip(expected, 0, 65535))[inside]
            assert off.max() <= 1  # it is rounded
    known = np.where(valid, found, 0)[:, :, :2, :2, :2].sum(axis=(2, 3, 4), dtype=float)
    counts = np.maximum(valid[:, :, :2, :2, :2].sum(axis=(2, 3, 4)), 1)
    coarse = group["1"][:, :, 0, 0, 0]
    if valid.shape[2] * 2 > max(valid.shape[2:]):
        np.testing.assert_allclose(coarse, known / counts, atol=0.51)
    lazy = xr.DataArray(stack, dims=tuple("tczyx")).chunk(t=1, z=4, y=15)
    corrected = steadystack.correct(lazy, turned_shifts(), border=border)
    assert corrected.chunks is not None
    assert np.abs(corrected.to_numpy().astype(int) - found).max() <= 1


def test_labels_stay_labels_in_pieces_bit_for_bit(tmp_path):
    labels = np.random.default_rng(1).integers(0, 9, (3, *SHAPE)).astype("i4") * 70001
    write_pieces(tmp_path / "labels.zarr", labels, axes="tzyx")
    how = {"labels": True, "border": "expand"}
    plan, cut = made(tmp_path / "cut.zarr", tmp_path / "labels.zarr", turned_shifts(), **how,
                     memory=25 * 2**20, chunks=(5, 20, 22))  # fmt: skip
    assert plan.tasks > 3
    whole = made(tmp_path / "whole.zarr", tmp_path / "labels.zarr", turned_shifts(), **how)[1]
    np.testing.assert_array_equal(cut["0"][:], whole["0"][:])
    box = plan.work.box
    for frame in range(3):
        expected, inside = expect(labels[frame], frame, 0, box.first, box.shape)
        np.testing.assert_array_equal(cut["0"][frame][inside], expected[inside])
        assert not cut["0"][frame][~inside].any()


def test_what_was_stopped_goes_on_and_what_did_not_move_stays(tmp_path, monkeypatch):
    source, target = tmp_path / "stack.zarr", tmp_path / "steady.zarr"
    write_stack(source, volumes(1)[:, 0], axes="tzyx")
    write, left = regions_module.write_region, [3]

    def full(*arguments):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "no space left")
        write(*arguments)

    monkeypatch.setattr(regions_module, "write_region", full)
    with pytest.raises(OutputError):
        made(target, source, turned_shifts())
    monkeypatch.setattr(regions_module, "write_region", write)
    _, group = made(target, source, turned_shifts())
    _, afresh = made(tmp_path / "afresh.zarr", source, turned_shifts())
    np.testing.assert_array_equal(group["0"][:], afresh["0"][:])
    before = read_written(str(target))
    np.testing.assert_array_equal(before.linear, LINEAR)
    shifts = turned_shifts()
    shifts["frame_linear"][1] = turn_volume([0, 0.1, 0]) @ LINEAR[1]  # 0.04 px at a corner
    shifts["frame_linear"][2] = turn_volume([0, 0.4, 0]) @ LINEAR[2]
    stays = plan_corrected(
        str(target), locate_stack(str(source)), shifts, CorrectSection(), Validity(), None, 2**29,
        before=before,
    ).stays  # fmt: skip
    assert stays.tolist() == [True, True, False]


def test_a_mean_is_that_of_the_volumes_as_they_are_moved(tmp_path):
    stack = volumes(1)[:, 0]
    write_pieces(tmp_path / "stack.zarr", stack, axes="tzyx")
    mean = plan_mean(
        str(tmp_path / "mean.zarr"), locate_stack(str(tmp_path / "stack.zarr")), turned_shifts(),
        CorrectSection(interpolation="cubic"), Validity(), None, 30 * 2**20,
    )  # fmt: skip
    write_mean(mean, None)
    moved, inside = map(np.array, zip(*(expect(stack[t], t) for t in range(3)), strict=True))
    count = inside.sum(axis=0)
    group = zarr.open_group(tmp_path / "mean.zarr", mode="r")
    np.testing.assert_array_equal(group["count"][:], count)
    expected = np.where(inside, moved, 0).sum(axis=0)[count > 0] / count[count > 0]
    np.testing.assert_allclose(group["0"][:][count > 0], expected, rtol=2e-6)
    found = steadystack.mean(xr.DataArray(stack, dims=tuple("tzyx")), turned_shifts())
    np.testing.assert_allclose(found["mean"].to_numpy()[count > 0], expected, rtol=2e-6)


def test_a_mask_beside_what_is_seen_has_no_part_in_it():
    stack, mask = volumes(1)[:, 0].astype("f4"), np.ones(SHAPE, bool)
    mask[5:10, 12:25, 18:30] = False
    for interpolation in ("nearest", "linear", "cubic"):
        one, other = (
            steadystack.correct(
                np.where(mask, stack, wrong).astype("f4"), turned_shifts(), mask=mask,
                interpolation=interpolation,
            ).to_numpy()
            for wrong in (0, 1e7)
        )  # fmt: skip
        np.testing.assert_array_equal(one, other)
        assert np.isnan(one[1, 7, 18, 24])
        assert np.isfinite(one).mean() > 0.7
    whole = xr.DataArray(stack, dims=tuple("tzyx"))
    other = whole.isel(z=slice(0, 9))
    with pytest.raises(steadystack.InputError, match="about the centre of the measured frames"):
        steadystack.correct(other, turned_shifts(), other_shape=True)
    deep = volumes(1)[:, 0][:, :, None]  # planes, each of which has axes of its own
    with pytest.raises(steadystack.InputError, match="but the stack has"):
        steadystack.correct(deep[:, :, 0, 0], turned_shifts())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on volumes that turn, as if that had been measured: its folder, settings, scene."""
    folder = tmp_path_factory.mktemp("volumes")
    scene = Scene(5, ndim=3, detail=3.0, waves=60)
    stack = np.stack([scene.turned(SHAPE, *motion) for motion in zip(LINEAR, SHIFT, strict=True)])
    write_stack(folder / "stack.zarr", stack.astype("f4"), axes="tzyx", pixel_size=(2, 0.5, 0.25))
    sections = {"register": {"max_shift": [4, 8, 8]}, "pairs": {"width": 2}}
    measured = {"shifts": str(folder / "shifts.zarr")}
    stages.run(config_of(folder, **sections, output=measured))
    made_of = {"corrected": str(folder / "steady.zarr"), "movie": str(folder / "movie.mp4")}
    config = config_of(folder, **sections, correct={"border": "crop"}, output=measured | made_of)
    shifts = load_shifts(str(folder / "shifts.zarr"))
    shifts["frame_shift"][:], shifts["frame_linear"][:] = SHIFT, LINEAR
    shifts["frame_rotation_vector"][:] = TURNS
    shifts["frame_rotation_vector_std"][:] = 0.01 * np.arange(3)[:, None]
    shifts.attrs["motion"] = '{"model": "affine", "centre": [7.0, 19.5, 21.5]}'
    save_shifts(steadystack.edit_shifts(shifts, SHIFT), str(folder / "shifts.zarr"))
    return folder, config, scene


def test_a_run_corrects_volumes_and_lists_how_they_turn(run, tmp_path):
    folder, config, scene = run
    stages.correct(config.model_copy(update={"output": config.output.model_copy(
        update={"movie": None})}))  # fmt: skip
    group = zarr.open_group(folder / "steady.zarr", mode="r")
    box = group.attrs["steadystack"]["box"]
    still = scene.view(tuple(box["shape"]), np.array(box["first"], float))
    inside = np.s_[3:-3, 3:-3, 3:-3]
    for frame in group["0"][:]:
        assert np.abs(frame - still)[inside].max() < 0.05
    path = tmp_path / "frames.csv"
    told = CliRunner().invoke(main, ["export", str(folder / "shifts.zarr"), str(path)])
    assert told.exit_code == 0, told.output
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [[float(row[f"rotation_{axis}"]) for axis in "zyx"] for row in rows] == [
        list(by) for by in TURNS
    ]
    assert [float(row["rotation_std_x"]) for row in rows] == pytest.approx([0, 0.01, 0.02])
    point = np.array([4.0, 11.0, 30.0])
    for frame, row in enumerate(rows):
        by_row = [
            sum(float(row[f"affine_{axis}{of}"]) * at for of, at in zip("zyx", point, strict=True))
            + float(row[f"affine_{axis}"])
            for axis in "zyx"
        ]
        np.testing.assert_allclose(by_row, lay(point, LINEAR[frame], SHIFT[frame], MIDDLE))


@pytest.mark.slow
def test_page_and_movie_show_volumes_as_they_are_moved(run, tmp_path):
    folder, config, _ = run
    setup, page = set_up(config, open_series(config)[0]), tmp_path / "report.html"
    shifts = load_shifts(str(folder / "shifts.zarr"))
    write_report(setup, shifts, str(page))
    words = " ".join(re.sub("<[^>]*>", " ", page.read_text()).split())
    for axis, by in zip("zyx", np.transpose(TURNS), strict=True):
        assert f"turn about {axis} {min(by):+.3f} to {max(by):+.3f} degree ± 0.0" in words
    views = make_report_images(setup, shifts)
    (still, _), (_, moved) = views.images["frame 0"], views.images["frame 2"]
    middle = np.s_[8:-8, 8:-8]
    unmoved = views.images["frame 2"][0]
    assert np.abs(moved - still)[middle].mean() < 0.4 * np.abs(unmoved - still)[middle].mean()
    stages.correct(config)
    assert (folder / "movie.mp4").stat().st_size > 1000


@pytest.mark.slow
def test_volumes_that_are_measured_and_corrected_stand_still(tmp_path):
    truth = turned_volumes(2, count=6, scale=0.002)
    write_stack(tmp_path / "stack.zarr", truth.frames.astype("f4"), axes="tzyx")
    paths = {name: str(tmp_path / f"{name}.zarr") for name in ("shifts", "corrected")}
    shifts = stages.run(
        config_of(
            tmp_path, register={"max_shift": [5, 10, 10]}, motion={"model": "similarity"},
            output=paths, correct={"border": "crop"},
        )
    )  # fmt: skip
    assert corner_errors(shifts, truth).max() < 0.2
    found = zarr.open_group(paths["corrected"], mode="r")["0"][:]
    inside = np.s_[3:-3, 3:-3, 3:-3]
    for frame in found[1:]:
        assert (frame - found[0])[inside].std() < 0.2  # of noise of 0.1 in both
