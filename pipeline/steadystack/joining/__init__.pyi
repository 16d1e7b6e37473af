from .finished import SolvedSeries, solve_again
from .joined_shifts import JoinedSeries, join_solved
from .series_join import describe_means, join_series
from .shared_dataset import describe_positions, join_shared_drift

__all__ = [
    "JoinedSeries",
    "SolvedSeries",
    "describe_means",
    "describe_positions",
    "join_series",
    "join_shared_drift",
    "join_solved",
    "solve_again",
]
