"""Runs that measure several channels: one shift for each frame, and what is told of channels."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import xarray as xr
import zarr
from click.testing import CliRunner

import steadystack
from followed_scenes import make_followed_scene
from steadystack import stages
from steadystack.cli import main
from steadystack.measure import measure_pairs
from steadystack.model import FrameStatus, InputError, PairStatus, PairTable, Reason, Trust
from steadystack.ncc import tiles
from steadystack.outputs import write_image, write_stack
from steadystack.planning import open_series, set_up
from support.journals import assert_equal_tables
from support.members import slow_but
from support.runs import walk
from support.scenes import Scene, assert_same_numbers
from support.settings import config_of, write_run
from support.turning import turn

SIZE = (64, 72)
NOISE = (0.2, 1.5, 0.4)
SEVERAL = {"path": "stack.zarr", "channel": [0, 1, 2]}
QUICK = {
    "mask": {"defects": None, "parts": None},
    "register": {"max_shift": 8},
    "preprocess": {"low_pass": None, "high_pass": None},
    "pairs": {"strategy": "window", "width": 3},
}


def make_channels(truth=None, ways=(1, 1, 1), noise=NOISE, seed=0):
    """Frames (t, c, y, x), a scene of its own in each channel, going so often the truth's way."""
    truth, rng = walk() if truth is None else truth, np.random.default_rng(seed)
    channels = [
        [Scene(seed + 7 * number).view(SIZE, way * shift) for shift in truth]
        for number, way in enumerate(ways)
    ]
    frames = np.stack(channels, axis=1)
    frames += np.array(noise[: len(ways)])[:, None, None] * rng.normal(size=frames.shape)
    return (1000 + 100 * frames).astype("f4")


def write(folder, frames, **sections):
    write_stack(folder / "stack.zarr", frames, axes="tcyx")
    return settings(folder, **sections)


def settings(folder, **sections):
    usual = {"input": SEVERAL, "output": {"shifts": "shifts.zarr"}}
    return config_of(folder, **QUICK | usual | sections)


def assert_right(shifts, most=3.5):
    """The shifts are those of the walk, within their errors."""
    off = (shifts["frame_shift"].to_numpy() - walk()[: shifts.sizes["frame"]])[1:]
    relative = off / shifts["frame_shift_std"].to_numpy()[1:]
    assert np.abs(relative).max() < most


def measured(config):
    """The layout of a run, and its pairs."""
    series, _ = open_series(config)
    setup = set_up(config, series)
    table = PairTable.of_frames(setup.pairs, series.source)
    *_, (table, _) = measure_pairs(series.source, table, setup.method, setup.size)
    return setup, table


def test_channels_give_one_shift_better_than_each_alone(tmp_path, hurried):
    config = write(tmp_path, make_channels())
    shifts = steadystack.run(config)
    assert_right(shifts)
    assert shifts["channel"].to_numpy().tolist() == ["0", "1", "2"]
    weight = shifts["pair_channel_weight"].mean("pair").to_numpy()
    assert weight[0] > weight[2] > weight[1] > 0
    std = shifts["pair_shift_std"].mean().item()
    for number in range(3):
        one = settings(tmp_path, input={"path": "stack.zarr", "channel": number})
        _, alone = measured(one)
        assert alone.shift_std.mean() > std
        np.testing.assert_array_equal(alone.channel_weight, 1)
        assert one.fingerprint("") != config.fingerprint("")


def test_a_channel_that_is_empty_in_some_frames_says_nothing_there(tmp_path, hurried):
    frames = make_channels()
    frames[[3, 7], 0] = 0
    frames[5, :] = 0
    shifts = steadystack.run(write(tmp_path, frames))
    status = shifts["frame_status"].to_numpy()
    assert status[5] == FrameStatus.FLAT.code
    lost = np.arange(12) == 5
    assert np.isfinite(shifts["frame_shift"].to_numpy()).all(axis=1).tolist() == (~lost).tolist()
    off = np.abs(shifts["frame_shift"].to_numpy() - walk())[~lost]
    assert off.max() < 0.3
    is_there = np.isfinite(shifts["pair_channel_weight"].to_numpy())
    ends = np.stack([shifts["pair_reference"], shifts["pair_moving"]])
    assert not is_there[np.isin(ends, [3, 7]).any(axis=0), 0].any()
    assert is_there[~np.isin(ends, [3, 5, 7]).any(axis=0)].all()


