"""A mask that follows an object: what is measured in it, and how runs with it go on."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
import zarr
from click.testing import CliRunner

import steadystack
from followed_scenes import SIDE, make_followed_scene
from steadystack import stages
from steadystack.cli import main
from steadystack.dataset import load_shifts
from steadystack.model import FrameStatus
from steadystack.outputs import write_image, write_stack
from support.members import slow_but
from support.runs import note_reads
from support.scenes import assert_same_numbers
from support.settings import config_of, write_run

OBJECT = {"object": {"mask": "object.zarr"}}


def estimate(scene, what, **keywords):
    return steadystack.estimate_shifts(scene.frames, object_mask=scene.masks[what], **keywords)


@pytest.fixture
def scene(tmp_path):
    made = make_followed_scene(11, count=8)
    write_scene(tmp_path, made)
    return made


def write_scene(folder, made, count=None):
    counts = np.clip(3000 + 400 * made.frames, 0, 65535).astype("u2")
    write_stack(folder / "stack.zarr", counts[:count])
    write_image(folder / "object.zarr", made.masks["object"])
    return counts


@pytest.mark.parametrize("what", ["object", "ground"])
@pytest.mark.parametrize("scenes", slow_but([4], [4, 36]))
def test_object_and_ground_are_known_to_their_errors(scenes, what, unchecked):
    """Each goes its own way, followed by its own mask: errors in those that are stated."""
    squares, inside = [], []
    for seed in range(scenes):
        scene = make_followed_scene(100 + seed, count=8)
        shifts = estimate(scene, what, pairs={"width": 3})
        off = (shifts["frame_shift"].to_numpy() + scene.paths[what])[1:]
        relative = off / shifts["frame_shift_std"].to_numpy()[1:]
        squares.append((relative**2).mean())
        inside.append((np.abs(relative) < 2.5).mean())
    low, high = (0.5, 1.6) if scenes < 10 else (0.7, 1.4)
    assert low < np.sqrt(np.mean(squares)) < high
    assert np.mean(inside) > 0.9


def test_whole_frames_show_neither(hurried):
    scene = make_followed_scene(100, count=8)
    shifts = steadystack.estimate_shifts(scene.frames, pairs={"width": 3}, parts=None)
    assert np.abs(shifts["frame_shift"].to_numpy() + scene.paths["object"]).max() > 5


def test_the_path_is_in_the_dataset(hurried):
    scene = make_followed_scene(2, count=8)
    shifts = estimate(scene, "object")
    middle = np.argwhere(scene.masks["object"]).mean(axis=0)
    position, std = shifts["object_position"].to_numpy(), shifts["object_position_std"].to_numpy()
    np.testing.assert_allclose(position, middle - shifts["frame_shift"].to_numpy())
    assert np.abs(position - middle - scene.paths["object"]).max() < 0.2
    np.testing.assert_array_equal(std, shifts["frame_shift_std"])
    # pairs are those of frames, whatever windows they were measured in
    shift, ends = shifts["frame_shift"].to_numpy(), ("pair_moving", "pair_reference")
    moving, reference = (shift[shifts[end].to_numpy()] for end in ends)
    assert np.abs(shifts["pair_shift"].to_numpy() - (moving - reference)).max() < 0.3
    assert json.loads(shifts.attrs["frame_shape"]) == [SIDE, SIDE]
    ys, xs = np.nonzero(scene.masks["object"])
    np.testing.assert_allclose(
        shifts["part_centre"].to_numpy()[4], [(ys.min() + ys.max()) / 2, (xs.min() + xs.max()) / 2],
        atol=0.6,
    )  # fmt: skip
    given = shifts["frame_shift"].to_numpy().copy()
    given[3] += 1
    edited = steadystack.edit_shifts(shifts, given)
    np.testing.assert_allclose(edited["object_position"][3], position[3] - 1)
    assert np.isnan(edited["object_position_std"][3]).all()


def test_of_an_object_that_leaves_nothing_is_known(hurried):
    scene = make_followed_scene(3, count=8)
    scene.frames[5] = np.random.default_rng(0).normal(size=(SIDE, SIDE))
    shifts = estimate(scene, "object")
    assert shifts["frame_status"][5] == FrameStatus.EMPTY.code
    assert np.isnan(shifts["frame_shift"][5]).all()
    assert np.isnan(shifts["object_position"][5]).all()
    known = np.delete(np.arange(8), 5)
    assert np.abs(shifts["frame_shift"].to_numpy() + scene.paths["object"])[known].max() < 0.2


def test_without_an_object_there_is_no_path(hurried):
    scene = make_followed_scene(3, count=4)
    assert np.isnan(steadystack.estimate_shifts(scene.frames)["object_position"]).all()


def test_the_command_line_holds_the_object_still(scene, tmp_path, unchecked, no_figures):
    output = {"shifts": "out.zarr", "corrected": "steady.zarr", "report": "page.html"}
    path = str(write_run(tmp_path, output=output, **OBJECT))
    checked = CliRunner().invoke(main, ["check", path])
    pixels = int(scene.masks["object"].sum())
    assert f"object.zarr: {pixels} pixels in frame 0" in checked.output, checked.output
    ran = CliRunner().invoke(main, ["run", path])
    assert ran.exit_code == 0, ran.output
    shifts = load_shifts(str(tmp_path / "out.zarr"))
    assert np.abs(shifts["frame_shift"].to_numpy() + scene.paths["object"]).max() < 0.2
    log = (tmp_path / "run.log").read_text()
    assert "object: seen in 8 of 8 frames" in log
    assert "the mask is off" not in log
    steady = zarr.open_array(tmp_path / "steady.zarr" / "0", mode="r")[:].astype(float)
    inside = scene.masks["object"]
    before = np.corrcoef([400 * frame[inside] for frame in scene.frames])[0, 1:]
    after = np.corrcoef([frame[inside] for frame in steady.reshape(8, SIDE, SIDE)])[0, 1:]
    assert after.min() > 0.85 > before.min()


def test_a_killed_run_goes_on_with_the_same_windows(scene, tmp_path, monkeypatch, unchecked):
    write_image(tmp_path / "object.zarr", scene.masks["ground"])
    sections = OBJECT | {"register": {"max_shift": 6}}
    whole = steadystack.run(config_of(tmp_path, output={"shifts": "whole.zarr"}, **sections))
    cluster = {"kind": "in-process", "task_memory": "2 MiB"}
    config = config_of(tmp_path, output={"shifts": "half.zarr"}, cluster=cluster, **sections)

    def stop_in_the_middle(done, total):
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stages.measure(config, progress=stop_in_the_middle)
    with xr.open_zarr(tmp_path / "half.zarr") as half:
        assert 0 < int((half["pair_status"] == 0).sum()) < whole.sizes["pair"]
    monkeypatch.setattr("steadystack.survey.object_tracing._Tracer.begin", None)
    stages.measure(config)  # the path is known
    assert_same_numbers(whole, stages.solve(config))


def test_a_finished_run_measures_nothing_again(scene, tmp_path, monkeypatch, unchecked):
    config = config_of(tmp_path, output={"shifts": "out.zarr"}, **OBJECT)
    first = steadystack.run(config)
    read = note_reads(monkeypatch)
    assert_same_numbers(first, steadystack.run(config))
    assert len(read) <= 3  # the checksums of some


@pytest.mark.slow
def test_shares_go_together(scene, tmp_path):
    whole = steadystack.run(config_of(tmp_path, output={"shifts": "whole.zarr"}, **OBJECT))
    config = config_of(tmp_path, output={"shifts": "shared.zarr"}, **OBJECT)
    for share in ("1/2", "2/2"):
        stages.measure(config, batches=share)
    assert_same_numbers(whole, stages.solve(config))


def test_a_share_with_another_mask_is_not_cut_along_the_path_of_the_first(scene, tmp_path, hurried):
    config = config_of(tmp_path, output={"shifts": "shared.zarr"}, **OBJECT)
    stages.measure(config, batches="1/2")
    write_image(tmp_path / "object.zarr", np.roll(scene.masks["object"], 3, 0))
    stages.measure(config, batches="2/2")
    paths = [
        json.loads(xr.open_zarr(part).attrs["pilot"])["path"]["places"]
        for part in sorted(tmp_path.glob("shared.part-*.zarr"))
    ]
    assert len(paths) == 2
    assert paths[1][0][0] == paths[0][0][0] + 3


def test_frames_and_a_region_are_cut_with_the_mask(scene, tmp_path, hurried):
    cut = {"path": "stack.zarr", "frames": "0:8:2", "region": [[4, 126], [2, 127]]}
    shifts = steadystack.run(config_of(tmp_path, input=cut, **OBJECT))
    assert np.abs(shifts["frame_shift"].to_numpy() + scene.paths["object"][::2]).max() < 0.2
    middle = np.argwhere(scene.masks["object"]).mean(axis=0) - (4, 2)
    np.testing.assert_allclose(shifts["object_position"][0], middle)


def test_another_mask_or_anchor_is_another_measurement(scene, tmp_path, hurried):
    steadystack.run(config_of(tmp_path, **OBJECT))
    with pytest.raises(steadystack.InputError, match=r"other settings \(solve\.anchor 0 -> 1\)"):
        steadystack.run(config_of(tmp_path, solve={"anchor": 1}, **OBJECT))
    write_image(tmp_path / "object.zarr", np.roll(scene.masks["object"], 1, 0))
    with pytest.raises(steadystack.InputError, match="measured with other settings"):
        steadystack.run(config_of(tmp_path, **OBJECT))
    with pytest.raises(steadystack.InputError, match=r"object\.mask .*object\.zarr'? -> None"):
        steadystack.run(config_of(tmp_path))


def test_a_series_that_has_grown_is_measured_anew(scene, tmp_path, hurried):
    write_scene(tmp_path, scene, count=6)
    config = config_of(tmp_path, **OBJECT)
    steadystack.run(config)
    write_scene(tmp_path, scene)
    with pytest.raises(steadystack.InputError, match=r"8 frames instead of 6.*--overwrite"):
        steadystack.run(config)
    assert steadystack.run(config, overwrite=True).sizes["frame"] == 8


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"object": {"mask": "none.zarr"}}, r"object\.mask: .*none\.zarr"),
        ({"object": {"mask": "few.zarr"}}, "has 30 pixels of the object .*: at least 64"),
        ({"object": {"mask": "each.zarr"}}, "one mask per frame: give that of frame solve.anchor"),
        ({"object": {"mask": "small.zarr"}}, "must be that of a frame"),
        ({"output": {"shifts": "object.zarr/out.zarr"}}, r"object\.mask.* overlap"),
    ],
)
def test_a_mask_that_cannot_be_followed_is_refused_before_work(
    scene, tmp_path, monkeypatch, sections, message
):
    few = np.zeros((SIDE, SIDE), bool)
    few[3:8, 3:9] = True
    write_image(tmp_path / "few.zarr", few)
    write_image(tmp_path / "small.zarr", few[:20])
    write_stack(tmp_path / "each.zarr", np.repeat(few[None], 8, axis=0).astype("u1"))
    read = note_reads(monkeypatch)
    with pytest.raises(steadystack.InputError, match=message):
        steadystack.run(config_of(tmp_path, **OBJECT | sections))
    assert not read


@pytest.mark.parametrize("command", ["preview", "follow"])
def test_commands_that_know_no_objects_refuse_them(scene, tmp_path, command):
    refused = CliRunner().invoke(main, [command, str(write_run(tmp_path, **OBJECT))])
    assert refused.exit_code != 0
    assert f"{command} measures whole frames" in refused.output


@pytest.mark.parametrize("key", ["initial_shifts", "external_reference"])
def test_arrays_beside_an_object_are_refused(key):
    scene = make_followed_scene(0, count=3)
    given = {"initial_shifts": np.zeros((3, 2)), "external_reference": scene.frames[0]}
    with pytest.raises(steadystack.InputError, match=f"object.mask cannot be combined with {key}"):
        estimate(scene, "object", **{key: given[key]})
    with pytest.raises(steadystack.InputError, match=r"object_mask has the shape \(5, 5\)"):
        steadystack.estimate_shifts(scene.frames, object_mask=np.ones((5, 5), bool))
