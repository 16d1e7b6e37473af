"""The way in: look at a stack, write settings for it, check settings, show an example."""

from steadystack.guide.checking import check
from steadystack.guide.showing import DEMO_SETTINGS, DemoResult, demo
from steadystack.guide.stacks import describe
from steadystack.guide.starting import init

__all__ = ["DEMO_SETTINGS", "DemoResult", "check", "demo", "describe", "init"]
