"""Run many tasks on Dask, as the settings ask, with back-pressure and retries.

- `kinds`: starts or finds a cluster when needed; `jobs`: batch systems; `memory`: its limits
- `engines`: what tasks run on
- `tasks`: runs tasks; `retries` repeats them where that helps
- `watch`: watches the workers; `worker_check` asks them, through `probe`, which versions they run
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
