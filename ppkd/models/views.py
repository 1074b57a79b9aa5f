"""Detection in several views of the same images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import paddle
from paddle import Tensor

from ppkd.models.postprocess.merge import Rows, merge
from ppkd.models.postprocess.suppression import Suppression
from ppkd.structures import Batch
from ppkd.utils.errors import ConfigError

Found = dict[str, Tensor]


def detect(detector: Any, batch: Batch) -> Found:
    """What ``detector.predict`` finds in ``batch`` and in its ``views``, if it has any, suppressed together.

    Over the detections of all views goes another suppression, with the threshold and the most boxes of the detector's
    own, as in PaddleDetection. Raises :class:`ConfigError` for a batch with views if the detector has none.
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
    if "mask" in found:
        raise ConfigError("masks of several sizes cannot be joined: write Resize instead of MultiscaleTestResize")
    others = [_by_image(detector.predict(view), view) for view in views]
    images = zip(_by_image(found, batch), *others, strict=True)
    kept = [_suppressed(np.concatenate(rows), detector.post_process.nms) for rows in images]
    counts = paddle.to_tensor([len(rows) for rows in kept], dtype="int32")
    return {"bbox": paddle.to_tensor(np.concatenate(kept)), "bbox_num": counts}


def _by_image(found: Found, view: Batch) -> list[Rows]:
    """The rows of each image, without those that mean "nothing found"; mirrored back if the view is."""
    images = np.split(found["bbox"].numpy(), np.cumsum(found["bbox_num"].numpy())[:-1])
    images = [rows[rows[:, 0] >= 0] for rows in images]
    if not view.get("mirrored", False):
        return images
    widths = np.floor((view["im_shape"] / view["scale_factor"]).numpy()[:, 1] + 0.5)
    return [_mirrored(rows, width) for rows, width in zip(images, widths, strict=True)]


def _mirrored(rows: Rows, width: float) -> Rows:
    label, score, left, top, right, bottom = rows.T
    return np.stack([label, score, width - right, top, width - left, bottom], axis=1).astype(rows.dtype)


def _suppressed(rows: Rows, nms: Suppression) -> Rows:
    """What is left of the detections (k, 6) of one image, best first."""
    kept = merge(rows, "nms", threshold=nms.nms_threshold, overlap="iou")
    best = kept[np.argsort(-kept[:, 1], kind="stable")]
    return best if nms.keep_top_k < 0 else best[: nms.keep_top_k]
