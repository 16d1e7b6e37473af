"""Many inputs in one file: outputs, one table, and one that fails stops nobody."""

from __future__ import annotations

import csv
import re
import shutil

import numpy as np
import pytest
import zarr

import steadystack
from steadystack.cluster import kinds
from steadystack.config import load_config, make_config
from steadystack.dataset import load_shifts
from steadystack.measure import measure_pairs
from steadystack.outputs import write_image, write_stack
from steadystack.planning import resolve_inputs
from steadystack.stages import open_stack
from steadystack.stages.many_inputs import STAGES, share_inputs
from support import STORES
from support.scenes import Scene, ellipse
from support.settings import write_run
from support.shell import shell

# Workers that are batch jobs.
JOBS = {"kind": "slurm", "workers": 2, "worker_memory": "1 GiB", "interface": "lo"}

pytestmark = pytest.mark.usefixtures("unchecked")


def series(seed, frames=6, size=(48, 52)):
    world = Scene(seed)
    return np.stack([world.view(size, (t, -0.5 * t)) for t in range(frames)]).astype("f4")


@pytest.fixture
def plate(tmp_path):
    """Three positions, the last of them blank; the second has the smaller frames."""
    for name, frames in (
        ("A/1", series(1)),
        ("A/2", series(2, size=(40, 44))),
        ("B/1", np.zeros((6, 48, 52), "f4")),
    ):
        write_stack(tmp_path / "plate.zarr" / name / "0", frames)
    return tmp_path


def settings(folder, path, **sections):
    usual = {
        "input": {"path": path},
        "register": {"max_shift": 8},
        "output": {"shifts": "out/{name}.zarr"},
    }
    return str(write_run(folder, **usual | sections))


def table(folder, name="summary.csv"):
    with open(folder / name, newline="") as file:
        return list(csv.DictReader(file))


def test_every_position_has_its_dataset_and_its_line(plate):
    path = settings(plate, "plate.zarr/*/*/0")
    done = shell("run", path)
    assert done.exit_code == 3, done.output  # the blank one is not to be trusted
    assert "3 inputs: 2 done, 1 unreliable" in done.output
    rows = table(plate)
    assert [row["name"] for row in rows] == ["A-1", "A-2", "B-1"]
    assert [row["status"] for row in rows] == ["done", "done", "unreliable"]
    assert rows[0]["path"] == str(plate / "plate.zarr" / "A" / "1" / "0")
    assert [row["usable_pairs"] for row in rows] == ["15", "15", "0"]
    assert float(rows[0]["rms_residual"]) < 0.1
    assert rows[2]["rms_residual"] == "nan"
    for row, seed, size in ((rows[0], 1, (48, 52)), (rows[1], 2, (40, 44))):
        alone = steadystack.estimate_shifts(series(seed, size=size), max_shift=8)
        np.testing.assert_array_equal(
            load_shifts(row["shifts"])["frame_shift"], alone["frame_shift"]
        )
    assert "A-1.zarr INFO run is done" in (plate / "out" / "run.log").read_text()


def test_one_that_fails_stops_nobody_and_finished_ones_are_not_done_again(plate, monkeypatch):
    """What does not fit is refused, what breaks a run has failed; that is the worst."""
    write_stack(plate / "one.zarr", series(3)[:1])
    whole = STAGES["run"]

    def breaks(config, **options):
        if config.output.shifts.endswith("/2.zarr"):
            raise RuntimeError("the disk is on fire")
        return whole(config, **options)

    monkeypatch.setitem(STAGES, "run", breaks)
    path = settings(plate, ["one.zarr", "plate.zarr/A/*/0"])
    done = shell("run", path)
    assert done.exit_code == 1
    assert [row["status"] for row in table(plate)] == ["refused", "done", "failed"]
    assert "one.zarr has one frame" in table(plate)[0]["verdict"]
    assert table(plate)[2]["verdict"] == "the disk is on fire"

    monkeypatch.setitem(STAGES, "run", whole)
    measured = []

    def counted(source, *given, **options):
        measured.append(source)
        return measure_pairs(source, *given, **options)

    monkeypatch.setattr("steadystack.stages.measuring.measure_pairs", counted)
    done = shell("run", path)
    assert done.exit_code == 2
    assert [row["status"] for row in table(plate)] == ["refused", "done", "done"]
    assert len(measured) == 1


