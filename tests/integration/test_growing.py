"""A series that grows: what is measured stays, what is new is measured, all is solved anew."""

from __future__ import annotations

import json
import shutil
from itertools import chain, pairwise

import numpy as np
import pytest
import tifffile
import zarr

import steadystack
from steadystack import stages
from steadystack.config import make_config
from steadystack.dataset import load_shifts
from steadystack.measure import get_camera_image_path
from steadystack.model import FrameStatus, InputError
from steadystack.outputs import write_image
from support.members import slow_but
from support.scenes import Scene

SIZE = (64, 72)
STEPS = (8, 12, 13, 20)


def series(count, seed=3):
    """Noisy views of a scene that creeps; the same first frames, however many there are."""
    scene = Scene(seed)
    walk = np.cumsum(np.random.default_rng(seed).normal(0, 0.7, (64, 2)), axis=0)
    frames = []
    for index in range(count):
        noise = np.random.default_rng([seed, index]).normal(0, 12, SIZE)
        frames.append(1000 + 200 * scene.view(SIZE, walk[index] - walk[0]) + noise)
    return np.stack(frames).round().astype("u2")


def write_zarr(folder, frames):
    """As a microscope does that appends: frames that are there are not touched."""
    path, shape = folder / "stack.zarr", frames.shape
    if not path.exists():
        zarr.create_array(
            path, shape=(0, *SIZE), chunks=(1, *SIZE), dtype="u2", dimension_names=["t", "y", "x"]
        )
    array = zarr.open_array(path, mode="r+")
    before = array.shape[0]
    array.resize(shape)
    array[before:] = frames[before:]
    return "stack.zarr"


def write_chunked(folder, frames):
    """Zarr of format 2 with three frames to a chunk, of channels."""
    path = folder / "stack.zarr"
    if not path.exists():
        zarr.create_array(
            path,
            shape=(0, 1, *SIZE),
            chunks=(3, 1, *SIZE),
            dtype="u2",
            zarr_format=2,
            attributes={"_ARRAY_DIMENSIONS": ["t", "c", "y", "x"]},
        )
    array = zarr.open_array(path, mode="r+")
    array.resize((len(frames), 1, *SIZE))
    array[:] = frames[:, None]
    return "stack.zarr"


def write_folder(folder, frames):
    (folder / "stack").mkdir(exist_ok=True)
    for index, frame in enumerate(frames):
        tifffile.imwrite(folder / "stack" / f"t{index}.tif", frame)
    return "stack"


def write_pages(folder, frames):
    for index, frame in enumerate(frames):
        tifffile.imwrite(folder / "stack.tif", frame, append=bool(index), metadata=None)
    return "stack.tif"


def write_imagej(folder, frames):
    tifffile.imwrite(folder / "stack.tif", frames, imagej=True, metadata={"axes": "TYX"})
    return "stack.tif"


def write_ome_tiff(folder, frames):
    tifffile.imwrite(folder / "stack.ome.tif", frames, metadata={"axes": "TYX"})
    return "stack.ome.tif"


def write_files_of_frames(folder, frames):
    """Four frames to a file; the last may have fewer."""
    (folder / "stack").mkdir(exist_ok=True)
    for index in range(0, len(frames), 4):
        path = folder / "stack" / f"t{index}.tif"
        tifffile.imwrite(path, frames[index : index + 4], imagej=True, metadata={"axes": "TYX"})
    return "stack"


def write_npy(folder, frames):
    np.save(folder / "stack.npy", frames)
    return "stack.npy"


def settings(folder, path="stack.zarr", **sections):
    usual = {
        "input": {"path": path},
        "register": {"max_shift": 12},
        "preprocess": {"low_pass": 0.7, "high_pass": None},
        "mask": {"defects": None, "parts": None},
        "pairs": {"strategy": "window", "width": 3},
        "cluster": {"kind": "in-process"},
    }
    output = {"shifts": "shifts.zarr"} | sections.pop("output", {})
    return make_config(usual | sections | {"output": output}, folder)


def count_measured(monkeypatch):
    """How many rows every call that measures is left with to do."""
    from steadystack.stages import measuring

    done, measure = [], measuring.measure_pairs

    def counted(source, table, *args, **keywords):
        done.append(int(table.to_do.sum()))
        return measure(source, table, *args, **keywords)

    monkeypatch.setattr(measuring, "measure_pairs", counted)
    return done


