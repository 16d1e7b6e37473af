"""Masks on disk: of every format, static and per frame, and what is missing of them."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import zarr

from steadystack.model import FrameStatus, InputError
from steadystack.outputs import write_image, write_stack
from steadystack.readers import MaskLabels, StackFrames, ValidFrames, locate_mask, locate_stack
from steadystack.validity import Validity
from support.masked import SHAPE
from support.stores import FRAMES, chunk_file


def save(path, values):
    """A mask in the format that the suffix says."""
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".tif":
        tifffile.imwrite(path, values.astype("u1"), photometric="minisblack")
    elif path.suffix == ".zarr":
        write_image(path, values)
    else:
        write_stack(path, values[None] if values.ndim == 2 else values)


@pytest.mark.parametrize("name", ["m.npy", "m.tif", "m.zarr", "m.ome"])
@pytest.mark.parametrize("per_frame", [False, True])
@pytest.mark.parametrize(
    ("sense", "valid"),
    [
        (MaskLabels(), lambda labels: labels != 0),
        (MaskLabels(invert=True), lambda labels: labels == 0),
        (MaskLabels(labels=(2, 3)), lambda labels: (labels == 2) | (labels == 3)),
        (MaskLabels(labels=(2, 3), invert=True), lambda labels: (labels != 2) & (labels != 3)),
    ],
)
def test_masks_of_every_format_and_sense(tmp_path, name, per_frame, sense, valid):
    labels = np.random.default_rng(0).integers(0, 4, (3, *SHAPE) if per_frame else SHAPE)
    save(tmp_path / name, labels.astype("u2"))
    mask = locate_mask(str(tmp_path / name), 3, SHAPE, sense)
    assert mask.per_frame == per_frame
    part = (slice(3, 30), slice(10, 52))
    for frame in range(3):
        expected = valid(labels[frame] if per_frame else labels)
        np.testing.assert_array_equal(mask.read(frame, SHAPE), expected)
        np.testing.assert_array_equal(mask.read(frame, SHAPE, part), expected[part])


def test_a_label_image_of_an_ome_zarr_image(real_data):
    path = real_data("omezarr_zarr_java") / "v0.5" / "labels" / "nuclei"
    labels = zarr.open_array(path / "0", mode="r")[:]
    chosen = tuple(np.unique(labels[labels > 0])[:2].tolist())
    mask = locate_mask(str(path), 5, labels.shape, MaskLabels(labels=chosen))
    np.testing.assert_array_equal(mask.read(0, labels.shape), np.isin(labels, chosen))


def test_a_folder_of_tiff_masks_is_one_per_frame(tmp_path):
    masks = np.random.default_rng(0).random((12, *SHAPE)) < 0.5
    for index, mask in enumerate(masks):
        tifffile.imwrite(tmp_path / f"m{index}.tif", mask.astype("u1") * 255)
    found = locate_mask(str(tmp_path / "m*.tif"), 12, SHAPE)
    for index in (0, 2, 11):
        np.testing.assert_array_equal(found.read(index, SHAPE), masks[index])


def test_masks_static_and_per_frame(tmp_path):
    frames = FRAMES[:, 0]
    write_stack(tmp_path / "a.zarr", frames)
    source = StackFrames(locate_stack(str(tmp_path / "a.zarr")))
    static, moving = frames[0] > 0, frames > 0.1
    write_image(tmp_path / "static.zarr", static.astype("u1") * 255)
    write_image(tmp_path / "moving.zarr", moving)
    write_stack(tmp_path / "ome.zarr", static[None].astype("u1"))
    for name, expected in (
        ("static", [static] * 3),
        ("moving", moving),
        ("ome", [static] * 3),
    ):
        mask = locate_mask(str(tmp_path / f"{name}.zarr"), 3, (12, 14))
        joined = ValidFrames(source, Validity((mask,)))
        for index in range(3):
            np.testing.assert_array_equal(joined.read(index).valid, expected[index])


def test_a_mask_with_named_dims_may_have_them_in_any_order(tmp_path):
    mask = np.random.default_rng(0).random((3, 9, 9)) < 0.5
    zarr.create_array(tmp_path / "s.zarr", data=mask[0].T, dimension_names=["x", "y"])
    zarr.create_array(
        tmp_path / "m.zarr", data=mask.transpose(2, 0, 1), dimension_names=["x", "time", "y"]
    )
    static, moving = (locate_mask(str(tmp_path / f"{n}.zarr"), 3, (9, 9)) for n in "sm")
    for index in range(3):
        np.testing.assert_array_equal(static.read(index, (9, 9)), mask[0])
        np.testing.assert_array_equal(moving.read(index, (9, 9)), mask[index])


def test_a_missing_chunk_of_a_mask_means_its_fill_value(tmp_path):
    array = zarr.create_array(tmp_path / "m.zarr", shape=(8, 8), chunks=(4, 4), dtype=bool)
    array[:4, :4] = True  # Zarr leaves the empty chunks out
    mask = locate_mask(str(tmp_path / "m.zarr"), 3, (8, 8)).read(0, (8, 8))
    assert mask.sum() == 16


def test_a_mask_of_another_shape_is_refused(tmp_path):
    for shape in ((12, 13), (4, 12, 14), (3, 14, 12), (12,)):
        write_image(tmp_path / "m.zarr", np.ones(shape, bool))
        with pytest.raises(InputError, match="must be that of a frame"):
            locate_mask(str(tmp_path / "m.zarr"), 3, (12, 14))


def test_a_mask_that_cannot_be_decoded_makes_its_frame_unreadable(tmp_path):
    write_stack(tmp_path / "a.zarr", FRAMES[:, 0])
    array = zarr.create_array(
        tmp_path / "m.zarr", shape=(3, 12, 14), chunks=(1, 12, 14), dtype="u1"
    )
    array[...] = np.random.default_rng(0).integers(0, 2, (3, 12, 14))
    torn = chunk_file(tmp_path / "m.zarr", 3, 1, 0, 0)
    torn.write_bytes(torn.read_bytes()[:5])
    source = StackFrames(locate_stack(str(tmp_path / "a.zarr")))
    joined = ValidFrames(source, Validity((locate_mask(str(tmp_path / "m.zarr"), 3, (12, 14)),)))
    assert joined.read(1).status is FrameStatus.UNREADABLE
    assert joined.read(2).status is FrameStatus.OK


@pytest.mark.parametrize("per_frame", [False, True])
def test_numbers_between_0_and_1_are_refused_before_a_frame_is_read(tmp_path, per_frame):
    shape = (6, *SHAPE) if per_frame else SHAPE
    values = np.ones(shape, "f4")
    values[..., 3, 4] = 0.37
    np.save(tmp_path / "m.npy", values)
    with pytest.raises(InputError, match=r"such as 0.37: .*mask > 0.5"):
        locate_mask(str(tmp_path / "m.npy"), 6, SHAPE)
    np.save(tmp_path / "m.npy", np.ceil(values) * 255)
    assert locate_mask(str(tmp_path / "m.npy"), 6, SHAPE).read(5, SHAPE).all()


@pytest.mark.parametrize("labels", [(), (2,)])
@pytest.mark.parametrize("invert", [False, True])
def test_what_a_mask_does_not_know_is_not_valid(labels, invert):
    known = MaskLabels(labels, invert).valid(np.array([0, 2, np.nan]))
    assert known.tolist() == [invert, not invert, False]