def test_a_table_that_somebody_edits_meanwhile_stays_and_stops_nobody(plate, monkeypatch):
    whole, begun = STAGES["run"], []

    def edits(config, **options):
        begun.append(config.output.shifts)
        if len(begun) == 2:
            with open(plate / "summary.csv", "a") as file:
                file.write("mine\n")
        return whole(config, **options)

    monkeypatch.setitem(STAGES, "run", edits)
    done = shell("run", settings(plate, "plate.zarr/*/*/0"))
    assert done.exit_code == 2
    assert "summary.csv exists and was not made by steadystack" in done.output
    assert len(begun) == 3
    assert (plate / "summary.csv").read_text().splitlines()[-1] == "mine"


def test_one_cluster_serves_all_inputs_and_their_polish(plate, monkeypatch):
    started = []
    monkeypatch.setattr(
        kinds,
        "connect",
        lambda *given, real=kinds.connect, **how: started.append(how) or real(*given, **how),
    )
    path = settings(
        plate,
        "plate.zarr/A/*/0",
        solve={"refine": 1},
        cluster={"kind": "local", "workers": 1},
    )
    assert shell("run", path).exit_code == 0
    assert shell("run", path).exit_code == 0  # nothing is left to do
    assert len(started) == 1
    assert started[0]["most_workers"] == 1


def test_measure_solve_plan_and_check_take_them_one_by_one(plate):
    write_image(plate / "mask-1.zarr", ellipse((48, 52)))
    write_image(plate / "mask-2.zarr", np.ones((40, 44), bool))
    path = settings(
        plate, "plate.zarr/A/*/0", mask={"path": "mask-{name}.zarr"},
        output={"shifts": "{name}/shifts.zarr", "report": "{name}/drift.png"},
    )  # fmt: skip
    assert list(resolve_inputs(load_config(path))) == ["1", "2"]
    for command, words in (
        ("plan", ["\n1\n", "\n2\n", "6 of (48, 52)", "6 of (40, 44)"]),
        ("check", ["mask-1.zarr", "mask-2.zarr"]),
        ("measure", ["1: done, 15 of 15 pairs usable", "2 inputs: 2 done"]),
        ("solve", ["2: done, 15 of 15 pairs usable", "good"]),
        ("report", ["1/drift.png", "2/drift.png"]),
    ):
        done = shell(command, path)
        assert done.exit_code == 0, done.output
        for word in words:
            assert word in done.output, command
    assert (plate / "2" / "drift.png").exists()


@pytest.mark.slow
def test_correct_and_report_go_on_after_one_that_fails(plate):
    output = {name: f"out/{{name}}{end}" for name, end in
              (("shifts", ".zarr"), ("corrected", "-steady.zarr"), ("report", ".png"))}  # fmt: skip
    path = settings(plate, "plate.zarr/*/*/0", output=output)
    assert shell("measure", path).exit_code == 0
    alone = settings(plate, "plate.zarr/*/2/0", output=output | {"shifts": "out/A-2.zarr"})
    assert shell("solve", alone).exit_code == 0  # that of the middle one alone
    path = settings(plate, "plate.zarr/*/*/0", output=output)
    before = (plate / "summary.csv").read_text()
    for command, made in (("correct", "A-2-steady.zarr"), ("report", "A-2.png")):
        done = shell(command, path)
        assert done.exit_code == 2, done.output
        assert "A-1: refused" in done.output
        assert "is not solved yet" in done.output
        assert re.search(f"A-2: done.*{made}", done.output), done.output
        assert "3 inputs: 2 refused, 1 done" in done.output
        assert (plate / "out" / made).exists()
    assert (plate / "summary.csv").read_text() == before


def test_all_positions_of_a_plate_and_of_a_collection(tmp_path, caplog):
    shutil.unpack_archive(STORES / "ome-zarr-py-05-plate.zip", tmp_path / "plate.zarr")
    for name in "01":
        write_stack(tmp_path / "set.zarr" / name, series(int(name)))
    zarr.open_group(tmp_path / "set.zarr", mode="a").attrs["bioformats2raw.layout"] = 3

    def found(*paths):
        given = {"path": list(paths), "position": "all", "channel": 0}
        output = {"shifts": "{name}.zarr"}
        return resolve_inputs(make_config({"input": given, "output": output}, tmp_path))

    single = found("plate.zarr")
    assert list(single) == ["A-01-0", "A-01-1", "B-03-0"]
    assert single["B-03-0"].output.shifts == str(tmp_path / "B-03-0.zarr")
    assert open_stack(single["B-03-0"].input.path, channel=0).shape == (3, 24, 20)
    assert "wells that it does not contain: B/02" in caplog.text
    assert list(found("plate.zarr", "set.zarr"))[2:] == ["plate-B-03-0", "set-0", "set-1"]
    with pytest.raises(steadystack.InputError, match="is neither a plate nor a collection"):
        found("plate.zarr/A/01/0")

    path = settings(tmp_path, "set.zarr", input={"path": "set.zarr", "position": "all"})
    assert shell("run", path).exit_code == 0
    for name in "01":
        alone = steadystack.estimate_shifts(series(int(name)), max_shift=8)
        shifts = load_shifts(str(tmp_path / "out" / f"{name}.zarr"))
        np.testing.assert_array_equal(shifts["frame_shift"], alone["frame_shift"])


