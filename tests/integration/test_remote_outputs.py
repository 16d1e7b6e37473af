"""Runs from and to S3: on a server that dies on the way, in processes that are killed."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile
import xarray as xr
import yaml
import zarr
from click.testing import CliRunner
from obstore.store import S3Store
from zarr.storage import ObjectStore

import steadystack.measure.batches as batches
from steadystack import stages
from steadystack.cli import main
from steadystack.config import load_config
from steadystack.config.settings import MeanSection
from steadystack.correction import writing as stack_module
from steadystack.dataset import (
    add_digests,
    get_journal_path,
    load_shifts,
    read_pairs,
    replay_journal,
    save_shifts,
)
from steadystack.dataset.columns import FORMAT
from steadystack.durable import appender, get_place, objects, remote
from steadystack.durable import locks as leases
from steadystack.model import InputError, OutputError, PairStatus, UnreachableError
from steadystack.outputs import write_stack
from steadystack.readers.references import open_reference
from support import ROOT
from support.far import SHAPE, SHIFTS, drifting_scene, write_inputs
from support.killed import Killed, Steps
from support.locks import HOLD
from support.members import slow_but
from support.scenes import assert_same_numbers
from support.servers import KEY, SECRET, give_up_soon
from support.settings import write_run

# The tests of a file share one S3 server, which they kill.
pytestmark = pytest.mark.xdist_group("servers")

BUCKET, LIMIT_S = "results", 60.0

# Nothing for a pilot to try; one whole run has it.
UNTRIED = {
    "mask": {"defects": None, "field_of_view": None, "parts": None},
    "preprocess": {"low_pass": None, "high_pass": None},
}


@pytest.fixture(scope="module")
def scene():
    return drifting_scene()


@pytest.fixture(scope="module")
def inputs(s3, scene, tmp_path_factory):
    """A stack and a mask that takes away what does not move with it: a folder, and URLs."""
    folder = tmp_path_factory.mktemp("inputs")
    write_inputs(folder, scene)
    return folder, {
        "input": {"path": s3.upload(folder / "a.zarr", "stacks", "outputs/a.zarr")},
        "mask": {"path": s3.upload(folder / "m.zarr", "stacks", "outputs/m.zarr")},
    }


@pytest.fixture
def folder(inputs, credentials, tmp_path):
    """A folder of settings for one stack in a bucket, with outputs there and with outputs here."""
    where = f"{tmp_path.name.replace('_', '-')}"
    given = {
        "input": inputs[1]["input"],
        "mask": inputs[1]["mask"] | UNTRIED["mask"],
        "preprocess": UNTRIED["preprocess"],
        "register": {"max_shift": 8},
        "pairs": {"strategy": "separations", "separations": [1, 3]},
        "correct": {"levels": 2, "chunks": 32},
        "cluster": {"kind": "in-process", "task_memory": "1 MiB"},
    }
    for name, root in (("there", f"s3://{BUCKET}/{where}"), ("here", str(tmp_path / "out"))):
        output = {
            "shifts": f"{root}/shifts.zarr",
            "report": f"{root}/report.png",
        }
        write_run(tmp_path, name, **given, output=output)
        output["corrected"] = f"{root}/steady.zarr"
        memory = {"kind": "in-process", "task_memory": "26 MiB"}  # the least that it takes
        write_run(tmp_path, f"{name}-corrected", **given | {"output": output, "cluster": memory})
    open_reference.cache_clear()
    return tmp_path


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """Where the outputs of the one run to this machine are kept for all tests."""
    return tmp_path_factory.mktemp("once") / "out"


@pytest.fixture
def here(folder, once):
    """The outputs on this machine are there: of a run that nothing happened to."""
    if not once.exists():
        whole(folder, "here")
        shutil.copytree(folder / "out", once)
    else:
        shutil.copytree(once, folder / "out")


def of(folder, name="there", **output):
    """Its settings; with these paths of outputs."""
    config = load_config(folder / f"{name}.yaml")
    return config.model_copy(update={"output": config.output.model_copy(update=output)})


def root_of(folder):
    return of(folder).output.shifts.removesuffix("/shifts.zarr")


def names(folder):
    """Of what lies at the outputs' place, beside the parts of what is whole."""
    listed = objects.list_below(root_of(folder))
    return {name.split("/")[0] for name in listed}


