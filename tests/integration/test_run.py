"""The whole way: the same numbers wherever it runs, bad frames, preprocessing."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
import yaml
import zarr

import steadystack
from steadystack import quality, stages
from steadystack.config import load_config, make_config
from steadystack.model import FrameStatus, PairStatus, Trust
from steadystack.outputs import write_image, write_stack
from support import ROOT
from support.members import slow_but
from support.runs import GENERAL, SIZE, settings, views
from support.scenes import Scene, asked_of_transforms, assert_same_numbers, ellipse, rough


def test_the_shifts_are_those_of_the_scene(folder, truth):
    shifts = steadystack.run(settings(folder))
    error = shifts["frame_shift"].to_numpy() - truth
    assert np.sqrt(np.mean(error**2)) < 0.02
    assert (shifts["frame_shift"][0] == 0).all()
    assert (shifts["pair_status"] == PairStatus.OK.code).all()
    assert (shifts["frame_status"] == FrameStatus.OK.code).all()
    assert np.abs(shifts["pair_residual"]).max() < 0.1
    assert quality.verdict(shifts).trust is Trust.GOOD


def test_the_dataset_is_as_documented(folder):
    steadystack.run(settings(folder))
    with xr.open_zarr(folder / "shifts.zarr") as shifts:
        dims = {name: shifts[name].dims for name in shifts.data_vars}
        versions = json.loads(shifts.attrs["versions"])
        configuration = json.loads(shifts.attrs["configuration"])
        assert shifts["pixel_size"].to_numpy().tolist() == [0.5, 0.5]
        assert shifts["pixel_size"].attrs["units"] == "micrometer"
        flags = shifts["frame_status"].attrs
        assert len(flags["flag_values"]) == len(flags["flag_meanings"].split())
    frame, pair = ("frame",), ("pair",)
    assert dims == {
        "frame_shift": ("frame", "axis"),
        "frame_shift_std": ("frame", "axis"),
        "frame_stated_std": ("frame", "axis"),
        "frame_part_std": ("frame", "axis"),
        "frame_part_weight": ("frame", "part"),
        "frame_part_step": ("frame", "part", "axis"),
        "object_position": ("frame", "axis"),
        "object_position_std": ("frame", "axis"),
        "frame_linear": ("frame", "axis", "of_axis"),
        "frame_linear_std": ("frame", "axis", "of_axis"),
        "frame_rotation": frame,
        "frame_rotation_std": frame,
        "frame_rotation_vector": (*frame, "axis"),
        "frame_rotation_vector_std": (*frame, "axis"),
        "frame_scale": frame,
        "frame_scale_std": frame,
        "frame_local_shift": ("frame", "node_y", "node_x", "axis"),
        "frame_local_shift_std": ("frame", "node_y", "node_x", "axis"),
        "frame_local_status": ("frame", "node_y", "node_x"),
        "frame_status": frame,
        "frame_read_status": frame,
        "component": frame,
        "pair_count": frame,
        "frame_ncc": frame,
        "part_centre": ("part", "axis"),
        "pixel_size": ("axis",),
        "pair_reference": pair,
        "pair_moving": pair,
        "pair_shift": ("pair", "axis"),
        "pair_shift_std": ("pair", "axis"),
        "pair_residual": ("pair", "axis"),
        "pair_ncc": pair,
        "pair_second_peak_ratio": pair,
        "pair_fixed_pattern_share": pair,
        "pair_overlap": pair,
        "pair_part_std": ("pair", "axis"),
        "pair_part_step": ("pair", "part", "axis"),
        "pair_channel_weight": ("pair", "channel"),
        "channel_offset": ("channel", "axis"),
        "channel_offset_std": ("channel", "axis"),
        "channel_offset_status": ("channel",),
        "pair_weight": pair,
        "pair_status": pair,
    }
    assert {"steadystack", "python", "numpy", "dask", "zarr"} <= set(versions)
    assert configuration["register"]["max_shift"] == 10
    assert {"convention", "fingerprint", "input", "input_digest", "created", "verdict"} <= set(
        shifts.attrs
    )


@pytest.mark.slow  # by default test_faults compares two workers, of which one is killed
@pytest.mark.parametrize("workers", [1, 2])
def test_a_cluster_gives_the_same_numbers_bit_for_bit(folder, workers):
    small = {"kind": "in-process", "task_memory": "860 KiB"}  # many tasks
    here = steadystack.run(settings(folder, output={"shifts": "here.zarr"}, cluster=small))
    cluster = {"kind": "local", "workers": workers, "task_memory": "860 KiB"}
    config = settings(folder, output={"shifts": "there.zarr"}, cluster=cluster)
    assert stages.plan(config).tasks >= 3
    assert_same_numbers(here, steadystack.run(config))


def test_batches_do_not_change_the_numbers(folder):
    results = [
        steadystack.run(
            settings(
                folder,
                output={"shifts": f"{memory[0]}.zarr"},
                cluster={"kind": "in-process", "task_memory": memory},
            )
        )
        for memory in ("860 KiB", "900 MiB")
    ]
    assert_same_numbers(*results)


@pytest.mark.usefixtures("no_look_at_what_stands_still")
def test_in_python_as_in_the_shell(folder, frames, client):
    ran = steadystack.run(settings(folder))
    options = {
        "max_shift": 10,
        "pairs": {"strategy": "window", "width": 3},
        "mask": ellipse(SIZE, 0.95),
    }
    stack = steadystack.open_stack(str(folder / "stack.zarr"))
    dims = ("t", "y", "x")
    for given in (frames, xr.DataArray(frames, dims=dims), stack, stack.transpose("y", "x", "t")):
        found = steadystack.estimate_shifts(given, client=client, **options)
        for name in ("frame_shift", "frame_shift_std", "pair_ncc", "pair_status", "frame_status"):
            assert found[name].to_numpy().tobytes() == ran[name].to_numpy().tobytes()
    in_um = steadystack.estimate_shifts(stack, **options | {"max_shift": "5 um"})
    assert in_um["frame_shift"].to_numpy().tobytes() == ran["frame_shift"].to_numpy().tobytes()
    assert in_um["pixel_size"].attrs["units"] == "micrometer"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda frames: (frames[0], {}), "3 or 4 axes"),
        (lambda frames: (frames[:1], {}), "a stack of 1 frame"),
        (lambda frames: (frames, {"mask": np.ones((3, 3))}), "the mask has the shape"),
        (lambda frames: (frames, {"pairs": {"widht": 3}}), "did you mean width"),
        (lambda frames: (frames, {"pairs": "separations"}), "pairs: 'separations' is not allowed"),
        (lambda frames: ("stack.zarr", {}), "is a path: open it with steadystack.open_stack"),
        (lambda frames: (xr.Dataset({"a": ("t", [1])}), {}), "a Dataset holds several"),
        (lambda frames: (frames, {"max_shift": 0}), "leaves nothing to search"),
        (lambda frames: (frames, {"max_shift": 200}), r"register.max_shift 200 along y"),
        (lambda frames: (frames.astype(complex), {}), "real numbers"),
        (
            lambda frames: (xr.DataArray(frames, dims=("t", "c", "x")), {}),
            "two of z, y, x are needed",
        ),
        (lambda frames: (xr.DataArray(frames, dims=("a", "y", "x")), {}), "t is needed"),
    ],
)
def test_wrong_use_in_python_is_reported(frames, change, words):
    stack, options = change(frames)
    with pytest.raises(steadystack.InputError, match=words):
        steadystack.estimate_shifts(stack, **options)


# Frames that are no use


def test_bad_frames_are_flagged_and_move_no_other(tmp_path, truth):
    """Blank, saturated, all NaN, torn, dark, unrelated: a status each, and nobody else notices."""
    good = (1000 + 200 * views(truth)).astype("f4")
    bad = good.copy()
    bad[1], bad[3], bad[5] = 0, 65535, np.nan
    bad[9] = 1000 + 200 * rough(99, SIZE, 1)
    for name, data in (("good", good), ("bad", bad)):
        write_stack(tmp_path / f"{name}.zarr", data)
    torn = tmp_path / "bad.zarr" / "0" / "c" / "7" / "0" / "0"
    torn.write_bytes(torn.read_bytes()[:100])
    (tmp_path / "bad.zarr" / "0" / "c" / "10" / "0" / "0").unlink()
    base = {"mask": {}, "pairs": {"strategy": "all"}}
    found = steadystack.run(settings(tmp_path, input={"path": "bad.zarr"}, **base))
    names = [str(FrameStatus.from_code(code)) for code in found["frame_status"].to_numpy()]
    assert names == [
        "ok", "flat", "ok", "flat", "ok", "empty", "ok", "unreadable", "ok", "disconnected",
        "missing", "ok",
    ]  # fmt: skip
    lost = np.array([name != "ok" for name in names])
    assert np.isnan(found["frame_shift"].to_numpy()[lost]).all()
    assert np.isnan(found["frame_shift_std"].to_numpy()[lost]).all()
    assert (found["component"].to_numpy()[lost] == -1).all()

    keep = np.flatnonzero(~lost)
    whole = steadystack.estimate_shifts(good[keep], max_shift=10, pairs={"strategy": "all"})
    np.testing.assert_array_equal(found["frame_shift"].to_numpy()[keep], whole["frame_shift"])

    pairs = {
        (int(i), int(j)): str(PairStatus.from_code(code))
        for i, j, code in zip(
            found["pair_reference"], found["pair_moving"], found["pair_status"].to_numpy(),
            strict=True,
        )
    }  # fmt: skip
    assert pairs[0, 1] == pairs[3, 4] == "flat"
    assert pairs[0, 5] == pairs[0, 10] == "empty"
    assert pairs[2, 7] == "unreadable"
    assert pairs[0, 9] in ("low_ncc", "at_search_limit", "ambiguous")
    assert pairs[0, 2] == "ok"


def test_a_series_that_falls_apart_says_so(tmp_path):
    one, other = (
        views([(0, 0), (1, 0), (2, 1), (0, 3)], 1),
        views([(0, 0), (2, 2), (1, 0), (3, 3)], 2),
    )
    found = steadystack.estimate_shifts(np.concatenate([one, other]), max_shift=10)
    assert found["component"].to_numpy().tolist() == [0] * 4 + [1] * 4
    assert (found["frame_shift"][4] == 0).all()
    assert "falls into 2 parts" in found.attrs["verdict_reasons"]
    np.testing.assert_allclose(found["frame_shift"][5], [2, 2], atol=0.1)


def test_a_stack_of_nothing_is_not_trusted(tmp_path):
    write_stack(tmp_path / "stack.zarr", np.zeros((4, 16, 16), "u1"))
    found = steadystack.run(settings(tmp_path, mask={}, register={}))
    assert np.isnan(found["frame_shift"]).all()
    assert quality.verdict(found).trust is Trust.UNRELIABLE


def test_too_small_a_search_is_named(truth):
    jumps = truth * 4
    found = steadystack.estimate_shifts(
        views(jumps), max_shift=2, pairs={"strategy": "consecutive"}
    )
    assert found.attrs["verdict"] == "unreliable"
    assert (
        "raise register.max_shift" in found.attrs["verdict_reasons"]
        or "no shift" in found.attrs["verdict_reasons"]
    )
    beyond = np.abs(np.diff(jumps, axis=0)).max(axis=1) > 2.6
    assert beyond.sum() > 4
    assert (found["pair_status"].to_numpy()[beyond] != PairStatus.OK.code).all()


# Preprocessing


@pytest.mark.usefixtures("no_look_at_what_stands_still")
@pytest.mark.parametrize("kind", slow_but(["in-process"], ["in-process", "local"]))
def test_the_stack_s_own_flat_field_takes_away_what_stands_still(tmp_path, kind):
    """A fixed pattern as strong as the scene pulls small steps to zero; its median removes it."""
    truth = np.cumsum(np.full((40, 2), [0.35, -0.25]), axis=0)
    truth -= truth[0]
    pattern = np.exp(0.25 * rough(5, SIZE, 1.2) / rough(5, SIZE, 1.2).std())
    stack = (10 + 2.5 * views(truth, noise=0.02)) * pattern
    write_stack(tmp_path / "stack.zarr", stack.astype("f4"))
    pairs = {"strategy": "separations", "separations": [1, 8]}
    errors = {}
    for name, how in (("none", {}), ("median", {"flat_field": "median"})):
        found = steadystack.run(
            settings(
                tmp_path, mask={}, preprocess=how, pairs=pairs, output={"shifts": f"{name}.zarr"},
                cluster={"kind": kind} | ({} if kind == "in-process" else {"workers": 1}),
            )
        )  # fmt: skip
        errors[name] = np.nan_to_num(found["frame_shift"].to_numpy() - truth, nan=5.0)
    rms = {name: np.sqrt(np.mean(error**2)) for name, error in errors.items()}
    assert rms["none"] > 1
    assert rms["median"] < 0.15
    from_array = steadystack.estimate_shifts(
        stack.astype("f4"), max_shift=10, pairs=pairs, preprocess={"flat_field": "median"}
    )
    np.testing.assert_array_equal(from_array["frame_shift"] - truth, errors["median"])
    flat = np.median(stack.astype("f4"), axis=0)
    write_image(tmp_path / "flat.zarr", flat)
    given = steadystack.run(
        settings(
            tmp_path, mask={}, preprocess={"flat_field": "flat.zarr"}, pairs=pairs,
            output={"shifts": "given.zarr"},
        )
    )  # fmt: skip
    np.testing.assert_allclose(given["frame_shift"] - truth, errors["median"], atol=1e-3)


def test_three_dimensions(tmp_path):
    truth = np.array([[0, 0, 0], [1, -2, 3], [-0.5, 1.5, 0.25]])
    world = Scene(7, ndim=3)
    volumes = np.stack([world.view((12, 40, 44), origin) for origin in truth])
    write_stack(tmp_path / "stack.zarr", volumes.astype("f4"), axes="tzyx")
    found = steadystack.run(settings(tmp_path, mask={}, register={"max_shift": [3, 6, 6]}))
    assert found["axis"].to_numpy().tolist() == ["z", "y", "x"]
    np.testing.assert_allclose(found["frame_shift"], truth, atol=0.05)


@pytest.mark.usefixtures("no_look_at_what_stands_still")
def test_own_flat_field_knows_the_mask(tmp_path):
    """A third of the pixels are 0 and marked so: as good as if they were NaN."""
    truth = np.cumsum(np.full((30, 2), [0.9, -0.7]), axis=0)
    truth -= truth[0]
    stack = (10 + 2 * views(truth)).astype("f4")
    lost = np.random.default_rng(0).random(stack.shape) < 0.33
    options = {"max_shift": 12, "preprocess": {"flat_field": "median"}}
    write_stack(tmp_path / "stack.zarr", np.where(lost, 0, stack))
    marked = steadystack.run(
        settings(
            tmp_path, mask={"invalid_values": [0]}, register={"max_shift": 12},
            preprocess={"flat_field": "median"}, pairs={},
        )
    )  # fmt: skip
    unknown = steadystack.estimate_shifts(np.where(lost, np.nan, stack), **options)
    np.testing.assert_array_equal(marked["frame_shift"], unknown["frame_shift"])


@pytest.mark.parametrize("how", [{"flat_field": "median"}, {"high_pass": 5.0}])
def test_a_blank_frame_stays_blank_whatever_is_done_to_it(how):
    """A flat field or a high-pass gives texture to a frame that has none; it must not count."""
    truth = np.cumsum(np.full((10, 2), [1.1, -0.8]), axis=0)
    stack = 10 + 2 * views(truth)
    stack[[2, 5, 6]] = 12.3
    found = steadystack.estimate_shifts(stack, max_shift=8, preprocess=how)
    assert (found["frame_status"].to_numpy() == FrameStatus.FLAT.code).nonzero()[0].tolist() == [
        2, 5, 6,
    ]  # fmt: skip


def test_an_incomplete_frame_says_so_in_the_end(tmp_path, frames):
    array = zarr.create_array(
        tmp_path / "stack.zarr", shape=frames.shape, chunks=(1, 32, 72), dtype="u2"
    )
    array[...] = frames
    (tmp_path / "stack.zarr" / "c" / "4" / "0" / "0").unlink()
    config = settings(tmp_path, mask={})
    measured = stages.measure(config)
    expected = [FrameStatus.OK.code] * 12
    expected[4] = FrameStatus.INCOMPLETE.code
    assert measured["frame_status"].to_numpy().tolist() == expected
    for solved in (stages.solve(config), stages.solve(config)):
        assert solved["frame_status"].to_numpy().tolist() == expected
        assert np.isfinite(solved["frame_shift"]).all()


def test_contradictions_and_a_lost_anchor_are_worth_a_look(truth, frames):
    dark = frames.copy()
    dark[0] = 7
    found = steadystack.estimate_shifts(dark, max_shift=10)
    assert found.attrs["anchors"] == "[1]"
    assert found.attrs["verdict"] == "check"
    assert "relative to frame 1" in found.attrs["verdict_reasons"]
    still = steadystack.estimate_shifts(np.stack([frames[0]] * 4), max_shift=10)
    assert "either nothing drifts" in still.attrs["verdict_reasons"]


def test_axes_and_time_are_those_of_the_stack(frames):
    stack = xr.DataArray(
        frames,
        {
            "t": ("t", 2.0 * np.arange(12), {"units": "second"}),
            "z": ("z", 0.2 * np.arange(64), {"units": "micrometer"}),
            "x": ("x", 0.1 * np.arange(72), {"units": "micrometer"}),
        },
        ("t", "z", "x"),
    )
    found = steadystack.estimate_shifts(stack, max_shift="1 um")
    assert found["axis"].to_numpy().tolist() == ["z", "x"]
    np.testing.assert_allclose(found["pixel_size"], (0.2, 0.1))
    assert found["time"].to_numpy().tolist() == (2.0 * np.arange(12)).tolist()
    assert found["pair_shift"].attrs["units"] == "pixel"
    plain = steadystack.estimate_shifts(frames, max_shift=10)
    assert np.isnan(plain["pixel_size"]).all()
    assert "units" not in plain["pixel_size"].attrs
    assert steadystack.correct(stack, found).shape == stack.shape


@pytest.mark.parametrize(
    "kind",
    slow_but(
        ["masks on disk"],
        ["static and NaN", "a mask per frame", "masks on disk"],
    ),
)
def test_masks_that_are_nearly_common_give_what_single_pairs_give(tmp_path, monkeypatch, kind):
    """A few pixels of each frame are dead; further pairs cost one product all the same."""
    rng = np.random.default_rng(5)
    scene = Scene(7)
    shape = (96, 96)
    frames = np.stack([scene.view(shape, (1.5 * t, -t)) for t in range(6)]).astype("f4")
    masks = np.repeat(ellipse(shape, 0.9)[None], 6, axis=0)
    for mask in masks:
        mask[tuple(rng.integers(30, 60, (2, 4)))] = False
    asked = asked_of_transforms(monkeypatch)
    how = {"max_shift": 10, "pairs": {"strategy": "all"}}
    if kind == "static and NaN":
        seen = np.where(masks, frames, np.nan)
        shifts = steadystack.estimate_shifts(seen, mask=ellipse(shape, 0.9), **how)
    elif kind == "a mask per frame":
        shifts = steadystack.estimate_shifts(frames, mask=masks, **how)
    else:
        write_stack(tmp_path / "stack.zarr", frames)
        write_image(tmp_path / "mask.zarr", masks)
        shifts = steadystack.run(
            make_config(
                {
                    "input": {"path": "stack.zarr"},
                    "mask": {"path": "mask.zarr"},
                    "register": {"max_shift": 10},
                    "pairs": {"strategy": "all"},
                    "cluster": {"kind": "in-process"},
                },
                tmp_path,
            )
        )
    products = [wanted for wanted in asked if "cross" in wanted]
    alone = [wanted for wanted in products if wanted == ["cross"]]
    # of masks on disk only five are asked for what they have in common
    assert len(alone) >= (10 if kind == "masks on disk" else 15)
    for row in range(0, 15, 2):
        a, b = int(shifts["pair_reference"][row]), int(shifts["pair_moving"][row])
        single = steadystack.register_translation(
            frames[a], frames[b], reference_mask=masks[a], moving_mask=masks[b], max_shift=10
        )
        np.testing.assert_allclose(shifts["pair_shift"][row], single.shift, atol=1e-4)
        assert float(shifts["pair_ncc"][row]) == pytest.approx(single.ncc, abs=1e-5)
        assert float(shifts["pair_overlap"][row]) == pytest.approx(single.overlap)


@pytest.mark.parametrize("name", GENERAL)
def test_general_examples_run(tmp_path, name, frames, truth, client):
    """On a small series made for it, under the names that stand in the file."""
    path = ROOT / "configs" / f"{name}.yaml"
    raw = yaml.safe_load(path.read_text())
    write_stack(tmp_path / raw["input"]["path"], frames, pixel_size=(0.5, 0.5))
    if "cluster" in raw and raw["cluster"]["kind"] == "address":
        raw["cluster"]["address"] = client.scheduler.address
    else:
        raw["cluster"] = {"kind": "in-process"}
    (tmp_path / path.name).write_text(yaml.safe_dump(raw))
    found = steadystack.run(load_config(tmp_path / path.name))
    assert np.sqrt(np.nanmean((found["frame_shift"].to_numpy() - truth) ** 2)) < 0.1
    assert quality.verdict(found).trust is Trust.GOOD