def assert_same_result(grown, whole):
    """The same pairs, and shifts, deviations and statuses within what is promised."""
    np.testing.assert_allclose(grown["frame_shift"], whole["frame_shift"], atol=0.01)
    np.testing.assert_allclose(
        grown["frame_shift_std"], whole["frame_shift_std"], rtol=0.05, atol=1e-9
    )
    for name in ("frame_status", "frame_read_status", "pair_status", "component"):
        np.testing.assert_array_equal(grown[name], whole[name], name)
    for name in ("pair_reference", "pair_moving"):
        np.testing.assert_array_equal(grown[name], whole[name], name)
    np.testing.assert_allclose(grown["pair_shift"], whole["pair_shift"], atol=1e-6)
    assert grown.attrs["verdict"] == whole.attrs["verdict"]


LAYOUTS = [
    (write_zarr, STEPS),
    (write_chunked, STEPS),
    (write_folder, STEPS),
    (write_pages, STEPS),
    (write_imagej, STEPS),
    (write_ome_tiff, STEPS),
    (write_npy, STEPS),
    (write_files_of_frames, (8, 12, 20)),
]


@pytest.mark.parametrize(("write", "frames"), slow_but([LAYOUTS[0]], LAYOUTS))
def test_a_series_that_grows_is_that_of_one_go(tmp_path, monkeypatch, write, frames):
    measured = count_measured(monkeypatch)
    for count in frames:
        path = write(tmp_path, series(count))
        grown = stages.run(settings(tmp_path, path))
        assert grown.sizes["frame"] == count
    whole = stages.run(settings(tmp_path, path, output={"shifts": "whole.zarr"}))
    assert_same_result(grown, whole)
    history = json.loads(grown.attrs["grown"])
    assert history["frames"] == list(frames[:-1])
    assert history["kept"] == 0
    assert len(set(history["fingerprints"]) | {grown.attrs["fingerprint"]}) == len(frames)
    assert "grown" not in whole.attrs
    pairs = [3 * count - 6 for count in frames]
    new = [[3, now - before] for before, now in pairwise(pairs)]  # 3 are looked at again
    assert measured == [pairs[0], *chain(*new), pairs[-1]]
    log = (tmp_path / "run.log").read_text()
    assert f"has grown from {frames[-2]} to 20 frames: {pairs[-2]} measured pairs are kept" in log
    assert f"stays as decided from the first {frames[0]} frames" in log
    assert sorted(path.name for path in tmp_path.glob("*.journal")) == []
    assert not list(tmp_path.glob(".*draft*"))


@pytest.fixture(autouse=True)
def checks_in_one_test(request):
    """Elsewhere nothing is looked at beside the pairs."""
    if request.function is not test_a_series_that_grows_is_that_of_one_go:
        request.getfixturevalue("unchecked")


@pytest.fixture
def folder(tmp_path):
    """A series of eight frames that is run."""
    write_zarr(tmp_path, series(8))
    stages.run(settings(tmp_path))
    return tmp_path


def read_all(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted((folder / "shifts.zarr").rglob("*"))
        if path.is_file()
    }


def test_frames_that_were_exchanged_are_not_gone_on_with(folder):
    before = read_all(folder)
    write_zarr(folder, series(12))
    array = zarr.open_array(folder / "stack.zarr", mode="r+")
    array[:4] = series(4, seed=9)
    with pytest.raises(
        InputError, match=r"these have changed: the shift of frames .*`steadystack run --ov"
    ):
        stages.run(settings(folder))
    assert read_all(folder) == before
    assert not list(folder.glob(".*draft*.zarr"))
    assert "grown" not in stages.run(settings(folder), overwrite=True).attrs


def test_files_that_come_before_others_are_not_gone_on_with(tmp_path):
    write_folder(tmp_path, series(8))
    stages.run(settings(tmp_path, "stack"))
    tifffile.imwrite(tmp_path / "stack" / "a.tif", series(9)[8])
    with pytest.raises(
        InputError, match="9 frames instead of 8, and the first 8 are not those that were measured"
    ):
        stages.run(settings(tmp_path, "stack"))


def test_a_stack_that_shrank_is_refused(folder):
    write_zarr(folder, series(6))
    with pytest.raises(
        InputError, match=r"6 frames instead of 8\): restore the frames .*, use|--ov"
    ):
        stages.run(settings(folder))


def test_other_settings_are_refused(folder):
    write_zarr(folder, series(12))
    with pytest.raises(InputError, match=r"max_shift 12 -> 9; the stack now has 12 frames instead"):
        stages.run(settings(folder, register={"max_shift": 9}))


@pytest.mark.parametrize("command", ["solve", "correct", "report"])
def test_what_does_not_measure_says_what_does(folder, command):
    write_zarr(folder, series(12))
    output = {"report": "report.html", "corrected": "steady.ome.zarr"}
    with pytest.raises(InputError, match=r"grown from 8 to 12 .* `steadystack run` measures"):
        getattr(stages, command)(settings(folder, output=output))
    assert stages.plan(settings(folder, output=output)).corrected is not None


