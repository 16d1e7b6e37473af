"""Commands in processes that end before each kind of their changes on disk; see test_stop.

An older result is at the place, and files of others lie around it. Whatever the
step, each output is the old or the new one, whole; what is of others stays; the command, given
again, ends as one that was not disturbed. A process of its own, because it forks.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
import xarray as xr
import yaml
import zarr

from steadystack.cli import main
from steadystack.durable import files
from steadystack.outputs import write_stack
from support.each_step import KILLED, WRONG, in_child, prepare_in_child
from support.scenes import rough

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink"}
# What lies around outputs and is of others, under names that were in use once, or might be.
STRANGERS = (
    "shifts.zarr.before/theirs", "shifts.zarr.partial/theirs", "shifts.zarr.discarded/theirs",
    "shifts.zarr.static.zarr/theirs", "shifts.zarr.old", ".shifts.zarr.mine/theirs",
    "corrected.ome.zarr.partial/theirs", "report.html.new", "table.csv.new", "figures/theirs.txt",
    "shifts/theirs.txt", "corrected.ome.tif.partial", "corrected.ome.tif.part",
)  # fmt: skip
STALE = ".lock"  # the ending of files that a killed process may leave


def get_kind(event: str, path: str) -> str:
    """Of what kind a change is: all within what is made or taken away are alike, all figures,
    and what belongs to either of two inputs.
    """
    path = re.sub(r"(\.steadystack/\w+)/.*", r"\1/...", path)
    path = re.sub(r"figures/(\.?)\w+", r"figures/\1*", path)
    path = re.sub(r"\b(one|two)\.", "*.", path)
    path = re.sub(r"[0-9a-f]{8,}", "*", path)
    return path if path.endswith("...") else f"{event} {path}"


def watch(folder: Path, tell: Callable[[str], None]) -> None:
    """Tell of every change to what is in the folder before it is made: its kind after the last.

    Several of a kind in a row are one.
    """
    inside, before = os.fspath(folder) + os.sep, ""

    def see(event: str, path) -> None:
        nonlocal before
        path = os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else ""
        path = os.path.abspath(path) + os.sep
        if not path.startswith(inside):
            return
        kind = get_kind(event, path.removeprefix(inside).rstrip(os.sep))
        if kind != before:
            tell(f"{kind} after {before}")
            before = kind

    def hook(event: str, arguments: tuple) -> None:
        writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if event in {"os.remove", "os.rmdir"} and arguments[1] != -1:  # relative to a folder
            see("taken away", os.path.join(folder, "..."))
        elif event in CHANGES or writes:
            see(event, arguments[0])

    exchange = files._exchange

    def told(first: Path, second: Path) -> bool:  # no event tells of it
        see("exchange", first)
        return exchange(first, second)

    files._exchange = told
    sys.addaudithook(hook)


def note_changes(folder: Path, walk: Walk, path: Path) -> None:
    """Write the kinds of changes that a command makes to a file, a line each."""
    with path.open("w") as file:
        call(folder, walk.arguments, lambda kind: print(kind, file=file, flush=True))


def die_at(due: str) -> Callable[[str], None]:
    """End this process before the first change of that kind."""

    def look(kind: str) -> None:
        if kind == due:
            os._exit(KILLED)

    return look


def call(
    folder: Path, arguments: tuple[str, ...], tell: Callable[[str], None] | None = None
) -> None:
    os.chdir(folder)
    told = os.dup(1), os.dup(2)
    for stream in (1, 2):  # what commands tell is of no interest
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    if tell is not None:
        watch(folder, tell)
    try:
        main(arguments, standalone_mode=False)
    except SystemExit as ended:
        if ended.code not in (0, 3):
            raise
    finally:
        os.dup2(told[0], 1)
        os.dup2(told[1], 2)


def fingerprint(path: Path) -> bytes:
    """What an output holds, less the times at which it was made."""
    if not os.path.lexists(path):
        return b"nothing"
    if path.name.endswith(".ome.zarr"):
        group = zarr.open_group(path, mode="r")
        levels = sorted(entry.name for entry in path.iterdir() if entry.name.isdigit())
        held = [zarr.open_array(path / level, mode="r")[...].tobytes() for level in levels]
        return b"".join([*held, repr(sorted(group.attrs["ome"])).encode()])
    if path.suffix in (".zarr", ".nc"):
        with xr.open_dataset(path) as opened:
            columns = opened.load()
        return b"".join(columns[name].to_numpy().tobytes() for name in sorted(columns.variables))
    if path.is_dir():
        return b"".join(fingerprint(entry) for entry in sorted(path.rglob("*")) if entry.is_file())
    if path.suffix == ".tif":
        return tifffile.imread(path).tobytes()
    content = path.read_bytes() if path.suffix != ".log" else b""
    return re.sub(rb"\b\d+\.\d,", b"", content) if path.name == "summary.csv" else content


@dataclass(frozen=True)
class Walk:
    """A command, what it writes, and what makes the settings other than the older result's."""

    arguments: tuple[str, ...]
    outputs: tuple[str, ...]
    change: Callable[[dict], None] = lambda settings: None


