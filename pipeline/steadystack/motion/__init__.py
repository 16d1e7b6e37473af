"""Motion of frames beyond a shift: rotation, magnification, shear, local motion.

- `model_choice`: chooses the model, if the settings leave it open
- `strengths`: how strong each kind of motion is, and how significant
- `series_motion`: solves the linear motion of every frame from pairs and shifts, in rounds
- `fit_tasks`: the tasks of one round, which move frames by the motion known so far
- `pair_fit`: measures the remaining motion of a pair, in terms of the `generators` of a model
- `local_motion`: solves fields of shifts, where parts of frames move by themselves
- `local_pairs`: measures boxes of the frame; `local_prior` turns them into smooth fields
"""

from steadystack.motion.generators import find_simplest_model, make_generators
from steadystack.motion.local_motion import solve_local_motion
from steadystack.motion.model_choice import MOTION_CHOICE, ModelChoice, choose_model
from steadystack.motion.pair_fit import predict_shifts
from steadystack.motion.series_motion import compare_pairs, solve_motion
from steadystack.motion.strengths import (
    LINEAR_MODELS,
    UnmodelledMotion,
    measure_linear_strengths,
    measure_pair_strengths,
)

__all__ = [
    "LINEAR_MODELS",
    "MOTION_CHOICE",
    "ModelChoice",
    "UnmodelledMotion",
    "choose_model",
    "compare_pairs",
    "find_simplest_model",
    "make_generators",
    "measure_linear_strengths",
    "measure_pair_strengths",
    "predict_shifts",
    "solve_local_motion",
    "solve_motion",
]
