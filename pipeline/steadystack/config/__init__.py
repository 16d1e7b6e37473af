"""The settings: one YAML file is one run. Paths in a file are relative to the folder of that file.

`settings` has the whole, and the sections of solving and of outputs; `pair_sections` those of how
pairs are measured; `mask_sections` is that of the mask, `object_section` that of an object which
one follows, `motion_section` of what frames may do besides being shifted, and `sections` are those
of the stack and the cluster; `loading` reads files and says what is wrong with them; `values`
parses YAML, within limits, and `scalars` writes single values.
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