class Stop(BaseException):
    """As a signal does."""


def test_a_run_that_is_stopped_while_it_grows_goes_on(folder, monkeypatch):
    before = read_all(folder)
    write_zarr(folder, series(20))
    config = settings(folder, cluster={"kind": "in-process", "task_memory": "1 MiB"})

    def stop(done, total):
        if done >= 30:
            raise Stop

    with pytest.raises(Stop):
        stages.run(config, progress=stop)
    assert read_all(folder) == before  # the old one is in use until the new one is whole
    write_zarr(folder, series(24))  # and it has grown again meanwhile
    measured = count_measured(monkeypatch)
    grown = stages.run(config)
    assert sum(measured[1:]) <= 3 * 24 - 6 - 30
    assert json.loads(grown.attrs["grown"])["frames"] == [8, 20]
    whole = stages.run(settings(folder, output={"shifts": "whole.zarr"}))
    assert_same_result(grown, whole)
    measured.clear()
    assert stages.run(config).identical(load_shifts(str(folder / "shifts.zarr")))
    assert measured == []


def test_what_the_first_frames_decided_stays(tmp_path, monkeypatch):
    """The pilot, how far to search, defects, and the flat field that was made of the stack."""
    decided = {"preprocess": {}, "mask": {}, "register": {}}
    write_zarr(tmp_path, series(8))
    first = stages.run(settings(tmp_path, **decided))
    write_zarr(tmp_path, series(20))
    monkeypatch.setattr("steadystack.stages.measuring.run_pilot", None)
    monkeypatch.setattr("steadystack.stages.measuring.find_reach", None)
    grown = stages.run(settings(tmp_path, **decided))
    assert grown.attrs["pilot"] == first.attrs["pilot"]
    then, now = (json.loads(shifts.attrs["configuration"]) for shifts in (first, grown))
    assert {name: then[name] for name in decided} == {name: now[name] for name in decided}
    sections = {name: now[name] for name in ("preprocess", "register")}
    mask = {"defects": None, "field_of_view": None, "parts": None}
    path = {"shifts": "whole.zarr"}
    whole = stages.run(settings(tmp_path, mask=mask, **sections, output=path))
    assert_same_result(grown, whole)


@pytest.mark.slow
def test_a_flat_field_of_the_first_frames_stays(tmp_path):
    config = settings(tmp_path, preprocess={"flat_field": "median"})
    write_zarr(tmp_path, series(12))
    stages.run(config)
    image = zarr.open_array(get_camera_image_path(config.output.shifts, "flat_field"))[:]
    write_zarr(tmp_path, series(20))
    grown = stages.run(config)
    np.testing.assert_array_equal(
        zarr.open_array(get_camera_image_path(config.output.shifts, "flat_field"))[:], image
    )
    write_image(tmp_path / "flat.zarr", image)
    given = {"preprocess": {"flat_field": "flat.zarr"}, "output": {"shifts": "whole.zarr"}}
    assert_same_result(grown, stages.run(settings(tmp_path, **given)))


def test_parts_do_not_make_a_flat_field_of_their_own(tmp_path):
    config = settings(tmp_path, preprocess={"flat_field": "median"})
    write_zarr(tmp_path, series(12))
    stages.run(config)
    write_zarr(tmp_path, series(20))
    with pytest.raises(InputError, match="its flat_field is that of the first frames"):
        stages.measure(config, batches="1/2")


@pytest.mark.slow
def test_raw_numbers_grow(tmp_path):
    def run(count, output):
        series(count).tofile(tmp_path / "scan.raw")
        given = {"path": "scan.raw", "raw": f"uint16 {SIZE[0]} x {SIZE[1]}"}
        return stages.run(settings(tmp_path, input=given, output={"shifts": output}))

    run(8, "shifts.zarr")
    grown = run(12, "shifts.zarr")
    assert json.loads(grown.attrs["grown"])["frames"] == [8]
    assert_same_result(grown, run(12, "whole.zarr"))


