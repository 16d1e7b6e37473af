"""The way in: look at a stack, write settings for it, check settings, show an example."""

from pipeline.guide.checking import check
from pipeline.guide.showing import DEMO_SETTINGS, DemoResult, demo
from pipeline.guide.stacks import describe
from pipeline.guide.starting import init

__all__ = ["DEMO_SETTINGS", "DemoResult", "check", "demo", "describe", "init"]