def test_a_single_run_takes_a_single_input(plate):
    config = load_config(settings(plate, "plate.zarr/A/*/0"))
    with pytest.raises(steadystack.InputError, match="2 inputs, but this takes one: use run_all"):
        steadystack.run(config)
    done = shell("measure", settings(plate, "plate.zarr/A/*/0"), "--batches", "1/2")
    assert done.exit_code == 2
    assert "--batches 1/2 works with one input, but there are 2: measure" in done.output
    one = load_config(settings(plate, "plate.zarr/B/*/0"))
    steadystack.run(one)
    assert (plate / "out" / "1.zarr").exists()


def test_shares_of_the_inputs_are_runs_of_their_own_and_a_run_of_all_finds_them_done(
    plate, monkeypatch
):
    path = settings(plate, "plate.zarr/*/*/0")
    first = shell("run", path, "--inputs", "1/2")
    assert first.exit_code == 3, first.output  # the blank one is in it
    assert "2 inputs: 1 done, 1 unreliable -> " in first.output
    assert [row["name"] for row in table(plate, "summary.part-1-of-2.csv")] == ["A-1", "B-1"]
    assert not (plate / "out" / "A-2.zarr").exists()
    second = shell("run", path, "--inputs", "2/2")
    assert second.exit_code == 0, second.output
    assert "1 input: 1 done -> " in second.output
    assert [row["name"] for row in table(plate, "summary.part-2-of-2.csv")] == ["A-2"]
    assert not (plate / "summary.csv").exists()

    monkeypatch.setattr("steadystack.stages.measuring.measure_pairs", None)  # nothing is left
    assert shell("run", path).exit_code == 3
    assert [row["status"] for row in table(plate)] == ["done", "done", "unreliable"]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 7])
def test_every_input_is_in_one_share_and_those_are_alike_in_size(count):
    names = [f"p{number}" for number in range(7)]
    given = {"path": [f"{name}.zarr" for name in names]}
    output = {"shifts": "{name}-s.zarr", "performance_report": "dask.html"}
    config = make_config({"input": given, "output": output, "cluster": JOBS})
    shares = [share_inputs(config, f"{number}/{count}") for number in range(1, count + 1)]
    assert sorted(name for _, share in shares for name in share) == names
    sizes = {len(share) for _, share in shares}
    assert max(sizes) - min(sizes) <= 1
    for key in ("summary", "performance_report"):
        assert len({getattr(each.output, key) for each, _ in shares}) == count
    assert {each.cluster.kind for each, _ in shares} == {"local"}  # a task is a job itself


@pytest.mark.parametrize(
    ("share", "words"),
    [
        ("3/2", "--inputs 3/2: shares are numbered from 1 to 2"),
        ("0/2", "--inputs 0/2: shares are numbered from 1 to 2"),
        ("4/4", "--inputs 4/4: there are only 3 inputs for 4 shares; take at most 3"),
        ("1/0", "--inputs '1/0' is not a part such as 3/16"),
        ("2", "--inputs '2' is not a part such as 3/16"),
    ],
)
def test_a_share_that_there_is_not_is_refused_before_anything_is_written(plate, share, words):
    refused = shell("run", settings(plate, "plate.zarr/*/*/0"), "--inputs", share)
    assert refused.exit_code == 2
    assert refused.stderr == f"error: {words}\n"
    assert not (plate / "out").exists()


def test_how_to_continue_a_share_that_was_stopped(plate, monkeypatch):
    def stop(*given, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("steadystack.stages.many_inputs.open_run_cluster", stop)
    stopped = shell("run", settings(plate, "plate.zarr/*/*/0"), "--inputs", "2/3")
    assert "--inputs 2/3` continues from there" in stopped.stderr
