"""A narrow backbone in place of a ResNet, for tests of what comes after it."""

from __future__ import annotations

from ppkd.config import Config

BLOCKS = {0: 3, 1: 4, 2: 6, 3: 13}
"""The blocks of a MobileNet with the strides of a ResNet's stages."""


def narrow(cfg: Config) -> list[str]:
    """Overrides for a detector with a ResNet: a MobileNet of a quarter of the width, with maps of the same strides."""
    detector = cfg["architecture"]
    if cfg.at(f"{detector}.backbone") != "ResNet":
        return []
    maps = [BLOCKS[stage] for stage in cfg.at("ResNet.return_idx")]
    return [f"{detector}.backbone=MobileNet", f"MobileNet={{scale: 0.25, feature_maps: {maps}}}"]
