"""Evaluation of a detector on a data set."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence, Sized
from typing import Any, Protocol

import numpy as np
import paddle

from ppkd.engine.protocols import LosesImages
from ppkd.engine.random_state import batches_apart
from ppkd.models.views import detect
from ppkd.report.complexity import evaluation_mode
from ppkd.structures import Batch
from ppkd.utils import processes
from ppkd.utils.logger import get_logger
from ppkd.utils.progress import progress

LINE_EVERY = 100

logger = get_logger(__name__)


class Metric(Protocol):
    """Collects predictions and turns them into figures."""

    headline: str

    def update(self, batch: Batch, result: Any) -> None:
        """Take the predictions of one batch."""

    def share(self) -> None:
        """Take what the other processes took, after the last :meth:`update`."""

    def accumulate(self) -> dict[str, float]:
        """The figures of everything taken."""

    def log(self, logger: logging.Logger) -> None:
        """Write the figures of :meth:`accumulate` as lines."""


def evaluate(model: Any, loader: Iterable[Batch], metric: Metric) -> dict[str, float]:
    """The figures of ``metric`` for the detector ``model`` on all batches of ``loader``.

    An image that could not be read counts as one in which nothing was found, so that no figure is the better for it.
    Several processes evaluate their shares and get the same figures of all of them. Every layer's training flag is as
    before afterwards.
    """
    images = 0
    started = time.perf_counter()
    total = len(loader) if isinstance(loader, Sized) else None
    with evaluation_mode(model), paddle.no_grad(), progress("Evaluation", total) as bar:
        for index, batch in enumerate(batches_apart(loader)):
            metric.update(batch, detect(model, batch))
            images += batch["image"].shape[0]
            bar.advance()
            if index % LINE_EVERY == 0:
                logger.info("Eval iter: %d", index)
    seconds = time.perf_counter() - started
    if isinstance(loader, LosesImages) and loader.lost:
        logger.warning("%d images could not be read: all boxes in them count as missed", len(loader.lost))
        metric.update(*_nothing_found(loader.lost))
    if processes.together():
        metric.share()
        images = sum(processes.gather(images))
    figures = metric.accumulate()
    metric.log(logger)
    logger.info("Total sample number: %d, average FPS: %.2f", images, images / seconds)
    return figures


def _nothing_found(im_ids: Sequence[int]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """A batch of the images ``im_ids`` and predictions for it, in the form that :meth:`Metric.update` takes."""
    count = len(im_ids)
    result = {"bbox": np.zeros((0, 6), np.float32), "bbox_num": np.zeros(count, np.int32)}
    return {"im_id": np.array(im_ids, np.int64).reshape(count, 1)}, result
