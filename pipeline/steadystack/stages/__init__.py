"""The stages of a run: settings or arrays in, files or a dataset out.

- `steps`: plan, measure, solve, correct, report and run
- `measuring`, `solving`, `correcting`, `reporting`: their work; `reporting` also exports
- `sharing`: measures shares of the pairs in separate runs
- `many_inputs`: runs many inputs
- `in_memory`: does the same for arrays
- `results`: from the tables to the dataset and back
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