@pytest.mark.parametrize("interpolate", slow_but(["linear"], [None, "linear"]))
def test_a_frame_that_was_half_there_is_measured_and_written_anew(tmp_path, interpolate):
    frames, half = series(12), SIZE[0] // 2
    array = zarr.create_array(
        tmp_path / "stack.zarr", shape=(8, *SIZE), chunks=(1, half, SIZE[1]), dtype="u2",
        dimension_names=["t", "y", "x"],
    )  # fmt: skip
    array[:7], array[7, :half] = frames[:7], frames[7, :half]
    array[4] = 0
    outputs = {"corrected": "steady.zarr"}
    solve = {"interpolate": interpolate}
    first = stages.run(settings(tmp_path, output=outputs, solve=solve))
    assert first["frame_read_status"][7] == FrameStatus.INCOMPLETE.code
    assert first["frame_read_status"][4] == FrameStatus.MISSING.code
    array.resize((12, *SIZE))
    array[:] = frames
    grown = stages.run(settings(tmp_path, output=outputs, solve=solve))
    other = {"shifts": "whole.zarr", "corrected": "whole-steady.zarr"}
    whole = stages.run(settings(tmp_path, output=other, solve=solve))
    assert_same_result(grown, whole)
    steady, expected = (
        np.array(steadystack.open_stack(tmp_path / name))
        for name in ("steady.zarr", "whole-steady.zarr")
    )
    assert (steady[4] > 0).mean() == pytest.approx((expected[4] > 0).mean(), abs=0.01)
    assert (steady[7] > 0).mean() == pytest.approx((expected[7] > 0).mean(), abs=0.01)


@pytest.mark.slow
def test_pairs_that_the_plan_no_longer_holds_are_kept(folder, monkeypatch):
    """A long series has other pairs than a short one; so it has when it grows once more."""
    auto = {"pairs": {"width": 3}, "output": {"shifts": "auto.zarr"}}
    before = stages.run(settings(folder, **auto))
    monkeypatch.setattr("steadystack.pairs.strategies.LONG", 10)
    monkeypatch.setattr("steadystack.pairs.strategies._select_multiscale", every_fourth)
    for count, frames in ((12, [8]), (16, [8, 12])):
        write_zarr(folder, series(count))
        grown = stages.run(settings(folder, **auto))
        kept = json.loads(grown.attrs["grown"])
        assert kept["frames"] == frames
        assert kept["kept"] == len(before["pair"]) - 4  # of the plan are those four apart or next
        pairs = [*zip(grown["pair_reference"].values, grown["pair_moving"].values, strict=True)]
        assert len(pairs) == len(set(pairs)) == len(every_fourth(count, 3, 0)) + kept["kept"]
        was = [*zip(before["pair_reference"].values, before["pair_moving"].values, strict=True)]
        assert set(was) <= set(pairs)
        rows = [pairs.index(pair) for pair in was]
        np.testing.assert_array_equal(grown["pair_shift"][rows], before["pair_shift"])
        assert (grown["pair_weight"][rows] > 0).all()
        assert stages.solve(settings(folder, **auto))["pair"].size == len(pairs)
        assert stages.run(settings(folder, **auto))["pair"].size == len(pairs)


def every_fourth(frame_count, width, max_separation):
    """Pairs of next frames, those of every second one, and those four apart."""
    pairs = [(i, i + 1) for i in range(0, frame_count - 1, 2)]
    return np.array(sorted(pairs + [(i, i + 4) for i in range(frame_count - 4)]))


def test_a_frame_that_was_not_there_yet_is_measured_when_the_series_grows(tmp_path):
    write_zarr(tmp_path, series(8))
    zarr.open_array(tmp_path / "stack.zarr", mode="r+").resize((9, *SIZE))  # not its pixels
    shifts = stages.run(settings(tmp_path))
    assert shifts["frame_status"][8] == FrameStatus.MISSING.code
    array = zarr.open_array(tmp_path / "stack.zarr", mode="r+")
    array.resize((12, *SIZE))
    array[8:] = series(12)[8:]
    grown = stages.run(settings(tmp_path))
    assert_same_result(grown, stages.run(settings(tmp_path, output={"shifts": "whole.zarr"})))
    assert (grown["frame_status"] == FrameStatus.OK.code).all()


def test_frames_of_a_slice_and_masks_for_each(tmp_path):
    """Every second frame of a region, with a mask for each frame: both grow."""
    sections = {
        "input": {"path": "stack.zarr", "frames": "1::2", "region": [[4, 60], [0, 70]]},
        "mask": {"path": "mask.npy", "defects": None, "parts": None, "saturation": "auto"},
        "initial_shifts": {"path": "initial.csv"},
    }
    for count in (16, 23, 32):
        write_zarr(tmp_path, series(count))
        masks = np.random.default_rng(5).random((40, *SIZE)) > 0.05
        np.save(tmp_path / "mask.npy", masks[:count])
        rows = [f"{frame},0,0" for frame in range(count)]
        (tmp_path / "initial.csv").write_text("\n".join(["frame,y,x", *rows]))
        grown = stages.run(settings(tmp_path, **sections))
    assert json.loads(grown.attrs["grown"])["frames"] == [8, 11]
    np.testing.assert_array_equal(grown["frame"], np.arange(1, 32, 2))
    whole = stages.run(settings(tmp_path, **sections, output={"shifts": "whole.zarr"}))
    assert_same_result(grown, whole)