def set_value(section: str, key: str, value: object) -> Callable[[dict], None]:
    def change(settings: dict) -> None:
        settings.setdefault(section, {})[key] = value

    return change


WALKS = {
    "measure": Walk(
        ("measure", "--overwrite", "run.yaml"), ("shifts.zarr",), set_value("pairs", "width", 3)
    ),
    "solve": Walk(("solve", "run.yaml"), ("shifts.zarr",), set_value("solve", "anchor", 2)),
    "correct": Walk(
        ("correct", "--overwrite", "run.yaml"),
        ("corrected.ome.zarr",),
        set_value("correct", "interpolation", "linear"),
    ),
    "tiff": Walk(
        ("correct", "--overwrite", "tiff.yaml"),
        ("corrected.ome.tif",),
        set_value("correct", "interpolation", "linear"),
    ),
    "report": Walk(("report", "--figures", "figures", "run.yaml"), ("report.html", "figures")),
    "picture": Walk(("report", "picture.yaml"), ("report.png",)),
    "check": Walk(("check", "--picture", "frames.png", "run.yaml"), ("frames.png",)),
    "csv": Walk(("export", "--overwrite", "shifts.zarr", "table.csv"), ("table.csv",)),
    "json": Walk(("export", "--overwrite", "shifts.zarr", "layers.json"), ("layers.json",)),
    "nc": Walk(("export", "--overwrite", "shifts.zarr", "table.nc"), ("table.nc",)),
    "many": Walk(
        ("run", "--overwrite", "many.yaml"),
        ("shifts", "summary.csv"),
        set_value("pairs", "width", 3),
    ),
}  # fmt: skip
SETTINGS = {
    "run": {"shifts": "shifts.zarr", "report": "report.html", "corrected": "corrected.ome.zarr"},
    "tiff": {"shifts": "shifts.zarr", "corrected": "corrected.ome.tif"},
    "picture": {"shifts": "shifts.zarr", "report": "report.png"},
    "many": {"shifts": "shifts/{name}.zarr", "summary": "summary.csv"},
}


def write_settings(folder: Path, change: Callable[[dict], None]) -> None:
    for name, output in SETTINGS.items():
        settings = {
            "input": {"path": "many/*.zarr" if name == "many" else "stack.zarr"},
            "register": {"max_shift": 5},
            "pairs": {"width": 2},
            "correct": {"interpolation": "cubic"},
            "output": dict(output),
            "cluster": {"kind": "in-process"},
        }
        change(settings)
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(settings))


# What makes the older result of a walk, where it is not made by the run that all begin with.
OLDER = {
    "tiff": ("correct", "tiff.yaml"),
    "report": ("report", "--figures", "figures", "run.yaml"),
    "picture": ("report", "picture.yaml"),
    "check": ("check", "--picture", "frames.png", "run.yaml"),
    "csv": ("export", "shifts.zarr", "table.csv"),
    "json": ("export", "shifts.zarr", "layers.json"),
    "nc": ("export", "shifts.zarr", "table.nc"),
    "many": ("run", "many.yaml"),
}


