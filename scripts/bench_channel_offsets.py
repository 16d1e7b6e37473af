"""How well a constant offset between channels is known, and whether its stated error holds.

python scripts/bench_channel_offsets.py [members [numbers of cases]]

Series of two channels of one scene, the second off by (1.3, -2.6) px in all frames: error of the
offset, root mean square, px; error over stated error, root mean square and largest; how many series
have an offset. The second channel may show things of its own, and both may be shaded alike, or lie
on a pattern of the camera that stands still; of scenes that have nothing in common there is none.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import zarr
from numpy.typing import NDArray
from scipy import ndimage

from bench_channels import FRAMES, MARGIN, SIDE, print_table
from steadystack.common_frame import measure_channel_offsets
from steadystack.config import make_config
from steadystack.measure import measure_pairs
from steadystack.model import PairStatus, PairTable
from steadystack.planning import open_series, set_up
from steadystack.solve import solve_shifts

OFFSET = np.array([1.3, -2.6])


@dataclass(frozen=True)
class Case:
    """In deviations of the scene: noise, what only the second channel shows, shading, pattern."""

    noise: float = 0.3
    own: float = 0.0
    shared: float = 1.0
    shading: float = 0.0
    pattern: float = 0.0
    is_steady: bool = False  # the drift


CASES = {
    "alike, noise 0.3": Case(),
    "noise 1": Case(noise=1.0),
    "half as much of its own": Case(own=0.5),
    "as much of its own": Case(own=1.0),
    "both shaded, up to 6": Case(shading=6.0),
    "both on one pattern, 0.5": Case(pattern=0.5),
    "nothing in common": Case(own=1.0, shared=0.0),
    "nothing in common, both shaded": Case(own=1.0, shared=0.0, shading=6.0),
    "a pattern alone, steady drift": Case(own=0.1, shared=0.0, pattern=0.4, is_steady=True),
    "the negative": Case(shared=-1.0),
}


def make_frames(case: Case, seed: int) -> NDArray[np.float32]:
    """Frames (t, c, y, x)."""
    rng = np.random.default_rng(seed)
    steps = np.tile(rng.uniform(1, 2.5, 2), (FRAMES, 1))
    drift = np.cumsum(steps if case.is_steady else rng.normal(0.4, 0.8, (FRAMES, 2)), axis=0)
    drift *= min(1, (MARGIN - 5) / np.abs(drift).max())
    whole, y, x = (SIDE + 2 * MARGIN,) * 2, *np.mgrid[:SIDE, :SIDE]
    scenes = [ndimage.gaussian_filter(rng.normal(size=whole), 2.0, mode="wrap") for _ in range(2)]
    first, other = (np.fft.fftn(scene / scene.std()) for scene in scenes)
    still = case.shading * np.exp(-((y - 0.45 * SIDE) ** 2 + (x - 0.6 * SIDE) ** 2) / SIDE**1.6)
    still = still + case.pattern * rng.normal(size=still.shape)
    frames = np.empty((FRAMES, 2, SIDE, SIDE), np.float32)
    for channel, spectrum in enumerate((first, case.shared * first + case.own * other)):
        for frame in range(FRAMES):
            moved = np.fft.ifftn(ndimage.fourier_shift(spectrum, drift[frame] - channel * OFFSET))
            image = moved.real[MARGIN:-MARGIN, MARGIN:-MARGIN] + still
            frames[frame, channel] = 100 * (image + case.noise * rng.normal(size=image.shape))
    return frames


def find_offset(path: str) -> tuple[PairStatus, NDArray, NDArray]:
    """Status, offset and deviations of the second channel."""
    settings = {
        "input": {"path": path, "axes": "tcyx", "channel": [0, 1]},
        "register": {"max_shift": 2 * MARGIN},
        "pairs": {"strategy": "window", "width": 3},
    }
    series, _ = open_series(config := make_config(settings))
    setup = set_up(config, series)
    table = PairTable.of_frames(setup.pairs, series.source)
    *_, (table, _) = measure_pairs(series.source, table, setup.method, setup.size)
    method = replace(setup.method, evaluates_parts=True)
    frames = measure_channel_offsets(series.source, table, solve_shifts(table), method, setup.size)
    status = list(PairStatus)[frames.channel_offset_status[1]]
    return status, frames.channel_offset[1], frames.channel_offset_std[1]


def measure_case(case: Case, members: int) -> str:
    """What was found of a case, as the columns of a line."""
    error, ratio, why = [], [], dict[str, int]()
    for seed in range(members):
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder, "stack.zarr"))
            zarr.create_array(path, data=make_frames(case, seed), chunks=(1, 1, SIDE, SIDE))
            status, offset, std = find_offset(path)
        if status is PairStatus.OK:
            error.append(offset - OFFSET)
            ratio.append(error[-1] / std)
        else:
            why[status] = why.get(status, 0) + 1
    told = ", ".join(f"{status} {count}" for status, count in why.items())
    if not error:
        return f"| | | 0 of {members}: {told}"
    rms, of_stated = (np.sqrt(np.mean(np.square(values))) for values in (error, ratio))
    known = f"{len(error)} of {members}" + (f": {told}" if told else "")
    return f"{rms:.4f} | {of_stated:.2f} | {np.abs(ratio).max():.1f} | {known}"


def main() -> None:
    columns = "second channel | error, px | error / stated | largest | known"
    print_table(CASES, columns, measure_case)


if __name__ == "__main__":
    main()
