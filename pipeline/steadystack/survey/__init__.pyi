from .defect_search import FEWEST_LOOKED_AT, find_defects, find_lines
from .reach import find_reach

__all__ = ["FEWEST_LOOKED_AT", "find_defects", "find_lines", "find_reach"]
