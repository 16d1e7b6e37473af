"""What is imported where a run and its workers are: ours, whatever lies in the working folder."""

from __future__ import annotations

import itertools
import operator
import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import yaml
from distributed import Client

from steadystack.cluster import connect, jobs, run_tasks
from steadystack.cluster.probe import answer
from steadystack.cluster.worker_check import find_misfits
from steadystack.config import ClusterSection
from steadystack.model import InputError
from steadystack.outputs import write_stack
from support import ROOT, beds
from support.members import slow_but
from support.scenes import Scene

SOURCE = ROOT / "pipeline"
WORDS = ("--nthreads", 1, "--no-dashboard", "--no-nanny", "--host", "127.0.0.1")
SAFE = {"PYTHONSAFEPATH": "1"}
pytestmark = pytest.mark.xdist_group("machine")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    scene = Scene(3)
    path = tmp_path_factory.mktemp("stack") / "stack.zarr"
    frames = [scene.view((48, 56), (0.5 * frame, 0.3 * frame)) for frame in range(4)]
    write_stack(path, np.stack(frames).astype("f4"))
    return path


@pytest.fixture
def folder(tmp_path):
    """A user's working folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def lay(folder: Path, *names: str) -> None:
    """Files of the user's that leave a mark when they are executed, and fail."""
    for name in names:
        mark = f"open({str(folder / f'ran-{name}')!r}, 'w').close()"
        (folder / f"{name}.py").write_text(f"{mark}\nraise RuntimeError('the {name} of a user')\n")


def executed(folder: Path) -> set[str]:
    return {path.name.removeprefix("ran-") for path in folder.glob("ran-*")}


def surroundings(*before: Path, **more: str) -> dict[str, str]:
    """The variables of a process that finds this package, after what lies in those folders."""
    kept = {name: value for name, value in os.environ.items() if name not in SAFE}
    return kept | {"PYTHONPATH": os.pathsep.join(map(str, (*before, SOURCE)))} | more


@contextmanager
def started(log: Path, *words: object, **options: object) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, *map(str, words)]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, **options)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def scheduler(folder: Path, env: dict[str, str] | None = None) -> Iterator[Path]:
    """The file of a scheduler that runs."""
    file = folder / "scheduler.json"
    words = ("--port", 0, "--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0")
    env = surroundings(**SAFE) if env is None else env
    log = folder / "scheduler.log"
    with started(log, "-m", "dask", "scheduler", *words, "--scheduler-file", file, env=env):
        beds.wait_for(lambda: file.exists() and file.stat().st_size, what="a scheduler")
        yield file


@pytest.fixture(scope="module")
def usual_scheduler(tmp_path_factory):
    with scheduler(tmp_path_factory.mktemp("scheduler")) as file:
        yield file


@pytest.fixture
def free_scheduler(usual_scheduler):
    """The file of a scheduler as it is meant to be, which has no workers."""
    with Client(scheduler_file=str(usual_scheduler), set_as_default=False) as client:
        beds.wait_for(lambda: not client.nthreads(), what="the end of workers")
    return usual_scheduler


def worker(file: Path, cwd: Path, env: dict[str, str]):
    """A worker as a user starts it, or dask-jobqueue, in that folder."""
    log = file.with_name(f"worker-{cwd.name}.log")
    words = ("-m", "distributed.cli.dask_worker", *WORDS, "--scheduler-file", file)
    return started(log, *words, cwd=cwd, env=env)


def told(file: Path) -> str:
    """How a cluster is refused."""
    with (
        pytest.raises(InputError) as caught,
        connect(ClusterSection(kind="scheduler-file", scheduler_file=str(file))),
    ):
        pass
    return str(caught.value)


LAUNCHER = """import sys
from steadystack.cli import main
if __name__ == "__main__":
    sys.exit(main())
"""


