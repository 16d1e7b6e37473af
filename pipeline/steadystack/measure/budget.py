"""Choose the size of a task, and estimate the memory that it needs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from steadystack.model import Ints
from steadystack.ncc import Kind
from steadystack.pairs import count_held_frames
from steadystack.peak import count_held, estimate_held_bytes
from steadystack.register import Search

# Transformed pixels per task: about half a second on one core.
TASK_PIXELS = 1e8
# With fewer frames held at a time, most would be prepared again for the next pairs.
FEWEST_HELD = 8
# Fewest tasks per thread, so that others can take over from a slow one.
ROUNDS = 2

SINGLE, DOUBLE, HALF_SPECTRUM = 4, 8, 8  # bytes of a number
# Numbers per pixel while a frame is conditioned: local planes and neighbourhoods.
CONDITIONING = 9


@dataclass(frozen=True)
class BatchSize:
    """The size of a task, and the memory that it needs.

    `frames` and `pairs` are the most that it has. `keep` are the transforms kept with a frame from
    its first pair to its last, possibly for each role, reference and moving. `fewest` is the
    smallest number of tasks.
    """

    frames: int
    pairs: int
    keep: tuple[Kind, ...]
    frame_bytes: int
    role_bytes: int
    pair_bytes: int
    shared_bytes: int
    reading_bytes: int  # while a frame is read and prepared
    working_bytes: int  # while two frames that are ready are correlated
    lags: int
    smoothed_bytes: int  # of a frame, for its parts, until its last pair is fitted
    most_held: int  # most pairs that are fitted together
    again_bytes: int = 0  # to search for a pair again, at every lag, after the batch
    fewest: int = 1

    def among(self, threads: int, pair_count: int) -> BatchSize:
        """Reduce the size so that this many pairs keep this many threads busy to the end.

        Smaller tasks prepare more frames again, so for a single thread the size is unchanged.
        """
        if threads < 2:
            return self
        rounds = max(ROUNDS, math.ceil(pair_count / (threads * self.pairs)))
        return replace(self, fewest=min(threads * rounds, max(pair_count, 1)))

    def bytes_for(self, pairs: Ints) -> int:
        """Estimate the memory to measure the pairs (n, 2) of a batch, bytes."""
        return self._bytes(*count_held_frames(pairs), len(pairs), len(np.unique(pairs)))

    @property
    def least_bytes(self) -> int:
        """The memory to measure a single pair, bytes."""
        return self._bytes(2, 2, 1, 2)

    def most_bytes(self, frame_count: int, pair_count: int) -> int:
        """The most memory that a batch out of this many frames and pairs needs, bytes."""
        frames = min(self.frames, frame_count)
        return self._bytes(frames, frames, min(self.pairs, pair_count), frame_count)

    def _bytes(self, frames: int, roles: int, pairs: int, distinct: int) -> int:
        """Estimate the memory if `frames` and `roles` are held, for pairs of `distinct` frames."""
        held = frames * self.frame_bytes + roles * self.role_bytes + pairs * self.pair_bytes
        fitted = count_held(self.lags, max(pairs, 1), self.most_held)
        waiting = math.ceil((fitted - 1) * min(distinct / max(pairs, 1), 1))
        smoothed = min(distinct, frames + waiting) * self.smoothed_bytes
        held += estimate_held_bytes(self.lags, fitted) + smoothed
        reading = self.reading_bytes - self.frame_bytes - self.role_bytes
        needed = held + self.shared_bytes + max(reading, self.working_bytes)
        return max(needed, self.again_bytes)

    @classmethod
    def within(
        cls,
        memory: int,
        search: Search,
        pixel_bytes: int,
        *,
        chunk_bytes: int,
        one_mask: bool,
        conditioned: bool,
    ) -> BatchSize:
        """Choose the largest batch that fits into `memory` bytes, or else the smallest one.

        Computed with integers, so that it is the same on every machine.

        Parameters
        ----------
        search : a task holds its largest block of each frame
        pixel_bytes : bytes per pixel of the frames as they are read
        chunk_bytes : bytes of a chunk of the store, which is decoded whole; 0 for arrays in memory
        one_mask : whether all frames certainly have the same valid pixels
        conditioned : whether frames are conditioned after reading
        """
        if len(search.blocks) > 1:
            choices: list[tuple[Kind, ...]] = [()]  # blocks are read again for every task
        elif one_mask:
            choices = [("mask", "value"), ("mask",)]
        else:
            choices = [("mask", "value", "square"), ("mask", "value"), ()]
        sizes = [
            cls._keeping(keep, memory, search, pixel_bytes, chunk_bytes, one_mask, conditioned)
            for keep in choices
        ]
        return next((size for size in sizes if size.frames >= FEWEST_HELD), sizes[-1])

    @classmethod
    def _keeping(
        cls,
        keep: tuple[Kind, ...],
        memory: int,
        search: Search,
        pixel_bytes: int,
        chunk_bytes: int,
        one_mask: bool,
        conditioned: bool,
    ) -> BatchSize:
        whole = len(search.blocks) == 1
        largest = max(search.blocks, key=lambda block: math.prod(block.moving_shape))
        layout = search.layouts[search.blocks.index(largest)]
        pixels, lags = math.prod(largest.moving_shape), math.prod(search.window.shape)
        transform = HALF_SPECTRUM * layout.spectrum_size
        kept = len(layout.tiles) * transform  # of one kind, in one role
        kinds = len(keep) - (1 if one_mask and keep else 0)  # a common mask is not the frame's

        # smoothed for the parts: values; and weights, if frames have their own masks
        smoothed = SINGLE * pixels * (1 if one_mask else 3) if whole else 0
        # of a frame: values, valid pixels, own sums
        sums = (2 if layout.symmetric else 4) * DOUBLE * lags if whole else 0
        frame = SINGLE * pixels + (0 if one_mask else pixels) + sums
        if keep and layout.one_spectrum and not one_mask:
            kinds += 1  # the mask's transform is kept for both roles
        if layout.one_spectrum or one_mask:  # own sums need the values as reference from the start
            frame += kinds * kept * (1 if layout.one_spectrum else 2)
            role = 0
        else:
            role = kinds * kept
        # while it is read: as stored, valid pixels, values; and what conditioning needs
        between = (
            CONDITIONING * DOUBLE if conditioned else pixel_bytes + SINGLE if pixel_bytes > 2 else 0
        )
        reading = (pixel_bytes + 3 + SINGLE + between) * pixels + chunk_bytes
        # while it is correlated: one product, the sums of the terms, the factors that are not kept;
        # if whole frames share a mask, these use the same memory one after the other
        terms, factors = (1, 0) if one_mask and whole else (6, 6)
        if len(keep) == 3:
            factors = 3 if layout.one_spectrum else 0
        working = (1 + terms + factors + 1) * transform + 8 * DOUBLE * lags
        shared = pixels + kept * (1 if layout.one_spectrum else 2) if one_mask and keep else 0
        shared += 2 * SINGLE * pixels if whole and one_mask else 0
        # terms of blocks wait for those of other blocks; joining two of them makes a third
        waiting = 3 + math.ceil(math.log2(len(search.blocks)))
        pair = 0 if whole else waiting * 6 * DOUBLE * lags

        pairs = max(1, int(TASK_PIXELS // (math.prod(layout.fft_shape) * len(layout.tiles))))
        size = cls(
            2, pairs, keep, frame, role, pair, shared, reading, working, lags, smoothed,
            search.most_held,
        )  # fmt: skip
        if not whole:
            most = (memory - size._bytes(2, 2, 0, 2)) // pair
            size = replace(size, pairs=max(1, min(pairs, most)))
        more = (memory - size._bytes(2, 2, size.pairs, size.pairs + 1)) // (frame + role + smoothed)
        return replace(size, frames=min(2 + max(more, 0), size.pairs + 1))
