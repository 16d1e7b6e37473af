"""The way in: `draft` writes settings for a stack, `mask_making` a mask.

`checking` says what is understood of both, `presets` has settings for kinds of microscopes,
`example_run` makes and runs the embedded example. `previewing` looks at a whole series in seconds:
`coarse_frames` averages some of its frames, `costs` says what a run takes.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
