"""The frozen teacher."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import nullcontext
from typing import cast

import paddle
from paddle import Tensor

from ppkd.models.casting import full_precision
from ppkd.models.detectors.dense import DenseDetector
from ppkd.models.detectors.detector import Detector
from ppkd.structures import Batch, Record, TowerRecord


class FrozenTeacher:
    """A detector whose weights and buffers never change.

    Deliberately not an ``nn.Layer``: Paddle's ``Layer.train()`` sets flags on all sublayers, and BatchNorm statistics
    move in training mode even under ``no_grad``. Outside the layer tree the teacher is safe from ``train()``, from
    SyncBN conversion, from the optimizer and from ``state_dict()``.

    Args:
        detector: the trained detector; it is put into evaluation mode and its parameters stop gradients.
        entries: the record's entries that somebody consumes, by default all; with the neck alone, the head is not
            computed.
        casts: compute in the student's low precision where there is one, instead of in float32.
    """

    def __init__(self, detector: Detector, entries: Iterable[str] | None = None, *, casts: bool = False) -> None:
        self.detector = detector
        self._casts = casts
        self._entries = set(detector.record.entries() if entries is None else entries)
        for parameter in detector.parameters():
            parameter.stop_gradient = True
        detector.eval()

    def __call__(self, batch: Batch, like: Record) -> Record:
        """What the teacher records of ``batch``, without gradients; ``like`` is the student's record of it."""
        if self.detector.training:
            self.detector.eval()
        with paddle.no_grad(), nullcontext() if self._casts else full_precision():
            if self._entries <= set(Record.entries()):
                return Record(neck=self.detector.features(batch))
            return self.detector.extract(batch, like=like).reading(self._entries)

    def complete(self, record: TowerRecord) -> TowerRecord:
        """``record`` with all that lies behind its towers' features computed by the teacher's head.

        The features may be another detector's. Gradients reach them, and nothing of the teacher.
        """
        return cast(DenseDetector, self.detector).complete(record)

    def boxes(self, record: Record) -> list[Tensor]:
        """Corner boxes float32 [N, P, 4] in pixels of the input, level by level, of a dense detector's numbers."""
        return cast(DenseDetector, self.detector).boxes(record)

    def fingerprint(self) -> str:
        """SHA-256 over the names, shapes and bytes of all weights and buffers."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.detector.state_dict().items()):
            array = tensor.numpy()
            digest.update(f"{name} {array.shape} {array.dtype}\n".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()
