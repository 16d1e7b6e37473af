"""What a whole job costs: read, estimate, correct, write, beside other libraries.

    python scripts/bench_job.py [--frames 200] [--side 512] [--rounds 3] [--folder FOLDER]

A Zarr stack of uint16, a chunk a frame, of a texture that drifts by a pixel a frame, is measured by
consecutive pairs within 32 px, moved linearly and written as Zarr. Seconds of CPU of one process,
the fastest of each in turns, and the error of the shifts. OpenCV: phaseCorrelate with a Hann window
and warpAffine; scikit-image: phase_cross_correlation to 1/20 px and scipy's shift; pystackreg:
register and transform, TRANSLATION, each against the frame before (pip install -e '.[bench]'). Ours
is a run with pilot, checks and verdict; beside it, the same with the page. Prints Markdown tables;
the last one is where a run spends its time, from its log.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import zarr
from pystackreg import StackReg
from scipy import ndimage
from skimage.registration import phase_cross_correlation

import steadystack
from bench_call import MAX_SHIFT
from scenes import Blobs
from steadystack.config import make_config
from steadystack.outputs import write_stack

Step = Callable[[np.ndarray, np.ndarray], np.ndarray]  # of two frames; or a frame, moved


def make_stack(folder: Path, count: int, side: int) -> np.ndarray:
    """Write the stack; returns the true shifts (frames, 2), pixels to be applied."""
    rng = np.random.default_rng(0)
    path = np.cumsum(rng.normal(0, 0.8, (count, 2)), axis=0)
    path -= path[0]
    scene = Blobs.of(rng, (side, side), (2.0,), float(np.abs(path).max()) + 1)
    frames = np.array([scene.view((side, side), tuple(at)) for at in path], np.float32)
    frames = frames / frames.std() + rng.normal(0, 0.3, frames.shape)
    write_stack(folder / "stack.zarr", (20_000 + 3000 * frames).clip(0, 65535).astype("u2"))
    return path


def run_ours(folder: Path, place: Path, *, page: bool) -> np.ndarray:
    """A run of steadystack in this process."""
    output = {"shifts": "shifts.zarr", "corrected": "corrected.zarr"}
    settings = {
        "input": {"path": str(folder / "stack.zarr")},
        "register": {"max_shift": MAX_SHIFT},
        "pairs": {"strategy": "consecutive"},
        "correct": {"interpolation": "linear"},
        "output": output | ({"report": "page.html"} if page else {}),
        "cluster": {"kind": "in-process"},
    }
    return steadystack.run(make_config(settings, place))["frame_shift"].to_numpy()


def run_peer(
    folder: Path,
    place: Path,
    find_step: Step,
    move: Step,
) -> np.ndarray:
    """Read frame by frame, add up the steps from frame to frame, move and write."""
    stack = zarr.open_array(str(next((folder / "stack.zarr").glob("0"), folder / "stack.zarr")))
    corrected = zarr.create_array(
        str(place / "corrected.zarr"), shape=stack.shape, chunks=(1, *stack.shape[1:]), dtype="u2"
    )
    before, shifts = None, []
    for number in range(stack.shape[0]):
        frame = stack[number].astype(np.float32)
        step = np.zeros(2) if before is None else np.asarray(find_step(before, frame))
        shifts.append(step if before is None else shifts[-1] + step)
        corrected[number] = np.rint(move(frame, shifts[-1])).clip(0, 65535).astype("u2")
        before = frame
    return np.array(shifts)


def make_peers(side: int) -> dict[str, tuple[Step, Step]]:
    """What others do, by their names: how a step is found, and how a frame is moved."""
    window, aligner = (
        cv2.createHanningWindow((side, side), cv2.CV_32F),
        StackReg(StackReg.TRANSLATION),
    )

    def correlate(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        (x, y), _ = cv2.phaseCorrelate(one, other, window)
        return -np.array([y, x])

    def warp(frame: np.ndarray, shift: np.ndarray) -> np.ndarray:
        matrix = np.array([[1, 0, shift[1]], [0, 1, shift[0]]])
        return cv2.warpAffine(frame, matrix, (side, side))

    def correlate_plainly(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return phase_cross_correlation(one, other, upsample_factor=20)[0]

    def shift(frame: np.ndarray, by: np.ndarray) -> np.ndarray:
        return ndimage.shift(frame, by, order=1)

    def align(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return -aligner.register(one, other)[1::-1, 2]

    return {
        "OpenCV phaseCorrelate, warpAffine": (correlate, warp),
        "scikit-image, scipy": (correlate_plainly, shift),
        "pystackreg, scipy": (align, shift),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", help="where the stacks are written; a new one by default")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        truth = make_stack(folder, options.frames, options.side)
        jobs: dict[str, Callable[[Path], np.ndarray]] = {
            "steadystack": lambda place: run_ours(folder, place, page=False),
            "steadystack, with its page": lambda place: run_ours(folder, place, page=True),
        }
        for peer, both in make_peers(options.side).items():
            jobs[peer] = lambda place, both=both: run_peer(folder, place, *both)
        seconds, errors = dict.fromkeys(jobs, np.inf), dict.fromkeys(jobs, np.nan)
        log = ""
        for number in range(options.rounds + 1):  # the first is not counted: imports, plans
            for job, run in jobs.items():
                place = folder / f"{number}-{len(job)}"
                place.mkdir()
                start = time.process_time()
                shifts = run(place)
                if number:
                    seconds[job] = min(seconds[job], time.process_time() - start)
                off = shifts - truth
                errors[job] = np.sqrt(np.nanmean((off - np.nanmean(off, axis=0)) ** 2))
                for kept in place.glob("*.log"):
                    log = kept.read_text() if "page" in job else log
    print(f"{options.frames} frames of {options.side} x {options.side}, uint16\n")
    print("| job | seconds of CPU | times ours | error, rms, px |\n|---|---|---|---|")
    for job, taken in seconds.items():
        ours = seconds["steadystack"]
        print(f"| {job} | {taken:.2f} | {taken / ours:.2f} | {errors[job]:.4f} |")
    print("\n| stage of a run with its page | seconds |\n|---|---|")
    for stage, taken in re.findall(r"([a-z ]+): ([\d.]+) s$", log, re.MULTILINE):
        print(f"| {stage.strip()} | {taken} |")


if __name__ == "__main__":
    main()