@pytest.mark.parametrize(
    ("way", "kind"),
    slow_but(
        [("module", "in-process")],
        product(("console", "module"), ("in-process", "local", "scheduler-file")),
    ),
)
def test_nothing_of_the_users_is_executed(way, kind, folder, images, tmp_path):
    # What stands beside is Python's to find first with -m: that is the user's own doing.
    lay(folder, "pipeline", *(["steadystack", "socket", "dask"] if way == "console" else []))
    launcher = tmp_path / "bin" / "steadystack"
    launcher.parent.mkdir()
    launcher.write_text(LAUNCHER)
    settings: dict[str, dict[str, object]] = {
        "input": {"path": str(images)},
        "register": {"max_shift": 6},
        "output": {"shifts": "shifts.zarr"},
        "cluster": {"kind": kind},
    }
    words = [launcher] if way == "console" else ["-m", "steadystack"]
    command = [sys.executable, *words, "run", "run.yaml"]
    with ExitStack() as stack:
        if kind == "local":
            settings["cluster"]["workers"] = 1
        if kind == "scheduler-file":
            file = stack.enter_context(scheduler(tmp_path))
            stack.enter_context(worker(file, folder, surroundings(**SAFE)))
            settings["cluster"]["scheduler_file"] = str(file)
        (folder / "run.yaml").write_text(yaml.safe_dump(settings))
        done = subprocess.run(
            command, cwd=folder, env=surroundings(), capture_output=True, text=True, timeout=120
        )
    assert done.returncode == 0, done.stderr
    assert not executed(folder)


