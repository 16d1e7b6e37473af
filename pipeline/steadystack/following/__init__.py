"""Shifts while the microscope writes: each frame is measured as soon as it is complete.

- `stack_follower`: goes from frame to frame
- `awaited_frames`: looks for new frames, and finds out which are complete
- `earlier_run`: what an earlier run found out about them
- `provisional`: measures a frame against some earlier ones
- `frame_lines`: the lines that are printed
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
