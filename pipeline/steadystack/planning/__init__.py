"""From settings to an opened run: everything that is known before the first frame is read.

`inputs` are the settings of each of many inputs; `series` opens a stack with its masks, which
`masking` finds; `initial_shifts` is what is known of frames before, `outside_image` an external
reference; `layout` makes pairs, method and sizes of tasks; `forecast` says what all that takes.
`paths` refuses outputs on inputs or on each other; `growth` finds what was measured of a series
that has grown since.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