def group_at(s3, url, path=None):
    """A Zarr group on S3 as anybody would open it, or a path here."""
    if path is not None:
        return zarr.open_group(path, mode="r")
    bucket, prefix = url.removeprefix("s3://").split("/", 1)
    store = S3Store(
        bucket, prefix=prefix, endpoint=s3.endpoint, access_key_id=KEY, region="us-east-1",
        secret_access_key=SECRET, client_options={"allow_http": True},
    )  # fmt: skip
    return zarr.open_group(ObjectStore(store, read_only=True), mode="r")


def assert_equal_outputs(s3, folder, corrected=True):
    """Bit for bit those of a run to this machine."""
    there, here = (of(folder, f"{name}-corrected").output for name in ("there", "here"))
    found, expected = load_shifts(there.shifts), load_shifts(here.shifts)
    assert_same_numbers(found, expected)
    np.testing.assert_allclose(found["frame_shift"], SHIFTS, atol=0.05)
    if corrected:
        one, other = group_at(s3, there.corrected), group_at(s3, "", here.corrected)
        assert sorted(one.array_keys()) == sorted(other.array_keys()) == [
            "0", "1", "frame_shift", "valid", "valid_fraction"
        ]  # fmt: skip
        for name, array in other.arrays():
            np.testing.assert_array_equal(one[name][...], array[...])
            assert one[name].shards == array.shards
        assert dict(one.attrs) == dict(other.attrs)


def test_a_whole_run_to_s3_is_that_to_this_machine(s3, folder):
    for name in ("there", "here"):
        settings = folder / f"{name}-corrected.yaml"
        given = yaml.safe_load(settings.read_text())
        given["correct"]["shards"] = 64
        given |= {"mask": {"path": given["mask"]["path"]}, "preprocess": {}}  # with a pilot
        kind = {"kind": "local", "workers": 1} if name == "there" else {"kind": "in-process"}
        given["cluster"] = {**kind, "task_memory": "30 MiB"}
        settings.write_text(yaml.safe_dump(given))
        done = CliRunner().invoke(main, ["run", str(settings)])
        assert done.exit_code == 0, done.output
    assert_equal_outputs(s3, folder)
    there = of(folder, "there-corrected").output
    picture = objects.get(there.report).data
    assert picture == Path(of(folder, "here").output.report).read_bytes()
    # Nothing else lies there, and the journal, the lock and what was begun are gone.
    assert names(folder) == {"shifts.zarr", "steady.zarr", "report.png", "run.log"}
    log = objects.get(f"{root_of(folder)}/run.log").data.decode()
    assert " shifts.zarr INFO run of s3://stacks/" in log
    assert " run is done after" in log
    assert SECRET not in log

    dataset = xr.open_zarr(group_at(s3, there.shifts).store, consolidated=True)
    np.testing.assert_array_equal(dataset["frame_shift"], load_shifts(there.shifts)["frame_shift"])

    # Everything is there already: nothing is read or written.
    before = objects.list_below(root_of(folder))
    stages.run(of(folder, "there-corrected"))
    after = objects.list_below(root_of(folder))
    assert {n: v for n, v in after.items() if n != "run.log"} == {
        n: v for n, v in before.items() if n != "run.log"
    }
    more = objects.get(f"{root_of(folder)}/run.log").data.decode()
    assert more.startswith(log)
    assert more.count("run is done after") == 2


