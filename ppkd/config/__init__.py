"""Configuration: yaml files to an immutable value, and registered components built from it."""

from ppkd.config.compression import DISTILLATION, QUANTISATION, require_distillation, require_slim
from ppkd.config.factory import build, named
from ppkd.config.find import find_config
from ppkd.config.load import load_config, split_overrides
from ppkd.config.options import Export, Runtime, runtime
from ppkd.config.registry import register
from ppkd.config.validate import check
from ppkd.config.value import Config

__all__ = [
    "DISTILLATION",
    "QUANTISATION",
    "Config",
    "Export",
    "Runtime",
    "build",
    "check",
    "find_config",
    "load_config",
    "named",
    "register",
    "require_distillation",
    "require_slim",
    "runtime",
    "split_overrides",
]
