"""Pairs of images with a known shift, by steadystack and by scikit-image, both with their defaults.

    python scripts/bench_peers.py [PADFIELD]

PADFIELD is a folder with the image pairs of Padfield's paper, as they lie in scikit-image's tests;
without it they are left out. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy import ndimage
from skimage import io
from skimage.registration import phase_cross_correlation

import steadystack
from steadystack.example import make_corrupted_pair, make_windowed_pair
from steadystack.guide import load_embedded_scene

Case = tuple[str, str, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def make_cases(padfield: Path | None) -> Iterator[Case]:
    """Name, true shift, reference, moving and their masks."""
    scene = load_embedded_scene()
    reference, moving, mask = make_corrupted_pair(scene)
    yield "gallery, 25 % corrupted", "(22, -13)", reference, moving, mask, mask
    first, second, first_mask, second_mask = make_windowed_pair(scene)
    yield "gallery, two windows", "(22, -13)", first, second, first_mask, second_mask
    if padfield is not None:
        for name, shift in (
            ("X75Y75", "(75, -75)"),
            ("X-130Y130", "(130, 130)"),
            ("X130Y130", "(130, -130)"),
        ):
            images = [
                io.imread(padfield / f"{kind}{name}.png") for kind in ("Original", "Transformed")
            ]
            yield f"Padfield {name}", shift, *images, *(image != 0 for image in images)
    big = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(160, 160)), 1.5)
    big /= big.std()
    a, b = big[10:138, 10:138], big[6:134, 17:145]
    whole = np.ones(a.shape, bool)
    spoiled = a.copy()
    spoiled[60, 60] = np.nan
    yield "one NaN in a valid pixel", "(-4, 7)", spoiled, b, whole, whole
    bright = [(60000 + 50 * image).astype(np.float32) for image in (a, b)]
    yield "mean 60000, deviation 50, float32", "(-4, 7)", *bright, whole, whole
    yield "flat frame", "none", np.full(a.shape, 7.0), b, whole, whole
    yield "all pixels saturated", "none", a, np.full(a.shape, 65535, np.uint16), whole, whole
    noise = np.random.default_rng(1).normal(size=(2, 128, 128))
    yield "unrelated noise", "none", *noise, whole, whole
    line = np.sin(2 * np.pi * np.arange(140) / 15)
    grid = np.add.outer(line, line)
    yield "periodic scene", "several", grid[8:136, 8:136], grid[5:133, 8:136], whole, whole


def register_by_peer(
    a: np.ndarray, b: np.ndarray, first_mask: np.ndarray, second_mask: np.ndarray
) -> np.ndarray:
    return phase_cross_correlation(a, b, reference_mask=first_mask, moving_mask=second_mask)[0]


def print_shifts_table(padfield: Path | None) -> None:
    print("| pair | true shift | scikit-image | steadystack |")
    print("|---|---|---|---|")
    for name, shift, a, b, first_mask, second_mask in make_cases(padfield):
        with np.errstate(all="ignore"):
            peer_text = ", ".join(
                f"{value:.4g}" for value in register_by_peer(a, b, first_mask, second_mask)
            )
        registration = steadystack.register_translation(
            a, b, reference_mask=first_mask, moving_mask=second_mask
        )
        is_known = np.isfinite(registration.shift).all()
        own_text = (
            "(" + ", ".join(f"{v:.2f}" for v in registration.shift) + ")" if is_known else "none"
        )
        print(f"| {name} | {shift} | ({peer_text}) | {own_text}: {registration.status} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("padfield", type=Path, nargs="?", help="folder with Padfield's images")
    arguments = parser.parse_args()
    print_shifts_table(arguments.padfield)


if __name__ == "__main__":
    main()