@pytest.mark.parametrize(
    ("write", "frames", "counts"),
    slow_but(
        [(write_folder, ":8", (6, 10, 13))],
        [
            (write_folder, ":8", (6, 10, 13)),
            (write_zarr, ":8", (8, 12)),
            (write_zarr, "1:10:2", (10, 11, 20)),
            (write_files_of_frames, "1:8", (8, 12, 20)),
        ],
    ),
)
def test_a_slice_that_ends_inside_a_stack_that_grows(tmp_path, monkeypatch, write, frames, counts):
    """Its frames stay, and nothing is measured anew once all of them are there."""
    source = {"path": write(tmp_path, series(counts[0])), "frames": frames}
    first = stages.run(settings(tmp_path, input=source))
    for count in counts[1:]:
        write(tmp_path, series(count))
        measured = count_measured(monkeypatch)
        grown = stages.run(settings(tmp_path, input=source))
    assert measured == [3], "pairs that are looked at again"
    assert grown.attrs["stack_frames"] == str(counts[-1])
    assert json.loads(grown.attrs["grown"])["frames"][0] == first.sizes["frame"]
    assert "more frames than the " in (tmp_path / "run.log").read_text()
    whole = stages.run(settings(tmp_path, input=source, output={"shifts": "whole.zarr"}))
    assert_same_result(grown, whole)
    again = stages.run(settings(tmp_path, input=source))
    assert again.attrs["created"] == grown.attrs["created"]


@pytest.mark.slow
def test_shares_measure_what_is_new(folder, monkeypatch):
    write_zarr(folder, series(20))
    measured = count_measured(monkeypatch)
    for part in ("1/2", "2/2"):
        stages.measure(settings(folder), batches=part)
    assert measured == [18, 18]
    stages.measure(settings(folder))
    grown = stages.solve(settings(folder))
    assert measured == [18, 18, 3]
    assert_same_result(grown, stages.run(settings(folder, output={"shifts": "whole.zarr"})))
    assert json.loads(grown.attrs["grown"])["frames"] == [8]
    assert not list(folder.glob("*.part-*"))


def test_a_part_of_fewer_frames_is_reported(tmp_path):
    write_zarr(tmp_path, series(5))
    stages.measure(settings(tmp_path), batches="1/2")
    write_zarr(tmp_path, series(8))
    with pytest.raises(InputError, match="when the stack had 5 frames, and cannot be gathered"):
        stages.run(settings(tmp_path))
    assert stages.run(settings(tmp_path), overwrite=True).sizes["frame"] == 8
    assert not list(tmp_path.glob("*.part-*"))


def test_saturation_that_is_another_one_is_refused(tmp_path):
    frames = series(12)
    frames[11, :4, :4] = 4095
    write_zarr(tmp_path, frames[:8])
    config = settings(tmp_path, mask={"saturation": "auto", "defects": None, "parts": None})
    stages.run(config)
    write_zarr(tmp_path, frames)
    with pytest.raises(InputError, match="65535 for the first 8 frames, and is 4095 now"):
        stages.run(config)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_on_workers_and_with_what_turns(tmp_path, workers):
    sections = {
        "cluster": {"kind": "local", "workers": workers},
        "motion": {"model": "rigid"},
        "output": {"mean": "mean.npy", "report": "report.html"},
    }
    for count in (8, 14):
        write_zarr(tmp_path, series(count))
        grown = stages.run(settings(tmp_path, **sections))
    whole = settings(tmp_path, motion={"model": "rigid"}, output={"shifts": "whole.zarr"})
    assert_same_result(grown, stages.run(whole))
    assert np.isfinite(grown["frame_rotation"]).all()
    moved = steadystack.mean(steadystack.open_stack(str(tmp_path / "stack.zarr")), grown)
    np.testing.assert_allclose(np.load(tmp_path / "mean.npy"), moved["mean"], rtol=1e-4)


def test_several_inputs_grow_each_by_itself(tmp_path):
    for name, count in (("a", 8), ("b", 9)):
        (tmp_path / name).mkdir()
        write_zarr(tmp_path / name, series(count))
    config = settings(tmp_path, "*/stack.zarr", output={"shifts": "out/{name}.zarr"})
    stages.run_all(config)
    write_zarr(tmp_path / "a", series(12))
    outcomes = stages.run_all(config)
    assert [(found.status, found.frames) for found in outcomes] == [("done", 12), ("done", 9)]


OTHER_PLACES = ["{folder}/shifts.nc", "s3://stacks/{name}/shifts.zarr"]


