"""The settings: one YAML file is one run. Paths in a file are relative to the folder of that file.

`settings` has the sections with every key and its default; `files` reads YAML and says what is
wrong with it.
"""

from steadystack.config.cluster import Certificates, ClusterSection
from steadystack.config.files import load_config, make_config
from steadystack.config.inputs import MaskSection
from steadystack.config.settings import Config, CorrectSection, PreprocessSection

__all__ = [
    "Certificates",
    "ClusterSection",
    "Config",
    "CorrectSection",
    "MaskSection",
    "PreprocessSection",
    "load_config",
    "make_config",
]
