"""What frames do besides being shifted: they turn, are magnified, sheared.

`model_choice` tells which of these frames of a series have. `series_motion` goes from measured
pairs and solved shifts to the linear motion of every frame, in rounds; `fit_tasks` is what a task
does in one. `moved_images` moves frames by what is known, `pair_fit` measures what is left between
two of them, in the `generators` of a model.

`local_motion` finds fields of shifts where parts of frames move by themselves: `local_pairs` asks
boxes of the frame, and `local_prior` makes smooth fields of what they say.
"""

from steadystack.motion.generators import make_generators
from steadystack.motion.local_motion import solve_local_motion
from steadystack.motion.model_choice import (
    LINEAR_MODELS,
    MOTION_CHOICE,
    ModelChoice,
    choose_model,
)
from steadystack.motion.series_motion import solve_motion

__all__ = [
    "LINEAR_MODELS",
    "MOTION_CHOICE",
    "ModelChoice",
    "choose_model",
    "make_generators",
    "solve_local_motion",
    "solve_motion",
]
