"""What was made here is told from what others made, which nothing replaces."""

from __future__ import annotations

import matplotlib.figure
import pytest

from steadystack.model import InputError
from steadystack.outputs import (
    check_own_file,
    make_figure_metadata,
    mark_page,
    replacing_own_file,
    write_table,
)


def draw(path):
    figure = matplotlib.figure.Figure()
    figure.subplots().plot([0, 1])
    with replacing_own_file(str(path)) as new:
        metadata = make_figure_metadata(path.suffix)
        figure.savefig(new, format=path.suffix[1:], metadata=metadata)


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_a_picture_of_ours_is_replaced_and_one_of_others_is_not(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    for _ in range(2):
        draw(path)
    theirs = tmp_path / f"theirs{suffix}"
    matplotlib.figure.Figure().savefig(theirs)
    before = theirs.read_bytes()
    with pytest.raises(InputError, match="was not made by steadystack"):
        draw(theirs)
    assert theirs.read_bytes() == before


def test_a_page_of_another_library_can_be_marked(tmp_path):
    page = tmp_path / "dask.html"
    page.write_text("<html></html>" + " " * 300_000)
    with pytest.raises(InputError, match=r"output\.performance_report .*dask\.html exists"):
        check_own_file(str(page), "output.performance_report")
    mark_page(page)
    check_own_file(str(page))


def test_a_table_is_ours_until_somebody_edits_it(tmp_path):
    path = tmp_path / "summary.csv"
    for value in ("1", "2"):
        write_table(str(path), ["a"], [[value]])
    assert path.read_text().split() == ["a", "2"]
    path.write_text(path.read_text() + "mine\n")
    with pytest.raises(InputError, match=r"summary\.csv exists and was not made by steadystack"):
        write_table(str(path), ["a"], [["3"]])
    assert "mine" in path.read_text()


def test_a_folder_is_never_replaced_by_a_file(tmp_path):
    (tmp_path / "summary.csv").mkdir()
    (tmp_path / "summary.csv" / "theirs").write_text("theirs")
    with pytest.raises(InputError, match="was not made by steadystack"):
        write_table(str(tmp_path / "summary.csv"), ["a"], [["3"]])
    assert (tmp_path / "summary.csv" / "theirs").exists()


def test_a_table_that_was_being_replaced_is_still_ours(tmp_path):
    """Killed between the new digest and the new table."""
    path = tmp_path / "t.csv"
    write_table(str(path), ["a"], [["1"]])
    old = path.read_bytes()
    write_table(str(path), ["a"], [["2"]])
    path.write_bytes(old)
    write_table(str(path), ["a"], [["3"]])
    assert path.read_text().split() == ["a", "3"]