def prepare(folder: Path, names: Iterable[str]) -> None:
    """Stacks, the older results of walks, and what is of others."""
    base = rough(0, (60, 60), 1)
    frames = np.stack(
        [base[t : t + 40, 10 - t : 50 - t] + 0.1 * rough(t, (40, 40), 0) for t in range(4)]
    ).astype("f4")
    (folder / "many").mkdir()
    for name in ("stack.zarr", "many/one.zarr", "many/two.zarr"):
        write_stack(folder / name, frames)
    write_settings(folder, lambda settings: None)
    for arguments in (("run", "run.yaml"), *(OLDER[name] for name in names if name in OLDER)):
        call(folder, arguments)
    for name in STRANGERS:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name)


def make_new_shifts(folder: Path) -> None:
    """Solve again, so that what is made of the shifts is another one than before."""
    write_settings(folder, set_value("solve", "anchor", 2))
    call(folder, ("solve", "run.yaml"))


def check(folder: Path, walk: Walk, old: dict[str, bytes], new: dict[str, bytes]) -> None:
    """Each output is the old or the new one; the command, given again, ends as undisturbed."""
    for name, held in tree(folder, walk).items():
        if name == "summary.csv":  # a line more with every input that is done
            assert held == old[name] or new[name].startswith(held), name
        else:
            assert held in (old[name], new[name]), name
    assert in_child(call, folder, walk.arguments) == 0, walk.arguments
    for name in new:
        assert fingerprint(folder / name) == new[name], (name, "after all")
    for name in STRANGERS:
        assert (folder / name).read_text() == name, name
    left = {entry.name for entry in folder.rglob("*") if "steadystack" in entry.name}
    left = {name for name in left if not name.endswith((STALE, ".steadystack-digest"))}
    assert not left, left


def tree(folder: Path, walk: Walk) -> dict[str, bytes]:
    """What the outputs of a command hold, by path."""
    held = {}
    for name in walk.outputs:
        path = folder / name
        if path.is_dir() and not name.endswith(".zarr"):
            entries = [entry for entry in path.iterdir() if entry.name[0] != "."]
            held |= {f"{name}/{entry.name}": fingerprint(entry) for entry in entries}
        else:
            held[name] = fingerprint(path)
    return held


OF_THE_SHIFTS = ("report", "picture", "csv", "json", "nc")  # commands that read them


def walk_one(folder: Path, name: str, stride: int) -> int:
    """Let a command end at every so many kinds of changes; its folder holds an older result."""
    walk = WALKS[name]
    old, kept, changes = tree(folder, walk), folder.parent / "kept", folder.parent / "changes"
    if name in OF_THE_SHIFTS:
        if in_child(make_new_shifts, folder) != 0:
            return WRONG
    else:
        write_settings(folder, walk.change)
    shutil.copytree(folder, kept)
    if in_child(note_changes, folder, walk, changes) != 0:
        return WRONG
    new = tree(folder, walk)
    if name != "check":  # which looks at the stack alone
        assert any(old.get(path) != new[path] for path in new), "old and new are the same"
    killed = 0
    kinds = list(dict.fromkeys(changes.read_text().splitlines()))
    for kind in kinds[::stride]:
        shutil.rmtree(folder)
        shutil.copytree(kept, folder)
        status = in_child(call, folder, walk.arguments, die_at(kind))
        killed += status == KILLED  # else it did without, as files come in any order
        if status not in (KILLED, 0) or in_child(check, folder, walk, old, new) != 0:
            print(f"{name}, before {kind}: {status}")
            return WRONG
    shutil.rmtree(kept)
    print(f"{name}: killed {killed} times; {len(kinds)} kinds of changes", flush=True)
    return 0


def go(folder: Path, strides: dict[str, int]) -> int:
    if prepare_in_child(prepare, folder, strides) != 0:
        return WRONG
    before = folder.parent / "before"
    shutil.copytree(folder, before)
    for name, stride in strides.items():
        if walk_one(folder, name, stride) != 0:
            return WRONG
        shutil.rmtree(folder)
        shutil.copytree(before, folder)
    return 0


if __name__ == "__main__":
    pairs = (argument.split("=") for argument in sys.argv[2:])
    sys.exit(go(Path(sys.argv[1]), {name: int(stride) for name, stride in pairs}))