@pytest.mark.parametrize("name", slow_but(OTHER_PLACES[1:], OTHER_PLACES))
def test_other_places(tmp_path, s3, credentials, name):
    path = name.format(folder=tmp_path, name=tmp_path.name.replace("_", "-"))
    write_npy(tmp_path, series(2))
    s3.upload(tmp_path / "stack.npy", "stacks", "some.npy")  # makes the bucket
    for count in (8, 12):
        write_zarr(tmp_path, series(count))
        grown = stages.run(settings(tmp_path, output={"shifts": path}))
    assert json.loads(grown.attrs["grown"])["frames"] == [8]
    assert_same_result(load_shifts(path), stages.run(settings(tmp_path)))


def open_corrected(folder, name="steady.ome.zarr"):
    group = zarr.open_group(folder / name, mode="r")
    return group, {key: array[:] for key, array in group.arrays()}


def find_inodes(folder, level):
    """The file of every frame's chunk."""
    files = sorted((folder / "steady.ome.zarr" / level / "c").iterdir(), key=lambda f: int(f.name))
    return [next(f for f in path.rglob("*") if f.is_file()).stat().st_ino for path in files]


@pytest.mark.parametrize("levels", slow_but([2], [1, 2]))
def test_frames_of_the_corrected_stack_stay(tmp_path, monkeypatch, levels):
    """Those that moved are written anew; all are what one go with the same shifts writes."""
    from steadystack.correction import movements

    sections = {
        "correct": {"levels": levels},
        "output": {"corrected": "steady.ome.zarr"},
    }
    write_zarr(tmp_path, series(8))
    stages.run(settings(tmp_path, **sections))
    written, all_moved, inodes = [], [], find_inodes(tmp_path, "0")
    from steadystack.correction import writing

    monkeypatch.setattr(movements, "NEAR", near := 4e-5)  # px: pairs that come move some farther
    correct = writing.correct_region

    def counted(number, plan):
        written.append(number)
        return correct(number, plan)

    monkeypatch.setattr(writing, "correct_region", counted)
    for count in (12, 20):
        write_zarr(tmp_path, series(count))
        grown = stages.run(settings(tmp_path, **sections))
        now, (group, arrays) = find_inodes(tmp_path, "0"), open_corrected(tmp_path)
        stays = [old == new for old, new in zip(inodes, now, strict=False)]
        before, inodes = len(inodes), now
        moved = [frame for frame, stayed in enumerate(stays) if not stayed]
        assert sorted(written) == [*moved, *range(before, count)]
        all_moved += moved
        assert any(stays)
        off = np.abs(arrays["frame_shift"] - grown["frame_shift"].values)
        assert np.hypot(*off.T).max() <= near
        assert off[before:].max() == 0
        written.clear()
        # What a stack with these shifts is in one go: the same pixels, and what is known of them.
        given = steadystack.edit_shifts(grown, arrays["frame_shift"])
        expected = steadystack.correct(
            steadystack.open_stack(str(tmp_path / "stack.zarr")), given
        ).values
        np.testing.assert_array_equal(arrays["0"], expected)
        assert arrays["valid"].shape == expected.shape
        np.testing.assert_allclose(
            arrays["valid_fraction"], arrays["valid"].mean(axis=(1, 2)), atol=1e-12
        )
        assert len(group.attrs["ome"]["multiscales"][0]["datasets"]) == levels
    assert all_moved

    stages.run(settings(tmp_path, **sections))
    assert find_inodes(tmp_path, "0") == inodes  # nothing is left to do
    stages.correct(settings(tmp_path, **sections), overwrite=True)
    _, arrays = open_corrected(tmp_path)
    np.testing.assert_array_equal(arrays["frame_shift"], grown["frame_shift"])
    assert len(written) == 20


@pytest.mark.parametrize("border", slow_but(["crop"], ["same", "crop", "expand"]))
@pytest.mark.parametrize("suffix", slow_but(["tif"], ["zarr", "tif"]))
def test_other_corrected_stacks_are_replaced_when_the_new_one_is_whole(
    tmp_path, monkeypatch, border, suffix
):
    """Killed on the way, what is there is the older stack; the next run ends what was begun."""
    from steadystack.correction import regions, writing

    name = f"steady.ome.{suffix}"
    sections = {"output": {"corrected": name, "mean": "mean.npy"}, "correct": {"border": border}}
    write_zarr(tmp_path, series(8))
    stages.run(settings(tmp_path, **sections))
    write_zarr(tmp_path, series(20))
    move, calls = regions.move_region, []

    def stop(plan, region):
        calls.append(region)
        if len(calls) > 4:
            raise Stop
        return move(plan, region)

    def read(path):
        return tifffile.imread(path) if suffix == "tif" else zarr.open_group(path)["0"][:]

    before = read(tmp_path / name)
    for module in (regions, writing):
        monkeypatch.setattr(module, "move_region", stop)
    with pytest.raises(Stop):
        stages.run(settings(tmp_path, **sections))
    np.testing.assert_array_equal(read(tmp_path / name), before)
    for module in (regions, writing):
        monkeypatch.setattr(module, "move_region", move)
    grown = stages.run(settings(tmp_path, **sections))
    stack = steadystack.open_stack(str(tmp_path / "stack.zarr"))
    now, expected = read(tmp_path / name), steadystack.correct(stack, grown, border=border)
    if (border, suffix) == ("same", "zarr"):  # first frames are where they were, within a bit
        np.testing.assert_allclose(now[:8].astype(float), expected[:8], atol=20)
        np.testing.assert_array_equal(now[8:], expected[8:])
    else:
        np.testing.assert_array_equal(now, expected)
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".steadystack")]


