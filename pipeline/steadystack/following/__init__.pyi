from .frame_lines import FrameLine
from .stack_follower import Pace, follow

__all__ = ["FrameLine", "Pace", "follow"]