def test_other_outputs(s3, folder, unchecked):
    """A page with its log, figures, NetCDF, OME-TIFF, tables; a flat field beside the shifts."""
    import tifffile

    root = root_of(folder)
    config = of(
        folder,
        "there-corrected",
        shifts=f"{root}/s.nc",
        corrected=f"{root}/a.ome.tif",
        report=f"{root}/r.html",
    )
    update = {"preprocess": config.preprocess.model_copy(update={"flat_field": "median"})}
    config = config.model_copy(update=update)
    for _ in range(2):
        stages.run(config)
    page = objects.get(f"{root}/r.html").data.decode()
    assert "run of s3://stacks/" in page
    files_here = folder / "a.ome.tif"
    files_here.write_bytes(objects.get(f"{root}/a.ome.tif").data)
    assert tifffile.imread(files_here).shape == (len(SHIFTS), *SHAPE)
    assert objects.is_any_below(f"{root}/s.nc.flat_field.zarr")
    stages.report(config, figures=f"{root}/figures")
    assert objects.is_object(f"{root}/figures/drift.svg")
    for name in ("t.csv", "t.json", "t.nc", "t.displacements.ome.zarr"):
        exported = CliRunner().invoke(main, ["export", f"{root}/s.nc", f"{root}/{name}"])
        assert exported.exit_code == 0, exported.output
        again = CliRunner().invoke(main, ["export", f"{root}/s.nc", f"{root}/{name}"])
        assert again.exit_code == 2
    assert objects.get(f"{root}/t.csv").data.count(b"\n") == 1 + len(SHIFTS)
    field = f"{root}/t.displacements.ome.zarr"
    overwritten = CliRunner().invoke(main, ["export", f"{root}/s.nc", field, "--overwrite"])
    assert overwritten.exit_code == 0, overwritten.output
    assert b'"scene"' in objects.get(f"{field}/zarr.json").data


@pytest.mark.parametrize("stage", slow_but(["measuring"], ["measuring", "correcting"]))
def test_a_server_that_is_killed_and_started_in_mid_run(s3, folder, unchecked, here, stage):
    happened = []

    def progress(done, total):
        if not happened and 0 < done < total:
            happened.append(done)
            open_reference.cache_clear()
            s3.kill()
            s3.start()

    stages.run(of(folder, report=None), progress=progress if stage == "measuring" else None)
    config = of(folder, "there-corrected")
    stages.correct(config, progress=progress if stage == "correcting" else None)
    assert happened
    assert_equal_outputs(s3, folder)


@pytest.mark.slow
def test_a_server_that_stays_away_in_mid_run(s3, folder, unchecked, here, monkeypatch):
    """The run ends with a line that says so; the same command goes on when the server is back."""
    monkeypatch.setattr(appender, "MIN_INTERVAL_S", 0.0)
    monkeypatch.setattr(appender, "ELAPSED_FRACTION", 0.0)
    path, counts = of(folder).output.shifts, []

    def progress(done, total):
        if done < total / 3:
            return
        until = time.monotonic() + LIMIT_S
        while not objects.is_any_below(get_journal_path(path)):
            assert time.monotonic() < until
        give_up_soon(soon)
        open_reference.cache_clear()
        s3.kill()

    with (
        monkeypatch.context() as soon,
        pytest.raises(UnreachableError, match=r"s3://.* cannot be reached"),
    ):
        stages.run(of(folder), progress=progress)
    open_reference.cache_clear()
    s3.start()
    stages.run(of(folder), progress=lambda done, total: counts.append(done))
    assert counts[0] > 0  # it goes on from the journal
    assert_equal_outputs(s3, folder, corrected=False)


def whole(folder, name):
    stages.run(of(folder, name, report=None))
    stages.correct(of(folder, f"{name}-corrected"))


KILLED = """
import os, signal, sys, time
from steadystack import stages
from steadystack.config import load_config
from steadystack.config.settings import MeanSection
from steadystack.durable import appender, objects

appender.MIN_INTERVAL_S = appender.ELAPSED_FRACTION = 0.0
config, command, folder, objects_before = load_config(sys.argv[1]), *sys.argv[2:]

def progress(done, total):
    if done < total / 3:
        return
    until = time.monotonic() + 60
    while len(objects.list_below(folder)) < int(objects_before):
        assert time.monotonic() < until
    os.kill(os.getpid(), signal.SIGKILL)

getattr(stages, command)(config, progress=progress)
"""