def test_a_channel_that_goes_its_own_way_is_outvoted_and_reported(tmp_path, hurried):
    shifts = steadystack.run(write(tmp_path, make_channels(ways=(1, 1, -1), noise=(0.4,) * 3)))
    assert_right(shifts)
    told = [words for words in steadystack.verdict(shifts).reasons if "channel" in words]
    assert len(told) == 1
    assert told[0].startswith("channel 2 contradicts the majority of the others in ")
    assert "contradicts the majority" in shifts.attrs["verdict_reasons"]


def test_two_channels_that_contradict_each_other_are_reported(tmp_path, hurried):
    config = write(
        tmp_path,
        make_channels(ways=(1, -1), noise=(0.4, 0.4)),
        input={"path": "stack.zarr", "channel": [0, 1]},
    )
    shifts = steadystack.run(config)
    found = steadystack.verdict(shifts)
    assert found.trust == "unreliable"
    assert "channels contradict each other in" in str(found)
    assert "fit equally well at another shift" not in str(found)
    status = shifts["pair_status"].to_numpy()
    assert (status == PairStatus.AMBIGUOUS.code).mean() > 0.5


def test_one_channel_of_a_list_is_that_channel(tmp_path):
    write(tmp_path, make_channels())
    tables = [
        measured(settings(tmp_path, input={"path": "stack.zarr", "channel": channel}))[1]
        for channel in ([2], 2)
    ]
    assert_equal_tables(*tables)


def test_blocks_give_what_whole_frames_give(tmp_path, monkeypatch):
    frames = make_channels(walk()[:5])
    frames[3, 0] = 0
    config = write(tmp_path, frames, pairs={"strategy": "window", "width": 2})
    _, whole = measured(config)
    monkeypatch.setattr(tiles, "BLOCK_PIXELS", 1500)
    setup, cut = measured(config)
    assert len(setup.method.search.blocks) > 1
    for name in ("status", "frame_read_status"):
        np.testing.assert_array_equal(getattr(cut, name), getattr(whole, name))
    for name, most in (("shift", 1e-3), ("shift_std", 1e-3), ("channel_weight", 0.01)):
        np.testing.assert_allclose(getattr(cut, name), getattr(whole, name), atol=most)
    np.testing.assert_allclose(cut.part_step, whole.part_step, atol=0.02)  # cut at other edges


def test_each_channel_is_searched_farther_where_it_finds_nothing(tmp_path):
    """By one of them alone the pairs would be found, too: the other is noise."""
    truth = 6.0 * np.arange(4)[:, None] * np.array([1, -1])
    frames = make_channels(truth, ways=(1, 1), noise=(0.2, 30))
    config = write(
        tmp_path,
        frames,
        input={"path": "stack.zarr", "channel": [1, 0]},
        register={"max_shift": 3, "widen": True},
        pairs={"strategy": "window", "width": 1},
    )
    _, table = measured(config)
    assert table.ok.all()
    np.testing.assert_allclose(table.shift, truth[1:] - truth[:-1], atol=0.1)
    assert np.isnan(table.channel_weight[:, 0]).any()


def test_a_run_goes_on_and_knows_its_channels(tmp_path, hurried):
    write(tmp_path, make_channels(walk()[:4]))
    whole = steadystack.run(settings(tmp_path, output={"shifts": "whole.zarr"}))
    config = settings(tmp_path)
    for part in ("1/2", "2/2"):
        stages.measure(config, batches=part)
    assert_same_numbers(whole, steadystack.run(config))
    other = settings(tmp_path, input={"path": "stack.zarr", "channel": [0, 1]})
    with pytest.raises(InputError, match=r"other settings \(input.channel"):
        stages.solve(other)


def test_a_series_of_channels_that_has_grown_is_measured_anew(tmp_path, hurried):
    """The last frame may have been written in some channels alone."""
    frames = make_channels(walk()[:6])
    write(tmp_path, frames[:4])
    steadystack.run(settings(tmp_path))
    shutil.rmtree(tmp_path / "stack.zarr")
    write(tmp_path, frames)
    with pytest.raises(InputError, match=r"grown from 4 to 6 frames, .* several channels"):
        steadystack.run(settings(tmp_path))
    assert steadystack.run(settings(tmp_path), overwrite=True).sizes["frame"] == 6


