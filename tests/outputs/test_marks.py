"""What was made here is told from what others made, which nothing replaces."""

from __future__ import annotations

from pathlib import Path

import matplotlib.figure
import pytest

from steadystack.model import InputError
from steadystack.outputs import (
    Origin,
    check_of_run,
    check_own_file,
    is_of_state,
    make_figure_metadata,
    mark_page,
    name_run,
    read_origin,
    replacing_own_file,
    write_table,
)


def draw(path, run=""):
    figure = matplotlib.figure.Figure()
    figure.subplots().plot([0, 1])
    with replacing_own_file(str(path)) as new:
        metadata = make_figure_metadata(path.suffix, run)
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


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf", ".html"])
def test_a_page_says_of_which_run_it_is(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"

    def make(run):
        if suffix == ".html":
            path.write_text("<html></html>" + " " * 300_000)
            mark_page(path, run)
        else:
            draw(path, run)

    make("")  # by an earlier version
    check_of_run(str(path), "0a1b", "output.report")
    make("0a1b")
    check_own_file(str(path))
    check_of_run(str(path), "0a1b", "output.report")
    with pytest.raises(InputError, match=r"output\.report .* another run.* set another output"):
        check_of_run(str(path), "0a1c", "output.report")


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf", ".html"])
def test_a_page_says_what_its_run_was_then(tmp_path, suffix):
    """Whatever bytes come behind it in the file."""
    path = tmp_path / f"a{suffix}"
    assert not is_of_state(str(path), "0a1b-77")
    for state in range(10, 20):
        if suffix == ".html":
            path.write_text("<html></html>")
            mark_page(path, f"0a1b-{state}")
        else:
            draw(path, f"0a1b-{state}")
        assert is_of_state(str(path), f"0a1b-{state}")
        assert not is_of_state(str(path), f"0a1b-{state + 1}")
        check_of_run(str(path), "0a1b", "output.report")


def test_a_run_is_named_by_where_its_dataset_lies_seen_from_its_files(tmp_path):
    def name(folder, shifts, path):
        return name_run(str(tmp_path / folder / shifts), str(tmp_path / folder / path))

    ours = name("a", "out/shifts.zarr", "pages/report.html")
    assert name("moved", "out/shifts.zarr/", "pages/report.html") == ours
    assert name("a", "out/shifts.zarr", "pages/mean.npy") == ours
    others = {
        name("a", "out/other.zarr", "pages/report.html"),
        name("a", "shifts.zarr", "pages/report.html"),
        name("a", "out/shifts.zarr", "report.html"),
        name_run("s3://bucket/out/shifts.zarr", str(tmp_path / "a/pages/report.html")),
    }
    assert len(others | {ours}) == 5
    assert name_run("s3://b/c/shifts.zarr", "s3://b/c/p.html") == name("a", "shifts.zarr", "p.html")


def test_an_array_keeps_where_it_comes_from_beside_it(tmp_path):
    path, origin = tmp_path / "mean.npy", Origin("0a", "1b", "2c")
    assert read_origin(str(path)) is None
    with replacing_own_file(str(path), "output.mean", origin) as new:
        new.write_bytes(b"3")
    assert read_origin(str(path)) == origin
    path.write_bytes(b"4")
    assert read_origin(str(path)) is None


@pytest.mark.parametrize("name", ["a.csv", "a.html"])
def test_what_others_put_there_while_a_file_is_written_stays(tmp_path, name):
    path = tmp_path / name

    def write():
        with replacing_own_file(str(path), "output.summary") as new:
            new.write_bytes(b"ours")
            path.write_bytes(b"theirs")

    with pytest.raises(InputError, match=rf"output\.summary .*{name} exists and was not made by"):
        write()
    assert path.read_bytes() == b"theirs"
    assert [other.name for other in tmp_path.glob(".*digest")] == []


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.write_text("my digest")])
def test_what_others_put_where_digests_are_kept_stays(tmp_path, make):
    kept = tmp_path / ".a.csv.steadystack-digest"
    make(kept)
    with pytest.raises(InputError, match=r"\.a\.csv\.steadystack-digest is not what steadystack"):
        check_own_file(str(tmp_path / "a.csv"))
    check_own_file(str(tmp_path / "a.html"))  # has none
    kept.rmdir() if kept.is_dir() else kept.unlink()
    for origin in (None, Origin("0a", "1b", "2c")):
        with replacing_own_file(str(tmp_path / "a.csv"), origin=origin) as new:
            new.write_text(f"1 {origin}")
