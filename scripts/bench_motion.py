"""How well the linear motion of frames is measured, beside pystackreg and OpenCV's ECC.

    python scripts/bench_motion.py [--seeds 2] [--frames 60] [--side 256] [--snr 0.5 2 20]
        [--local 0 0.5 1 3] [--again] [--in-time] [--tiles]

Analytic scenes behind an ellipse, other pixels random: frames that wander and turn by some degrees
a frame, and in some series are magnified by 0.05 % a frame. Prints a Markdown table: root mean
squares of the errors of turn, scale and corners, and of error over stated deviation (of turn,
scale, shift), beside the Cramér-Rao bound of two noisy frames. The peers that can be imported
register every frame to the first one.

With `--local`, series whose parts move smoothly by up to so many pixels, a wave as long as a frame:
errors of the nodes that are seen, with `motion.model` local and with the shift of the frame, in
frames but the first; with `--again`, what is left when they are corrected and measured again; with
`--in-time`, with `motion.smooth_in_time`; beside the Cramér-Rao bound of tiles of two frames that
are as wide as nodes lie apart; with `--tiles`, the median error of scikit-image's masked
registration of a tile around every node to the first frame, as root mean squares of tiles would be
those of outliers.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from skimage.registration import phase_cross_correlation

import steadystack
from local_series import LocalSeries, make_local_series
from scenes import Blobs, make_ellipse
from steadystack.model import LocalStatus

STEP, SIZES = 0.7, (1.5, 10.0)
TURNS, SCALE = (0.02, 0.1), 5e-4
SEEN = LocalStatus.OK.code
LEAST_TILE = 0.4  # of its pixels are valid
OUTSIDE = 3.0  # pixels beyond the mask are random up to this, in deviations of the scene


@dataclass
class Series:
    """Frames, their mask, and what has to be applied: c + linear (p - c) + shift.

    `slopes` are those of the first frame without its noise, in deviations of the noise per pixel.
    """

    frames: np.ndarray
    mask: np.ndarray
    linear: np.ndarray
    shift: np.ndarray
    slopes: np.ndarray

    @property
    def middle(self) -> np.ndarray:
        return (np.array(self.frames.shape[1:]) - 1) / 2


@dataclass
class Found:
    """The motion that was found, its deviations (None: not told), and the seconds it took."""

    linear: np.ndarray
    shift: np.ndarray
    std: dict[str, np.ndarray] | None
    seconds: float


def make_turns(degrees: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Matrices over y and x that turn x towards y, and magnify."""
    a = np.radians(degrees)
    rows = [[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]]
    return scale[:, None, None] * np.moveaxis(np.array(rows), -1, 0)


def make_series(seed: int, frames: int, side: int, turn: float, scale: float, snr: float) -> Series:
    """Render a series; a blob that is turned is a blob elsewhere."""
    rng, shape = np.random.default_rng(seed), (side, side)
    shift = np.cumsum(rng.normal([0.3, -0.2], STEP, (frames, 2)), axis=0)
    shift -= shift[0]
    degrees = turn * np.arange(frames) + np.cumsum(rng.normal(0, turn / 3, frames))
    linear = make_turns(degrees - degrees[0], (1 + scale) ** np.arange(frames))
    middle = (np.array(shape) - 1) / 2
    scene = Blobs.of(rng, shape, SIZES, float(np.abs(shift).max()) + side / 4)
    views = []
    for matrix, at in zip(linear, shift, strict=True):
        centres = (scene.centres - middle - at) @ np.linalg.inv(matrix).T + middle
        reach = 4.5 * SIZES[1]
        seen = ((centres > -reach) & (centres < side + reach)).all(axis=1)
        sigma = scene.sigma[seen] / np.sqrt(np.linalg.det(matrix))
        views.append(Blobs(centres[seen], sigma, scene.height[seen]).view(shape, (0, 0)))
    contrast = float(np.std(views))
    stack = np.stack(views) / contrast
    slopes = np.stack([snr / contrast * scene.view(shape, (0, 0), axis) for axis in range(2)])
    mask = make_ellipse(shape)
    noisy = stack + rng.normal(0, 1 / snr, stack.shape)
    beyond = OUTSIDE * rng.random(stack.shape)
    return Series(np.where(mask, noisy, beyond).astype(np.float32), mask, linear, shift, slopes)


