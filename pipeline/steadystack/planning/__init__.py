"""From settings to an opened run: everything that is known before the first frame is read.

- `inputs`: makes the settings of each of many inputs
- `series`: opens a stack with its masks, which `masking` finds
- `initial_shifts`: shifts known beforehand
- `outside_image`: an external reference
- `layout`: chooses pairs, method and task sizes
- `forecast`: estimates memory and work
- `paths`: refuses outputs that lie on inputs or on each other
- `growth`: finds what was already measured of a series that has since grown
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
