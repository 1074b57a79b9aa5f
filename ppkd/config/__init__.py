"""Configuration: yaml files to an immutable value, and registered components built from it."""

from ppkd.config.compression import (
    QUANTISATION,
    TRAINED,
    distils,
    prunes,
    require_distillation,
    require_slim,
    trains_int8,
)
from ppkd.config.factory import build, named
from ppkd.config.find import find_config
from ppkd.config.load import load_config, overridden, split_overrides
from ppkd.config.options import Export, Runtime, runtime
from ppkd.config.registry import register
from ppkd.config.validate import check
from ppkd.config.value import Config

__all__ = [
    "QUANTISATION",
    "TRAINED",
    "Config",
    "Export",
    "Runtime",
    "build",
    "check",
    "distils",
    "find_config",
    "load_config",
    "named",
    "overridden",
    "prunes",
    "register",
    "require_distillation",
    "require_slim",
    "runtime",
    "split_overrides",
    "trains_int8",
]
