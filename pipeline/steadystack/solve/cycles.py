"""Short cycles of the pair graph that close: which pairs others speak for, before any solution.

Around a cycle of right pairs the shifts add up to 0; with a wrong one in it they do so by chance
alone. Where wrong pairs outnumber the right ones between two parts of a series, least squares and
least absolute deviations start on the wrong side, and cycles do not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from steadystack.model import Bools, Ints

# Neighbours of each end of a pair that cycles are looked for over, and cycles that are enough.
TRIANGLES, SQUARES, ENOUGH = 10, 6, 4


@dataclass(frozen=True, eq=False)
class _Steps:
    """Every pair in both directions, sorted by (tail, head)."""

    frame_count: int
    head: NDArray[np.int64]
    key: NDArray[np.int64]
    first: NDArray[np.int64]  # of every frame; one more at the end
    shift: NDArray[np.float64]
    variance: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        start: Ints,
        end: Ints,
        frame_count: int,
        shift: NDArray[np.float64],
        variance: NDArray[np.float64],
    ) -> _Steps:
        tail, head = np.concatenate([start, end]), np.concatenate([end, start])
        key = tail * frame_count + head
        both_ways = np.concatenate([shift, -shift])
        order = np.lexsort((both_ways[:, 0], key))  # nor on the order of pairs of the same frames
        return cls(
            frame_count,
            head[order],
            key[order],
            np.searchsorted(tail[order], np.arange(frame_count + 1)),
            both_ways[order],
            np.concatenate([variance, variance])[order],
        )

    def from_frames(self, frames: Ints, choice: int, choices: int) -> tuple[Bools, Ints]:
        """Whether there is a step of that number from the frames, and which; spread evenly."""
        first, count = self.first[frames], np.diff(self.first)[frames]
        many = count > choices
        # another start for every frame: all their steps are taken in turn
        number = np.where(many, (choice * count // choices + frames) % np.maximum(count, 1), choice)
        return number < count, np.minimum(first + number, len(self.head) - 1)

    def between(self, tails: Ints, heads: Ints) -> tuple[Bools, Ints]:
        """Whether there is a step from tail to head, and which."""
        wanted = tails * self.frame_count + heads
        place = np.minimum(np.searchsorted(self.key, wanted), len(self.key) - 1)
        return self.key[place] == wanted, place


def closing(
    start: Ints,
    end: Ints,
    frame_count: int,
    shift: NDArray[np.float64],
    variance: NDArray[np.float64],
    limit: float,
) -> NDArray[np.int64]:
    """How many short cycles through each pair close to within `limit` deviations.

    Cycles of three pairs, and of four where three make few: a sample, linear in the pairs.

    Parameters
    ----------
    shift, variance : (pairs, axes), px and px²
    """
    # what is found must not depend on which frame of a pair is its reference
    swap = start > end
    start, end = np.where(swap, end, start), np.where(swap, start, end)
    shift = np.where(swap[:, None], -shift, shift)
    steps = _Steps.of(start, end, frame_count, shift, variance)
    seen, closed = np.zeros(len(start), np.int64), np.zeros(len(start), np.int64)

    def close(rows: NDArray[np.intp], path: tuple[Ints, ...]) -> None:
        """Steps of `path` lead from the start of the pairs `rows` to their end."""
        away, spread = -shift[rows], variance[rows]
        for step in path:
            away, spread = away + steps.shift[step], spread + steps.variance[step]
        seen[rows] += 1
        closed[rows] += (away**2 / spread).sum(axis=1) <= limit**2

    rows = np.arange(len(start))
    for choice in range(TRIANGLES):
        there, one = steps.from_frames(start, choice, TRIANGLES)
        found, two = steps.between(steps.head[one], end)
        good = np.flatnonzero(there & found & (steps.head[one] != end))
        close(good, (one[good], two[good]))
    rows = np.flatnonzero(seen < ENOUGH)
    for choice in range(SQUARES):
        there, one = steps.from_frames(start[rows], choice, SQUARES)
        near = steps.head[one]
        there &= near != end[rows]
        for other in range(SQUARES):
            back, last = steps.from_frames(end[rows], other, SQUARES)
            far = steps.head[last]
            found, two = steps.between(near, far)
            good = there & back & found & (far != start[rows])
            # the last step leads from the end: the way there is its reverse
            _, three = steps.between(far[good], end[rows[good]])
            close(rows[good], (one[good], two[good], three))
    return closed
