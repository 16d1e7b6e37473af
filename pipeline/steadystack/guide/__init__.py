"""The way in: `draft` writes settings for a stack, `checking` says what is understood of them,
`example_run` makes and runs the embedded example.
"""

from steadystack.guide.checking import check, describe
from steadystack.guide.draft import init
from steadystack.guide.example_run import DEMO_SETTINGS, DemoResult, demo, load_embedded_scene

__all__ = [
    "DEMO_SETTINGS",
    "DemoResult",
    "check",
    "demo",
    "describe",
    "init",
    "load_embedded_scene",
]
