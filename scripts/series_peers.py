"""Estimates of a series by other packages, by their public functions.

Each takes a stack (frames, y, x) and its mask (True = valid) and gives shifts (frames, 2) to be
applied, in pixels. `fill_masked` puts the mean of the valid pixels in place of the others: the
best that can be done for functions which know no masks. None is told which frames are bad.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

import steadystack
from steadystack.model import FrameStatus, PairStatus, PairTable
from steadystack.pairs import select_pairs
from steadystack.solve import solve_shifts

Estimate = Callable[[np.ndarray, np.ndarray], np.ndarray]
MAX_SHIFT, WIDTH = 24, 5  # of the parabola's pairs: no pair is further apart than it can find


@dataclass(frozen=True)
class Peer:
    """A row of the table: its name, the package it needs, and what it does."""

    name: str
    package: str
    estimate: Estimate

    @property
    def is_installed(self) -> bool:
        return importlib.util.find_spec(self.package) is not None


def fill_masked(stack: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Fill pixels that are not valid with the mean of their frame's valid ones, float32."""
    frames = stack.astype(np.float32)
    for frame in frames:
        frame[~mask] = frame[mask].mean()
    return frames


def register_masked(stack: np.ndarray, mask: np.ndarray, *, first: bool) -> np.ndarray:
    """Register by scikit-image's masked function: to the first frame, or the one before."""
    from skimage.registration import phase_cross_correlation

    steps = np.zeros((len(stack), 2))
    with np.errstate(all="ignore"):
        for frame in range(1, len(stack)):
            reference = stack[0 if first else frame - 1]
            steps[frame] = phase_cross_correlation(
                reference, stack[frame], reference_mask=mask, moving_mask=mask
            )[0]
    return steps if first else np.cumsum(steps, axis=0)


def register_by_parabola(stack: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Estimate by masked NCC, a parabola at its maximum, a window of pairs, the robust solve.

    The surface is scikit-image's to 6e-7, computed here because that takes a twentieth of the time.
    """
    pairs = select_pairs(len(stack), "window", width=WIDTH)
    shift = np.full((len(pairs), 2), np.nan)
    for row, (reference, moving) in enumerate(pairs):
        surface = steadystack.masked_ncc(
            stack[reference], stack[moving], reference_mask=mask, moving_mask=mask,
            max_shift=MAX_SHIFT,
        )["ncc"].to_numpy()  # fmt: skip
        if np.isfinite(surface).any():
            shift[row] = find_vertex(surface) - MAX_SHIFT
    ok = np.isfinite(shift).all(axis=1)
    status = np.where(ok, PairStatus.OK.code, PairStatus.FLAT.code).astype(np.int8)
    table = replace(
        PairTable.unmeasured(pairs, len(stack), 2),
        shift=shift,
        # The same for all pairs: a parabola states no error.
        shift_std=np.where(np.isfinite(shift), 0.1, np.nan),
        status=status,
        frame_read_status=np.full(len(stack), FrameStatus.OK.code, np.int8),
    )
    return solve_shifts(table).shift


def find_vertex(surface: np.ndarray) -> np.ndarray:
    """Find the maximum of a surface, by a parabola through three points along each axis."""
    peak = np.unravel_index(np.nanargmax(surface), surface.shape)
    position = np.array(peak, float)
    for axis, index in enumerate(peak):
        line = np.moveaxis(surface, axis, 0)[:, peak[1 - axis]]
        if 0 < index < len(line) - 1:
            below, middle, above = line[index - 1 : index + 2]
            curvature = below - 2 * middle + above
            if np.isfinite(curvature) and curvature < 0:
                position[axis] += (below - above) / (2 * curvature)
    return position


def register_by_stackreg(
    stack: np.ndarray, mask: np.ndarray, *, reference: str, fill: bool
) -> np.ndarray:
    from pystackreg import StackReg

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it guesses at the axis of time
        matrices = StackReg(StackReg.TRANSLATION).register_stack(
            fill_masked(stack, mask) if fill else stack, reference=reference
        )
    return -matrices[:, [1, 0], 2]


def register_by_hyperspy(stack: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Register to the first frame by hyperspy, with its own filters and 1/20 px."""
    from hyperspy.api import set_log_level, signals

    set_log_level("ERROR")  # it warns, on stdout, that it goes without numba
    return -signals.Signal2D(fill_masked(stack, mask)).estimate_shift2D(
        reference="current", sub_pixel_factor=20, show_progressbar=False
    )


def list_peers() -> Iterator[Peer]:
    for name, first in (("consecutive", False), ("to the first", True)):
        yield Peer(
            f"scikit-image, masked, {name}",
            "skimage",
            lambda stack, mask, first=first: register_masked(stack, mask, first=first),
        )
    yield Peer("masked NCC, parabola, window of 5, our solve", "steadystack", register_by_parabola)
    for fill, kind in ((False, ""), (True, ", mask filled")):
        for reference in ("previous", "first"):
            yield Peer(
                f"pystackreg, {reference}{kind}",
                "pystackreg",
                lambda stack, mask, reference=reference, fill=fill: register_by_stackreg(
                    stack, mask, reference=reference, fill=fill
                ),
            )
    yield Peer("hyperspy, to the first, mask filled", "hyperspy", register_by_hyperspy)
