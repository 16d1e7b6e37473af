"""Shifts while the microscope writes: each frame is measured as soon as it is whole.

`stack_follower` goes from frame to frame; `awaited_frames` looks the stack up again and tells which
frame is whole, `earlier_run` what is known of it from before, `provisional` measures it against
some before it, and `frame_lines` says what was found.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
