"""Runs of frames that turn: measured, corrected, measured again; handed on to other programs."""

from __future__ import annotations

import csv
import json
import re
import shutil

import numpy as np
import pytest
import xarray as xr
import yaml
import zarr
from click.testing import CliRunner
from scipy.ndimage import gaussian_filter

import steadystack
from steadystack import stages
from steadystack.cli import main
from steadystack.config import make_config
from steadystack.model import FrameStatus
from steadystack.motion import ModelChoice
from steadystack.motion.strengths import LocalStrength, Strength
from steadystack.outputs import write_image, write_stack
from steadystack.stages import solving
from support.local import bent_series
from support.members import slow_but
from support.moved_points import Scene06
from support.scenes import ellipse
from support.settings import config_of
from support.turning import corner_errors, lay, turned_series

pytestmark = pytest.mark.xdist_group("motion runs")  # what they share is made once

SERIES = turned_series(3, count=6, scale=0.002, pixel_size=(0.5, 0.25))
FRAMES = np.clip(20000 + 4000 * SERIES.frames, 0, 65535).astype("u2")
SECTIONS = {
    "mask": {"defects": None, "parts": None},
    "register": {"max_shift": 16},
    "motion": {"model": "similarity"},
    "pairs": {"width": 3},
}

PLAIN = {"parts": None, "defects": None, "field_of_view": None, "max_shift": 16}


