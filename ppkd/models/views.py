"""Detection in several views of the same images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import paddle
from paddle import Tensor
from paddle.nn import functional as F

from ppkd.models.postprocess.suppression import Suppression
from ppkd.structures import Batch
from ppkd.utils.errors import ConfigError

Found = dict[str, Tensor]


def detect(detector: Any, batch: Batch) -> Found:
    """What ``detector.predict`` finds in ``batch`` and in its ``views``, if it has any, suppressed together.

    The suppression is the detector's own, class by class over the detections of all views. Raises
    :class:`ConfigError` for a batch with views if the detector has none.
    """
    found = detector.predict(batch)
    views: Sequence[Batch] = batch.get("views", ())
    if not views:
        return found
    if detector.post_process is None:
        raise ConfigError(
            f"{type(detector).__name__} suppresses nothing, so what it finds at several sizes cannot be joined: write "
            "Resize instead of MultiscaleTestResize"
        )
    others = [_original(detector.predict(view), view) for view in views]
    return _together([found, *others], detector.post_process.nms, detector.spec().num_classes)


def _original(found: Found, view: Batch) -> Found:
    """``found`` of a view, mirrored back if the view is."""
    if not view["mirrored"]:
        return found
    width = paddle.floor(view["im_shape"][:, 1] / view["scale_factor"][:, 1] + 0.5)
    label, score, left, top, right, bottom = found["bbox"].unbind(axis=1)
    width = width.repeat_interleave(found["bbox_num"].astype("int64"))
    mirrored = paddle.stack([label, score, width - right, top, width - left, bottom], axis=1)
    return {**found, "bbox": mirrored}


def _together(views: Sequence[Found], nms: Suppression, num_classes: int) -> Found:
    images = [paddle.concat(rows) for rows in zip(*(_by_image(found) for found in views), strict=True)]
    kept = [_suppressed(rows, nms, num_classes) for rows in images]
    counts = paddle.to_tensor([len(rows) for rows in kept], dtype="int32")
    return {"bbox": paddle.concat(kept), "bbox_num": counts}


def _by_image(found: Found) -> list[Tensor]:
    """The rows of each image, without those that mean "nothing found"."""
    ends = found["bbox_num"].astype("int64").cumsum().tolist()
    rows = [found["bbox"][start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    return [image[image[:, 0] >= 0] for image in rows]


def _suppressed(rows: Tensor, nms: Suppression, num_classes: int) -> Tensor:
    """What ``nms`` leaves of the detections [K, 6] of one image."""
    if not len(rows):
        return rows
    scores = F.one_hot(rows[:, 0].astype("int64"), num_classes) * rows[:, 1:2]
    kept, _ = nms(rows[:, 2:].unsqueeze(0), scores.transpose([1, 0]).unsqueeze(0))
    return kept[kept[:, 0] >= 0]