@pytest.mark.parametrize(
    ("key", "name"),
    slow_but(
        [("mean", "image.npy")],
        [
            ("mean", "image.npy"),
            ("mean", "image.zarr"),
            ("mean", "image.ome.tif"),
            ("corrected", "image.zarr"),
            ("corrected", "image.ome.tif"),
        ],
    ),
)
@pytest.mark.parametrize("other", slow_but(["stack.zarr"], ["stack.npy", "stack.zarr"]))
def test_images_of_another_run_are_not_replaced_by_those_of_a_series_that_grows(
    tmp_path, key, name, other
):
    """Nor where that run had the same stack and settings."""
    image, shown = tmp_path / name, {key: name}
    write_zarr(tmp_path, series(5))
    write_npy(tmp_path, series(5, seed=4))
    stages.run(settings(tmp_path, other, output={"shifts": "a.zarr", **shown}))
    kept = read_files(image)
    if other == "stack.npy":
        stages.run(settings(tmp_path))
    else:
        shutil.copytree(tmp_path / "a.zarr", tmp_path / "shifts.zarr")
    write_zarr(tmp_path, series(8))
    with pytest.raises(InputError, match=rf"made with the shifts of another run.* output\.{key}"):
        stages.run(settings(tmp_path, output=shown))
    assert read_files(image) == kept
    own = tmp_path / f"own{name.removeprefix('image')}"
    image.rename(own)  # a file without its hidden digest is nobody's
    if name.endswith("npy"):
        with pytest.raises(InputError, match="was not made by steadystack"):
            stages.run(settings(tmp_path, output={key: own.name}))
        own.unlink()
    grown = stages.run(settings(tmp_path, output={key: f"new{own.name}"}))
    assert grown.sizes["frame"] == 8


def read_files(path):
    """The content of a file, or of all files of a folder, by their paths."""
    paths = sorted(path.rglob("*")) if path.is_dir() else [path]
    return {file: file.read_bytes() for file in paths if file.is_file()}


@pytest.mark.slow
def test_a_corrected_stack_of_other_settings_is_written_whole(tmp_path, monkeypatch):
    """Nothing stays that another interpolation made, nor what another program wrote there."""
    from steadystack.correction import writing

    spared = []
    keep = writing._keep_regions
    monkeypatch.setattr(
        writing, "_keep_regions", lambda corrected: spared.append(keep(corrected)) or spared[-1]
    )
    output = {"corrected": "steady.ome.zarr"}
    for count, how in ((8, {}), (12, {"interpolation": "linear"}), (14, {"chunks": 32}), (15, {})):
        write_zarr(tmp_path, series(count))
        grown = stages.run(settings(tmp_path, correct=how, output=output))
    assert list(map(len, spared)) == [0, 0, 0, 0]
    write_zarr(tmp_path, series(18))
    (tmp_path / "steady.ome.zarr" / "0" / "c" / "3" / "0" / "0").unlink()
    grown = stages.run(settings(tmp_path, output=output))
    assert sorted(spared[-1]) == [0, 1, 2, *range(4, 15)]
    stack = steadystack.open_stack(str(tmp_path / "stack.zarr"))
    _, arrays = open_corrected(tmp_path)
    expected = steadystack.correct(stack, steadystack.edit_shifts(grown, arrays["frame_shift"]))
    np.testing.assert_array_equal(arrays["0"], expected)


def write_sharded(folder, frames):
    """Two channels in shards of four frames."""
    path = folder / "stack.zarr"
    if not path.exists():
        zarr.create_array(
            path,
            shape=(0, 2, *SIZE),
            chunks=(2, 1, 32, 36),
            shards=(4, 1, 64, 72),
            dtype="u2",
            dimension_names=["t", "c", "y", "x"],
        )
    array = zarr.open_array(path, mode="r+")
    array.resize((len(frames), 2, *SIZE))
    array[:] = np.stack([frames, 65535 - frames], axis=1)
    return "stack.zarr"


