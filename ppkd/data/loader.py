"""Batches of an epoch as Paddle tensors, read by worker processes."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np

from ppkd.data.datasets import DetectionDataset
from ppkd.data.pipeline import Parcel, Parts, Pipeline
from ppkd.data.repeated import Recorded, nothing
from ppkd.data.sampling import BatchPlan, Sampler
from ppkd.data.workers import start_workers
from ppkd.structures import Batch
from ppkd.utils.errors import DataError
from ppkd.utils.logger import get_logger

WINDOW = 200
JUDGED_FROM = 50
BEARABLE = 0.2
"""Training ends above this share of unreadable images among the last ``WINDOW``, once there are ``JUDGED_FROM``."""
SHARED_MEMORY = 1 << 30
"""Bytes that must be free in /dev/shm."""
PATIENCE = 5
"""Seconds that workers have to end."""

_log = get_logger(__name__)


class Loader:
    """Iterates over the batches of one epoch; :meth:`start` says which epoch, and where in it to begin.

    ``unreadable`` counts, per message, the images that could not be read so far. In training such an image is replaced
    by another, and more than a fifth of them among recent images raises :class:`DataError`; in evaluation the batch is
    smaller by it, and ``lost`` has the ids of those missing from the present epoch. A worker process that dies raises
    :class:`DataError` as well.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        sampler: Sampler,
        dataset: DetectionDataset,
        *,
        worker_num: int = 2,
        shared_memory: bool = True,
    ) -> None:
        self.dataset = dataset
        self.images_per_update = sampler.share
        self.batch_size = sampler.batch_size
        self.unreadable: dict[str, int] = {}
        self.lost: list[int] = []
        self._pipeline = pipeline
        self._sampler = sampler
        self._worker_num = worker_num
        self._shared_memory = shared_memory and worker_num > 0 and _shared_memory_fits()
        self._recent: deque[bool] = deque(maxlen=WINDOW)
        self._epoch = 0
        self._skip = 0

    def __len__(self) -> int:
        return len(self._sampler)

    def start(self, epoch: int, batch: int = 0) -> None:
        """Make the next iteration that of ``epoch`` without its first ``batch`` batches."""
        self._epoch = epoch
        self._skip = batch

    def peek(self, epoch: int, batch: int) -> Batch:
        """The first batch of that update of ``epoch``, read in this process; position and counts stay as they are.

        Raises what reading it raises.
        """
        return next(self.update(epoch, batch))

    def update(self, epoch: int, number: int) -> Iterator[Batch]:
        """All batches of this process in that update of ``epoch``, each read when it is asked for, as :meth:`peek`."""
        plans = list(islice(self._sampler.plans(epoch, number), self._sampler.parts))
        for plan in plans or islice(self._sampler.plans(epoch + 1), self._sampler.parts):
            parts = self._pipeline[plan]
            if parts["parcel"].error is not None:
                raise parts["parcel"].error
            yield tensors(parts["arrays"], parts["parcel"])

    def read(self, plans: Sequence[BatchPlan]) -> Iterator[Batch]:
        """The batches of ``plans``, read by the worker processes; raises what reading them raises."""
        for parts in self._read(list(plans)):
            if parts["parcel"].error is not None:
                raise parts["parcel"].error
            yield tensors(parts["arrays"], parts["parcel"])

    def lend(self, recorded: Recorded) -> None:
        """Give every batch from now on what is ``recorded`` of its images; for a reader of repeated views."""
        repeated = self._pipeline.repeated
        if repeated is None:
            raise ValueError("only repeated views of images can have recorded answers")
        self._pipeline = replace(self._pipeline, repeated=replace(repeated, recorded=recorded))

    @property
    def recorded(self) -> Recorded:
        """What :meth:`lend` gave; nothing before."""
        repeated = self._pipeline.repeated
        return nothing if repeated is None else repeated.recorded

    def __iter__(self) -> Iterator[Batch]:
        plans = list(self._sampler.plans(self._epoch, self._skip))
        self._skip = 0
        self.lost = []
        yielded = 0
        for parts in self._read(plans):
            parcel = parts["parcel"]
            self._judge(parcel)
            if parts["arrays"]["image"].ndim == 4:
                yielded += 1
                yield tensors(parts["arrays"], parcel)
        if plans and not yielded:
            raise DataError(f"none of the images could be read; the last one: {list(self.unreadable)[-1]}")

    def _read(self, plans: list[BatchPlan]) -> Iterator[Parts]:
        if self._worker_num == 0 or not plans:
            return map(self._pipeline.__getitem__, plans)
        return self._from_workers(plans)

    def _from_workers(self, plans: list[BatchPlan]) -> Iterator[Parts]:
        workers = start_workers(
            self._pipeline,
            plans,
            num_workers=min(self._worker_num, len(plans)),
            use_shared_memory=self._shared_memory,
        )
        try:
            for _ in plans:
                yield _next(workers)
        finally:
            workers._try_shutdown_all(PATIENCE)

    def _judge(self, parcel: Parcel) -> None:
        """Raise the worker's error, and count and report the files that could not be read."""
        remedy = "another image takes its place" if self._pipeline.replace else "it counts as one without detections"
        for message in parcel.failures:
            if message not in self.unreadable:
                _log.warning("%s; %s", message, remedy)
            self.unreadable[message] = self.unreadable.get(message, 0) + 1
        self.lost += parcel.lost
        if parcel.error is not None:
            raise parcel.error
        failed = len(parcel.failures)
        self._recent.extend([True] * failed + [False] * (parcel.draws - failed))
        share = sum(self._recent) / max(len(self._recent), 1)
        if self._pipeline.replace and len(self._recent) >= JUDGED_FROM and share > BEARABLE:
            raise DataError(
                f"{sum(self._recent)} of the last {len(self._recent)} images could not be read, "
                f"for instance: {list(self.unreadable)[-1]}"
            )


def tensors(arrays: dict[str, Any], parcel: Parcel) -> Batch:
    """The batch as tensors; boxes as one list of tensors per key, cut from a single transfer to the device."""
    import paddle

    batch: Batch = {
        key: paddle.to_tensor(value) if isinstance(value, np.ndarray) else value for key, value in arrays.items()
    }
    for key, rows in parcel.boxes.items():
        ends = np.cumsum([len(row) for row in rows]).tolist()
        together = paddle.to_tensor(np.concatenate(rows))
        batch[key] = [together[end - len(row) : end] for row, end in zip(rows, ends, strict=True)]
    if parcel.views:
        batch["views"] = [tensors(view, Parcel()) for view in parcel.views]
    return batch


def _next(workers: Iterator[Parts]) -> Parts:
    try:
        return next(workers)
    except (SystemError, StopIteration) as error:
        raise DataError(
            "a worker process that reads images died (killed for want of memory?); resume with fewer of them "
            "(-o worker_num=1, or 0 to read in the main process)"
        ) from error


def _shared_memory_fits() -> bool:
    """Whether /dev/shm exists and has a gigabyte free; without one, batches pass through pipes."""
    try:
        free = shutil.disk_usage("/dev/shm").free
    except OSError:
        return False
    if free < SHARED_MEMORY:
        _log.warning("/dev/shm has only %d MB free: batches pass through pipes, which is slower", free >> 20)
    return free >= SHARED_MEMORY