def test_all_channels_are_corrected_by_the_one_shift(tmp_path, hurried):
    config = write(
        tmp_path,
        make_channels(walk()[:5]),
        output={"shifts": "shifts.zarr", "corrected": "steady.zarr", "report": "page.html"},
    )
    steadystack.run(config)
    assert zarr.open(tmp_path / "steady.zarr")["0"].shape == (5, 3, *SIZE)
    assert (tmp_path / "page.html").exists()


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"solve": {"refine": 1}}, r"\[0, 1, 2\] cannot be combined with solve.refine"),
        ({"motion": {"model": "rigid"}}, "motion.model rigid"),
        ({"register": {"subpixel": False}}, "register.subpixel: false"),
        ({"mask": {"saturation": "auto"}}, "mask.saturation: auto"),
        ({"preprocess": {"flat_field": "median"}}, "preprocess.flat_field"),
        ({"preprocess": {"fixed_pattern": "estimate"}}, "preprocess.fixed_pattern"),
        ({"input": {"path": "s", "channel": []}}, "input.channel"),
        ({"input": {"path": "s", "channel": list(range(7))}}, "input.channel"),
    ],
)
def test_what_is_for_one_channel_is_refused(tmp_path, sections, words):
    with pytest.raises(InputError, match=words):
        settings(tmp_path, **sections)


@pytest.mark.parametrize(
    ("channel", "words"), [([0, 0], "none twice"), ([0, 5], "input.channel 5 is out of range")]
)
def test_channels_that_are_not_there(tmp_path, channel, words):
    config = write(tmp_path, make_channels(), input={"path": "stack.zarr", "channel": channel})
    with pytest.raises(InputError, match=words):
        stages.plan(config)


def test_an_array_holds_one_channel(tmp_path):
    write(tmp_path, make_channels())
    with pytest.raises(InputError, match=r"input.channel \[0, 1\] names several"):
        steadystack.open_stack(str(tmp_path / "stack.zarr"), channel=[0, 1])


def test_check_names_the_channels(tmp_path):
    write(tmp_path, make_channels())
    path = tmp_path / "run.yaml"
    path.write_text(json.dumps({"input": SEVERAL, **QUICK}))
    told = CliRunner().invoke(main, ["check", str(path)])
    assert told.exit_code == 0, told.output
    assert "0, 1, 2 of 3" in told.output


def test_plan_and_preview_know_of_channels(tmp_path, hurried):
    config = write(tmp_path, make_channels(walk()[:8]))
    one = settings(tmp_path, input={"path": "stack.zarr", "channel": 0})
    assert stages.plan(config).read_bytes == 3 * stages.plan(one).read_bytes
    path = tmp_path / "run.yaml"
    path.write_text(json.dumps({"input": SEVERAL, **QUICK}))
    told = CliRunner().invoke(main, ["preview", str(path)])
    assert told.exit_code == 0, told.output


def test_an_object_is_followed_in_the_first_channel_and_measured_in_all(tmp_path, hurried):
    scene, rng = make_followed_scene(11, count=8), np.random.default_rng(0)
    first = 3000 + 400 * scene.frames
    second = 2000 + 200 * scene.frames + 150 * rng.normal(size=scene.frames.shape)
    write_image(tmp_path / "object.zarr", scene.masks["object"])
    two = np.stack([first, second], axis=1).astype("f4")
    config = write(
        tmp_path,
        two,
        input={"path": "stack.zarr", "channel": [0, 1]},
        object={"mask": "object.zarr"},
    )
    shifts = steadystack.run(config)
    off = (shifts["frame_shift"].to_numpy() + scene.paths["object"])[1:]
    assert np.sqrt((off**2).mean()) < 2 * shifts["frame_shift_std"].to_numpy()[1:].mean()
    weight = shifts["pair_channel_weight"].mean("pair").to_numpy()
    assert weight[0] > weight[1] > 0


def test_following_is_for_one_channel(tmp_path):
    path = write_run(tmp_path, **QUICK | {"input": SEVERAL, "output": {"shifts": "s.zarr"}})
    told = CliRunner().invoke(main, ["follow", str(path)])
    assert told.exit_code == 2
    assert "input.channel [0, 1, 2] cannot be combined with follow" in told.output


def test_a_frame_that_is_lost_in_one_channel_is_read_again(tmp_path, hurried):
    frames = make_channels(walk()[:8])
    config = write(tmp_path, frames)
    [broken] = (tmp_path / "stack.zarr").rglob("c/5/1/0/0")
    whole = broken.read_bytes()
    broken.write_bytes(whole[:50])
    lost = steadystack.run(config)
    assert lost["frame_status"][5] == FrameStatus.UNREADABLE.code
    broken.unlink()  # nor is it there
    partly = steadystack.run(settings(tmp_path, output={"shifts": "partly.zarr"}))
    assert partly["frame_read_status"][5] == FrameStatus.INCOMPLETE.code
    assert np.isfinite(partly["frame_shift"][5]).all()
    broken.write_bytes(whole)
    found = steadystack.run(config)
    assert_right(found)
    assert np.isfinite(found["pair_channel_weight"]).all()


