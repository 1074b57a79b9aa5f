"""Small forms of what is tested: a narrow backbone in place of a ResNet, a run of seconds."""

from __future__ import annotations

from pathlib import Path

from ppkd.config import Config
from ppkd.data.shapes import draw_shapes

BLOCKS = {0: 3, 1: 4, 2: 6, 3: 13}
"""The blocks of a MobileNet with the strides of a ResNet's stages."""


def narrow(cfg: Config) -> list[str]:
    """Overrides for a detector with a ResNet: a MobileNet of a quarter of the width, with maps of the same strides."""
    detector = cfg["architecture"]
    if cfg.at(f"{detector}.backbone") != "ResNet":
        return []
    maps = [BLOCKS[stage] for stage in cfg.at("ResNet.return_idx")]
    return [f"{detector}.backbone=MobileNet", f"MobileNet={{scale: 0.25, feature_maps: {maps}}}"]


def run_of_seconds(folder: Path, *, epochs: int) -> list[str]:
    """``-o`` for ``yolov3_mobilenet_v1_x0.25_160_shapes`` on a few small pictures, which are drawn into ``folder``."""
    draw_shapes(folder, images_train=4, images_val=2, size=64, seed=1)
    data = [f"{key}Dataset.dataset_dir={folder}" for key in ("Train", "Eval", "Test")]
    small = ["TrainReader.sample_transforms.2.Resize.target_size=[64,64]", "TrainReader.batch_size=2"]
    return [*data, *small, f"epoch={epochs}", "worker_num=0", "preflight.evaluate=false", "snapshot_epoch=1"]