def config(folder, **sections):
    output = {name: str(folder / f"{name}.zarr") for name in ("shifts", "corrected")}
    return config_of(folder, **SECTIONS | {"output": output} | sections)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run, and its shifts."""
    folder = tmp_path_factory.mktemp("turned")
    write_stack(folder / "stack.zarr", FRAMES, pixel_size=(0.5, 0.25))
    return folder, stages.run(config(folder))


@pytest.mark.parametrize("border", slow_but(["crop"], ["same", "crop"]))
def test_corrected_and_measured_again_nothing_is_left(run, tmp_path, border):
    folder, shifts = run
    assert corner_errors(shifts, SERIES).max() < 0.1
    path = folder / "corrected.zarr"
    if border == "crop":
        for name in ("stack", "shifts"):
            (tmp_path / f"{name}.zarr").symlink_to(folder / f"{name}.zarr")
        path = tmp_path / "corrected.zarr"
        stages.correct(config(tmp_path, correct={"border": "crop"}))
    steady, valid = steadystack.open_stack(str(path)), zarr.open_group(path)["valid"][:]
    again = steadystack.estimate_shifts(
        steady, mask=valid, max_shift=8, motion={"model": "similarity"}, parts=None, defects=None,
        pairs={"width": 2},
    )  # fmt: skip
    radius = np.linalg.norm(SERIES.middle)
    left = (
        np.abs(again["frame_shift"]).max()
        + radius * np.abs(again["frame_linear"] - np.eye(2)).max()
    )
    assert left < 0.1
    assert valid.all() == (border == "crop")


def test_the_stack_on_disk_is_that_of_arrays(run):
    folder, shifts = run
    stored = zarr.open_group(folder / "corrected.zarr", mode="r")
    moved = steadystack.correct(FRAMES, shifts).to_numpy()
    np.testing.assert_array_equal(stored["0"][:], moved)
    known = stored["valid"][:]
    for border in ("crop", "expand"):
        other = steadystack.correct(FRAMES, shifts, border=border)
        y, x = (round(float(other[axis][0])) for axis in "yx")
        both = np.ones(FRAMES.shape[1:], bool)
        if border == "crop":
            height, width = other.shape[1:]
            inside = np.s_[:, y : y + height, x : x + width]
            np.testing.assert_array_equal(other, moved[inside])
            assert known[inside].all()
        else:
            cut = other[:, -y : both.shape[0] - y, -x : both.shape[1] - x]
            np.testing.assert_array_equal(cut.to_numpy()[known], moved[known])


@pytest.mark.slow
def test_blocks_of_planes_and_channels_are_moved_alike(run, tmp_path):
    _, shifts = run
    stack = np.stack([np.stack([FRAMES, FRAMES[::-1]], axis=1)] * 2, axis=1)  # t, c, z, y, x
    write_stack(tmp_path / "others.zarr", stack, axes="tczyx")
    (tmp_path / "stack.zarr").symlink_to(run[0] / "stack.zarr")
    write = {"chunks": [1, 40, 40], "stack": str(tmp_path / "others.zarr")}
    stages.run(config(tmp_path, correct=write))
    moved = steadystack.correct(xr.DataArray(stack, dims=tuple("tczyx")), shifts).to_numpy()
    np.testing.assert_array_equal(moved[:, 1, 0], steadystack.correct(FRAMES, shifts))
    stored = zarr.open_group(tmp_path / "corrected.zarr", mode="r")["0"][:]
    assert np.abs(stored.astype(int) - moved).max() <= 1  # splines of pieces end elsewhere


def test_labels_stay_labels(run, tmp_path):
    folder, _ = run
    (tmp_path / "stack.zarr").symlink_to(folder / "stack.zarr")
    labels = (FRAMES > 20000).astype("i4") * 70001
    write_stack(tmp_path / "labels.zarr", labels)
    how = {"stack": str(tmp_path / "labels.zarr"), "labels": True, "interpolation": "fourier"}
    shutil.copytree(folder / "shifts.zarr", tmp_path / "shifts.zarr")
    stages.correct(config(tmp_path, correct=how))
    stored = zarr.open_group(tmp_path / "corrected.zarr", mode="r")
    assert set(np.unique(stored["0"][:])) == {0, 70001}
    known = stored["valid"][:].all(axis=0)
    agree = (stored["0"][-1] == labels[0])[known].mean()
    assert agree > 0.9
    assert agree > (labels[-1] == labels[0])[known].mean() + 0.1


def test_tables_and_layers_move_a_point_to_where_it_belongs(run, tmp_path):
    folder, _ = run
    for name in ("frames.csv", "frames.json"):
        told = CliRunner().invoke(
            main, ["export", str(folder / "shifts.zarr"), str(tmp_path / name)]
        )
        assert told.exit_code == 0, told.output
    with open(tmp_path / "frames.csv") as file:
        rows = list(csv.DictReader(file))
    point = np.array([17.0, 88.0])
    for frame, (row, layer) in enumerate(
        zip(rows, json.loads((tmp_path / "frames.json").read_text()), strict=True)
    ):
        truth = lay(point, SERIES.linear[frame], SERIES.shift[frame], SERIES.middle)
        by_row = [
            sum(float(row[f"affine_{axis}{of}"]) * at for of, at in zip("yx", point, strict=True))
            + float(row[f"affine_{axis}"])
            for axis in "yx"
        ]
        np.testing.assert_allclose(by_row, truth, atol=0.1)
        assert float(row["rotation"]) == pytest.approx(0.4 * frame, abs=0.05)
        assert float(row["scale"]) == pytest.approx(1.002**frame, abs=1e-3)
        # as napari does: scale and translate, then the affine
        place = np.array([0, *point]) * layer["scale"] + layer["translate"]
        world = np.array(layer["affine"]) @ [*place, 1]
        assert layer["frame"] == world[0] == frame
        np.testing.assert_allclose(world[1:3] / [0.5, 0.25], truth, atol=0.1)
    assert {row["first_y"] for row in rows} > {"0"}


def test_matrices_for_other_programs_lay_a_point_where_it_belongs(run, tmp_path):
    folder, _ = run
    export = ["export", str(folder / "shifts.zarr")]
    for name in ("frames.affines.json", "frames.yaml"):
        told = CliRunner().invoke(main, [*export, str(tmp_path / name)])
        assert told.exit_code == 0, told.output
    listed = json.loads((tmp_path / "frames.affines.json").read_text())
    pulled = yaml.safe_load((tmp_path / "frames.yaml").read_text())
    assert (pulled["stabilization_type"], pulled["time_indices"]) == ("affine", "all")
    point, size = np.array([17.0, 88.0]), np.array([0.5, 0.25])
    for frame, truth in enumerate(zip(SERIES.linear, SERIES.shift, strict=True)):
        laid = lay(point, *truth, SERIES.middle)
        found = np.array(listed["affine"][frame]) @ [*(point * size), 1]
        np.testing.assert_allclose(found[:2] / size, laid, atol=0.1)
        seen = np.array(pulled["affine_transform_zyx_list"][frame]) @ [0, *laid, 1]
        np.testing.assert_allclose(seen[:3], [0, *point], atol=0.1)
    target = tmp_path / "frames.displacements.ome.zarr"
    for options, code in (((), 0), ((), 2), (("--overwrite",), 0)):
        told = CliRunner().invoke(main, [*export, f"{target}/", *options])
        assert told.exit_code == code, told.output
    scene = Scene06(target)
    for frame, truth in enumerate(zip(SERIES.linear, SERIES.shift, strict=True)):
        laid = scene.move("frames", "steady", frame, point * size)
        np.testing.assert_allclose(laid / size, lay(point, *truth, SERIES.middle), atol=0.1)
        back = scene.move("steady", "frames", frame, laid)
        np.testing.assert_allclose(back / size, point, atol=1e-9)
    refused = CliRunner().invoke(main, [*export, str(tmp_path / "frames.xml")])
    assert refused.exit_code == 2
    assert "is one of t, y, x" in refused.stderr
    assert not (tmp_path / "frames.xml").exists()


def test_another_model_is_solved_for_without_measuring(run, tmp_path):
    write_stack(tmp_path / "stack.zarr", FRAMES, pixel_size=(0.5, 0.25))
    with_turn = config(tmp_path, output={"shifts": str(tmp_path / "shifts.zarr")})
    without = config(
        tmp_path,
        output={"shifts": str(tmp_path / "shifts.zarr")},
        motion={"model": "translation"},
    )
    first = stages.run(without)
    again, back = stages.solve(with_turn), stages.solve(without)
    assert corner_errors(again, SERIES).max() < 0.1
    np.testing.assert_array_equal(first["pair_shift"], again["pair_shift"])
    for name in first.variables:
        np.testing.assert_array_equal(first[name], back[name])
    for name in ("local_motion", "probe_check", "verdict_reasons"):
        assert first.attrs[name] == back.attrs[name]


def test_a_model_that_is_chosen_is_kept_and_reported(run, tmp_path, caplog, monkeypatch):
    _, known = run
    write_stack(tmp_path / "stack.zarr", FRAMES, pixel_size=(0.5, 0.25))
    output = {"shifts": str(tmp_path / "shifts.zarr"), "report": str(tmp_path / "page.html")}
    auto = config(tmp_path, output=output, motion={"model": "auto"})
    with caplog.at_level("INFO"):
        first = stages.run(auto)
    assert "motion.model: similarity: frames differ by turn" in caplog.text
    for name in known.variables:
        np.testing.assert_array_equal(first[name], known[name])
    assert json.loads(first.attrs["motion"]) == json.loads(known.attrs["motion"])
    assert json.loads(first.attrs["configuration"])["motion"] == {
        "model": "similarity",
        "grid": None,
        "smooth_in_time": False,
    }
    chosen = json.loads(first.attrs["motion_choice"])
    assert chosen["model"] == "similarity"
    assert "# motion.model: auto, chosen once:" in (tmp_path / "page.html").read_text()
    # nothing is chosen again, nor solved, though another model was solved for meanwhile
    monkeypatch.setattr(solving, "choose_model", None)
    made = (tmp_path / "page.html").stat().st_mtime_ns
    assert stages.run(auto).attrs["created"] == first.attrs["created"]
    assert (tmp_path / "page.html").stat().st_mtime_ns == made
    shifted = stages.solve(config(tmp_path, output=output, motion={"model": "translation"}))
    assert json.loads(shifted.attrs["motion"])["model"] == "translation"
    again = stages.solve(auto)
    assert again.attrs["motion_choice"] == first.attrs["motion_choice"]
    for name in known.variables:
        np.testing.assert_array_equal(again[name], known[name])


def test_a_model_that_is_set_ends_the_question_for_one(tmp_path):
    """Frames of 40 px are too small to be cut into parts, so that nothing can be chosen."""
    frames = np.random.default_rng(1).normal(size=(8, 40, 40))
    write_stack(tmp_path / "stack.zarr", frames.astype("f4"))
    output = {"shifts": str(tmp_path / "shifts.zarr")}
    told = stages.run(config(tmp_path, output=output, motion={"model": "auto"}))
    assert "unknown_motion" in told.attrs["verdict_reasons"]
    again = stages.solve(config(tmp_path, output=output, motion={"model": "auto"}))
    assert "unknown_motion" in again.attrs["verdict_reasons"]
    for model in ("rigid", "translation"):
        found = stages.solve(config(tmp_path, output=output, motion={"model": model}))
        assert "unknown_motion" not in found.attrs["verdict_reasons"]


@pytest.mark.slow
def test_local_motion_is_chosen_where_frames_bend(tmp_path):
    series = bent_series(1, count=10, size=2.0)
    frames = np.clip(20000 + 4000 * series.frames, 0, 65535).astype("u2")
    write_stack(tmp_path / "stack.zarr", frames)
    (tmp_path / "known").mkdir()
    (tmp_path / "known/stack.zarr").symlink_to(tmp_path / "stack.zarr")
    output = {name: str(tmp_path / f"{name}.zarr") for name in ("shifts", "corrected")}
    output["report"] = str(tmp_path / "page.html")
    auto = config(tmp_path, output=output, motion={"model": "auto"})
    first = stages.run(auto)
    assert json.loads(first.attrs["motion_choice"])["model"] == "local"
    known = stages.run(config(tmp_path / "known", motion={"model": "local"}))
    for name in known.variables:
        np.testing.assert_array_equal(first[name], known[name])
    here, there = (zarr.open(tmp_path / name / "corrected.zarr") for name in (".", "known"))
    np.testing.assert_array_equal(here["0"][:], there["0"][:])
    assert "# motion.model: auto, chosen once:\n#   local: " in (tmp_path / "page.html").read_text()
    made = (tmp_path / "page.html").stat().st_mtime_ns
    assert stages.run(auto).attrs["created"] == first.attrs["created"]
    assert (tmp_path / "page.html").stat().st_mtime_ns == made
    again = stages.solve(auto)
    for name in known.variables:
        np.testing.assert_array_equal(again[name], known[name])


@pytest.mark.slow
def test_a_series_that_has_grown_keeps_its_model(tmp_path, monkeypatch):
    auto = config(tmp_path, motion={"model": "auto"})
    write_stack(tmp_path / "stack.zarr", FRAMES[:5], pixel_size=(0.5, 0.25))
    first = stages.run(auto)
    assert json.loads(first.attrs["motion_choice"])["model"] == "similarity"
    write_stack(tmp_path / "stack.zarr", FRAMES, pixel_size=(0.5, 0.25))
    monkeypatch.setattr(solving, "choose_model", None)
    grown = stages.run(auto)
    assert grown.sizes["frame"] == len(FRAMES)
    assert grown.attrs["motion_choice"] == first.attrs["motion_choice"]
    assert corner_errors(grown, SERIES).max() < 0.1


def test_where_a_translation_is_chosen_all_is_as_without():
    series = turned_series(2, count=6, step=0.0, noise=0.5)
    options = {"max_shift": 16, "parts": None, "defects": None}
    plain = steadystack.estimate_shifts(series.frames, **options)
    auto = steadystack.estimate_shifts(series.frames, motion={"model": "auto"}, **options)
    assert json.loads(auto.attrs["motion_choice"])["model"] == "translation"
    xr.testing.assert_identical(plain.drop_attrs(deep=False), auto.drop_attrs(deep=False))
    other = {"created", "run", "digests", "motion_choice"}
    assert {name: auto.attrs[name] for name in auto.attrs.keys() - other} == {
        name: plain.attrs[name] for name in plain.attrs.keys() - other
    }


def test_the_verdict_names_the_model_and_is_content_with_it():
    series = turned_series(5, count=12, step=0.7)
    mask = ellipse(series.frames.shape[1:], 0.95)
    options = {"mask": mask, "max_shift": 16, "parts": None, "defects": None}
    shifted = steadystack.estimate_shifts(series.frames, **options)
    advice = [reason for reason in steadystack.verdict(shifted).reasons if "rotate" in reason]
    assert advice
    assert advice[0].endswith("set motion: {model: rigid}")
    turned = steadystack.estimate_shifts(series.frames, motion={"model": "rigid"}, **options)
    assert steadystack.verdict(turned).trust == "good"
    before, after = (json.loads(found.attrs["local_motion"]) for found in (shifted, turned))
    assert after["size"] < 0.3 * before["size"]
    # that shifts alone do not explain the frames is no matter then
    before, after = (json.loads(found.attrs["fixed_pattern_effect"]) for found in (shifted, turned))
    assert before["unexplained"] > 0.01
    assert after == {**before, "unexplained": 0.0}


def test_what_does_not_go_with_a_turn_is_refused(run, tmp_path):
    folder, shifts = run
    with pytest.raises(steadystack.InputError, match=r"'fourier' is for shifts alone"):
        steadystack.correct(FRAMES, shifts, interpolation="fourier")
    with pytest.raises(steadystack.InputError, match="crop them afterwards"):
        steadystack.correct(FRAMES[:, :50], shifts, other_shape=True)
    (tmp_path / "stack.zarr").symlink_to(folder / "stack.zarr")
    with pytest.raises(steadystack.InputError, match=r"correct\.interpolation 'fourier'"):
        stages.run(config(tmp_path, correct={"interpolation": "fourier"}))


@pytest.mark.slow
def test_the_report_states_turn_and_scale(run, tmp_path):
    folder, _ = run
    (tmp_path / "stack.zarr").symlink_to(folder / "stack.zarr")
    write_image(tmp_path / "mask.zarr", ellipse(FRAMES.shape[1:], 0.95))
    page = tmp_path / "report.html"
    output = {"shifts": str(tmp_path / "shifts.zarr"), "report": str(page)}
    mask = {"path": str(tmp_path / "mask.zarr"), "defects": None, "parts": None}
    stages.run(config(tmp_path, output=output, mask=mask))
    words = " ".join(re.sub("<[^>]*>", " ", page.read_text()).split())
    turn = re.search(r"turn (\S+) to (\S+) degree ± (\S+)", words)
    assert [float(number) for number in turn.groups()[:2]] == pytest.approx([0, 2.0], abs=0.05)
    assert 0 < float(turn[3]) < 0.05
    scale = re.search(r"scale (\S+) to (\S+) % ± (\S+)", words)
    assert float(scale[2]) == pytest.approx(100 * (1.002**5 - 1), abs=0.1)


@pytest.mark.parametrize("image", [{"corrected": "c.ome.zarr"}, {"mean": "m.npy"}])
def test_an_interpolation_of_shifts_alone_is_refused_before_work_starts(image):
    sections = {
        "input": {"path": "stack.zarr"},
        "motion": {"model": "rigid"},
        "correct": {"interpolation": "fourier"},
        "output": {"shifts": "s.zarr", **image},
    }
    with pytest.raises(steadystack.InputError, match=r"'fourier' is .*rigid frames may turn"):
        make_config(sections)
    assert make_config({**sections, "output": {"shifts": "s.zarr"}}).motion.is_more_than_shift
    assert make_config({**sections, "motion": {"model": "translation"}}).output.shifts == "s.zarr"


UNMODELLED = [
    ("rigid", 0.0, 0.0, ""),
    ("rigid", 0.002, 0.0, "similarity"),
    ("rigid", 0.0, 0.002, "affine"),
    ("similarity", 0.002, 0.0, ""),
    ("similarity", 0.002, 0.002, "affine"),
    ("affine", 0.002, 0.002, ""),
]


@pytest.mark.parametrize(
    ("model", "scale", "shear", "suits"), slow_but([UNMODELLED[1], UNMODELLED[3]], UNMODELLED)
)
def test_frames_that_turn_fast_and_stretch_beyond_their_model_are_reported(
    model, scale, shear, suits
):
    """Pairs far apart, which show slow growth, turn too far to be compared part by part."""
    frames = turned_series(5, count=12, step=0.6, scale=scale, shear=shear).frames
    found = steadystack.estimate_shifts(frames, motion={"model": model}, **PLAIN)
    told = json.loads(found.attrs["unmodelled_motion"])
    after = {"rigid": ["scale", "shear"], "similarity": ["shear"], "affine": []}[model]
    assert list(told["strengths"] if told else []) == after
    advice = [f["words"] for f in json.loads(found.attrs["verdict_reasons"])]
    assert [f"motion: {{model: {suits}}}" in words for words in advice] == [True] * bool(suits)
    assert found.attrs["verdict"] == ("check" if suits else "good")


@pytest.mark.parametrize(
    ("seed", "size"), slow_but([(5, 0.3)], [(5, 0.0), (6, 0.0), (5, 0.3), (6, 0.3), (5, 0.5)])
)
def test_a_pattern_that_stands_still_while_frames_turn_shows_in_far_pairs(seed, size):
    """With it, corners are off by 1 to 3 px, and the verdict was good."""
    series = turned_series(seed, count=24, step=0.2, noise=0.05)
    pattern = gaussian_filter(np.random.default_rng(seed).normal(size=series.frames.shape[1:]), 2)
    frames = series.frames + size * pattern / pattern.std()
    found = steadystack.estimate_shifts(
        frames, motion={"model": "rigid"}, pairs={"width": 3}, **PLAIN
    )
    probes = json.loads(found.attrs["probe_check"])
    told = "far_pairs" in [each["code"] for each in json.loads(found.attrs["verdict_reasons"])]
    assert probes["separation"] > 3
    assert told == (size > 0)
    assert size or corner_errors(found, series).max() < 0.1


@pytest.mark.parametrize(
    ("scale", "model"), slow_but([(4e-4, "similarity")], [(4e-4, "similarity"), (0.0, "rigid")])
)
def test_growth_beside_a_large_turn_is_seen_after_the_solve_and_the_model_replaced(scale, model):
    """Beside turns, little of scale counts at first: a large turn looks a little like one."""
    series = turned_series(5, count=12, step=0.6, scale=scale)
    found = steadystack.estimate_shifts(series.frames, motion={"model": "auto"}, **PLAIN)
    choice = json.loads(found.attrs["motion_choice"])
    assert choice["model"] == json.loads(found.attrs["motion"])["model"] == model
    assert choice["reason"].startswith("as rigid leaves scale") == (model == "similarity")
    assert corner_errors(found, series).max() < 0.04
    assert found.attrs["verdict"] == "good"


def test_frames_that_are_interpolated_are_not_compared_with_what_was_made_up_for_them():
    """One frame turned too far to be found; its errors were those of all frames."""
    series = turned_series(5, count=16, step=0.1)
    frames = series.frames.copy()
    frames[7] = turned_series(5, count=16, step=1.3).frames[7]
    solve = {"interpolate": "linear"}
    found = steadystack.estimate_shifts(
        frames, motion={"model": "rigid"}, pairs={"width": 3}, solve=solve, **PLAIN
    )
    assert found["frame_status"][7] == FrameStatus.INTERPOLATED.code
    assert json.loads(found.attrs["probe_check"])["excess"] < 1


def test_the_advice_to_set_a_model_ends_the_doubt_about_the_choice(tmp_path, monkeypatch):
    write_stack(tmp_path / "stack.zarr", FRAMES[:, 20:90, 20:90])
    output = {"shifts": str(tmp_path / "shifts.zarr")}
    doubtful = ModelChoice(
        "translation",
        {"turn": Strength(0.01, 0.02)},
        local=LocalStrength(0.36, 0.26, 0.64),
    )
    monkeypatch.setattr(solving, "choose_model", lambda *_, **__: doubtful)

    def is_doubted(stage, model):
        found = stage(config(tmp_path, output=output, motion={"model": model}))
        return "unknown_motion" in found.attrs["verdict_reasons"]

    assert is_doubted(stages.run, "auto")
    assert not is_doubted(stages.run, "translation")
    assert not is_doubted(stages.solve, "translation")
    monkeypatch.setattr(solving, "choose_model", None)  # the choice was kept
    assert is_doubted(stages.run, "auto")