def test_what_lies_beyond_the_search_in_one_channel_is_not_decided_by_another(tmp_path, hurried):
    """The scene moves too far in the first one; in the other something stands still."""
    frames = make_channels(walk() * 6, ways=(1, 0, 0), noise=(0.1,) * 3)
    channels = {"path": "stack.zarr", "channel": [0, 1]}
    found = steadystack.run(write(tmp_path, frames, input=channels, register={"max_shift": 3}))
    assert steadystack.verdict(found).trust != Trust.GOOD


OFFSETS = np.array([[0, 0], [1.3, -2.6], [-0.45, 0.2]])


def make_offset_channels(own=0.0, seed=0):
    """Channels (t, c, y, x) of one scene, off the first, the last with so much that is its own."""
    rng = np.random.default_rng(seed)
    frames = np.array(
        [
            [
                Scene(seed).view(SIZE, shift + offset)
                + own * (number == 2) * Scene(seed + 100).view(SIZE, shift + offset)
                for number, offset in enumerate(OFFSETS)
            ]
            for shift in walk()
        ]
    )
    return (1000 + 100 * (frames + 0.3 * rng.normal(size=frames.shape))).astype("f4")


def read_offsets(shifts):
    names = ("channel_offset", "channel_offset_std", "channel_offset_status")
    return [shifts[name].to_numpy() for name in names]


@pytest.mark.parametrize("seed", slow_but([0], range(6)))
def test_offsets_of_channels_are_known_within_their_errors_and_taken_off(
    tmp_path, hurried, caplog, seed
):
    """Laid on the first channel, the others have no shift left against it, frame by frame."""
    output = {"shifts": "shifts.zarr", "corrected": "steady.zarr", "report": "page.html"}
    config = write(
        tmp_path,
        make_offset_channels(own=0.5, seed=seed),
        solve={"channel_offsets": True},
        output=output,
        correct={"border": "crop", "interpolation": "cubic"},
    )
    shifts = steadystack.run(config)
    offset, std, status = read_offsets(shifts)
    assert status.tolist() == [PairStatus.OK.code] * 3
    assert (offset[0] == 0).all()
    assert (std[0] == 0).all()
    assert np.abs((offset - OFFSETS)[1:] / std[1:]).max() < 3.5
    assert std.max() < 0.15
    assert_right(shifts)
    steady = zarr.open_group(config.output.corrected, mode="r")
    assert steady["valid"][:].all()  # what is cropped is what every channel shows
    for number in (1, 2):
        left = [
            steadystack.register_translation(steady["0"][frame, 0], steady["0"][frame, number])
            for frame in (0, 6, 11)
        ]
        off = np.mean([pair.shift for pair in left], axis=0)
        assert np.abs(off).max() < (0.06 if number == 1 else 0.25)
    page = (tmp_path / "page.html").read_text()
    assert "offset of channel 1" in page
    stages.export(config.output.shifts, str(tmp_path / "layers.json"))
    layers = json.loads((tmp_path / "layers.json").read_text())
    third = [layer["translate"][1:] for layer in layers if layer["frame"] == 3]
    np.testing.assert_allclose(np.array(third) - third[0], offset)
    stages.export(config.output.shifts, str(tmp_path / "a.displacements.ome.zarr"))
    assert "a field moves all channels alike" in caplog.text
    stack = xr.DataArray(make_offset_channels(own=0.5, seed=seed), dims=("t", "c", "y", "x"))
    lazy = steadystack.correct(stack, shifts, border="crop", interpolation="cubic")
    np.testing.assert_array_equal(lazy.values, steady["0"][:])
    whole = steadystack.correct(stack, shifts)
    labelled = stack.assign_coords(c=["0", "1", "2"])
    for some in (["2"], ["2", "0"], "1"):
        chosen = steadystack.correct(labelled.sel(c=some), shifts)
        np.testing.assert_array_equal(chosen, whole[:, np.array(some).astype(int)])
    with pytest.warns(
        UserWarning, match=r"channels .*'2'.* the stack has .*GFP.*no channel is moved"
    ):
        steadystack.correct(stack.assign_coords(c=["DAPI", "GFP", "red"]), shifts)


