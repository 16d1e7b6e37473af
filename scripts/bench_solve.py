"""Time and memory of the solve, and what wrong pairs do to it, on simulated pairs; one core.

    python scripts/bench_solve.py speed robust multiscale

speed: a million pairs, each graph in a process of its own; robust: error of the frames with a part
of the pairs replaced by random shifts over that without; multiscale: error against distance.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from dataclasses import replace

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from steadystack.model import FrameStatus, PairStatus, PairTable
from steadystack.pairs import select_pairs
from steadystack.solve import solve_shifts

GRAPHS = {
    # name: frames, how their pairs are selected
    "window of 10": (100_000, {"strategy": "window", "width": 10}),
    "separations 1, 2, 3, 5, ... 89": (
        100_000,
        {"strategy": "separations", "separations": [1, 2, 3, 5, 8, 13, 21, 34, 55, 89]},
    ),
    "separations 1, 2, 4, ... 512": (
        100_000,
        {"strategy": "separations", "separations": [2**k for k in range(10)]},
    ),
    "multiscale of 6": (100_000, {"strategy": "multiscale", "width": 6}),
    "all of 1400": (1400, {"strategy": "all"}),
    "random": (100_000, {}),
}
SERIES = {
    # name: frames, how their pairs are selected, part of the pairs replaced
    "window of 5": (200, {"strategy": "window", "width": 5}, 0.2),
    "window of 5, long": (5000, {"strategy": "window", "width": 5}, 0.2),
    "window of 5, 30 %": (200, {"strategy": "window", "width": 5}, 0.3),
    "window of 3": (200, {"strategy": "window", "width": 3}, 0.2),
    "separations 1, 2, 4, 8": (200, {"strategy": "separations", "separations": [1, 2, 4, 8]}, 0.2),
    "separations 1, 8": (200, {"strategy": "separations", "separations": [1, 8]}, 0.2),
    "multiscale of 5": (1000, {"strategy": "multiscale", "width": 5}, 0.2),
    "window of 20": (200, {"strategy": "window", "width": 20}, 0.3),
    "all of 60": (60, {"strategy": "all"}, 0.3),
}
PAIR_STD, MAX_SHIFT = 0.1, 24.0  # px


def make_pairs(frames: int, options: dict) -> np.ndarray:
    """Pairs by a strategy; without one: a million random ones beside the consecutive."""
    if options:
        return select_pairs(frames, **options)
    random = np.sort(np.random.default_rng(1).integers(0, frames, (900_000, 2)), axis=1)
    chain = np.stack([np.arange(frames - 1), np.arange(1, frames)], axis=1)
    pairs = np.unique(np.concatenate([chain, random]), axis=0)
    return pairs[pairs[:, 0] != pairs[:, 1]]


def simulate(pairs: np.ndarray, frames: int, wrong: float, seed: int):
    """Truth (frames, 2), a table of noisy pairs, and the same with a part of them wrong."""
    rng = np.random.default_rng(seed)
    truth = np.cumsum(rng.normal(0, 0.5, (frames, 2)), axis=0)
    truth -= truth[0]
    good = truth[pairs[:, 1]] - truth[pairs[:, 0]] + rng.normal(0, PAIR_STD, (len(pairs), 2))
    bad = np.where(
        rng.random((len(pairs), 1)) < wrong,
        rng.uniform(-MAX_SHIFT, MAX_SHIFT, good.shape),
        good,
    )
    table = replace(
        PairTable.unmeasured(pairs, frames, 2),
        shift_std=np.full(good.shape, PAIR_STD),
        status=np.full(len(pairs), PairStatus.OK.code, np.int8),
        frame_read_status=np.full(frames, FrameStatus.OK.code, np.int8),
    )
    return truth, replace(table, shift=good), replace(table, shift=bad), (good != bad).any(axis=1)


def print_speed(name: str, wrong: float) -> None:
    frames, options = GRAPHS[name]
    pairs = make_pairs(frames, options)
    _, _, table, _ = simulate(pairs, frames, wrong, 0)
    memory_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()  # not what others on the machine do
    solution = solve_shifts(table)
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    known_fraction = np.isfinite(solution.shift_std).all(axis=1).mean()
    print(
        f"| {name} | {frames} | {len(pairs)} | {wrong:.0%} | {seconds:.1f} | {peak / 1024:.0f} "
        f"| {memory_before / 1024:.0f} | {known_fraction:.4f} |",
        flush=True,
    )


def speed() -> None:
    print("| graph | frames | pairs | wrong | core seconds | peak, MiB | before, MiB | known |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for name in GRAPHS:
        for wrong in ("0", "0.2"):
            subprocess.run([sys.executable, __file__, "one", name, wrong], check=True)


def robust() -> None:
    """Errors are taken about their mean: an anchor's own error is in all frames alike."""
    print("| graph | frames | wrong | error grows by | not robust | good lost | bad kept | lost |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for name, (frames, options, wrong) in SERIES.items():
        pairs = make_pairs(frames, options)
        squares = np.zeros(3)
        good_lost = bad_kept = lost = goods = bads = 0
        for seed in range(20):
            truth, clean, dirty, bad = simulate(pairs, frames, wrong, seed)
            solved = [
                solve_shifts(clean),
                solve_shifts(dirty),
                solve_shifts(dirty, robust=False),
            ]
            is_known = np.all([solution.component == 0 for solution in solved], axis=0)
            errors = [(solution.shift - truth)[is_known] for solution in solved]
            squares += [((e - e.mean(axis=0)) ** 2).mean() for e in errors]
            good_lost += int((solved[1].rejected & ~bad).sum())
            bad_kept += int((~solved[1].rejected & bad).sum())
            goods, bads = goods + int((~bad).sum()), bads + int(bad.sum())
            lost += int((~is_known).sum())
        growth = np.sqrt(squares / squares[0])
        print(
            f"| {name} | {frames} | {wrong:.0%} | {growth[1]:.2f} | {growth[2]:.0f} "
            f"| {good_lost} of {goods} | {bad_kept} of {bads} | {lost} of {20 * frames} |",
            flush=True,
        )


def multiscale() -> None:
    """Error of the difference between frame 0 and frame d, in deviations of a pair."""
    frames, distances = 20_000, (10, 100, 1000, 10_000, 19_999)
    print("| pairs of 20000 frames | pairs | " + " | ".join(map(str, distances)) + " |")
    print("|---|---|" + "---|" * len(distances), flush=True)
    for name, options in (
        ("window of 5", {"strategy": "window", "width": 5}),
        ("window of 8", {"strategy": "window", "width": 8}),
        (
            "separations 1, 2, 4, ... 128",
            {"strategy": "separations", "separations": [2**k for k in range(8)]},
        ),
        ("multiscale of 2", {"strategy": "multiscale", "width": 2}),
        ("multiscale of 5", {"strategy": "multiscale", "width": 5}),
    ):
        pairs = select_pairs(frames, **options)
        errors = []
        for seed in range(20):
            truth, clean, _, _ = simulate(pairs, frames, 0, seed)
            solution = solve_shifts(clean)
            errors.append((solution.shift - truth)[list(distances)])
        rms_errors = np.sqrt((np.array(errors) ** 2).mean(axis=(0, 2))) / PAIR_STD
        bound = solution.shift_std[list(distances)].mean(axis=1) / PAIR_STD
        cells = " | ".join(
            f"{rms:.1f} ({stated:.1f})" for rms, stated in zip(rms_errors, bound, strict=True)
        )
        print(f"| {name} | {len(pairs)} | {cells} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        print_speed(sys.argv[2], float(sys.argv[3]))
    else:
        for part in sys.argv[1:] or ["speed", "robust", "multiscale"]:
            {"speed": speed, "robust": robust, "multiscale": multiscale}[part]()
