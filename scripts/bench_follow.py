"""How long after a frame is written `steadystack follow` tells its shift.

    python scripts/bench_follow.py [--sides 512 2048] [--frames 100] [--every 1.0] [--tiff]

A texture that drifts by a pixel a frame, in noise, is written as a Zarr array that grows, or as
TIFF files, a frame every so many seconds, while the command follows with nothing set. Counted is
the time from when a frame is whole on the disk until its line can be read; the first two frames are
left out, which wait for each other and for the command to start. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import tifffile
import yaml
import zarr
from scipy import ndimage

MARGIN = 64
FIRST = 2


class Scene:
    """A texture of 2 px that is seen through a window; 10 noisy views of each place at most."""

    def __init__(self, side: int) -> None:
        self.rng, self.side = np.random.default_rng(0), side
        texture = self.rng.normal(size=(side + 2 * MARGIN, side + 2 * MARGIN))
        self.texture = ndimage.gaussian_filter(texture.astype(np.float32), 2)
        self.texture /= self.texture.std()
        self.place = np.array([MARGIN, MARGIN])

    def view(self) -> np.ndarray:
        self.place = np.clip(self.place + self.rng.integers(-1, 2, 2), 0, 2 * MARGIN)
        y, x = self.place
        noise = self.rng.normal(0, 0.3, (self.side, self.side)).astype(np.float32)
        view = self.texture[y : y + self.side, x : x + self.side] + noise
        return (30_000 + 3000 * view).astype(np.uint16)


def write_frame(folder: Path, frame: np.ndarray, index: int, tiff: bool) -> None:
    """Write a frame behind those that are there."""
    if tiff:
        (folder / "stack").mkdir(exist_ok=True)
        tifffile.imwrite(folder / "stack" / f"t{index:05}.tif", frame)
        return
    path = folder / "stack.zarr"
    if index == 0:
        zarr.create_array(
            path, shape=(0, *frame.shape), chunks=(1, *frame.shape), dtype=frame.dtype,
            dimension_names=["t", "y", "x"],
        )  # fmt: skip
    array = zarr.open_array(path, mode="r+")
    array.resize((index + 1, *frame.shape))
    array[index] = frame


def follow(side: int, count: int, every: float, tiff: bool) -> np.ndarray:
    """The seconds between a frame and its line, of each but the first ones."""
    told: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder, scene = Path(name), Scene(side)
        settings = {
            "input": {"path": "stack" if tiff else "stack.zarr"},
            "output": {"shifts": "shifts.zarr"},
        }
        (folder / "run.yaml").write_text(yaml.safe_dump(settings))
        words = [sys.executable, "-m", "steadystack", "follow", str(folder / "run.yaml")]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:

            def listen() -> None:
                assert process.stdout is not None
                for line in process.stdout:
                    told[json.loads(line)["frame"]] = time.monotonic()

            listener = threading.Thread(target=listen)
            listener.start()
            time.sleep(10)  # it starts
            written, begun = [], time.monotonic()
            for index in range(count):
                frame = scene.view()
                time.sleep(max(begun + index * every - time.monotonic(), 0))
                write_frame(folder, frame, index, tiff)
                written.append(time.monotonic())
            while len(told) < count and process.poll() is None:
                time.sleep(0.1)
            process.terminate()  # without the run at the end
        listener.join()
    return np.array([told[index] - written[index] for index in range(FIRST, count)])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 2048])
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--every", type=float, default=1.0)
    parser.add_argument("--tiff", action="store_true")
    options = parser.parse_args()
    print("| frames | written as | median, s | 99 %, s | longest, s |\n|---|---|---|---|---|")
    for side in options.sides:
        waits = follow(side, options.frames, options.every, options.tiff)
        kind = "TIFF files" if options.tiff else "Zarr"
        figures = " | ".join(
            f"{value:.2f}" for value in (*np.percentile(waits, [50, 99]), waits.max())
        )
        print(f"| {options.frames} of {side} x {side} | {kind} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