def measure_ours(series: Series, model: str) -> Found:
    """What steadystack finds, with the time of the whole call."""
    start = time.perf_counter()
    found = steadystack.estimate_shifts(series.frames, mask=series.mask, motion={"model": model})
    seconds = time.perf_counter() - start
    std = {name: found[f"frame_{name}_std"].to_numpy() for name in ("rotation", "scale", "shift")}
    return Found(found["frame_linear"].to_numpy(), found["frame_shift"].to_numpy(), std, seconds)


def convert(affine: np.ndarray, middle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The motion of a matrix over (x, y, 1) that says where a pixel of the result comes from."""
    swapped = np.linalg.inv(affine)[np.ix_([1, 0, 2], [1, 0, 2])]
    linear = swapped[:2, :2]
    return linear, linear @ middle + swapped[:2, 2] - middle


def measure_by(register: Callable[[Series, int], np.ndarray], series: Series) -> Found:
    """What a peer finds for every frame; NaN where it gives up."""
    start = time.perf_counter()
    motions = [convert(register(series, t), series.middle) for t in range(len(series.frames))]
    seconds = time.perf_counter() - start
    linear, shift = (np.stack(part) for part in zip(*motions, strict=True))
    return Found(linear, shift, None, seconds)


def list_peers(model: str) -> Iterator[tuple[str, Callable[[Series, int], np.ndarray]]]:
    """The peers that are installed, by what they are called in the table."""
    try:
        from pystackreg import StackReg
    except ImportError:
        pass
    else:
        kinds = {"rigid": "RIGID_BODY", "similarity": "SCALED_ROTATION"}

        def by_stackreg(series: Series, frame: int) -> np.ndarray:
            blank = np.where(series.mask, series.frames, 0)  # it takes no mask
            return StackReg(getattr(StackReg, kinds[model])).register(blank[0], blank[frame])

        yield f"pystackreg {kinds[model]}", by_stackreg
    try:
        import cv2
    except ImportError:
        return

    def by_ecc(series: Series, frame: int) -> np.ndarray:
        start = np.eye(2, 3, dtype=np.float32)
        kind = cv2.MOTION_EUCLIDEAN if model == "rigid" else cv2.MOTION_AFFINE
        stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 100, 1e-6)
        mask = series.mask.astype(np.uint8)
        # it smooths across the edge of the mask: what lies beyond is at the mean of the scene
        images = (np.where(series.mask, series.frames[t], 0) for t in (0, frame))
        try:
            _, found = cv2.findTransformECC(*images, start, kind, stop, mask, 5)
        except cv2.error:
            return np.full((3, 3), np.nan)
        return np.vstack([found, [0, 0, 1]])

    yield "OpenCV ECC, masked", by_ecc


def compute_errors(found: Found, series: Series) -> dict[str, np.ndarray]:
    """Errors of the frames but the first: turn, degrees; scale; shift; corners, pixels."""

    def rotate(matrix: np.ndarray) -> np.ndarray:
        sine, cosine = matrix[:, 0, 1] - matrix[:, 1, 0], matrix[:, 0, 0] + matrix[:, 1, 1]
        return np.degrees(np.arctan2(sine, cosine))

    def scale(matrix: np.ndarray) -> np.ndarray:
        return np.sqrt(np.linalg.det(matrix))

    corners = np.array(list(product(*[(-half, half) for half in series.middle])))
    off = np.einsum("tij,cj->tci", found.linear - series.linear, corners)
    off += (found.shift - series.shift)[:, None]
    return {
        "rotation": (rotate(found.linear) - rotate(series.linear))[1:],
        "scale": (scale(found.linear) - scale(series.linear))[1:],
        "shift": (found.shift - series.shift)[1:],
        "corners": np.linalg.norm(off, axis=2)[1:],
    }


def compute_bound(series: Series, model: str) -> tuple[float, float]:
    """The Cramér-Rao bound of two noisy frames: of the turn, degrees, and of the corners, px.

    However many frames there are, a frame and the first one have their own noise.
    """
    y, x = np.indices(series.mask.shape) - series.middle[:, None, None]
    ways = [(1, 0), (0, 1), (-x, y), (y, x)][: 4 if model == "similarity" else 3]
    moved = np.stack([series.slopes[0] * dy + series.slopes[1] * dx for dy, dx in ways])
    seen = moved[:, series.mask]
    covariance = 2 * np.linalg.inv(seen @ seen.T)
    half = series.middle
    corners = [
        np.array([(1, 0, -x, y), (0, 1, y, x)])[:, : len(ways)]
        for y, x in product((-half[0], half[0]), (-half[1], half[1]))
    ]
    variances = [np.trace(corner @ covariance @ corner.T) for corner in corners]
    return float(np.degrees(np.sqrt(covariance[2, 2]))), float(np.sqrt(np.mean(variances)))


def root_mean_square(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.sqrt((known**2).mean())) if known.size else float("nan")


def format_row(case: str, name: str, model: str, found: list[Found], series: list[Series]) -> str:
    """One line of the table, over all seeds of a case."""
    errors = [compute_errors(*pair) for pair in zip(found, series, strict=True)]
    joined = {key: np.concatenate([each[key] for each in errors]) for key in errors[0]}
    ratios = []
    for key in ("rotation", "scale", "shift"):
        if any(one.std is None or not np.isfinite(one.std[key]).any() for one in found):
            ratios.append("-")
            continue
        std = np.concatenate([one.std[key][1:] for one in found if one.std is not None])
        ratios.append(f"{root_mean_square(joined[key] / std):.2f}")
    lost = int((~np.isfinite(joined["rotation"])).sum())
    seconds = np.mean([one.seconds for one in found])
    bounds = np.array([compute_bound(one, model) for one in series])
    turn, corners = (root_mean_square(bound) for bound in bounds.T)
    cells = (
        case,
        name,
        f"{turn:.4f}, {corners:.3f}",
        f"{root_mean_square(joined['rotation']):.4f}",
        f"{100 * root_mean_square(joined['scale']):.4f}",
        f"{root_mean_square(joined['corners']):.3f}",
        ", ".join(ratios),
        f"{lost}",
        f"{seconds:.1f}",
    )
    return f"| {' | '.join(cells)} |"


def register_tiles(series: LocalSeries, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The shifts (frames but the first, nodes along y and x, 2) of tiles around nodes, px."""
    half = int(1.5 * (y[1, 0] - y[0, 0]))
    first, found = series.frames[0], np.full((len(series.frames) - 1, *y.shape, 2), np.nan)
    for node in np.ndindex(y.shape):
        tile = tuple(
            slice(max(round(at[node]) - half, 0), round(at[node]) + half + 1) for at in (y, x)
        )
        mask = series.mask[tile]
        if mask.mean() < LEAST_TILE:
            continue
        for frame, values in enumerate(series.frames[1:]):
            found[frame][node], _, _ = phase_cross_correlation(
                first[tile], values[tile], reference_mask=mask, moving_mask=mask
            )
    return found


def compute_tile_bounds(series: LocalSeries, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The Cramér-Rao bounds (nodes along y and x) of shifts of tiles between two noisy frames, px.

    Tiles are as wide as nodes lie apart: what they do is not known from their neighbours. NaN where
    less than half of one is seen.
    """
    half, bounds = (y[1, 0] - y[0, 0]) / 2, np.full(y.shape, np.nan)
    for node in np.ndindex(y.shape):
        tile = tuple(
            slice(max(round(at[node] - half), 0), round(at[node] + half) + 1) for at in (y, x)
        )
        mask = series.mask[tile]
        if mask.mean() > 0.5:
            slopes = series.slopes[:, *tile][:, mask]
            bounds[node] = np.sqrt(np.trace(2 * np.linalg.inv(slopes @ slopes.T)) / 2)
    return bounds


def measure_local(series: LocalSeries, options: argparse.Namespace) -> dict[str, np.ndarray]:
    """Errors of nodes, px: local, of the frame's shift, over stated; what is left; seconds."""
    local = {"model": "local", "smooth_in_time": options.in_time}
    start = time.perf_counter()
    found = steadystack.estimate_shifts(series.frames, mask=series.mask, motion=local)
    seconds = time.perf_counter() - start
    y, x = np.meshgrid(found["node_y"], found["node_x"], indexing="ij")
    truth = np.stack([series.field(t, y, x) for t in range(len(series.frames))])[1:]
    # without a field no node is seen: those behind the mask are compared
    seen = found["frame_local_status"].to_numpy()[1:] == SEEN
    if not seen.any():
        seen[:] = series.mask[y.round().astype(int), x.round().astype(int)]
    values = found["frame_local_shift"].to_numpy()[1:]
    off, alone = values - truth, found["frame_shift"].to_numpy()[1:, None, None] - truth
    stated = found["frame_local_shift_std"].to_numpy()[1:]
    beyond = (values - found["frame_shift"].to_numpy()[1:, None, None]) / stated
    told = {
        "off": off[seen],
        "alone": alone[seen],
        "ratio": (off / stated)[seen],
        "beyond": beyond[seen],
        "bound": compute_tile_bounds(series, y, x).ravel(),
        "seconds": np.array([seconds]),
        "left": np.array([]),
        "tiles": np.array([]),
    }
    if options.tiles:
        tiles = np.abs(register_tiles(series, y, x) - truth)
        told["tiles"] = tiles[np.isfinite(tiles).all(axis=-1) & seen]
    if options.again:
        moved = steadystack.correct(series.frames, found, mask=series.mask).to_numpy()
        rest = steadystack.estimate_shifts(moved, motion=local)
        seen = rest["frame_local_status"].to_numpy() == SEEN
        left = rest["frame_local_shift"].to_numpy()
        told["left"] = left[seen] if seen.any() else left.ravel()
    return told


def print_local(options: argparse.Namespace) -> None:
    """Print the table of local motion."""
    print(
        "| series | bound of tiles, px | nodes, px | with the shift of the frame, px | error over "
        "stated | from the shift of the frame, over stated | left, px | tiles, median px | s |\n"
        "|---|---|---|---|---|---|---|---|---|"
    )
    for snr, size in product(options.snr, options.local):
        told = [
            measure_local(make_local_series(seed, options.frames, options.side, size, snr), options)
            for seed in range(options.seeds)
        ]
        joined = {key: np.concatenate([each[key] for each in told]) for key in told[0]}
        cells = [f"SNR {snr:g}, up to {size:g} px"]
        cells += [f"{root_mean_square(joined[key]):.3f}" for key in ("bound", "off", "alone")]
        cells += [f"{root_mean_square(joined[key]):.2f}" for key in ("ratio", "beyond")]
        cells += [f"{root_mean_square(joined['left']):.3f}"]
        cells += [f"{np.median(joined['tiles']):.3f}" if options.tiles else ""]
        cells += [f"{joined['seconds'].mean():.0f}"]
        print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--snr", type=float, nargs="+", default=[0.5, 2.0, 20.0])
    parser.add_argument("--local", type=float, nargs="+")
    for flag in ("--again", "--in-time", "--tiles"):
        parser.add_argument(flag, action="store_true")
    options = parser.parse_args()
    if options.local is not None:
        print_local(options)
        return
    print(
        "| series | by | bound: turn, degree, corners, px | turn, degree | scale, % | corners, px "
        "| error over stated: turn, scale, shift | lost | s |\n"
        "|---|---|---|---|---|---|---|---|---|"
    )
    for snr, turn, scale in product(options.snr, TURNS, (0.0, SCALE)):
        model = "similarity" if scale else "rigid"
        case = f"SNR {snr:g}, {turn:g} degree" + (f", {100 * scale:g} %" if scale else "")
        series = [
            make_series(seed, options.frames, options.side, turn, scale, snr)
            for seed in range(options.seeds)
        ]
        ours = [measure_ours(each, model) for each in series]
        print(format_row(case, f"steadystack {model}", model, ours, series), flush=True)
        for name, register in list_peers(model):
            found = [measure_by(register, each) for each in series]
            print(format_row(case, name, model, found, series), flush=True)


if __name__ == "__main__":
    main()
