from .finished import SolvedSeries, solve_again
from .joined_shifts import JoinedSeries, join_solved
from .series_join import describe_means, join_series

__all__ = [
    "JoinedSeries",
    "SolvedSeries",
    "describe_means",
    "join_series",
    "join_solved",
    "solve_again",
]
