"""How many frames are looked at for defects of the camera, and what that takes."""

from __future__ import annotations

# Defects are looked for in so many frames, fewer of large ones.
LOOKED_AT_PIXELS, FEWEST_LOOKED_AT, MOST_LOOKED_AT = 2**25, 12, 32
# Bytes that are held for a pixel of each, beside the pixel itself, and for a pixel of the two that
# are measured: 10, and 25, were seen.
HELD_BYTES, PAIR_BYTES = 11, 30


# The field of view is looked for in so many frames, and in so many pixels of each that are held, of
# some planes of a volume, of means of boxes: 5 bytes for each, and 90 for one of the frames. Those
# of the frame that is read, and its standardized values, take HELD_BYTES.
FIELD_FRAMES, FIELD_PIXELS, FIELD_HELD, FIELD_WORK = 16, 2**20, 5, 90


def count_looked_at(frame_count: int, pixels: int) -> int:
    """Count the frames, of so many pixels, that are looked at of a series; 0: it has too few."""
    if frame_count < FEWEST_LOOKED_AT:
        return 0
    affordable = max(LOOKED_AT_PIXELS // pixels, FEWEST_LOOKED_AT)
    return min(affordable, MOST_LOOKED_AT, frame_count)


def estimate_search_bytes(frame_count: int, pixels: int, pixel_bytes: int) -> int:
    """Estimate the memory that looking for defects takes at most."""
    count = count_looked_at(frame_count, pixels)
    return count and pixels * (count * (pixel_bytes + HELD_BYTES) + PAIR_BYTES)


def estimate_field_bytes(pixels: int, pixel_bytes: int) -> int:
    """Estimate the memory that looking for the field of view takes at most."""
    held = min(pixels, FIELD_PIXELS) * (FIELD_FRAMES * FIELD_HELD + FIELD_WORK)
    return pixels * (pixel_bytes + HELD_BYTES) + held
