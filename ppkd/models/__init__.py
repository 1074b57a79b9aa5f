"""Detectors and their parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ppkd.config import Config
    from ppkd.models.detectors.detector import Detector


def build_detector(cfg: Config) -> Detector:
    """The detector that ``cfg["architecture"]`` names, with random weights; raises ``ConfigError``."""
    from ppkd.config import build

    return build(cfg, cfg["architecture"])
