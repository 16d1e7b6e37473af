from .drawings import save_drawn
from .shown_layers import Shown, find_shown
from .window import view

__all__ = ["Shown", "find_shown", "save_drawn", "view"]
