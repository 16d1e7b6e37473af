"""A series that is written while somebody waits for it, step by step, by a clock of its own."""

from __future__ import annotations

import io
from types import SimpleNamespace

import numpy as np
import tifffile
import zarr

from support.scenes import Scene

SIZE = (64, 72)


def drifting(count, seed=3, size=SIZE, jump=None):
    """Noisy views of a scene that creeps: (frames, true shifts); `jump`: (frame, pixels)."""
    scene = Scene(seed)
    walk = np.cumsum(np.random.default_rng(seed).normal(0, 0.7, (count, 2)), axis=0)
    walk -= walk[0]
    if jump is not None:
        walk[jump[0] :] += jump[1]
    frames = []
    for index in range(count):
        noise = np.random.default_rng([seed, index]).normal(0, 12, size)
        frames.append(1000 + 200 * scene.view(size, walk[index]) + noise)
    return np.stack(frames).round().astype("u2"), walk


def begin_zarr(folder, count=0, size=SIZE, **keys):
    """An OME-Zarr image with room for so many frames, none of which is there."""
    names = ["t", "y", "x"]
    kinds = {"t": "time", "y": "space", "x": "space"}
    scale = [{"type": "scale", "scale": [1.0, 0.5, 0.5]}]
    image = {
        "axes": [{"name": name, "type": kinds[name]} for name in names],
        "datasets": [{"path": "0", "coordinateTransformations": scale}],
    }
    attributes = {"ome": {"version": "0.5", "multiscales": [image]}}
    group = zarr.create_group(folder / "stack.zarr", attributes=attributes, **keys)
    group.create_array(
        "0", shape=(count, *size), chunks=(1, *size), dtype="u2", dimension_names=names
    )


def append_zarr(folder, frames, index):
    """Make room for a frame if there is none, and write it."""
    array = zarr.open_array(folder / "stack.zarr" / "0", mode="r+")
    if array.shape[0] <= index:
        array.resize((index + 1, *array.shape[1:]))
    array[index] = frames[index]


def encode_tiff(frame):
    file = io.BytesIO()
    tifffile.imwrite(file, frame)
    return file.getvalue()


def write_tiff(folder, frames, index, part=1.0):
    """Write a frame as a file, or the first part of that."""
    (folder / "stack").mkdir(exist_ok=True)
    content = encode_tiff(frames[index])
    (folder / "stack" / f"t{index:03}.tif").write_bytes(content[: round(part * len(content))])


class ActsWhilePausing:
    """A clock that goes on when somebody sleeps; each time the next act is done, if there is one.

    Whoever sleeps `most` times after the last act waits in vain.
    """

    def __init__(self, acts, most=400):
        self.acts, self.most, self.now = list(acts), most, 0.0

    def sleep(self, seconds):
        self.now += seconds
        if self.acts:
            self.acts.pop(0)()
        else:
            self.most -= 1
            assert self.most, "it waits in vain"

    def put_in_place(self, monkeypatch):
        clock = SimpleNamespace(monotonic=lambda: self.now, sleep=self.sleep)
        for name in ("awaited_frames", "stack_follower"):
            monkeypatch.setattr(f"steadystack.following.{name}.time", clock)
        return self
