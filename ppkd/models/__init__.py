"""Detectors and their parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ppkd.config import Config
    from ppkd.models.detectors.detector import Detector


def build_detector(cfg: Config) -> Detector:
    """The detector that ``cfg["architecture"]`` names, with random weights; raises ``ConfigError``.

    Where ``cfg`` says under ``pruned`` which shapes its parameters were pruned to, it has these.
    """
    from ppkd.config import build
    from ppkd.models.detectors.detector import Detector
    from ppkd.utils.errors import ConfigError

    model = build(cfg, cfg["architecture"])
    if not isinstance(model, Detector):
        raise ConfigError(f"{cfg.where('architecture')}: {cfg['architecture']} is a component, but not a detector")
    if isinstance(cfg.get("pruned"), Mapping):
        from ppkd.models.pruning.shrink import resize

        resize(model, cfg["pruned"])
    return model
