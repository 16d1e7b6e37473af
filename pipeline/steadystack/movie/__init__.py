"""A movie of a series, as recorded beside corrected.

`panels` are the pictures of a frame, as tasks make them, and `captions` what stands around them;
`filming` plans the movie and writes it, by PyAV.
"""

from steadystack.movie.filming import Movie, check_movie, plan_movie, write_movie

__all__ = ["Movie", "check_movie", "plan_movie", "write_movie"]
