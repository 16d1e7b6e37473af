"""Check by checksums of a few frames that a stack is still the one that was measured."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from steadystack.model import (
    FRAME_CHECKSUMS,
    ChangedFrames,
    Frame,
    FrameSource,
    FrameStatus,
    InputError,
    Slices,
    is_of_one_value,
)

# Most pixels of a frame that enter its checksum; of larger frames, those around the middle.
MOST_PIXELS = 2**24


class FrameSums:
    """Checksums of frames as stored, regardless of masks; each frame is read once.

    `source` is where frames are read, `numbers` theirs in the whole stack.
    """

    def __init__(self, source: FrameSource, numbers: Sequence[int]) -> None:
        while isinstance(source, ChangedFrames):
            source = source.frames
        self._source, self._numbers = source, numbers
        self._region = choose_region(source.frame_shape)
        self._read = dict[int, tuple[FrameStatus, str]]()

    def take(
        self, attributes: Mapping[str, str], frames: Sequence[int] | None = None
    ) -> dict[str, str]:
        """Take checksums of the first, the middle and the last frame.

        Parameters
        ----------
        attributes : those of a dataset; its checksums are kept
        frames : the frames to choose from; None: all

        Returns
        -------
        the attribute of the dataset, without frames that are incomplete or of one value, as they
        may still be written
        """
        usable = range(self._source.frame_count) if frames is None else frames
        known, taken = _parse(attributes), {}
        for frame in sorted({usable[0], usable[len(usable) // 2], usable[-1]} if usable else ()):
            status, found = (FrameStatus.OK, known[frame]) if frame in known else self._sum(frame)
            if status is FrameStatus.OK and found:
                taken[frame] = found
        return {FRAME_CHECKSUMS: json.dumps(taken)}

    def check(self, attributes: Mapping[str, str], path: str) -> None:
        """Raise InputError if a frame has changed since the dataset at a path was measured.

        `attributes` are those of the dataset. Frames that cannot be read are skipped, and all are
        if there are no checksums, as in datasets of earlier versions.
        """
        for frame in self._list_changed(_parse(attributes)):
            status, _ = self._sum(frame)
            now = "it is missing" if status is FrameStatus.MISSING else "its pixels have changed"
            raise InputError(
                f"frame {self._numbers[frame]} of the stack is not what it was when {path} was "
                f"measured: {now}. If that was on purpose, `steadystack run --overwrite` "
                "measures everything again, or set another output.shifts; if not, restore the "
                "old stack"
            )

    def choose_digest(self, digest: str, known: Sequence[str]) -> str:
        """Choose the digest for results made from the frames; it covers checksums of some of them.

        It is the first of the digests `known` from earlier results that begins with `digest` (as
        those of earlier versions do) and none of whose frames has changed.
        """
        for other in known:
            own, *joined = other.split("_")
            pairs = [each.partition("x")[::2] for each in joined]
            is_alike = own == digest and all(number.isdecimal() for number, _ in pairs)
            if is_alike and not self._list_changed({int(number): sum_ for number, sum_ in pairs}):
                return other
        taken = _parse(self.take({}))  # a single word, so that files and stores can keep it
        return "_".join([digest, *(f"{frame}x{found}" for frame, found in taken.items())])

    def _list_changed(self, checksums: Mapping[int, str]) -> list[int]:
        """List the frames whose checksums differ from these; unreadable frames are skipped."""
        changed = []
        for frame, expected in checksums.items():
            if frame >= self._source.frame_count:
                continue
            status, found = self._sum(frame)
            if status is not FrameStatus.UNREADABLE and found != expected:
                changed.append(frame)
        return changed

    def _sum(self, frame: int) -> tuple[FrameStatus, str]:
        """The status of reading a frame, and its checksum; "": all pixels have one value."""
        if frame not in self._read:
            read = self._source.read(frame, self._region)
            self._read[frame] = read.status, compute_checksum(read)
        return self._read[frame]


def compute_checksum(read: Frame) -> str:
    """Compute the checksum of the pixels of a frame; "": all are of one value."""
    if is_of_one_value(read.image):
        return ""
    ordered = np.ascontiguousarray(read.image, read.image.dtype.newbyteorder("<"))
    return f"{zlib.crc32(ordered.data):08x}"


def choose_region(shape: Sequence[int]) -> Slices:
    """Choose the region for checksums of frames of a shape: fewer planes, then fewer lines."""
    region = []
    for axis, size in enumerate(shape):
        most = max(1, MOST_PIXELS // math.prod(shape[axis + 1 :]))
        start = max(0, (size - most) // 2)
        region.append(slice(start, min(size, start + most)))
    return tuple(region)


def _parse(attributes: Mapping[str, str]) -> dict[int, str]:
    stored: dict[str, str] = json.loads(attributes.get(FRAME_CHECKSUMS, "{}"))
    return {int(frame): checksum for frame, checksum in stored.items()}
