from .checking import check, describe
from .draft import init
from .example_run import DEMO_SETTINGS, DemoResult, demo, load_embedded_scene
from .mask_making import make_mask
from .presets import list_presets
from .previewing import Preview, preview

__all__ = [
    "DEMO_SETTINGS",
    "DemoResult",
    "Preview",
    "check",
    "demo",
    "describe",
    "init",
    "list_presets",
    "load_embedded_scene",
    "make_mask",
    "preview",
]
