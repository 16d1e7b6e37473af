"""Whether weights between 0 and 1 find a shift better than a mask that says yes or no.

    python scripts/bench_soft_masks.py [--pairs 100] [--side 128]

Pairs of a texture of 2 px at whole shifts, in noise that grows outwards, behind a border or in
patches, or behind dirt that stands still and is the less transparent, the more it covers. The
weight of a pixel is 1 over the standard deviation of its noise, or the share of the scene in it.
NCC is Padfield's (2012), whose sums take weights as they take masks; it is written out here, as are
the parabola at its maximum, which is exact at whole shifts, and the limits of the masks. Prints a
Markdown table: rms error in px of the pairs that are found to a pixel, and in brackets how many are
not, of each kind under no mask, under weights (the better of the weight and its square) and under
masks of the pixels whose weight is above a limit (half; the best of four).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

Image = NDArray[np.float64]
REACH = 8  # lags
FURTHEST = 4  # shift, px
LIMITS = (0.2, 0.35, 0.5, 0.7)
SOFT = ("weight", "weight squared")


def correlate(reference: Image, moving: Image, weight: Image) -> Image:
    """The NCC of two images under the same weights at all lags within `REACH`."""
    size = [fft.next_fast_len(length + 2 * REACH + 1) for length in weight.shape]

    def sum_products(one: Image, other: Image) -> Image:
        spectrum = np.conj(fft.rfft2(one, size)) * fft.rfft2(other, size)
        middle = np.roll(fft.irfft2(spectrum, size), (REACH, REACH), (0, 1))
        return np.asarray(middle[: 2 * REACH + 1, : 2 * REACH + 1])

    total = np.maximum(sum_products(weight, weight), 1e-9)
    first, second = weight * reference, weight * moving
    sum_first, sum_second = sum_products(first, weight), sum_products(weight, second)
    covariance = sum_products(first, second) - sum_first * sum_second / total
    spread = sum_products(first * reference, weight) - sum_first**2 / total
    spread_moving = sum_products(weight, second * moving) - sum_second**2 / total
    return np.asarray(covariance / np.sqrt(np.maximum(spread * spread_moving, 1e-9)))


def locate(surface: Image) -> NDArray[np.float64]:
    """The lag of the maximum, by the parabola through its neighbours; NaN at the side."""
    row, column = np.unravel_index(np.argmax(surface), surface.shape)
    if not (0 < row < 2 * REACH and 0 < column < 2 * REACH):
        return np.full(2, np.nan)
    near = surface[row - 1 : row + 2, column - 1 : column + 2].ravel()
    y, x = (side.ravel() - 1.0 for side in np.mgrid[:3, :3])
    terms = np.stack([np.ones(9), y, x, y**2, x**2, y * x], axis=1)
    _, along_y, along_x, yy, xx, yx = np.linalg.lstsq(terms, near)[0]
    step = -np.linalg.solve([[2 * yy, yx], [yx, 2 * xx]], [along_y, along_x])
    return np.asarray(np.array([row, column]) - REACH + step)


def make_kinds(side: int) -> dict[str, tuple[bool, Image]]:
    """What is called how: whether dirt stands still, and how strong noise or dirt are, from 1."""
    at = (np.arange(side) - (side - 1) / 2) / (side / 2)
    out = np.hypot(at[:, None], at)
    border = 1 + 20 / (1 + np.exp((0.7 - out) / 0.05))
    patches = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=(side, side)), side / 16)
    uneven = np.exp(1 + np.clip(patches / patches.std(), -1, 3))
    return {
        "noise grows outwards, to 5 times": (False, 1 + 2 * out**2),
        "noise grows outwards, to 19 times": (False, 1 + 9 * out**2),
        "21 times the noise behind a border": (False, border),
        "noise in patches": (False, uneven),
        "dirt covers the corners to 4 fifths": (True, 1 + 2 * out**2),
        "dirt covers all behind a border": (True, border),
    }


def make_pair(
    rng: np.random.Generator, strength: Image, is_still: bool
) -> tuple[Image, Image, NDArray[np.int64]]:
    """Two images of a scene, and the lag at which they agree."""
    side, noise = len(strength), 0.5

    def make_texture(width: float) -> Image:
        whole = ndimage.gaussian_filter(rng.normal(size=(side + 2 * FURTHEST,) * 2), width)
        return np.asarray(whole / whole.std())

    scene, lag = make_texture(2), rng.integers(-FURTHEST, FURTHEST + 1, 2)
    dirt = 2 * make_texture(3)[:side, :side]

    def view(row: int, column: int) -> Image:
        image = scene[row : row + side, column : column + side]
        if is_still:
            image = image / strength + dirt * (1 - 1 / strength)
            return np.asarray(image + noise * rng.normal(size=image.shape))
        return np.asarray(image + noise * strength * rng.normal(size=image.shape))

    return view(FURTHEST, FURTHEST), view(*(FURTHEST - lag)), lag


def make_weights(weight: Image) -> dict[str, Image]:
    hard = {f"above {limit}": (weight > limit).astype(float) for limit in LIMITS}
    return {"none": np.ones_like(weight), SOFT[0]: weight, SOFT[1]: weight**2, **hard}


def measure(is_still: bool, strength: Image, pairs: int) -> dict[str, tuple[int, float]]:
    """How many pairs are lost, and the rms error of the others, by what weighs the pixels."""
    rng, weights = np.random.default_rng(0), make_weights(1 / strength)
    errors = np.empty((len(weights), pairs, 2))
    for index in range(pairs):
        reference, moving, lag = make_pair(rng, strength, is_still)
        for row, weight in enumerate(weights.values()):
            errors[row, index] = locate(correlate(reference, moving, weight)) - lag
    told = {}
    for name, error in zip(weights, errors, strict=True):
        found = np.abs(error).max(axis=1) < 1  # False of NaN
        rms = float(np.sqrt(np.mean(error[found] ** 2))) if found.any() else np.nan
        told[name] = int(np.count_nonzero(~found)), rms
    return told


def describe(told: dict[str, tuple[int, float]]) -> Iterator[str]:
    """The cells of a row; the best is that which loses the fewest, then that of the least error."""
    hard = [told[f"above {limit}"] for limit in LIMITS]
    for lost, rms in (told["none"], min(told[name] for name in SOFT), told["above 0.5"], min(hard)):
        yield f"{rms:.3f} ({lost})" if lost else f"{rms:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--side", type=int, default=128)
    wanted = parser.parse_args()
    print("| error / px (pairs lost) | no mask | weights | mask above half | best mask |")
    print("|---|---|---|---|---|")
    for name, (is_still, strength) in make_kinds(wanted.side).items():
        cells = describe(measure(is_still, strength, wanted.pairs))
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
