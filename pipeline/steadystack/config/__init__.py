"""The settings: one YAML file is one run. Paths in a file are relative to the folder of that file.

- `settings`: all of them, and the sections for the outputs
- `sections`: the sections for the stack and the cluster
- `pair_sections`: the sections for preparing, measuring and choosing pairs, and for the solve
- `mask_sections`, `object_section`, `motion_section`: the mask, a followed object, motion models
- `loading`: reads files and reports what is wrong in them
- `values`: parses YAML, within limits; `scalars` writes single values
"""

from steadystack.config.loading import load_config, make_config, resolve_reader
from steadystack.config.mask_sections import MaskSection
from steadystack.config.motion_section import MotionSection
from steadystack.config.pair_sections import (
    InitialShiftsSection,
    PairsSection,
    PreprocessSection,
    RegisterSection,
)
from steadystack.config.scalars import format_scalar
from steadystack.config.sections import AUTO, Certificates, ClusterSection
from steadystack.config.settings import (
    Config,
    CorrectSection,
    ExternalReferenceSection,
    OutputSection,
)
from steadystack.config.values import parse_yaml

__all__ = [
    "AUTO",
    "Certificates",
    "ClusterSection",
    "Config",
    "CorrectSection",
    "ExternalReferenceSection",
    "InitialShiftsSection",
    "MaskSection",
    "MotionSection",
    "OutputSection",
    "PairsSection",
    "PreprocessSection",
    "RegisterSection",
    "format_scalar",
    "load_config",
    "make_config",
    "parse_yaml",
    "resolve_reader",
]