@pytest.mark.parametrize("model", slow_but(["translation"], ["translation", "rigid"]))
@pytest.mark.parametrize(
    "write", slow_but([write_sharded], [write_chunked, write_sharded, write_folder])
)
def test_corrected_stacks_of_all_layouts_are_gone_on_with(tmp_path, monkeypatch, write, model):
    """Chunks and shards of several frames, channels, frames that turn or stay blank; by stages."""
    from steadystack.correction import writing

    spared, keep = [], writing._keep_regions
    monkeypatch.setattr(
        writing, "_keep_regions", lambda corrected: spared.append(keep(corrected)) or spared[-1]
    )
    frames = series(24)
    frames[2] = 7  # it stays blank
    for count in (8, 13, 24):
        path = write(tmp_path, frames[:count])
        config = settings(
            tmp_path,
            input={"path": path, "channel": 0},
            motion={"model": model},
            output={"corrected": "steady.ome.zarr"},
        )
        stages.measure(config)
        grown = stages.solve(config)
        stages.correct(config)
    assert len(spared[0]) == 0
    assert all(len(kept) >= 1 for kept in spared[1:])
    other = config.model_copy(
        update={"correct": config.correct.model_copy(update={"interpolation": "linear"})}
    )
    with pytest.raises(
        InputError, match="was made with other shifts or settings, or of other frames"
    ):
        stages.correct(other)
    _, arrays = open_corrected(tmp_path)
    assert np.isnan(arrays["frame_shift"][2]).all()
    given = grown.copy()
    given["frame_shift"] = ("frame", "axis"), arrays["frame_shift"]
    if model == "rigid":
        given["frame_linear"] = ("frame", "axis", "of_axis"), arrays["frame_linear"]
        given["frame_linear"][2] = np.nan
    del given.attrs["digests"]
    stack = steadystack.open_stack(str(tmp_path / path), channel=0)
    expected = steadystack.correct(stack, given).values
    shown = arrays["0"] if arrays["0"].ndim == 3 else arrays["0"][:, 0]
    valid = arrays["valid"] if arrays["valid"].ndim == 3 else arrays["valid"][:, 0]
    np.testing.assert_array_equal(shown, expected)
    fraction = arrays["valid_fraction"].reshape(24, -1)[:, 0]
    np.testing.assert_allclose(fraction, valid.mean(axis=(1, 2)), atol=1e-12)


def test_pairs_of_a_second_round_are_kept(tmp_path, monkeypatch):
    """Two frames that show nothing cut the series in two; what joined the halves stays."""
    frames = series(20)
    frames[4:6] = 7
    sections = {"pairs": {"strategy": "separations", "separations": [1, 2], "extra": 1.0}}
    write_zarr(tmp_path, frames[:10])
    first = stages.run(settings(tmp_path, **sections))
    more = len(first["pair"]) - 17  # of 10 frames
    assert more > 0
    write_zarr(tmp_path, frames)
    measured = count_measured(monkeypatch)
    grown = stages.run(settings(tmp_path, **sections))
    pairs, before = (
        set(zip(found["pair_reference"].values, found["pair_moving"].values, strict=True))
        for found in (grown, first)
    )
    assert before <= pairs
    assert json.loads(grown.attrs["grown"])["kept"] == more
    # the 37 of 20 frames without the 17 of 10; 7 with frames of one value, maybe written since
    assert measured[:2] == [3, 20 + 7]
    assert (grown["component"].values[grown["frame_status"].values == 0] == 0).all()
    measured.clear()
    assert stages.run(settings(tmp_path, **sections)).sizes == grown.sizes
    assert measured == []


@pytest.mark.parametrize(
    ("path", "status"),
    slow_but(
        [("stack.npy", FrameStatus.FLAT)],
        [("stack.npy", FrameStatus.FLAT), ("stack.zarr", FrameStatus.MISSING)],
    ),
)
def test_frames_that_are_written_into_the_room_for_them_are_measured(tmp_path, path, status):
    """The stack had their number from the beginning; the same command takes them up."""
    frames = series(12)

    def write(count):
        if path == "stack.npy":
            room = np.zeros_like(frames)
            room[:count] = frames[:count]
            write_npy(tmp_path, room)
            return
        array = zarr.create_array(
            tmp_path / path, shape=frames.shape, chunks=(1, *SIZE), dtype="u2",
            dimension_names=["t", "y", "x"], overwrite=True,
        )  # fmt: skip
        array[:count] = frames[:count]

    write(8)
    shifts = stages.run(settings(tmp_path, path))
    assert (shifts["frame_read_status"][8:] == status.code).all()
    write(12)
    found = stages.run(settings(tmp_path, path))
    assert (found["frame_status"] == FrameStatus.OK.code).all()
    whole = settings(tmp_path, path, output={"shifts": "whole.zarr"})
    assert_same_result(found, stages.run(whole))