def killed(folder, name, command, watched, count):
    """A process that kills itself in mid-work, once so many objects lie at a path."""
    died = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder / name), command, watched, str(count)],
        capture_output=True, text=True, check=False, cwd=ROOT / "pipeline",
    )  # fmt: skip
    assert died.returncode == -signal.SIGKILL, died.stderr


def test_a_process_that_is_killed_in_mid_measuring(s3, folder, unchecked, here, monkeypatch):
    config = of(folder)
    path = config.output.shifts
    killed(folder, "there.yaml", "run", get_journal_path(path), 2)
    left = load_shifts(path)
    table = read_pairs(left)
    journaled = replay_journal(path, left.attrs["run"], table)
    assert 0 < journaled < len(table.status)
    assert names(folder) == {
        "shifts.zarr",
        "shifts.zarr.journal",
        ".shifts.zarr.lock",
        ".report.png.lock",
        "run.log",
    } - (set() if "run.log" in names(folder) else {"run.log"})
    measured, measure = [], batches.measure_task

    def counting(task, *rest):
        measured.extend(map(tuple, np.asarray(task[0]).tolist()))
        return measure(task, *rest)

    monkeypatch.setattr(batches, "measure_task", counting)
    stages.run(config)  # the lock of the dead one is taken over at once
    known = table.status != PairStatus.UNMEASURED.code
    pairs = set(zip(table.reference[~known].tolist(), table.moving[~known].tolist(), strict=True))
    assert sorted(measured[: len(pairs)]) == sorted(pairs)  # what comes later looks for effects
    monkeypatch.undo()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.endpoint)
    assert_equal_outputs(s3, folder, corrected=False)
    assert names(folder) == {"shifts.zarr", "report.png", "run.log"}


@pytest.mark.slow
def test_a_process_that_is_killed_in_mid_correcting(s3, folder, unchecked, here, monkeypatch):
    config = of(folder, "there-corrected")
    stages.run(of(folder))
    target = config.output.corrected
    beside = objects.get_hidden_sibling(target, ".steadystack")
    killed(folder, "there-corrected.yaml", "correct", beside, 3)
    assert objects.is_object(f"{beside}/begun")
    correct_region, begun = stack_module.correct_region, []

    def counting(number, work):
        begun.append(number)
        return correct_region(number, work)

    monkeypatch.setattr(stack_module, "correct_region", counting)
    done = stages.correct(config)
    assert 0 < len(begun) < done.tasks
    assert_equal_outputs(s3, folder)
    assert not objects.is_any_below(beside)
    stages.correct(config)
    assert len(begun) < done.tasks  # it was done


@pytest.mark.slow
def test_a_corrected_stack_of_other_settings(s3, folder, unchecked):
    config = of(folder, "there-corrected")
    whole(folder, "there")
    other = config.model_copy(
        update={"correct": config.correct.model_copy(update={"interpolation": "nearest"})}
    )
    with pytest.raises(InputError, match="the old one is removed at once"):
        stages.correct(other)
    stages.correct(other, overwrite=True)
    stages.correct(other)
    with pytest.raises(InputError, match="made with other shifts or settings"):
        stages.correct(config)
    target = f"{root_of(folder)}/else.zarr"
    write_stack(folder / "b.zarr", np.zeros((2, 8, 8)))
    get_place(target).put(folder / "b.zarr")
    with pytest.raises(InputError, match="is not a corrected stack: it will not be overwritten"):
        stages.correct(of(folder, "there-corrected", corrected=target), overwrite=True)
    with pytest.raises(InputError, match="is not a shifts dataset: it will not be overwritten"):
        stages.run(of(folder, shifts=target), overwrite=True)