def test_a_users_own_module_is_found_by_local_workers(folder, tmp_path):
    """Beside the script, not in the working folder; where a `socket.py` does no harm."""
    lay(folder, "socket", "steadystack")
    script = tmp_path / "scripts" / "measure.py"
    script.parent.mkdir()
    (script.parent / "mine.py").write_text("def twice(item):\n    return 2 * item\n")
    script.write_text(
        "import os, mine\n"
        "from steadystack.cluster import connect, run_tasks\n"
        "from steadystack.config import ClusterSection\n"
        "if __name__ == '__main__':\n"
        "    with connect(ClusterSection(kind='local', workers=1)) as cluster:\n"
        "        print(dict(run_tasks(cluster, mine.twice, [('a', 21)])))\n"
        "    assert 'PYTHONSAFEPATH' not in os.environ\n"
    )
    command = [sys.executable, script]
    done = subprocess.run(
        command, cwd=folder, env=surroundings(), capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "{'a': 42}\n", done.stderr
    assert not executed(folder)


def test_a_file_in_place_of_the_package_is_named_and_not_executed(folder, free_scheduler):
    lay(folder, "steadystack")
    with worker(free_scheduler, folder, surroundings()):
        words = told(free_scheduler)
    assert words.startswith("worker tcp://127.0.0.1:")
    assert f"imports steadystack from {folder / 'steadystack.py'}, which is not" in words
    assert "PYTHONSAFEPATH=1" in words
    assert not executed(folder)


@pytest.mark.slow
def test_a_package_in_place_of_ours_is_named(folder, tmp_path):
    stub = tmp_path / "stub" / "steadystack" / "__init__.py"
    stub.parent.mkdir(parents=True)
    stub.write_text("raise RuntimeError('a stub')\n")
    with (
        scheduler(tmp_path) as file,
        worker(file, folder, surroundings(stub.parents[1], **SAFE)),
    ):
        words = told(file)
    assert f"imports steadystack from {stub}, which is not the package" in words
    assert "from PYTHONPATH" in words


def test_a_file_in_place_of_a_library_is_named(folder, free_scheduler):
    """Of one that the worker itself does without."""
    lay(folder, "xarray")
    with worker(free_scheduler, folder, surroundings()):
        words = told(free_scheduler)
    assert "cannot import steadystack (RuntimeError: the xarray of a user)" in words
    assert f"{folder / 'xarray.py'} is imported instead of a library" in words
    assert "PYTHONSAFEPATH=1" in words


VERSIONS = """import importlib.metadata as metadata
real, others = metadata.version, {"steadystack": "0.0.9", "distributed": "2024.12.0"}
metadata.version = lambda name: others.get(name) or real(name)
"""
WITHOUT = """import sys
class Without:
    def find_spec(self, name, path=None, target=None):
        if name == "steadystack":
            raise ModuleNotFoundError("No module named 'steadystack'", name=name)
sys.meta_path.insert(0, Without())
"""


def environment(folder: Path, custom: str) -> dict[str, str]:
    """Another environment of Python, as far as steadystack goes."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(custom)
    return surroundings(folder, **SAFE)


def test_other_versions_are_named(folder, tmp_path, free_scheduler, recwarn):
    ours = answer()
    with worker(free_scheduler, folder, environment(tmp_path / "other", VERSIONS)):
        lines = told(free_scheduler).splitlines()
    assert len(lines) == 2
    for line, name, there in zip(
        lines, ("steadystack", "distributed"), ("0.0.9", "2024.12.0"), strict=True
    ):
        assert line.startswith("worker tcp://127.0.0.1:")
        assert f"has {name} {there}, and this process has {ours[name]}: install the same" in line
    assert not list(recwarn)


@pytest.mark.slow
def test_a_worker_without_the_package_is_named(folder, tmp_path):
    env = environment(tmp_path / "without", WITHOUT)
    with scheduler(tmp_path) as file, worker(file, folder, env):
        words = told(file)
    assert words.startswith("worker tcp://127.0.0.1:")
    assert "cannot import steadystack (ModuleNotFoundError: No module named" in words
    assert words.endswith("install it there")


def test_a_scheduler_without_the_package_is_named(folder, tmp_path):
    """It reads the tasks that it passes on."""
    env = environment(tmp_path / "without", WITHOUT)
    with scheduler(tmp_path, env) as file, worker(file, folder, surroundings(**SAFE)):
        words = told(file)
    assert words.startswith("scheduler: cannot import steadystack")


@pytest.mark.slow
def test_a_worker_that_comes_late_is_named(folder, tmp_path):
    """One of another version, that is; one that cannot read a task ends by itself."""
    env = environment(tmp_path / "late", VERSIONS)
    with (
        scheduler(tmp_path) as file,
        worker(file, folder, surroundings(**SAFE)),
        connect(ClusterSection(kind="scheduler-file", scheduler_file=str(file))) as cluster,
    ):
        tasks = run_tasks(cluster, operator.neg, ((item, item) for item in itertools.count()))
        assert next(tasks)
        with worker(file, tmp_path / "late", env):
            with Client(scheduler_file=str(file)) as client:
                client.wait_for_workers(2, timeout=60)
            with pytest.raises(InputError, match=r"worker tcp://127\.0\.0\.1.*0\.0\.9"):
                deque(tasks, maxlen=0)


def test_workers_of_one_misfit_share_a_line():
    ours = answer()
    assert ours["error"] == ours["stranger"] == ""
    assert Path(ours["file"]) == SOURCE / "steadystack" / "__init__.py"
    assert not list(find_misfits(ours, {"a": ours, "b": ours | {"steadystack": ""}}))
    old = ours | {"dask": "2024.1.0"}
    (line,) = find_misfits(ours, {"a": old, "b": ours, "c": old, "d": old})
    assert line.startswith("worker a and 2 more: has dask 2024.1.0, and this process ")


def test_the_last_words_of_a_job_name_the_file(folder):
    """Of what takes a library's place before there is a worker that could be asked."""
    lay(folder, "dask")
    empty = folder / "empty"
    empty.mkdir()
    (empty / "distributed.py").touch()
    found = []
    for cwd in (folder, empty):
        with (folder / "job.err").open("wb") as log:
            words = [sys.executable, "-m", "distributed.cli.dask_worker"]
            subprocess.run(words, cwd=cwd, env=surroundings(), stderr=log, timeout=60, check=False)
        found.append(jobs._read_last_error(str(folder)))
    (folder / "job.err").write_text("  File ...\nKeyError: 'a'\n1 - nanny - INFO - End worker\n")
    assert jobs._read_last_error(str(folder)).startswith(": KeyError: 'a' (")
    assert f"RuntimeError: the dask of a user, in {folder / 'dask.py'} (" in found[0]
    assert "a file distributed.py is imported instead of the library" in found[1]
