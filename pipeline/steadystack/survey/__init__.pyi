from .defect_search import find_defects, find_lines
from .reach import find_reach

__all__ = ["find_defects", "find_lines", "find_reach"]
