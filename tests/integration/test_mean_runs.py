"""The mean of the steady series at the end of a run, alone or beside the corrected stack."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from click.testing import CliRunner

import steadystack
from steadystack import stages
from steadystack.cli import main
from steadystack.correction import regions
from steadystack.model import InputError
from steadystack.outputs import write_image, write_stack
from support.corrected import SIZE, frames_of, run_of
from support.runs import write_settings
from support.scenes import Scene

pytestmark = pytest.mark.usefixtures("unchecked")
IMAGES = ("mean", "sum", "std", "count", "maximum")


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return frames_of(Scene(3, detail=2.5))


def run_with(folder, **sections):
    output = {"shifts": str(folder / "shifts.zarr"), "mean": str(folder / "mean.ome.zarr")}
    return run_of(folder, **{"output": output} | sections)


def images_of(path):
    group = zarr.open_group(path, mode="r")
    return {name: group["0" if name == "mean" else name][:] for name in IMAGES}


def test_a_run_writes_it_without_the_corrected_stack(frames, tmp_path):
    """Equal to `mean` in Python, with masks of every kind, and done once."""
    valid = np.ones(SIZE, bool)
    valid[20:33, 30:41] = False
    pixels = frames.copy()
    pixels[:, 50, 60] = 65535
    write_stack(tmp_path / "stack.zarr", pixels)
    write_image(tmp_path / "mask.zarr", valid)
    mask = {"path": str(tmp_path / "mask.zarr"), "saturation": 65535}
    config = run_with(tmp_path, mask=mask)
    shifts = stages.run(config)
    expected = steadystack.mean(pixels, shifts, mask=valid & (pixels[0] < 65535))
    for name, image in images_of(config.output.mean).items():
        np.testing.assert_array_equal(image, expected[name], err_msg=name)
    names = {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")}
    assert names == {"stack.zarr", "mask.zarr", "shifts.zarr", "mean.ome.zarr", "run.log"}
    before = (tmp_path / "mean.ome.zarr" / "zarr.json").stat().st_mtime_ns
    stages.run(config)
    assert (tmp_path / "mean.ome.zarr" / "zarr.json").stat().st_mtime_ns == before


def test_beside_the_corrected_stack_weighted_by_precision(frames, tmp_path):
    write_stack(tmp_path / "stack.zarr", frames)
    output = {name: str(tmp_path / f"{name}.zarr") for name in ("shifts", "corrected", "mean")}
    config = run_with(
        tmp_path, output=output, mean={"weights": "precision"}, correct={"border": "crop"}
    )
    shifts = stages.run(config)
    std = shifts["frame_shift_std"].to_numpy()
    weights = 1 / (1 + 12 * (std**2).mean(axis=1))
    steady = zarr.open_group(output["corrected"], mode="r")["0"][:]
    found = images_of(output["mean"])
    assert found["mean"].shape == steady.shape[1:]
    rounded = np.average(steady, axis=0, weights=weights)
    np.testing.assert_allclose(found["mean"], rounded, atol=0.51)
    expected = steadystack.mean(frames, shifts, weights="precision", border="crop")
    np.testing.assert_array_equal(found["mean"], expected["mean"])
    done = stages.correct(config)
    assert [summary.what for summary in (done, *done.further)] == ["corrected", "mean"]


def test_doses_out_of_a_table(frames, tmp_path):
    write_stack(tmp_path / "stack.zarr", frames)
    (tmp_path / "doses.csv").write_text("dose\n1\n2\n0\n1\n0.5\n3\n")
    table = {"weights": "column", "path": str(tmp_path / "doses.csv"), "column": "dose"}
    shifts = stages.run(run_with(tmp_path, mean=table))
    expected = steadystack.mean(frames, shifts, weights=[1, 2, 0, 1, 0.5, 3])
    for name, image in images_of(tmp_path / "mean.ome.zarr").items():
        np.testing.assert_array_equal(image, expected[name], err_msg=name)
    (tmp_path / "doses.csv").write_text("dose\n1\n2\n0\n1\n0.5\n4\n")
    with pytest.raises(InputError, match=r"other shifts or settings.*another output\.mean"):
        stages.correct(run_with(tmp_path, mean=table))


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("dose\n1\n1\n", "mean.path: .* has 2 lines for 6 frames"),
        ("weight\n1\n1\n1\n1\n1\n1\n", "no column 'dose', but weight: set mean.column"),
        (None, "mean.path: .*doses.csv cannot be read"),
    ],
)
@pytest.mark.parametrize("stage", ["plan", "run"])
def test_a_table_that_does_not_fit_is_reported_before_work(
    frames, tmp_path, monkeypatch, table, words, stage
):
    write_stack(tmp_path / "stack.zarr", frames)
    if table is not None:
        (tmp_path / "doses.csv").write_text(table)
    weights = {"weights": "column", "path": str(tmp_path / "doses.csv"), "column": "dose"}
    with pytest.raises(InputError, match=words):
        getattr(stages, stage)(run_with(tmp_path, mean=weights))
    assert not (tmp_path / "shifts.zarr").exists()


@pytest.mark.parametrize("name", ["mean.zarr", "mean.ome.tif", "mean.npy"])
def test_a_file_of_somebody_else_is_reported_before_work(frames, tmp_path, name):
    write_stack(tmp_path / "stack.zarr", frames)
    theirs = tmp_path / name
    theirs.write_bytes(b"theirs")
    output = {"shifts": str(tmp_path / "shifts.zarr"), "mean": str(theirs)}
    with pytest.raises(InputError, match="will not be overwritten"):
        stages.run(run_with(tmp_path, output=output), overwrite=True)
    assert theirs.read_bytes() == b"theirs"
    assert not (tmp_path / "shifts.zarr").exists()


def test_too_little_memory_is_reported_before_work(frames, tmp_path):
    write_stack(tmp_path / "stack.zarr", frames)
    cluster = {"kind": "in-process", "task_memory": "20 MiB"}
    with pytest.raises(InputError, match=r"raise cluster\.task_memory above 20 MiB"):
        stages.run(run_with(tmp_path, cluster=cluster))
    assert not (tmp_path / "shifts.zarr").exists()


def test_settings_that_make_no_sense_are_refused(tmp_path):
    for mean, words in (
        ({"weights": "column"}, "weights 'column' needs the keys 'path' and 'column'"),
        ({"column": "dose"}, "needs the keys 'path' and 'column', and no other weights take them"),
        ({"weights": "dose"}, "mean.weights: 'dose' is not allowed"),
    ):
        with pytest.raises(InputError, match=words):
            run_with(tmp_path, mean=mean)
    with pytest.raises(InputError, match=r"mean 'mean.png' must end in .zarr, .ome.tif or .npy"):
        run_with(tmp_path, output={"mean": "mean.png"})
    path = str(tmp_path / "a.zarr")
    write_stack(tmp_path / "stack.zarr", np.zeros((2, 32, 32), "u1"))
    with pytest.raises(InputError, match="overlap"):
        stages.plan(run_with(tmp_path, output={"corrected": path, "mean": path}))


def test_what_was_stopped_is_gone_on_with_and_nothing_is_measured_again(
    frames, tmp_path, monkeypatch
):
    write_stack(tmp_path / "stack.zarr", frames)
    config = run_with(tmp_path)

    def stopped(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(regions, "read_block", stopped)
        with pytest.raises(KeyboardInterrupt):
            stages.run(config)
    assert not (tmp_path / "mean.ome.zarr").exists()
    shifts = stages.run(config)
    expected = steadystack.mean(frames, shifts)
    np.testing.assert_array_equal(images_of(config.output.mean)["mean"], expected["mean"])


def test_the_plan_and_the_commands_describe_it(frames, tmp_path):
    write_stack(tmp_path / "stack.zarr", frames)
    path = write_settings(tmp_path, output={"shifts": "shifts.zarr", "mean": "mean.ome.tif"})
    told = CliRunner().invoke(main, ["plan", path])
    assert "mean          (72, 80) if nothing moved in 1 level(s)\n" in told.output
    ran = CliRunner().invoke(main, ["run", path])
    assert f"mean -> {tmp_path / 'mean.ome.tif'}\n" in ran.output
    (tmp_path / "mean.ome.tif").unlink()
    again = CliRunner().invoke(main, ["correct", path])
    assert again.output.startswith("mean of 6 frames of (72, 80), 1 level(s), 1 tasks of up to")
    path = write_settings(tmp_path, output={"shifts": "shifts.zarr"})
    nothing = CliRunner().invoke(main, ["correct", path])
    assert "none of output.corrected, output.mean and output.movie is set" in nothing.output


def test_several_inputs_need_a_mean_each(frames, tmp_path):
    for name in ("a", "b"):
        write_stack(tmp_path / f"{name}.zarr", frames)
    path = write_settings(
        tmp_path, input={"path": ["a.zarr", "b.zarr"]},
        output={"shifts": "{name}-shifts.zarr", "mean": "mean.npy"},
    )  # fmt: skip
    told = CliRunner().invoke(main, ["run", path])
    assert "output.mean" in told.output
    assert "is one path for 2 inputs: put {name} into it" in told.output
