"""First steps: draft settings, make a mask, preview a stack, run an example.

- `draft`: writes settings for a stack
- `mask_making`: makes a mask
- `checking`: shows how settings, stack and mask are understood
- `presets`: settings for kinds of microscopy
- `example_run`: makes and runs the built-in example
- `previewing`: looks at a whole series in seconds, in `coarse_frames`; `coarse_results` converts
  what they show to pixels of the stack, and `costs` estimates a run
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
