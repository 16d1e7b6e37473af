"""The stages of a run: settings or arrays in, files or a dataset out.

`steps` are plan, measure, solve, correct, report and run; `measuring`, `solving`, `correcting` and
`reporting` do their work, the last also for other programs. `sharing` measures in shares that are
run by themselves, and `many_inputs` takes many inputs; `in_memory` does the same for arrays.
`results` is between tables and the dataset.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
