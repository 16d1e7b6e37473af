"""What others make of a series, by their public functions.

Each takes a stack (frames, y, x) and its mask (True = valid) and gives shifts (frames, 2) to be
applied, in pixels. `filled` puts the mean of the valid pixels in place of the others: the
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
    def installed(self) -> bool:
        return importlib.util.find_spec(self.package) is not None


def filled(stack: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The frames with their own mean wherever nothing is valid, float32."""
    found = stack.astype(np.float32)
    for frame in found:
        frame[~mask] = frame[mask].mean()
    return found


def masked(stack: np.ndarray, mask: np.ndarray, *, first: bool) -> np.ndarray:
    """scikit-image's masked function: every frame to the first, or to the one before, added up."""
    from skimage.registration import phase_cross_correlation

    steps = np.zeros((len(stack), 2))
    with np.errstate(all="ignore"):
        for frame in range(1, len(stack)):
            reference = stack[0 if first else frame - 1]
            steps[frame] = phase_cross_correlation(
                reference, stack[frame], reference_mask=mask, moving_mask=mask
            )[0]
    return steps if first else np.cumsum(steps, axis=0)


def parabola(stack: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The masked NCC, three points around its highest, a window of pairs, and the robust solve.

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
            shift[row] = vertex(surface) - MAX_SHIFT
    ok = np.isfinite(shift).all(axis=1)
    status = np.where(ok, PairStatus.OK.code, PairStatus.FLAT.code).astype(np.int8)
    table = replace(
        PairTable.unmeasured(pairs, len(stack), 2),
        shift=shift,
        std=np.where(np.isfinite(shift), 0.1, np.nan),  # all alike: a parabola states no error
        status=status,
        frame_read_status=np.full(len(stack), FrameStatus.OK.code, np.int8),
    )
    return solve_shifts(table).shift


def vertex(surface: np.ndarray) -> np.ndarray:
    """Where the highest of a surface lies, by a parabola through three points along each axis."""
    peak = np.unravel_index(np.nanargmax(surface), surface.shape)
    found = np.array(peak, float)
    for axis, place in enumerate(peak):
        line = np.moveaxis(surface, axis, 0)[:, peak[1 - axis]]
        if 0 < place < len(line) - 1:
            below, middle, above = line[place - 1 : place + 2]
            curvature = below - 2 * middle + above
            if np.isfinite(curvature) and curvature < 0:
                found[axis] += (below - above) / (2 * curvature)
    return found


def stackreg(stack: np.ndarray, mask: np.ndarray, *, reference: str, fill: bool) -> np.ndarray:
    from pystackreg import StackReg

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it guesses at the axis of time
        matrices = StackReg(StackReg.TRANSLATION).register_stack(
            filled(stack, mask) if fill else stack, reference=reference
        )
    return -matrices[:, [1, 0], 2]


def hyperspy(stack: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Its own filters (Sobel, median, Hann) and 1/20 px, every frame to the first."""
    from hyperspy.api import set_log_level, signals

    set_log_level("ERROR")  # it warns, on stdout, that it goes without numba
    return -signals.Signal2D(filled(stack, mask)).estimate_shift2D(
        reference="current", sub_pixel_factor=20, show_progressbar=False
    )


def peers() -> Iterator[Peer]:
    for name, first in (("consecutive", False), ("to the first", True)):
        yield Peer(
            f"scikit-image, masked, {name}",
            "skimage",
            lambda stack, mask, first=first: masked(stack, mask, first=first),
        )
    yield Peer("masked NCC, parabola, window of 5, our solve", "steadystack", parabola)
    for fill, kind in ((False, ""), (True, ", mask filled")):
        for reference in ("previous", "first"):
            yield Peer(
                f"pystackreg, {reference}{kind}",
                "pystackreg",
                lambda stack, mask, reference=reference, fill=fill: stackreg(
                    stack, mask, reference=reference, fill=fill
                ),
            )
    yield Peer("hyperspy, to the first, mask filled", "hyperspy", hyperspy)