def make_turned_channels(side=96):
    """Channels (t, c, y, x): the second is shifted, the third turned and magnified as well."""
    rng, scene = np.random.default_rng(5), Scene(5, waves=100, detail=3)
    frames = [
        [
            scene.turned((side, side), linear, shift + offset)
            for linear, offset in zip((np.eye(2), np.eye(2), turn(0.7, 1.01)), OFFSETS, strict=True)
        ]
        for shift in walk()
    ]
    return (1000 + 100 * (frames + 0.3 * rng.normal(size=np.shape(frames)))).astype("f4")


def test_a_channel_that_is_turned_against_the_first_is_reported(tmp_path, hurried):
    """An offset is then for the middle of the frame only."""
    named = {"path": "stack.zarr", "channel": [0, 1, 2]}
    config = write(tmp_path, make_turned_channels(), input=named, solve={"channel_offsets": True})
    shifts = steadystack.run(config)
    first, right, turned = json.loads(shifts.attrs["channel_turning"])["sizes"]
    assert (first, right) == (None, 0)
    assert 0.5 < turned < 1
    found = steadystack.verdict(shifts)
    told = [finding for finding in found.findings if finding.code is Reason.TURNING]
    assert [finding.trust for finding in told] == [Trust.CHECK]
    assert told[0].words.startswith("channels 0 and 2 rotate or stretch relative to each other: ")
    assert f"by up to {turned:.1f} px from the offset" in told[0].words
    without = stages.solve(settings(tmp_path, input=named))
    assert without.attrs["channel_turning"] == "null"
    assert Reason.TURNING not in [f.code for f in steadystack.verdict(without).findings]


def test_offsets_are_asked_for_afterwards_without_measuring_again(tmp_path, hurried):
    before = steadystack.run(write(tmp_path, make_offset_channels()))
    offset, _, status = read_offsets(before)
    assert np.isnan(offset).all()
    assert set(status.tolist()) == {PairStatus.UNMEASURED.code}
    asked = settings(tmp_path, solve={"channel_offsets": True}, output={"corrected": "c.zarr"})
    with pytest.raises(InputError, match="solved without channel_offsets: run `steadystack solve`"):
        stages.correct(asked)
    after = stages.solve(settings(tmp_path, solve={"channel_offsets": True}))
    np.testing.assert_array_equal(before["pair_shift"], after["pair_shift"])
    np.testing.assert_array_equal(before["frame_shift"], after["frame_shift"])
    assert np.abs(read_offsets(after)[0] - OFFSETS).max() < 0.06


def test_channels_without_a_common_structure_have_no_offset_and_it_is_reported(
    tmp_path, hurried, caplog
):
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    shading = np.exp(-((y - 30) ** 2 + (x - 40) ** 2) / 800)  # alike in all of them
    frames = make_channels(noise=(0.3,) * 3) + 600 * shading
    frames[:, 2] = 3000 - frames[:, 0]
    config = write(tmp_path, frames.astype("f4"), solve={"channel_offsets": True})
    shifts = steadystack.run(config)
    offset, std, status = read_offsets(shifts)
    assert np.isnan(offset[1:]).all()
    assert np.isnan(std[1:]).all()
    assert status[1] in (PairStatus.LOW_NCC.code, PairStatus.AMBIGUOUS.code)
    assert status[2] == PairStatus.INVERTED.code
    assert (
        "offset of channel 2: not known, one channel is dark where the other is bright"
        in caplog.text
    )


def test_a_camera_pattern_that_channels_share_is_no_offset(tmp_path, hurried):
    """In a steady drift it is off the scene by the same in all pairs of one way."""
    drift = np.arange(12)[:, None] * [2.4, 1.8]
    still = np.random.default_rng(3).normal(size=SIZE)
    frames = [
        np.stack([Scene(0).view(SIZE, s), Scene(0).view(SIZE, s + 1), 0.1 * Scene(9).view(SIZE, s)])
        for s in drift
    ]
    stack = (1000 + 100 * (np.stack(frames) + [[[[0.4]], [[0]], [[0.4]]]] * still)).astype("f4")
    shifts = steadystack.run(write(tmp_path, stack, solve={"channel_offsets": True}))
    offset, std, status = read_offsets(shifts)
    assert status[1] == PairStatus.OK.code
    assert np.abs(offset[1] - 1).max() < 4 * std[1].max() + 0.02
    assert np.isnan(offset[2]).all()
    assert status[2] in (PairStatus.LOW_NCC.code, PairStatus.AMBIGUOUS.code)


def test_offsets_of_one_channel_are_refused(tmp_path):
    with pytest.raises(
        InputError, match="there is only one channel, and no other to align it with"
    ):
        settings(tmp_path, input={"path": "a.zarr", "channel": 1}, solve={"channel_offsets": True})
