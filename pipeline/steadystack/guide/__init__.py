"""The way in: `starting` writes settings for a stack, `checking` says what is understood of them,
`showing` makes and runs the embedded example.
"""

from steadystack.guide.checking import check, describe
from steadystack.guide.showing import DEMO_SETTINGS, DemoResult, demo, embedded_scene
from steadystack.guide.starting import init

__all__ = [
    "DEMO_SETTINGS",
    "DemoResult",
    "check",
    "demo",
    "describe",
    "embedded_scene",
    "init",
]
