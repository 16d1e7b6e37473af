"""Figures as files, and images made smaller."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest
from click.testing import CliRunner

from steadystack import plot
from steadystack.cli import main
from steadystack.dataset import load_shifts
from steadystack.report.figures import draw_series, save_figure, shrink
from support.reported import config


@pytest.fixture(scope="module")
def folder(report_folder):
    return report_folder


def test_figures_are_files_too(folder):
    settings = str(write(folder, report=str(folder / "drift.png")))  # the page is there already
    done = CliRunner().invoke(main, ["report", settings, "--figures", str(folder / "f")])
    assert done.exit_code == 0, done.output
    assert (folder / "drift.png").read_bytes().startswith(b"\x89PNG")
    kinds = {path.suffix for path in (folder / "f").iterdir()}
    names = {path.stem for path in (folder / "f").iterdir()}
    assert kinds == {".png", ".svg"}
    assert {"drift", "drift-physical", "path", "pairs", "residuals", "matrix"} <= names
    for store in ("stack.zarr", "shifts.zarr"):
        inside = folder / store / "figures"
        told = CliRunner().invoke(main, ["report", settings, "--figures", str(inside)])
        assert told.exit_code == 2
        assert "(--figures)" in told.stderr
        assert not inside.exists()


def write(folder, **output):
    import yaml

    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(config(folder, **output).dump()))
    return path


def test_images_are_made_smaller_by_means_of_what_is_known():
    image = np.arange(20.0).reshape(4, 5)
    image[0, 0] = image[2, 4] = image[3, 4] = np.nan
    expected = [[(1 + 5 + 6) / 3, (2 + 3 + 7 + 8) / 4, (4 + 9) / 2], [13, 15, np.nan]]
    np.testing.assert_allclose(shrink(image, 3), expected)
    assert shrink(image, 5) is image


def test_what_is_written_around_axes_lies_within_the_figure_and_fills_it():
    for title, unit in (("one", "px"), ("one\ntwo", "a very long unit of a very long name")):
        figure = plot.new_figure(5, 4, layout=False)
        ax, other = figure.subplots(1, 2, sharey=True)
        figure.colorbar(other.scatter([0, 1], [1e4, -1e-4], c=[0, 1e6]), ax=other, label=unit)
        ax.set(title=title, xlabel="x", ylabel=f"y / {unit}")
        plot.lay_out(figure)
        figure.draw_without_rendering()
        boxes = [one.get_tightbbox(for_layout_only=True).get_points() for one in figure.axes]
        inches = np.array(boxes) / figure.dpi
        np.testing.assert_allclose(inches.min(axis=(0, 1)), 0.04, atol=0.03)
        np.testing.assert_allclose((5, 4) - inches.max(axis=(0, 1)), 0.04, atol=0.03)


def test_a_picture_at_a_link_lies_where_the_link_leads(tmp_path):
    link = tmp_path / "a.png"
    link.symlink_to("b.png")
    save_figure(plot.new_figure(1, 1), str(link))
    assert link.is_symlink()
    assert (tmp_path / "b.png").read_bytes().startswith(b"\x89PNG")


def test_a_name_is_drawn_as_it_is(folder, tmp_path):
    """No formula of matplotlib's, and no line break; letters that its font lacks do no harm."""
    shifts, image = load_shifts(str(folder / "shifts.zarr")), np.eye(20)
    for name in (r"a_$\frac{1$ 5$.zarr", "日本.zarr", "two\nlines $"):
        figure = draw_series(shifts, image, image, name)
        save_figure(figure, str(tmp_path / "a.png"))
        assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
        drawn = figure.get_suptitle().replace(r"\$", "$")
        assert drawn == name.replace("\n", r"\n")


@pytest.mark.parametrize("words", [["report"], ["check", "--picture", "seen.png"], ["preview"]])
def test_a_full_disk_is_reported_in_a_line(folder, words, monkeypatch):
    def fill(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.chdir(folder)
    settings = str(write(folder, report=str(folder / "page.html")))
    monkeypatch.setattr("steadystack.durable.files.open_workshop", fill)
    told = CliRunner().invoke(main, [words[0], settings, *words[1:]])
    assert told.exit_code == 1
    last = told.output.splitlines()[-1]
    assert last.endswith(f" cannot be written: {os.strerror(errno.ENOSPC)}"), last
    assert "traceback" not in told.output
