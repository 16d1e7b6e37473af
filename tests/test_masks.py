"""Masks as people have them: label images, TIFF, .npy, shapes, saturation, the opposite sense."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import yaml
import zarr
from click.testing import CliRunner
from skimage import draw

import steadystack
from helpers import ellipse, rough
from steadystack.cli import main
from steadystack.conditioning import Conditioning, looks_inverted, usable_pixels
from steadystack.config import make_config
from steadystack.guide import check
from steadystack.model import InputError
from steadystack.outputs import write_image, write_stack
from steadystack.planning import open_series, set_up
from steadystack.readers import Sense, locate_mask
from steadystack.validity import DrawnMask, Ellipse, Polygon

SHAPE = (40, 52)


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
        (Sense(), lambda labels: labels != 0),
        (Sense(invert=True), lambda labels: labels == 0),
        (Sense(labels=(2, 3)), lambda labels: (labels == 2) | (labels == 3)),
        (Sense(labels=(2, 3), invert=True), lambda labels: (labels != 2) & (labels != 3)),
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
    mask = locate_mask(str(path), 5, labels.shape, Sense(labels=chosen))
    np.testing.assert_array_equal(mask.read(0, labels.shape), np.isin(labels, chosen))


def test_a_folder_of_tiff_masks_is_one_per_frame(tmp_path):
    masks = np.random.default_rng(0).random((12, *SHAPE)) < 0.5
    for index, mask in enumerate(masks):
        tifffile.imwrite(tmp_path / f"m{index}.tif", mask.astype("u1") * 255)
    found = locate_mask(str(tmp_path / "m*.tif"), 12, SHAPE)
    for index in (0, 2, 11):
        np.testing.assert_array_equal(found.read(index, SHAPE), masks[index])


# Shapes


@pytest.mark.parametrize("seed", range(5))
def test_ellipses_and_polygons_are_those_of_scikit_image(seed):
    rng = np.random.default_rng(seed)
    part = (slice(5, 33), slice(0, 41))
    centre, radii = rng.uniform(5, 40, 2), rng.uniform(4, 20, 2)
    expected = np.zeros(SHAPE, bool)
    expected[draw.ellipse(*centre, *radii, shape=SHAPE)] = True
    found = Ellipse(tuple(centre), tuple(radii)).covers(part)
    np.testing.assert_array_equal(found, expected[part])
    corners = rng.uniform(-10, 60, (6, 2))  # some outside of the frame, edges that cross
    expected = draw.polygon2mask(SHAPE, corners)
    found = Polygon(tuple(map(tuple, corners.tolist()))).covers(part)
    np.testing.assert_array_equal(found, expected[part])


def test_shapes_of_volumes():
    shape, part = (6, *SHAPE), (slice(1, 5), slice(2, 40), slice(0, 50))
    ball = Ellipse((3, 20, 26), (2.5, 10, 12))
    z, y, x = np.indices(shape)
    inside = ((z - 3) / 2.5) ** 2 + ((y - 20) / 10) ** 2 + ((x - 26) / 12) ** 2 <= 1
    prism = Polygon(((0, 0), (0, 30), (30, 0)))
    mask = DrawnMask(((ball, True), (prism, False)))
    expected = inside & ~np.broadcast_to(prism.covers((slice(0, 40), slice(0, 52))), shape)
    np.testing.assert_array_equal(mask.read(0, shape), expected)
    np.testing.assert_array_equal(mask.read(3, shape, part), expected[part])


def settings(tmp_path, mask, frames=None, pixel_size=(0.5, 0.25), **more):
    frames = rough(0, (3, *SHAPE), 2).astype("f4") if frames is None else frames
    write_stack(tmp_path / "a.zarr", frames, pixel_size=pixel_size)
    return make_config(
        {"input": {"path": "a.zarr"}, "mask": mask, "cluster": {"kind": "in-process"},
         "register": {"max_shift": 8}, **more},
        tmp_path,
    )  # fmt: skip


def valid_in(config, frame=0):
    series, _ = open_series(config)
    method = set_up(config, series).method
    found = series.source.read(frame)
    return usable_pixels(found.image, found.valid, method.conditioning)


def test_shapes_in_pixels_and_in_micrometers(tmp_path):
    inside = {"ellipse": {"centre": [20, 26], "radii": [15, 20]}}
    lengths = {"ellipse": {"centre": ["10 um", "6500 nm"], "radii": ["7.5 um", 20]}}
    stop = {"polygon": [[0, 0], [0, 12], ["5 um", 0]], "valid": "outside"}
    y, x = np.indices(SHAPE)
    expected = ((y - 20) / 15) ** 2 + ((x - 26) / 20) ** 2 <= 1
    expected &= ~Polygon(((0, 0), (0, 12), (10, 0))).covers((slice(0, 40), slice(0, 52)))
    for ellipse_ in (inside, lengths):
        config = settings(tmp_path, {"shapes": [ellipse_, stop]})
        np.testing.assert_array_equal(valid_in(config), expected)
        region = set_up(config, open_series(config)[0]).method.region
        assert region == (slice(5, 36), slice(6, 47))  # only that part is read


def test_shapes_join_the_other_causes(tmp_path):
    moving = np.random.default_rng(1).random((3, *SHAPE)) < 0.8
    write_image(tmp_path / "m.zarr", ~moving)
    frames = rough(0, (3, *SHAPE), 2).astype("f4")
    frames[1, 20, 20] = np.nan
    stop = {"ellipse": {"centre": [20, 26], "radii": [5, 5]}, "valid": "outside"}
    config = settings(
        tmp_path, {"path": "m.zarr", "invert": True, "shapes": [stop], "border": 2}, frames
    )
    y, x = np.indices(SHAPE)
    expected = moving[1] & ((y - 20) ** 2 + (x - 26) ** 2 > 25) & np.isfinite(frames[1])
    for sides in ((slice(0, 2),), (slice(-2, None),), (..., slice(0, 2)), (..., slice(-2, None))):
        expected[sides] = False
    np.testing.assert_array_equal(valid_in(config, 1), expected)


def test_a_run_knows_the_shapes(tmp_path):
    """Frames that agree inside of the ellipse and stand still outside: the shape decides."""
    whole = rough(3, (60, 70), 2) * 100
    frames = np.stack([whole[10 - t : 50 - t, 9:61] for t in range(3)])  # moves by +t along y
    still = rough(4, SHAPE, 2) * 400
    inside = ellipse(SHAPE, 0.8)
    frames = np.where(inside, frames, still).astype("f4")
    field = {"ellipse": {"centre": [19.5, 25.5], "radii": [15.9, 20.7]}}
    config = settings(
        tmp_path, {"shapes": [field]}, frames, output={"shifts": "s.zarr"}, solve={"anchor": 0}
    )
    shifts = steadystack.run(config)
    np.testing.assert_allclose(shifts["shift"].sel(axis="y"), [0, -1, -2], atol=0.05)
    np.testing.assert_allclose(shifts["shift"].sel(axis="x"), 0, atol=0.05)


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        ({"shapes": [{"valid": "inside"}]}, "mask.shapes.0: a shape is one of ellipse and polygon"),
        ({"shapes": [{"polygon": [[0, 0], [1, 1]]}]}, r"mask.shapes.0.polygon: .*at least 3"),
        ({"shapes": [{"ellipse": {"centre": [1, 2], "radii": [1, 2, 3]}}]}, "not as many axes"),
        ({"shapes": [{"elipse": {}}]}, "unknown key"),
        ({"shapes": [{"ellipse": {"centre": [1, 1], "radii": [0, 5]}}]}, "must be more than 0"),
        ({"shapes": [{"ellipse": {"centre": ["3 parsec", 1], "radii": [2, 5]}}]},
         "mask.shapes.0.ellipse.centre '3 parsec' is neither pixels nor a length"),
        ({"shapes": [{"ellipse": {"centre": [1, 1, 1], "radii": [2, 5, 5]}}]},
         "has 3 axes, and frames have 2: y, x"),
        ({"shapes": [{"ellipse": {"centre": [900, 900], "radii": [2, 5]}}]},
         "mask.shapes.0 holds no pixel of frames"),
        ({"invert": True}, "invert says how to read mask.path, which is not set"),
        ({"labels": [1]}, "labels says how to read mask.path"),
        ({"saturation": "many"}, "mask.saturation: 'many' is not allowed"),
        ({"saturation": "auto"}, "auto is for whole numbers, and the stack holds float32"),
    ],
)  # fmt: skip
def test_wrong_masks_are_told(tmp_path, mask, words):
    with pytest.raises(InputError, match=words):
        open_series(settings(tmp_path, mask))


def test_a_length_needs_a_pixel_size(tmp_path):
    shapes = [{"ellipse": {"centre": ["5 um", 9], "radii": [4, 4]}}]
    with pytest.raises(InputError, match=r"needs a pixel size .*set input.pixel_size"):
        open_series(settings(tmp_path, {"shapes": shapes}, pixel_size=None))
    told = {"input": {"path": str(tmp_path / "a.zarr"), "pixel_size": 0.5}}
    given = make_config({**told, "mask": {"shapes": shapes}})
    assert valid_in(given)[10, 9]


# Saturation


@pytest.mark.parametrize(
    ("dtype", "top", "given", "expected"),
    [
        ("u2", 4095, "auto", 4095),  # a camera of 12 bits
        ("u2", 65535, "auto", 65535),
        ("u2", 4000, "auto", 65535),  # nothing is saturated
        ("u1", 255, "auto", 255),
        ("i2", 32767, "auto", 32767),
        ("f4", 1000, 900.5, 900.5),
        ("u2", 4095, 3000, 3000),
    ],
)
def test_saturation(tmp_path, dtype, top, given, expected):
    rng = np.random.default_rng(0)
    frames = rng.integers(0, int(top * 0.8), (3, *SHAPE)).astype(dtype)
    frames[:, 10:14, 20:25] = top
    config = settings(tmp_path, {"saturation": given}, frames)
    series, _ = open_series(config)
    assert series.saturation == expected
    np.testing.assert_array_equal(valid_in(config), frames[0] < expected)


def test_a_single_pixel_is_not_yet_saturation(tmp_path):
    frames = np.random.default_rng(0).integers(0, 900, (3, *SHAPE)).astype("u2")
    frames[1, 3, 3] = 1023
    assert open_series(settings(tmp_path, {"saturation": "auto"}, frames))[0].saturation == 65535


def test_saturation_of_what_is_read():
    image = np.array([1.0, 4095, 4096, np.nan])
    valid = usable_pixels(image, np.ones(4, bool), Conditioning(saturation=4095))
    assert valid.tolist() == [True, False, False, False]


# Which sense a mask has


def frames_behind(kind, seed=0):
    """A frame whose scene is seen inside of an ellipse; what lies outside is of that kind."""
    rng = np.random.default_rng(seed)
    scene = 100 + 20 * rough(seed, (96, 96), 2) / rough(seed, (96, 96), 2).std()
    outside = {
        "constant": np.zeros(scene.shape),
        "saturated": np.full(scene.shape, 255.0),
        "dark": rng.normal(3, 1, scene.shape),
    }[kind]
    inside = ellipse(scene.shape, 0.7)
    return np.where(inside, scene, outside), inside


@pytest.mark.parametrize("kind", ["constant", "saturated", "dark"])
@pytest.mark.parametrize("seed", range(3))
def test_a_mask_that_is_inverted_looks_so(kind, seed):
    image, inside = frames_behind(kind, seed)
    assert looks_inverted(image, ~inside)
    assert not looks_inverted(image, inside)
    assert not looks_inverted(image, np.ones(image.shape, bool))


@pytest.mark.parametrize("seed", range(3))
def test_proper_masks_do_not_look_inverted(seed):
    rng = np.random.default_rng(seed)
    scene = 100 + 20 * rough(seed, (96, 96), 2)
    hot = rng.random(scene.shape) < 0.1  # taken away: wild, but no scene
    assert not looks_inverted(np.where(hot, rng.uniform(0, 4000, scene.shape), scene), ~hot)
    debris = ellipse(scene.shape, 0.4)  # taken away: a scene of more contrast
    assert not looks_inverted(np.where(debris, scene * 10, scene), ~debris)
    assert not looks_inverted(rng.normal(0, 1, scene.shape), ellipse(scene.shape, 0.5))
    nothing = np.full(scene.shape, np.nan)
    assert not looks_inverted(nothing, ellipse(scene.shape, 0.5))


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


def test_check_draws_frames_and_mask_together(tmp_path):
    write_image(tmp_path / "m.zarr", ellipse(SHAPE))
    config = settings(tmp_path, {"path": "m.zarr"}, output={"shifts": "s.zarr"})
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config.dump()))
    picture = tmp_path / "seen.png"
    words = ["check", str(tmp_path / "run.yaml"), "--picture"]
    done = CliRunner().invoke(main, [*words, str(picture)])
    assert done.exit_code == 0, done.output
    assert picture.read_bytes().startswith(b"\x89PNG")
    for wrong, what in (("seen.bmp", "must end in .png"), ("no/seen.png", "no such folder")):
        told = CliRunner().invoke(main, [*words, str(tmp_path / wrong)])
        assert told.exit_code == 2
        assert what in told.stderr


def test_the_picture_shows_what_is_not_valid(tmp_path):
    from matplotlib.image import imread

    from steadystack.plot import overlay_figure

    valid = np.ones((2, 3000, 20), bool)
    valid[:, :, 10:] = False
    image = np.where(valid, 5.0, np.nan)
    overlay_figure([("a", image, valid)]).savefig(tmp_path / "a.png")
    pixels = imread(tmp_path / "a.png")[..., :3]
    orange = (pixels[..., 0] > pixels[..., 2] + 0.2).mean()
    assert 0 < orange < 0.5