def test_a_second_run_is_refused_while_the_first_is_at_work(s3, folder, unchecked):
    config, told = of(folder, report=None), []

    def progress(done, total):
        if not told:
            second = CliRunner().invoke(main, ["run", str(folder / "there.yaml")])
            told.append((second.exit_code, second.stderr))

    stages.run(config, progress=progress)
    ((code, words),) = told
    assert code == 2
    assert "is being written by another run (process" in words
    assert "its lock expires in" in words
    assert not objects.is_object(f"{root_of(folder)}/.shifts.zarr.lock")


def test_what_others_put_into_an_output_is_not_deleted_with_it(s3, folder, unchecked):
    config, root = of(folder, "there-corrected", report=None), root_of(folder)
    stages.run(config)
    stages.correct(config, overwrite=True)
    stages.solve(config)
    for store, command in (
        ("steady.zarr", partial(stages.correct, overwrite=True)),
        ("shifts.zarr", stages.solve),
    ):
        theirs = f"{root}/{store}/labels/nuclei"
        objects.put(theirs, b"mine")
        with pytest.raises(InputError, match=rf"{store}/labels was not written by steadystack"):
            command(config)
        assert objects.get(theirs).data == b"mine"


def eventually_locked(path):
    until = time.monotonic() + LIMIT_S
    while True:
        try:
            with get_place(path).holding_lock():
                return
        except InputError:
            assert time.monotonic() < until


def test_a_lock_that_is_left_behind(s3, folder, monkeypatch):
    """Taken over at once from a dead process here; from one elsewhere when it is not renewed."""
    path = f"{root_of(folder)}/lone.zarr"
    lock = objects.get_hidden_sibling(path, ".lock")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, path],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT / "pipeline",
    )  # fmt: skip
    with holder:
        assert holder.stdout.readline() == b"held\n"
        with (
            pytest.raises(InputError, match=f"another run \\(process {holder.pid} on"),
            get_place(path).holding_lock(),
        ):
            pass
        holder.kill()
        holder.wait()
    with get_place(path).holding_lock():
        pass
    assert not objects.is_object(lock)
    elsewhere = leases.identify_process() | {
        "host": "elsewhere",
        "token": "x",
        "renewed": "2026-01-01T00:00:00+00:00",
    }
    objects.put(lock, json.dumps(elsewhere).encode())
    with pytest.raises(InputError, match="on elsewhere, since"), get_place(path).holding_lock():
        pass
    monkeypatch.setattr(leases, "EXPIRY_S", 2.0)
    eventually_locked(path)


def test_a_run_whose_lock_was_taken_over_stops(s3, folder, monkeypatch):
    monkeypatch.setattr(leases, "RENEWAL_S", 0.05)
    monkeypatch.setattr(appender, "MIN_INTERVAL_S", 0.0)
    monkeypatch.setattr(appender, "ELAPSED_FRACTION", 0.0)
    path = of(folder).output.shifts
    lock, taken = objects.get_hidden_sibling(path, ".lock"), []

    def progress(done, total):
        if not taken:
            versions = {str(objects.get(lock).version)}
            until = time.monotonic() + LIMIT_S
            while len(versions) < 3:  # it is renewed
                versions.add(str(objects.get(lock).version))
                assert time.monotonic() < until
            objects.put(lock, json.dumps({"token": "another"}).encode())
            (lease,) = (each for each in leases._held.values() if each.path == path)
            while not lease.is_lost:
                assert time.monotonic() < until
            taken.append(lock)

    with pytest.raises(OutputError, match="was taken over by another run"):
        stages.run(of(folder), progress=progress)
    assert json.loads(objects.get(lock).data) == {"token": "another"}
    objects.delete(lock)


def test_parts_on_s3(s3, folder, unchecked, here):
    for part in ("1/2", "2/2"):
        stages.measure(of(folder), batches=part)
    assert {"shifts.part-1-of-2.zarr", "shifts.part-2-of-2.zarr"} <= names(folder)
    stages.run(of(folder, report=None))
    assert names(folder) == {"shifts.zarr", "run.log"}
    assert_equal_outputs(s3, folder, corrected=False)


