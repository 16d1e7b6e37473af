"""--overwrite: the old result stays whole until the new one is, whatever happens on the way."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
import xarray as xr
import zarr

from steadystack import edit_shifts, plot, stages
from steadystack.config import make_config
from steadystack.dataset import load_shifts
from steadystack.durable import get_place
from steadystack.model import InputError, OutputError, PairStatus, RunError
from steadystack.outputs import write_stack
from steadystack.report.figures import save_figure
from support.members import slow_but
from support.scenes import rough


def settings(folder, max_shift=6, **sections):
    sections = {"output": {}, "cluster": {"kind": "in-process"}} | sections
    return make_config(
        {
            "input": {"path": "stack.zarr"},
            "mask": {"defects": None, "parts": None},
            "preprocess": {"low_pass": None, "high_pass": None},
            "register": {"max_shift": max_shift},
            "pairs": {"width": 2},
            **sections,
            "output": {"shifts": "shifts.zarr", "report": "report.html"} | sections["output"],
        },
        folder,
    )


def grown(count=9):
    base = rough(0, (80, 80), 1)
    frames = [
        base[10 + t : 58 + t, 12 - t : 60 - t] + 0.1 * rough(t, (48, 48), 0) for t in range(count)
    ]
    return np.stack(frames).astype("f4")


@pytest.fixture
def folder(tmp_path, unchecked, no_figures):
    write_stack(tmp_path / "stack.zarr", grown(7))
    stages.run(settings(tmp_path))
    return tmp_path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_run_that_is_refused_leaves_the_old_result(folder, monkeypatch):
    old, page = load_shifts(str(folder / "shifts.zarr")), (folder / "report.html").read_bytes()
    lost = settings(folder, 8, cluster={"kind": "address", "address": "tcp://127.0.0.1:9"})
    monkeypatch.setattr("steadystack.cluster.kinds.CONNECT_TIMEOUT_S", 1.0)
    with pytest.raises((InputError, RunError)):
        stages.run(lost, overwrite=True)
    assert load_shifts(str(folder / "shifts.zarr")).identical(old)
    assert (folder / "report.html").read_bytes() == page


class Stop(BaseException):
    """As a signal does."""


def test_a_run_that_is_stopped_goes_on_beside_the_old_result(folder):
    old = load_shifts(str(folder / "shifts.zarr"))

    def stop(done, total):
        if done >= 5:
            raise Stop

    new = settings(folder, 8, cluster={"kind": "in-process", "task_memory": "1 MiB"})
    with pytest.raises(Stop):
        stages.run(new, overwrite=True, progress=stop)
    assert load_shifts(str(folder / "shifts.zarr")).identical(old)
    assert stages.solve(settings(folder)).sizes == old.sizes  # the old one is in use as before
    begins = []
    result = stages.run(new, progress=lambda done, total: begins.append(done))
    assert begins[0] >= 5
    with xr.open_zarr(folder / "shifts.zarr") as there:
        assert there.attrs["fingerprint"] == result.attrs["fingerprint"] != old.attrs["fingerprint"]
    whole = stages.run(settings(folder, 8, output={"shifts": "whole.zarr", "report": "whole.html"}))
    for name in whole.variables:
        assert result[name].to_numpy().tobytes() == whole[name].to_numpy().tobytes(), name
    assert not [name for name in names(folder) if "draft" in name or name.endswith("journal")]


def test_overwrite_begins_anew_and_replaces_in_the_end(folder):
    before = load_shifts(str(folder / "shifts.zarr"))
    after = stages.run(settings(folder), overwrite=True)
    assert after.attrs["run"] != before.attrs["run"]
    assert load_shifts(str(folder / "shifts.zarr")).attrs["run"] == after.attrs["run"]
    assert (
        stages.measure(settings(folder, 8), overwrite=True).attrs["fingerprint"]
        != (before.attrs["fingerprint"])
    )


def test_what_strangers_lay_around_stays(folder):
    strangers = [
        "shifts.zarr.before", "shifts.zarr.partial", "shifts.zarr.discarded",
        "shifts.zarr.static.zarr", "shifts.zarr.flat_field.zarr", "shifts.zarr.fixed_pattern.zarr",
        "shifts.part-1-of-2.zarr.mine",
    ]  # fmt: skip
    for name in strangers:
        (folder / name).mkdir()
        (folder / name / "theirs").write_text(name)
    for overwrite in (False, True):
        stages.run(settings(folder), overwrite=overwrite)
        stages.solve(settings(folder))
    assert all((folder / name / "theirs").read_text() == name for name in strangers)


LABELS, NOTES = "steady.ome.zarr/labels/nuclei", "mean.ome.zarr/notes.txt"


@pytest.mark.parametrize("name", slow_but([LABELS], [LABELS, NOTES]))
def test_what_others_put_into_an_image_is_not_deleted_with_it(folder, name):
    images = {"corrected": "steady.ome.zarr", "mean": "mean.ome.zarr"}
    config = settings(folder, output=images)
    stages.correct(config)
    stages.correct(config, overwrite=True)
    theirs, image = folder / name, name.partition("/")[0]
    theirs.parent.mkdir(exist_ok=True)
    theirs.write_text("mine")
    (folder / image / ".DS_Store").touch()
    stages.run(config)  # nothing is to be replaced
    told = rf"{image}/\w+(\.txt)? was not written by .* with .*{image}.*: move it, or set another"
    before = sorted(folder.rglob("*"))
    for command in (stages.correct, stages.run):
        with pytest.raises(InputError, match=told):
            command(config, overwrite=True)
    write_stack(folder / "stack.zarr", grown())
    with pytest.raises(InputError, match=told):
        stages.run(config)
    assert theirs.read_text() == "mine"
    assert {path for path in before if path.name != ".shifts.zarr.lock"} <= set(folder.rglob("*"))
    for path in (theirs, theirs.parent):
        if path != folder / image:
            path.unlink() if path.is_file() else path.rmdir()
    stages.run(config)
    assert zarr.open_array(folder / "steady.ome.zarr" / "0", mode="r").shape[0] == 9


def test_what_others_put_into_a_part_is_not_deleted_with_it(folder):
    config = settings(folder, output={"shifts": "whole.zarr"})
    for part in ("1/2", "2/2"):
        stages.measure(config, batches=part)
    theirs = folder / "whole.part-1-of-2.zarr" / "notes.txt"
    theirs.write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(InputError, match=r"part-1-of-2\.zarr/notes\.txt was not written by"):
            stages.measure(config, overwrite=overwrite)
    assert theirs.read_text() == "mine"
    theirs.unlink()
    assert (stages.measure(config)["pair_status"] == PairStatus.OK.code).any()
    assert not list(folder.glob("whole.part-*"))


def test_what_others_put_into_an_image_while_it_is_written_anew_stays(folder):
    config = settings(folder, output={"corrected": "steady.ome.zarr"})
    stages.correct(config)
    theirs = folder / "steady.ome.zarr" / "notes.txt"
    told = r"steady\.ome\.zarr/notes\.txt was not written by"
    with pytest.raises(InputError, match=told):
        stages.correct(config, overwrite=True, progress=lambda *_: theirs.write_text("mine"))
    assert theirs.read_text() == "mine"
    theirs.unlink()
    done = []
    stages.correct(config, progress=lambda *_: done.append(1))  # all tasks were done
    assert not done
    assert not (folder / ".steady.ome.zarr.steadystack").exists()


@pytest.mark.parametrize("name", slow_but(["tracks"], ["notes.txt", "tracks"]))
def test_what_others_put_into_the_dataset_is_not_deleted_with_it(folder, name):
    theirs = folder / "shifts.zarr" / name
    theirs.mkdir() if name == "tracks" else theirs.write_text("mine")
    stages.run(settings(folder))  # nothing is to be replaced
    told = rf"shifts\.zarr/{name} was not written by .*: move it, or "
    again = settings(folder, solve={"robust": False})
    with pytest.raises(InputError, match=told):
        stages.solve(settings(folder))
    with pytest.raises(InputError, match=told):
        stages.run(again)
    with pytest.raises(InputError, match=told):
        stages.run(settings(folder), overwrite=True)
    shifts = load_shifts(str(folder / "shifts.zarr"))
    with pytest.raises(InputError, match=told + "choose another path"):
        edit_shifts(shifts, shifts["frame_shift"] + 1, path=folder / "shifts.zarr")
    write_stack(folder / "stack.zarr", grown())
    with pytest.raises(InputError, match=told):
        stages.run(settings(folder))
    assert theirs.exists()
    assert not (folder / ".shifts.draft.zarr").exists()
    theirs.rename(folder / name)
    assert stages.run(settings(folder)).sizes["frame"] == 9


@pytest.mark.parametrize("name", ["frames.csv", "fields.displacements.ome.zarr", "other.nc"])
def test_nothing_is_exported_to_what_is_being_written(folder, name):
    shifts, target = str(folder / "shifts.zarr"), folder / name
    before = sorted(folder.iterdir())
    told = (
        rf"{name} is being written by another run \(.*: wait for it, stop it, or choose another p"
    )
    for key in ("", "target"):
        with get_place(target).holding_lock(key):
            with pytest.raises(InputError, match=told):
                stages.export(shifts, str(target))
            with pytest.raises(InputError, match=told):
                stages.export(shifts, str(target), overwrite=True)
    assert not target.exists()
    stages.export(shifts, str(target))
    left = {path for path in folder.iterdir() if path not in before} - {target}
    assert all(path.name == f".{name}.steadystack-digest" for path in left)


def test_a_full_disk_leaves_nothing_of_an_export_to_continue(folder, small_disk):
    with suppress(OSError), (small_disk / "full").open("wb", buffering=0) as file:
        while file.write(bytes(2**12)):
            pass
    shifts = load_shifts(str(folder / "shifts.zarr"))
    told = rf"{small_disk}/a\.[.\w]+ cannot be written: No space left on device$"
    for name in ("a.csv", "a.json", "a.displacements.ome.zarr", "a.nc"):
        with pytest.raises(OutputError, match=told):
            stages.export(str(folder / "shifts.zarr"), str(small_disk / name))
        assert not (small_disk / name).exists()
    with pytest.raises(OutputError, match=told):
        edit_shifts(shifts, shifts["frame_shift"], path=small_disk / "a.zarr")


LINKED = ["a.csv", "a.displacements.ome.zarr", "a.nc", "edited.zarr"]


@pytest.mark.parametrize("name", slow_but(LINKED[2:3], LINKED))
def test_what_is_written_to_a_link_lies_where_it_leads(folder, name):
    """As with the outputs of a run; a link that led to nothing yet was lost."""
    (folder / "away").mkdir()
    link, target = folder / name, folder / "away" / name
    link.symlink_to(target)
    shifts = load_shifts(str(folder / "shifts.zarr"))
    for _ in range(2):
        if name == "edited.zarr":
            edit_shifts(shifts, shifts["frame_shift"] + 1, path=link)
        else:
            stages.export(str(folder / "shifts.zarr"), str(link), overwrite=target.exists())
        assert link.is_symlink()
        assert target.exists()
        assert not target.is_symlink()


def test_a_link_to_a_name_that_ends_otherwise_is_refused(folder):
    """The format goes by the end of a name, and nobody would find it in the other."""
    shifts = load_shifts(str(folder / "shifts.zarr"))
    for name, write in {
        "a.nc": lambda path: edit_shifts(shifts, shifts["frame_shift"], path=path),
        "a.png": lambda path: save_figure(plot.new_figure(1, 1), path),
        "a.csv": lambda path: stages.export(str(folder / "shifts.zarr"), path),
    }.items():
        (folder / name).symlink_to(folder / "blob.svg")
        with pytest.raises(InputError, match=r"is a link to .*blob\.svg, whose name ends other"):
            write(str(folder / name))
        assert not (folder / "blob.svg").exists()


@pytest.mark.usefixtures("no_look_at_what_stands_still")
def test_what_others_put_into_a_dataset_that_is_not_whole_stays(folder):
    config = settings(folder, output={"shifts": "half.zarr", "report": "half.html"})
    theirs = folder / "half.zarr" / "notes.txt"

    def stop(done, total):
        theirs.write_text("mine")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stages.measure(config, progress=stop)
    assert (folder / "half.zarr.journal").exists()  # what was measured is there, not in the dataset
    for command in (stages.measure, stages.run):
        with pytest.raises(InputError, match=r"half\.zarr/notes\.txt was not written by"):
            command(config)
    assert theirs.read_text() == "mine"
    theirs.unlink()
    assert stages.measure(config)["pair_status"].size
    assert not (folder / "half.zarr.journal").exists()


@pytest.mark.parametrize(
    "other", slow_but(["shifts.part-2.zarr"], ["shifts.part-2.zarr", "shifts.part-1-of-2.zarr"])
)
def test_a_run_of_another_stack_that_is_called_like_a_part_stays(folder, other):
    stages.run(settings(folder, 5, output={"shifts": other, "report": "other.html"}))
    kept = load_shifts(str(folder / other))
    for overwrite in (False, True):
        stages.run(settings(folder), overwrite=overwrite)
    assert load_shifts(str(folder / other)).identical(kept)


def test_a_stranger_in_the_way_of_an_image_or_a_journal_is_reported_before_a_frame_is_read(folder):
    (folder / "shifts.zarr.flat_field.zarr").mkdir()
    wanted = settings(folder, preprocess={"flat_field": "median"})
    with pytest.raises(InputError, match=r"flat_field\.zarr is in the way and was not made by"):
        stages.run(wanted, overwrite=True)
    (folder / "shifts.zarr.journal").write_text("Monday")
    with pytest.raises(InputError, match=r"journal is in the way and was not made by steadystack"):
        stages.run(settings(folder), overwrite=True)
    assert (folder / "shifts.zarr.journal").read_text() == "Monday"


def test_the_page_of_another_run_is_not_replaced_but_by_overwrite(folder):
    page = (folder / "report.html").read_bytes()
    other = settings(folder, output={"shifts": "other.zarr"})
    with pytest.raises(InputError, match=r"report\.html is the page of another run.*move it"):
        stages.run(other)
    with pytest.raises(InputError, match=r"other\.zarr does not exist: run"):
        stages.report(other)
    assert not (folder / "other.zarr").exists()
    assert (folder / "report.html").read_bytes() == page
    (folder / "shifts.zarr").rename(folder / "other.zarr")
    with pytest.raises(InputError, match="the page of another run"):
        stages.report(other)
    (folder / "other.zarr").rename(folder / "shifts.zarr")
    stages.report(settings(folder))
    stages.run(other, overwrite=True)
    stages.report(other)


def test_a_page_or_stack_of_others_is_not_replaced(folder):
    for name in ("theirs.html", "theirs.ome.tif"):
        (folder / name).write_text("theirs")
    for output in ({"report": "theirs.html"}, {"corrected": "theirs.ome.tif"}):
        with pytest.raises(InputError, match="exists and was not made by steadystack"):
            stages.run(settings(folder, output=output), overwrite=True)
    assert (
        (folder / "theirs.html").read_text() == (folder / "theirs.ome.tif").read_text() == "theirs"
    )
