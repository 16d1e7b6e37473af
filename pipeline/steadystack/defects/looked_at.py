"""How many frames are searched for camera defects, and the memory that takes."""

from __future__ import annotations

# Most frames that are searched for defects (fewer if they are large).
LOOKED_AT_PIXELS, FEWEST_LOOKED_AT, MOST_LOOKED_AT = 2**25, 12, 32
# Bytes held per pixel of each frame, besides the pixel itself, and per pixel of the two frames
# being measured: 10 and 25 were observed.
HELD_BYTES, PAIR_BYTES = 11, 30


# The field of view is searched for in this many frames, holding this many pixels of each (of some
# planes of a volume, or means of boxes), at 5 bytes each, and 90 for one of the frames. The frame
# being read and its standardized values take HELD_BYTES.
FIELD_FRAMES, FIELD_PIXELS, FIELD_HELD, FIELD_WORK = 16, 2**20, 5, 90


def count_looked_at(frame_count: int, pixels: int) -> int:
    """Count the frames of a series, of so many pixels, that are searched; 0: too few."""
    if frame_count < FEWEST_LOOKED_AT:
        return 0
    affordable = max(LOOKED_AT_PIXELS // pixels, FEWEST_LOOKED_AT)
    return min(affordable, MOST_LOOKED_AT, frame_count)


def estimate_search_bytes(frame_count: int, pixels: int, pixel_bytes: int) -> int:
    """Estimate the most memory that the search for defects takes."""
    count = count_looked_at(frame_count, pixels)
    return count and pixels * (count * (pixel_bytes + HELD_BYTES) + PAIR_BYTES)


def estimate_field_bytes(pixels: int, pixel_bytes: int) -> int:
    """Estimate the most memory that the search for the field of view takes."""
    held = min(pixels, FIELD_PIXELS) * (FIELD_FRAMES * FIELD_HELD + FIELD_WORK)
    return pixels * (pixel_bytes + HELD_BYTES) + held