def test_wherever_the_replacement_of_a_group_stops_the_new_one_is_whole(s3, folder, monkeypatch):
    """From when its archive is there; before that it is the old one."""
    path = f"{root_of(folder)}/group.zarr"
    contents = (
        {"pair_status": ("x", np.zeros(3)), "b": ("x", np.zeros(3))},
        {"pair_status": ("x", np.ones(5))},
    )
    old, new = (add_digests(xr.Dataset(each, attrs={"format": FORMAT})) for each in contents)

    steps = Steps()
    for name in ("put", "put_all", "delete"):
        monkeypatch.setattr(objects, name, steps.counted(getattr(objects, name)))
    seen, total = [], 1000
    stop = 0
    while stop < total:
        stop += 1
        steps.begin(None)
        get_place(path).settle()
        save_shifts(old, path)
        steps.begin(stop)
        try:
            save_shifts(new, path)
            total = stop
        except Killed:
            pass
        steps.begin(None)
        assert get_place(path).exists()
        found = load_shifts(path)
        seen.append(found.identical(new))
        assert seen[-1] or found.identical(old)
        get_place(path).settle()
        assert load_shifts(path).identical(found)
        assert not objects.is_object(objects.get_hidden_sibling(path, ".steadystack.zip"))
        assert not objects.is_any_below(f"{path}/b") or not seen[-1]
    assert seen == sorted(seen)
    assert len(seen) > 5
    assert seen[:2] == [False, True]


def test_what_cannot_be_written_is_reported_before_anything_is_read(folder, inputs, monkeypatch):
    local = of(folder, shifts=str(folder / "s.zarr"), corrected=None, report=None)
    config = local.model_copy(
        update={"input": local.input.model_copy(update={"path": str(inputs[0] / "a.zarr")}),
                "mask": local.mask.model_copy(update={"path": str(inputs[0] / "m.zarr")})}
    )  # fmt: skip

    def to(**output):
        return config.model_copy(update={"output": config.output.model_copy(update=output)})

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "reader")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "may-only-read")
    remote._open_object_store.cache_clear()
    for key, name in (("shifts", "s.zarr"), ("corrected", "c.zarr"), ("report", "r.html")):
        with pytest.raises(InputError, match=r"cannot be written: .*AWS_ACCESS_KEY_ID"):
            stages.run(to(**{key: f"s3://{BUCKET}/{name}"}))
        with pytest.raises(InputError, match="cannot be written"):
            stages.run(to(**{key: f"s3://nobody-has-this/{name}"}))
    assert not (folder / "s.zarr").exists()


MEANS = ["mean.zarr", "mean.ome.tif", "mean.npy"]


@pytest.mark.parametrize("name", slow_but(MEANS[:1], MEANS))
def test_a_mean_on_a_store_is_that_of_this_machine(s3, folder, here, name):
    """Written, found again, and replaced only where that is asked for."""
    memory = {"cluster": of(folder, "there-corrected").cluster}
    config = of(folder, report=None, mean=f"{root_of(folder)}/{name}").model_copy(update=memory)
    stages.run(config)
    local = str(folder / "local" / name)
    stages.run(of(folder, "here", report=None, mean=local).model_copy(update=memory))
    with get_place(config.output.mean).fetching() as copy:
        if name.endswith(".zarr"):
            for array in ("0", "sum", "std", "count", "maximum"):
                there, made = (zarr.open_group(path, mode="r")[array][:] for path in (copy, local))
                np.testing.assert_array_equal(there, made)
        else:
            read = np.load if name.endswith(".npy") else tifffile.imread
            np.testing.assert_array_equal(read(copy), read(local))
    done = stages.correct(config)
    assert done.what == "mean"
    weighted = config.model_copy(update={"mean": MeanSection(weights="precision")})
    with pytest.raises(InputError, match=r"another output\.mean"):
        stages.correct(weighted)
    stages.correct(weighted, overwrite=True)
    stages.correct(weighted)
