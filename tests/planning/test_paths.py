"""Outputs lie on, in or around nothing that a run reads, and not on each other."""

from __future__ import annotations

import numpy as np
import pytest

from steadystack.config import load_config, make_config
from steadystack.model import InputError
from steadystack.outputs import write_stack
from steadystack.planning import check_further, check_paths, open_series

SETTINGS = """
input:
  path: data/stack.zarr
mask:
  path: data/mask.zarr
preprocess:
  flat_field: data/flat.zarr
  fixed_pattern: data/pattern.zarr
initial_shifts:
  path: data/stage.csv
correct:
  stack: data/other.zarr
output:
  shifts: out/shifts.zarr
  {output}
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "data").mkdir()
    for name in ("stack", "mask", "flat", "pattern", "other"):
        (tmp_path / "data" / f"{name}.zarr").mkdir()
    (tmp_path / "data" / "stage.csv").write_text("frame,y,x\n")
    return tmp_path


def read(folder, output="", name="run.yaml"):
    (folder / name).write_text(SETTINGS.replace("{output}", output), encoding="utf-8")
    return load_config(folder / name)


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("corrected: data/stack.zarr", "input.path"),
        ("corrected: data/stack.zarr/0/corrected.zarr", "input.path"),
        ("corrected: data/mask.zarr", "mask.path"),
        ("corrected: data/flat.zarr", "preprocess.flat_field"),
        ("report: data/pattern.zarr/report.html", "preprocess.fixed_pattern"),
        ("corrected: data/other.zarr", "correct.stack"),
        ("corrected: out/shifts.zarr/c.zarr", "output.shifts"),
        ("report: out/shifts.zarr/report.png", "output.shifts"),
        ("corrected: data/../data/stack.zarr", "input.path"),
        ("{performance_report: a.html, report: a.html}", "output.report"),
    ],
)
def test_outputs_that_would_replace_something_are_refused(folder, output, words):
    if output.startswith("{"):
        output = "\n  ".join(output.strip("{}").split(", "))
    with pytest.raises(InputError, match=r"overlap: neither may lie inside the other") as raised:
        check_paths(read(folder, output))
    assert words in str(raised.value)


def test_links_count_as_what_they_lead_to(folder):
    (folder / "alias").symlink_to(folder / "data")
    config = make_config(
        {
            "input": {"path": str(folder / "data" / "stack.zarr")},
            "output": {"shifts": str(folder / "alias" / "stack.zarr" / "shifts.zarr")},
        }
    )
    with pytest.raises(InputError, match=r"input\.path"):
        check_paths(config)


def test_the_settings_themselves_and_the_table_of_inputs_count(folder):
    config = read(folder, "summary: data/stage.csv")
    check_paths(config)  # of one input no table is written
    with pytest.raises(InputError, match=r"output\.summary.*initial_shifts\.path"):
        check_paths(config, with_summary=True)
    with pytest.raises(InputError, match=r"the settings"):
        check_paths(read(folder, "summary: run.csv", "run.csv"), with_summary=True)
    with pytest.raises(InputError, match=r"output\.shifts .* and output\.summary .* overlap"):
        check_paths(read(folder, "summary: out/shifts.zarr"))  # whether or not it is written


def test_an_output_that_the_pattern_of_inputs_finds_is_refused(folder):
    config = make_config(
        {"input": {"path": "frames/*.tif"}, "output": {"corrected": "frames/moved.ome.tif"}}, folder
    )
    with pytest.raises(InputError, match=r"would match the inputs"):
        check_paths(config)


def test_neighbours_are_no_overlap(folder):
    check_paths(read(folder, "corrected: data/stack.zarr.corrected.zarr"))
    check_paths(read(folder, "report: data/report.html"))


def test_a_picture_asked_for_by_an_option_lies_in_nothing_that_is_read_or_written(
    folder, monkeypatch
):
    monkeypatch.chdir(folder)
    config = read(folder, "corrected: out/steady.zarr")
    for target, words in (
        ("data/stack.zarr/seen.png", r"--picture.*input\.path"),
        ("out/../data/mask.zarr/seen.png", r"--picture.*mask\.path"),
        ("out/shifts.zarr/seen.png", r"--picture.*output .*output\.shifts"),
        ("out/steady.zarr/seen.png", r"--picture.*output .*output\.corrected"),
        ("run.yaml", "the settings"),
    ):
        with pytest.raises(InputError, match=words):
            check_further(config, "--picture", target)
    check_further(config, "--picture", "data/seen.png")
    config = make_config({"input": {"path": "data/*.png"}}, folder)
    with pytest.raises(InputError, match="would match the inputs"):
        check_further(config, "--picture", "data/seen.png")


def settings_of(folder, dtype, corrected="steady.ome.tif", other=None):
    np.save(folder / f"{dtype}.npy", np.arange(4 * 20 * 20).reshape(4, 20, 20).astype(dtype))
    return make_config(
        {
            "input": {"path": f"{dtype}.npy", "axes": "tyx"},
            "correct": {"stack": other},
            "output": {"shifts": "shifts.zarr", "corrected": corrected},
        },
        folder,
    )


@pytest.mark.parametrize("dtype", ["i8", "u8", "f2"])
def test_pixels_that_ome_tiff_cannot_hold_are_refused_before_any_is_read(tmp_path, dtype):
    with pytest.raises(InputError, match=f"OME-TIFF cannot hold {np.dtype(dtype)}: let it"):
        open_series(settings_of(tmp_path, dtype))
    open_series(settings_of(tmp_path, dtype, "steady.ome.zarr"))


@pytest.mark.parametrize("dtype", ["?", ">u2", "i4", "f8"])
def test_pixels_that_ome_tiff_can_hold_are_not_refused(tmp_path, dtype):
    open_series(settings_of(tmp_path, dtype))


def test_the_pixels_of_the_stack_that_is_moved_count(folder):
    write_stack(folder / "wide.ome.zarr", np.zeros((4, 20, 20), "u8"))
    write_stack(folder / "narrow.ome.zarr", np.zeros((4, 20, 20), "u2"))
    open_series(settings_of(folder, "i8", other="narrow.ome.zarr"))
    with pytest.raises(InputError, match="OME-TIFF cannot hold uint64"):
        open_series(settings_of(folder, "u2", other="wide.ome.zarr"))


def test_a_stack_that_is_moved_may_be_gone_where_nothing_is_moved(folder):
    """The solve does without it."""
    open_series(settings_of(folder, "u2", other="gone.ome.zarr"))
