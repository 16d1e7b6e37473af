"""What a frame tells of settings that can hardly be meant, before pairs are measured."""

from __future__ import annotations

import math

from pipeline.looks import LOOKS_INVERTED, looks_inverted
from pipeline.model import FrameStatus
from pipeline.preprocess import usable_pixels
from pipeline.setup.layout import Setup

# Pixels of a frame that is read for it: larger ones cost more than a warning is worth.
MOST_READ = 2**24


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
    if not looks_inverted(frame.image, usable):
        return None
    return f"frame {middle}: {LOOKS_INVERTED}: mask.invert? (`check --picture seen.png` draws both)"
