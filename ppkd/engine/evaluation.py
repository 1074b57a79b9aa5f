"""Evaluation of a detector on a data set."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sized
from typing import Any, Protocol

import paddle

from ppkd.engine.random_state import batches_apart
from ppkd.report.complexity import evaluation_mode
from ppkd.structures import Batch
from ppkd.utils.logger import get_logger
from ppkd.utils.progress import progress

LINE_EVERY = 100

logger = get_logger(__name__)


class Metric(Protocol):
    """Collects predictions and turns them into figures."""

    headline: str

    def update(self, batch: Batch, result: Any) -> None:
        """Take the predictions of one batch."""

    def accumulate(self) -> dict[str, float]:
        """The figures of everything taken."""

    def log(self, logger: logging.Logger) -> None:
        """Write the figures of :meth:`accumulate` as lines."""


def evaluate(model: Any, loader: Iterable[Batch], metric: Metric) -> dict[str, float]:
    """The figures of ``metric`` for the detector ``model`` on all batches of ``loader``.

    Every layer's training flag is as before afterwards.
    """
    images = 0
    started = time.perf_counter()
    total = len(loader) if isinstance(loader, Sized) else None
    with evaluation_mode(model), paddle.no_grad(), progress("Evaluation", total) as bar:
        for index, batch in enumerate(batches_apart(loader)):
            metric.update(batch, model.predict(batch))
            images += batch["image"].shape[0]
            bar.advance()
            if index % LINE_EVERY == 0:
                logger.info("Eval iter: %d", index)
    seconds = time.perf_counter() - started
    figures = metric.accumulate()
    metric.log(logger)
    logger.info("Total sample number: %d, average FPS: %s", images, images / seconds)
    return figures
