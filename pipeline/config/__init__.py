"""The settings: one YAML file is one run. Paths in a file are relative to the folder of that file.

`settings` has the sections with every key and its default; `files` reads YAML and says what is
wrong with it.
"""

from pipeline.config.cluster import Certificates, ClusterSection
from pipeline.config.files import load_config, make_config
from pipeline.config.inputs import MaskSection
from pipeline.config.settings import Config, CorrectSection, PreprocessSection

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
