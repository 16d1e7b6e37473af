"""Dask, from the settings: many tasks with back-pressure and retries.

`kinds` starts or finds a cluster when it is needed, with `jobs` for batch systems and `memory` for
its limits; `engines` are what tasks run on. `tasks` runs tasks, `retries` repeats them where that
helps; `watch` keeps an eye on the workers, and `worker_check` asks them by `probe` what they run.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
