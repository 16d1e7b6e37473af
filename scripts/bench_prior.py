"""What a prior saves: pairs searched around it, and with a search as wide as their shifts.

python scripts/bench_prior.py
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from steadystack.config import make_config
from steadystack.measure import measure_pairs
from steadystack.model import PairTable, as_stack
from steadystack.planning import make_series, set_up
from steadystack.readers import ArrayFrames

SIDE, FRAMES, PRIOR_MAX_SHIFT, ROUNDS = 512, 24, 6, 3


def make_series_frames(shift: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.uint16]:
    """Frames of a rough scene at whole pixels."""
    origins = np.rint(shift - shift.min(axis=0)).astype(int)
    scene = ndimage.gaussian_filter(rng.normal(size=origins.max(axis=0) + SIDE), 1.5)
    frames = np.stack([scene[y : y + SIDE, x : x + SIDE] for y, x in origins])
    noise = rng.normal(0, 0.3, frames.shape)
    return (5000 + 1000 * (frames / frames.std() + noise)).clip(0, 65535).astype(np.uint16)


def measure_seconds(
    frames: Any, mask: Any, bound: int, pairs: dict[str, Any], initial_shifts: Any
) -> float:
    """For a pair, from frames in memory to shift and status; all have to be found."""
    settings = {
        "input": {"path": "memory"},
        "register": {"max_shift": bound},
        "pairs": pairs,
    }
    source = ArrayFrames.checked(as_stack(frames), mask)
    setup = set_up(make_config(settings), make_series(source, initial_shifts))
    started = time.perf_counter()
    table = PairTable.unmeasured(setup.pairs, FRAMES, 2)
    *_, (table, _) = measure_pairs(source, table, setup.method, setup.size)
    duration = time.perf_counter() - started
    assert table.ok.all(), "a pair was not found"
    return duration / len(setup.pairs)


def main() -> None:
    rng = np.random.default_rng(0)
    steps = np.arange(FRAMES)[:, None]
    window: dict[str, Any] = {"strategy": "window", "width": 5}
    cases: list[tuple[str, NDArray[np.float64], dict[str, Any], int]] = [
        ("drift of 5 px per frame, window of 5", steps * np.array([4.0, -3.0]), window, 24),
        (
            "the same, separations 1, 2, 4, 8, 16",
            steps * np.array([4.0, -3.0]),
            {"strategy": "separations", "separations": [1, 2, 4, 8, 16]},
            72,
        ),
        (
            "a jump of 190 px every 8 frames",
            np.cumsum((steps % 8 == 0) * [150.0, -120.0], 0),
            window,
            160,
        ),
        ("random positions within 200 px", rng.uniform(-100, 100, (FRAMES, 2)), window, 204),
    ]
    inside = (np.indices((SIDE, SIDE)) - SIDE / 2) / (0.42 * SIDE)
    ellipse = (inside**2).sum(axis=0) < 1
    print("| pairs | max_shift without | max_shift with | faster, one mask | faster, no mask |")
    print("|---|---|---|---|---|")
    for name, shift, pairs, max_shift in cases:
        frames = make_series_frames(shift, rng)
        initial_shifts = shift + rng.uniform(-2, 2, shift.shape)
        cells = []
        for mask in (ellipse, None):
            durations = [
                (
                    measure_seconds(frames, mask, max_shift, pairs, None),
                    measure_seconds(frames, mask, PRIOR_MAX_SHIFT, pairs, initial_shifts),
                )
                for _ in range(ROUNDS)
            ]
            cells.append(
                f"{np.median([without / with_prior for without, with_prior in durations]):.1f}"
            )
        print(f"| {name} | {max_shift} | {PRIOR_MAX_SHIFT} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
