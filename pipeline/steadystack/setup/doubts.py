"""What a frame tells of settings that can hardly be meant, before pairs are measured."""

from __future__ import annotations

import math

from steadystack.model import FrameStatus
from steadystack.preprocess import looks_inverted, usable_pixels
from steadystack.setup.layout import Setup

# Pixels of a frame that is read for it, and of what is looked at: more costs more than a warning is
# worth.
MOST_READ, MOST_SEEN = 2**24, 2**21


def doubt_of_mask(setup: Setup) -> str | None:
    """Why the mask can hardly be meant, by the middle frame; None if nothing speaks against it.

    Reads that frame, where a mask is given and frames are not too large.
    """
    given, source = setup.config.mask, setup.series.source
    if given.path is None and not given.shapes:
        return None
    if math.prod(source.frame_shape) > MOST_READ:
        return None
    middle = (source.frame_count - 1) // 2
    frame = source.read(middle)
    if frame.status not in (FrameStatus.OK, FrameStatus.INCOMPLETE):
        return None
    usable = usable_pixels(frame.image, frame.valid, setup.method.conditioning)
    thin = slice(None, None, max(usable.size // MOST_SEEN, 1))
    if not looks_inverted(frame.image[thin], usable[thin]):
        return None
    return (
        f"frame {middle}: the mask looks inverted, what it takes away looks like a scene and what "
        "it leaves does not: mask.invert? (`check --picture seen.png` draws both)"
    )
