"""A movie of a series, as recorded next to corrected.

- `panels`: the pictures of a frame, made by tasks
- `captions`: the text and scale bar around them
- `filming`: plans the movie and writes it, with PyAV
"""

from steadystack.movie.filming import Movie, check_movie, plan_movie, write_movie

__all__ = ["Movie", "check_movie", "plan_movie", "write_movie"]
