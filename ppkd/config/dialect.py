"""PaddleDetection's architectures in ppkd's names."""

from __future__ import annotations

from ppkd.config.value import Config

ARCHITECTURE = "architecture"
SHARED, HEAD = "YOLOv3", "yolo_head"
BY_HEAD = {"PPYOLOEHead": "PPYOLOE"}
"""PaddleDetection builds PP-YOLOE as the architecture YOLOv3 with another head; here each detector has its own name."""


def translated(cfg: Config) -> Config:
    """``cfg`` with ``architecture: YOLOv3`` and its block under the name of the detector that its ``yolo_head`` makes.

    A block that has the detector's own name already wins over the shared one, key by key.
    """
    block = cfg.get(SHARED)
    detector = BY_HEAD.get(_head(block)) if isinstance(block, Config) else None
    if detector is None:
        return cfg
    own, mark = cfg.get(detector), cfg.mark(detector if detector in cfg else SHARED)
    merged = (
        block.merge(own) if isinstance(block, Config) and isinstance(own, Config) else block if own is None else own
    )
    moved = cfg.without(SHARED).with_item(detector, merged, mark)
    if cfg.get(ARCHITECTURE) != SHARED:
        return moved
    return moved.with_item(ARCHITECTURE, detector, cfg.mark(ARCHITECTURE))


def _head(block: Config) -> str:
    head = block.get(HEAD)
    return str(head.get("name")) if isinstance(head, Config) else str(head)
